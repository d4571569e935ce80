// What Vercel's AI SDK makes of Breezeway; each scenario takes the name of a provider.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const baseURL = process.env.BASE_URL;
const openai = createOpenAI({ baseURL, apiKey: "unused" });
const compatible = createOpenAICompatible({ name: "breezeway", baseURL, supportsStructuredOutputs: true });
const models = {
  responses: openai.responses("assistant"),
  chat: openai.chat("assistant"),
  compatible: compatible("assistant"),
};

// A tool of ours, and the cities that it was asked for.
function weatherTool() {
  const asked = [];
  const weather = tool({
    description: "The weather.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked.push(city);
      return `sunny in ${city}`;
    },
  });
  return { asked, tools: { weather }, stopWhen: stepCountIs(3) };
}

async function streamed(parameters) {
  const result = streamText({
    maxRetries: 0,
    ...parameters,
    onError: ({ error }) => {
      throw error;
    },
  });
  const deltas = [];
  for await (const delta of result.textStream) deltas.push(delta);
  return {
    deltas,
    finishReason: await result.finishReason,
    usage: await result.totalUsage,
    text: await result.text,
  };
}

export const scenarios = {
  streamText: (provider) => streamed({ model: models[provider], prompt: "hi" }),

  async generateObject(provider) {
    const schema = z.object({ x: z.number(), y: z.number() });
    const asked = { model: models[provider], maxRetries: 0, schema, prompt: "Where?" };
    const { object, finishReason } = await generateObject(asked);
    return { object, finishReason };
  },

  async tools(provider) {
    const { asked, ...tools } = weatherTool();
    const model = models[provider];
    const { text } = await generateText({ model, maxRetries: 0, prompt: "How is Rome?", ...tools });
    return { text, asked };
  },

  async streamedTools(provider) {
    const { asked, ...tools } = weatherTool();
    const { text } = await streamed({ model: models[provider], prompt: "How is Rome?", ...tools });
    return { text, asked };
  },

  async error(provider) {
    const asked = { model: models[provider], maxRetries: 0, prompt: "hi" };
    const error = await generateText(asked).catch((thrown) => thrown);
    return { message: error.message, status: error.statusCode };
  },
};
