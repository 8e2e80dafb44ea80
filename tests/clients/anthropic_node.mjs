// The official @anthropic-ai/sdk for Node over the Messages API; prints one JSON object.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ maxRetries: 0 });
const asked = (text, more = {}) => ({
  model: "claude-sonnet-5",
  max_tokens: 100,
  messages: [{ role: "user", content: text }],
  ...more,
});
const tools = [{ name: "look", input_schema: { type: "object", properties: {} } }];

const created = await client.messages.create(asked("hi"));
const request = await client.messages.create(asked("hi")).withResponse();

const stream = client.messages.stream(asked("!demo say=Wait. call=look,look", { tools }));
const kinds = [];
for await (const event of stream) kinds.push(event.type);
const streamed = await stream.finalMessage();

const counted = await client.messages.countTokens({
  model: "claude-sonnet-5",
  messages: [{ role: "user", content: "hi" }],
});

const models = [];
for await (const model of client.models.list({ limit: 2 })) models.push(model.id);

const failed = async (call) => {
  try {
    await call();
  } catch (error) {
    return [error.constructor.name, error.status ?? null, error.error?.error?.type ?? null];
  }
};

console.log(
  JSON.stringify({
    text: created.content[0].text,
    requestId: request.request_id,
    kinds: [...new Set(kinds)],
    streamed: streamed.content.map((block) => block.type),
    counted: counted.input_tokens,
    models,
    refused: await failed(() => client.messages.create(asked("!demo error=400"))),
    overloaded: await failed(() => client.messages.create(asked("!demo error=529"))),
    broken: await failed(() =>
      client.messages.stream(asked("!demo error_midstream=overloaded_error")).finalMessage(),
    ),
  }),
);
