// Runs scenarios: a line of JSON with module, scenario and arguments comes in, a line with result or error goes out.
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const { module, scenario, parameters } = JSON.parse(line);
  let answer;
  try {
    const { scenarios } = await import(`./${module}.mjs`);
    answer = { result: await scenarios[scenario](...parameters) };
  } catch (error) {
    answer = { error: error.stack };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
