import { copyButton, field, h } from "./dom.js";

const origin = location.origin;
const CLIENTS = [
  ["curl", (key, model) => `curl ${origin}/v1/chat/completions \\\n  -H "Authorization: Bearer ${key}" -H 'Content-Type: application/json' \\\n  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'`],
  ["OpenAI SDK, Python", (key, model) => `from openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key="${key}")\nanswer = client.chat.completions.create(model="${model}", messages=[{"role": "user", "content": "Hello"}])\nprint(answer.choices[0].message.content)`],
  ["OpenAI SDK, Node", (key, model) => `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${origin}/v1", apiKey: "${key}" });\nconst answer = await client.chat.completions.create({ model: "${model}", messages: [{ role: "user", content: "Hello" }] });\nconsole.log(answer.choices[0].message.content);`],
  ["Environment of OpenAI clients", (key) => `export OPENAI_BASE_URL=${origin}/v1\nexport OPENAI_API_KEY=${key}`],
  ["Open WebUI", (key) => `docker run -d -p 3000:8080 -e OPENAI_API_BASE_URL=${origin.replace("//localhost", "//host.docker.internal").replace("//127.0.0.1", "//host.docker.internal")}/v1 -e OPENAI_API_KEY=${key} ghcr.io/open-webui/open-webui:main`],
  ["Aider", (key, model) => `export OPENAI_API_BASE=${origin}/v1\nexport OPENAI_API_KEY=${key}\naider --model openai/${model}`],
  ["Continue (config.yaml)", (key, model) => `models:\n  - name: Claude\n    provider: openai\n    model: ${model}\n    apiBase: ${origin}/v1\n    apiKey: ${key}`],
  ["LangChain", (key, model) => `from langchain_openai import ChatOpenAI\n\nmodel = ChatOpenAI(base_url="${origin}/v1", api_key="${key}", model="${model}")\nprint(model.invoke("Hello").content)`],
];

export function connect(root) {
  const key = h("input", { type: "text", placeholder: "YOUR_KEY", autocomplete: "off", spellcheck: "false" });
  const model = h("input", { type: "text", value: document.body.dataset.model, autocomplete: "off", spellcheck: "false" });
  const list = h("div", { class: "grid" });
  const draw = () => list.replaceChildren(...CLIENTS.map(([name, write]) => {
    const text = write(key.value || "YOUR_KEY", model.value || document.body.dataset.model);
    return h("section", { class: "card" }, h("div", { class: "head" }, h("h2", {}, name), copyButton(() => text)), h("pre", {}, text));
  }));
  for (const control of [key, model]) control.addEventListener("input", draw);
  root.append(h("h1", {}, "Connect a client"), h("p", { class: "muted" }, `The address is ${origin}/v1. What you type here stays in this page.`),
    h("div", { class: "filters" }, field("API key", key, "c-key"), field("Model", model, "c-model")), list);
  draw();
}
