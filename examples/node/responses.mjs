// The Responses API with the OpenAI SDK for Node: an answer, a follow-up, a stream.
//
// npm install
// node responses.mjs
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? "http://localhost:8000/v1",
  apiKey: process.env.OPENAI_API_KEY ?? "unused",
});

const first = await client.responses.create({ model: "sonnet", input: "Name a river." });
console.log(first.output_text);

const stream = client.responses.stream({
  model: "sonnet",
  input: "And its length?",
  previous_response_id: first.id,
});
for await (const event of stream) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
}
console.log();
