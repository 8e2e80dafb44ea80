// The AI SDK with its default OpenAI provider, which speaks the Responses API; prints one JSON object.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL });
const model = openai("claude-sonnet-5");

const { text } = await generateText({ model, prompt: "hi" });

const streaming = streamText({ model, prompt: "!demo thinking=hm tokens=3" });
let streamed = "";
for await (const piece of streaming.textStream) streamed += piece;

const looped = await generateText({
  model,
  prompt: '!demo call=weather args={"city":"Rome"} text=Sunny.',
  stopWhen: stepCountIs(3),
  tools: {
    weather: tool({
      description: "The weather",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => `sunny in ${city}`,
    }),
  },
});

const structured = await generateText({
  model,
  prompt: '!demo json={"city":"Rome"}',
  output: Output.object({ schema: z.object({ city: z.string() }) }),
});

console.log(
  JSON.stringify({
    text,
    streamed,
    finish: await streaming.finishReason,
    looped: looped.text,
    steps: looped.steps.length,
    structured: structured.output,
  }),
);
