// A chat, a stream and a function call with the official OpenAI SDK for Node.
//
//   cd examples/node && npm ci && npm start
import OpenAI from "openai";

const baseURL = process.env.OPENAI_BASE_URL ?? "http://localhost:8000/v1";
const client = new OpenAI({ baseURL, apiKey: process.env.OPENAI_API_KEY ?? "unused" });

try {
  await client.models.list();
} catch (error) {
  if (error instanceof OpenAI.APIConnectionError) {
    console.error(`No server at ${baseURL}. Start one: python main.py --demo`);
  } else if (error instanceof OpenAI.AuthenticationError) {
    console.error(`The server at ${baseURL} requires an API key: set OPENAI_API_KEY.`);
  } else {
    console.error(`The server at ${baseURL} answers ${error.message}`);
  }
  process.exit(1);
}

const answer = await client.chat.completions.create({
  model: "sonnet",
  messages: [{ role: "user", content: "What is a monad? One sentence." }],
});
console.log(answer.choices[0].message.content);

const stream = await client.chat.completions.create({
  model: "sonnet",
  messages: [{ role: "user", content: "Write a short poem about rivers." }],
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
console.log();

const getWeather = ({ city }) => ({ city, sky: "cloudy", celsius: 17 });

const runner = client.chat.completions.runTools({
  model: "sonnet",
  messages: [{ role: "user", content: "Do I need a coat in Rome today? Ask get_weather." }],
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather of a city, now",
        parameters: {
          type: "object",
          properties: { city: { type: "string" } },
          required: ["city"],
        },
        parse: JSON.parse,
        function: getWeather,
      },
    },
  ],
});
console.log(await runner.finalContent());
