// A Breezeway agent in Node: says again what it was told, and does what `breezeway agent check` asks for.
// `npm install`, then `node agent.js 127.0.0.1:50061`. The protos are looked for in PROTOS, or where they lie here.
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const protos = process.env.PROTOS ?? fileURLToPath(new URL("../../../protos", import.meta.url));
const options = { includeDirs: [protos], enums: String, defaults: true, longs: Number };
const { v1 } = grpc.loadPackageDefinition(loader.loadSync("breezeway/v1/agent_service.proto", options)).breezeway;

const cancelled = new Set();

const textOf = (items) => items.flatMap((item) => item.message?.content ?? []).map((part) => part.text?.text ?? "").join("");

const call = (callId, name, args, executor) => [
  { toolCallStarted: { callId, name, executor } },
  { toolArgumentsDelta: { callId, arguments: args } },
  { toolCallCompleted: { callId } },
];

function run(stream) {
  const { runId, spec, history, input, output } = stream.request;
  const say = (...steps) => stream.write({ steps });
  const ask = textOf([...history, ...input].filter((item) => item.message).slice(-1));
  const answered = new Set([...input, ...output].map((item) => item.functionCallOutput?.callId));
  let answer = `You said: ${ask}`;
  switch (ask.startsWith("conformance: cancelled ") ? "conformance: cancelled" : ask) {
    case "conformance: cancel": {
      const timer = setInterval(() => say({ textDelta: { text: "on and " } }), 20);
      // The run was cancelled: this is the place to stop model calls and tools.
      stream.on("cancelled", () => { clearInterval(timer); cancelled.add(runId); });
      return;
    }
    case "conformance: cancelled":
      answer = cancelled.has(ask.split(" ")[2]) ? "yes" : "no";
      break;
    case "conformance: error":
      say({ runFailed: { reason: "EXAMPLE_FAILURE", message: "It was asked to fail.", code: 13 } });
      return stream.end();
    case "conformance: reasoning":
      say({ reasoningDelta: { text: "They want me to think." } });
      break;
    case "conformance: big":
      answer = "0123456789abcde ".repeat(65536);
      break;
    case "conformance: tool":
      if (!answered.has("add_1")) {
        say(...call("add_1", "add", '{"a":1,"b":2}', "EXECUTOR_SERVER"));
        say({ toolCallOutput: { callId: "add_1", content: [{ text: { text: "3" } }] } });
      }
      break;
    case "conformance: client tool":
      if (spec?.tools.length && !answered.has("theirs_1")) {
        say(...call("theirs_1", spec.tools[0].function.name, '{"text":"hello"}', "EXECUTOR_CLIENT"));
        return stream.end();
      }
  }
  const said = textOf(output);
  const rest = [...(answer.startsWith(said) ? answer.slice(said.length) : answer)]; // By character, never inside one.
  const size = Math.max(8, Math.ceil(rest.length / 16));
  for (let start = 0; start < rest.length; start += size) {
    say({ textDelta: { text: rest.slice(start, start + size).join("") } });
  }
  stream.end();
}

const describe = (_, reply) => reply(null, {
  protocolVersion: 1,
  description: "Says again what it is told.",
  capabilities: { clientTools: true, resumable: true },
});

const address = process.argv[2];
const server = new grpc.Server();
server.addService(v1.AgentService.service, { describe, run });
server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`listening on ${address.slice(0, address.lastIndexOf(":"))}:${port}`);
});
