// The AI SDK with its default OpenAI provider, which speaks the Responses API.
//
// npm install
// node chat.mjs
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, tool } from "ai";
import { z } from "zod";

const openai = createOpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? "http://localhost:8000/v1",
  apiKey: process.env.OPENAI_API_KEY ?? "unused",
});

const { text } = await generateText({
  model: openai("sonnet"),
  prompt: "What is the temperature in Rome? Find out with get_temperature.",
  stopWhen: stepCountIs(4),
  tools: {
    get_temperature: tool({
      description: "The present temperature of a city in degrees Celsius",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => `17 in ${city}`,
    }),
  },
});
console.log(text);
