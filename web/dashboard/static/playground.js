import { api, headers, problem } from "./api.js";
import { copyButton, dialog, field, h, select } from "./dom.js";
import { count, ms, usd } from "./format.js";
import { curl } from "./requests.js";

const PATH = "/v1/chat/completions";
const turns = []; // outlives a look at another section
const settings = { system: "", tools: "", schema: "", effort: "", model: document.body.dataset.model };

export async function playground(root, signal) {
  const models = await api("/v1/models", { signal }).catch(() => ({ data: [] }));
  const names = [...new Set([settings.model, ...models.data.map((model) => model.id)])];
  const log = h("div", { id: "log", "aria-live": "polite", "aria-label": "Conversation" });
  const text = h("textarea", { rows: "3", placeholder: "Ask something. Ctrl+Enter sends.", required: true });
  const images = h("input", { type: "file", accept: "image/*", multiple: true });
  const send = h("button", { class: "primary", type: "submit" }, "Send");
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  const failed = h("p", { class: "problem", role: "alert" });
  const control = (name, element) => { element.value = settings[name]; element.addEventListener("input", () => { settings[name] = element.value; }); return element; };
  const side = h("section", { class: "card" }, h("h2", {}, "Settings"),
    field("Model", control("model", select(names.map((name) => [name, name]), settings.model)), "p-model"),
    field("Thinking effort", control("effort", select([["", "the default"], ["none", "none"], ["low", "low"], ["medium", "medium"], ["high", "high"]], "")), "p-effort"),
    field("System prompt", control("system", h("textarea", { rows: "3" })), "p-system"),
    h("details", {}, h("summary", {}, "Tools and JSON schema"),
      field("Tools (a JSON list, as in the API)", control("tools", h("textarea", { class: "code", rows: "4", spellcheck: "false" })), "p-tools"),
      field("JSON schema of the answer", control("schema", h("textarea", { class: "code", rows: "4", spellcheck: "false" })), "p-schema")),
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => code() }, "Show as code"), h("button", { type: "button", onclick: () => { turns.length = 0; log.replaceChildren(hint()); } }, "New chat")));
  const form = h("form", {}, field("Message", text, "p-text"), field("Images", images, "p-images"), failed, h("div", { class: "row" }, send, stop));
  root.append(h("h1", {}, "Playground"), h("div", { class: "play" }, h("section", { class: "card" }, log, form), side));
  log.append(...(turns.length ? turns.map(shown) : [hint()]));
  text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    failed.textContent = "";
    if (!turns.length) log.replaceChildren();
    const said = { role: "user", content: await content(text.value, images.files) };
    const answer = { role: "assistant", content: "", thinking: "", calls: [], meta: "" };
    const left = new AbortController();
    const view = shown(answer);
    let body;
    try { body = request([...turns, said]); } catch (error) { failed.textContent = error.message; return; }
    turns.push(said, answer);
    log.append(shown(said), view);
    text.value = ""; images.value = "";
    send.disabled = true; stop.hidden = false;
    stop.onclick = () => left.abort();
    try { await streamed(body, answer, view, left.signal); }
    catch (error) { if (!left.signal.aborted) { failed.textContent = error.message; } if (!answer.content && !answer.calls.length) { turns.splice(-2); } }
    send.disabled = false; stop.hidden = true;
    text.focus();
  });
}

const hint = () => h("p", { class: "empty" }, "The answers stream through /v1/chat/completions, as for any client of yours, and count as this key's usage.");

async function content(text, files) {
  if (!files.length) return text;
  const parts = await Promise.all([...files].map((file) => new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done({ type: "image_url", image_url: { url: reader.result } });
    reader.onerror = fail;
    reader.readAsDataURL(file);
  })));
  return [{ type: "text", text }, ...parts];
}

function request(messages) {
  const body = { model: settings.model, messages: messages.map(wire), stream: true, stream_options: { include_usage: true } };
  if (settings.system) body.messages.unshift({ role: "system", content: settings.system });
  if (settings.effort) body.reasoning_effort = settings.effort;
  if (settings.tools.trim()) body.tools = parsed(settings.tools, "Tools");
  if (settings.schema.trim()) body.response_format = { type: "json_schema", json_schema: { name: "answer", schema: parsed(settings.schema, "The JSON schema") } };
  return body;
}

function wire(turn) {
  if (turn.role === "user") return { role: "user", content: turn.content };
  return { role: "assistant", content: turn.content || turn.calls.map((call) => `(asked for ${call.name})`).join(" ") || "…" };
}

function parsed(text, what) {
  try { return JSON.parse(text); } catch { throw new Error(`${what} must be JSON.`); }
}

async function streamed(body, answer, view, signal) {
  const started = performance.now();
  let first = null, usage = null;
  const response = await fetch(PATH, { method: "POST", signal, headers: headers({ "content-type": "application/json" }), body: JSON.stringify(body) });
  if (!response.ok) throw new Error(await problem(response));
  for await (const data of events(response.body)) {
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    usage = chunk.usage ?? usage;
    const delta = chunk.choices?.[0]?.delta ?? {};
    if (first === null && (delta.content || delta.reasoning_content || delta.tool_calls)) first = performance.now() - started;
    answer.content += delta.content ?? "";
    answer.thinking += delta.reasoning_content ?? "";
    for (const call of delta.tool_calls ?? []) {
      const known = (answer.calls[call.index] ??= { name: "", arguments: "" });
      known.name += call.function?.name ?? "";
      known.arguments += call.function?.arguments ?? "";
    }
    view.update(answer);
  }
  if (usage) answer.meta = `${count(usage.prompt_tokens)} tokens read, ${count(usage.completion_tokens)} written · ${usd(usage.cost_usd)} · first token ${ms(first)}`;
  view.update(answer);
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data && data !== "[DONE]") yield data;
    }
  }
}

function shown(turn) {
  const text = h("div", { class: "text" }), thinking = h("div", { class: "thinking" }), meta = h("div", { class: "muted small" });
  const root = h("div", { class: `turn ${turn.role}` }, h("div", { class: "by" }, turn.role === "user" ? "You" : "Claude"), thinking, text, meta);
  root.update = (now) => {
    const parts = Array.isArray(now.content) ? now.content : [{ type: "text", text: now.content }];
    const calls = (now.calls ?? []).map((call) => `→ ${call.name}(${call.arguments})`);
    text.textContent = [...parts.filter((part) => part.type === "text").map((part) => part.text), ...calls].filter(Boolean).join("\n");
    text.append(...parts.filter((part) => part.type === "image_url").map((part) => h("img", { src: part.image_url.url, alt: "attached image" })));
    thinking.textContent = now.thinking ?? "";
    meta.textContent = now.meta ?? "";
  };
  root.update(turn);
  return root;
}

function code() {
  let body;
  try { body = request(turns.length ? turns.filter((turn, at) => turn.role === "user" || at < turns.length - 1) : [{ role: "user", content: "Hello" }]); } catch (error) { dialog("Show as code", h("p", { class: "problem" }, error.message)); return; }
  const json = JSON.stringify(body, null, 2);
  const python = `import os\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key=os.environ["API_KEY"])\nstream = client.chat.completions.create(**json.loads(r"""${json}"""))\nfor chunk in stream:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)\n`.replace("import os\n", "import json\nimport os\n");
  const node = `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${location.origin}/v1", apiKey: process.env.API_KEY });\nconst stream = await client.chat.completions.create(${json});\nfor await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");\n`;
  const samples = { curl: curl(PATH, body), Python: python, Node: node };
  dialog("Show as code", Object.entries(samples).map(([name, text]) => [h("h3", {}, name), h("pre", {}, text), copyButton(() => text, `Copy ${name}`)]));
}
