// Anthropic's client for Node: a message and a stream.
//
//   cd examples/node-anthropic && npm install && node messages.mjs
//
// ANTHROPIC_BASE_URL   default http://localhost:8000
// ANTHROPIC_API_KEY    only where the server requires one
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: process.env.ANTHROPIC_BASE_URL ?? "http://localhost:8000",
  apiKey: process.env.ANTHROPIC_API_KEY ?? "unused",
});

const message = await client.messages.create({
  model: "sonnet",
  max_tokens: 500,
  messages: [{ role: "user", content: "Why is the sky blue?" }],
});
for (const block of message.content) if (block.type === "text") console.log(block.text);

const stream = client.messages.stream({
  model: "sonnet",
  max_tokens: 500,
  messages: [{ role: "user", content: "Write a short poem about rivers." }],
});
stream.on("text", (text) => process.stdout.write(text));
await stream.finalMessage();
console.log();
