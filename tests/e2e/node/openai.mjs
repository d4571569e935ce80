// What the official Node client makes of Breezeway.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "unused", maxRetries: 0 });
const model = "assistant";
const Point = z.object({ x: z.number(), y: z.number() });
const weather = {
  name: "weather",
  description: "The weather.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

export const scenarios = {
  async chatStream() {
    const stream = client.chat.completions.stream({ model, messages: [{ role: "user", content: "hi" }] });
    const deltas = [];
    stream.on("content", (delta) => deltas.push(delta));
    return { text: await stream.finalContent(), deltas, completion: await stream.finalChatCompletion() };
  },

  async chatParse() {
    const completion = await client.chat.completions.parse({
      model,
      messages: [{ role: "user", content: "Where?" }],
      response_format: zodResponseFormat(Point, "point"),
    });
    return { parsed: completion.choices[0].message.parsed };
  },

  async chatTools() {
    const asked = [];
    const runner = client.chat.completions.runTools({
      model,
      stream: true,
      messages: [{ role: "user", content: "How is Rome?" }],
      tools: [
        {
          type: "function",
          function: {
            ...weather,
            parse: JSON.parse,
            function: ({ city }) => {
              asked.push(city);
              return `sunny in ${city}`;
            },
          },
        },
      ],
    });
    return { asked, text: await runner.finalContent() };
  },

  async responsesStream() {
    const stream = client.responses.stream({ model, input: "hi" });
    const types = [];
    for await (const event of stream) types.push(event.type);
    return { types, response: await stream.finalResponse() };
  },

  async responsesResume() {
    const created = await client.responses.create({ model, input: "hi", background: true, stream: true });
    let id;
    for await (const event of created) {
      id ??= event.response?.id;
      if (event.type === "response.output_text.delta") break;
    }
    const rest = client.responses.stream({ response_id: id, starting_after: 4 });
    const numbers = [];
    for await (const event of rest) numbers.push(event.sequence_number);
    return { numbers, text: (await rest.finalResponse()).output_text };
  },

  async responsesParse() {
    const response = await client.responses.parse({
      model,
      input: "Where?",
      text: { format: zodTextFormat(Point, "point") },
    });
    return { parsed: response.output_parsed };
  },

  async responsesTools() {
    const tools = [{ type: "function", ...weather, strict: false }];
    const first = await client.responses.create({ model, input: "How is Rome?", tools });
    const [call] = first.output;
    const { data, response } = await client.responses
      .create({
        model,
        tools,
        previous_response_id: first.id,
        input: [{ type: "function_call_output", call_id: call.call_id, output: "sunny" }],
      })
      .withResponse();
    return { text: data.output_text, requestId: response.headers.get("x-request-id"), same: data._request_id };
  },

  async conversations() {
    const { id } = await client.conversations.create({ items: [{ role: "user", content: "one" }] });
    await client.responses.create({ model, input: "two", conversation: id });
    const types = [];
    for await (const item of client.conversations.items.list(id, { order: "asc", limit: 1 })) types.push(item.role);
    return { types, deleted: (await client.conversations.delete(id)).deleted };
  },

  async errors() {
    const seen = [];
    for (const body of [
      { model: "nobody", input: "hi" },
      { model, input: "hi", temperature: 9 },
      { model, input: "hi", previous_response_id: "resp_1" },
    ]) {
      const error = await client.responses.create(body).catch((thrown) => thrown);
      seen.push([error.constructor.name, error.status, error.code, error.param, Boolean(error.requestID)]);
    }
    return { seen };
  },
};
