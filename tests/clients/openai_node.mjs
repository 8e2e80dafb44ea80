// The official openai package for Node over the Responses API; prints one JSON object.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ maxRetries: 0 });
const model = "claude-sonnet-5";

const created = await client.responses.create({ model, input: "hi" });
const next = await client.responses.create({
  model,
  input: "!demo recall",
  previous_response_id: created.id,
});

const stream = client.responses.stream({ model, input: "!demo tokens=3" });
const kinds = [];
for await (const event of stream) kinds.push(event.type);
const streamed = await stream.finalResponse();

const parsed = await client.responses.parse({
  model,
  input: '!demo json={"city":"Rome"}',
  text: { format: zodTextFormat(z.object({ city: z.string() }), "city") },
});

let error = null;
try {
  const failing = await client.responses.create({
    model,
    stream: true,
    input: "!demo tokens=9 error_midstream=overloaded_error error_after=2",
  });
  for await (const _ of failing);
} catch (raised) {
  error = raised.constructor.name;
}

const background = await client.responses.create({ model, input: "hi", background: true });
let polled = background;
while (["queued", "in_progress"].includes(polled.status)) {
  await new Promise((done) => setTimeout(done, 50));
  polled = await client.responses.retrieve(background.id);
}

console.log(
  JSON.stringify({
    text: created.output_text,
    recalled: next.output_text,
    kinds,
    streamed: streamed.output_text,
    parsed: parsed.output_parsed,
    error,
    polled: polled.output_text,
  }),
);
