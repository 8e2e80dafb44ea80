import { api } from "./api.js";
import { copyButton, dialog, field, h, select } from "./dom.js";
import { clock, count, ms, usd, when } from "./format.js";

const isOperator = Boolean(document.body.dataset.operator);
const logsBodies = Boolean(document.body.dataset.bodies);
const MOST_ROWS = 200;
const FINAL = { 2: "good", 4: "warn", 5: "bad" };

export async function requests(root, signal) {
  const key = h("input", { type: "search", placeholder: "any", autocomplete: "off" });
  const model = h("input", { type: "search", placeholder: "any", autocomplete: "off" });
  const status = select([["", "any"], ["2", "answered"], ["4", "4xx"], ["5", "5xx"], ["499", "client left"]], "");
  const rows = h("tbody", {});
  const empty = h("p", { class: "empty" }, "No request yet. What is asked appears here as it ends.");
  const columns = ["Time", "Key", "API", "Model", "Status", "Read", "Written", "First token", "Duration", "Cost"];
  const numbers = new Set(columns.slice(5));
  let source = null;
  const query = () => new URLSearchParams(Object.entries({ key: key.value, model: model.value, status: status.value }).filter(([, value]) => value));
  const add = (record) => {
    empty.hidden = true;
    rows.prepend(row(record));
    while (rows.children.length > MOST_ROWS) rows.lastChild.remove();
  };
  const load = async () => {
    source?.close();
    const page = await api(`/v1/usage/requests?limit=100&${query()}`, { signal });
    rows.replaceChildren();
    empty.hidden = page.data.length > 0;
    page.data.reverse().forEach(add);
    source = new EventSource(`/v1/usage/requests/live?${query()}`);
    source.onmessage = (event) => {
      const record = JSON.parse(event.data);
      if (!document.getElementById(`r-${record.number}`)) add(record);
    };
  };
  for (const control of [key, model, status]) control.addEventListener("change", load);
  signal.addEventListener("abort", () => source?.close());
  root.append(
    h("div", { class: "head" }, h("h1", {}, "Requests"), h("p", { class: "muted small live" }, "live")),
    logsBodies ? h("p", { class: "warn" }, "LOG_BODIES is on: prompts and answers are kept in memory, for operators.") : null,
    h("div", { class: "filters" }, isOperator ? field("Key", key, "f-key") : null, field("Model", model, "f-model"), field("Status", status, "f-status")),
    h("section", { class: "card" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Requests" },
      h("table", {}, h("thead", {}, h("tr", {}, columns.map((title) => h("th", { scope: "col", class: numbers.has(title) ? "num" : null }, title)))), rows)), empty));
  await load();
}

function row(record) {
  const open = h("button", { class: "ghost", type: "button", onclick: () => details(record) }, clock(record.at));
  const cells = [record.key, record.dialect, record.model || record.model_asked || "–", badge(record)];
  const numbers = [count(record.prompt_tokens), count(record.output_tokens), ms(record.first_token_ms), ms(record.duration_ms), usd(record.cost_usd)];
  return h("tr", { id: `r-${record.number}` }, h("td", { class: "nowrap" }, open), cells.map((cell) => h("td", {}, cell)), numbers.map((cell) => h("td", { class: "num nowrap" }, cell)));
}

function badge(record) {
  return h("span", { class: `badge ${FINAL[String(record.status)[0]] ?? ""}` }, record.error ? `${record.status} ${record.error}` : String(record.status));
}

async function details(record) {
  const lines = {
    Request: record.id, Time: when(record.at), Key: record.key, API: record.dialect, "Model asked": record.model_asked || "the default",
    "Model that answered": record.model || "–", Session: record.session_id ?? "–", Status: badge(record), Stream: record.stream ? "yes" : "no", Answers: count(record.answers),
    "Tokens read": `${count(record.input_tokens)} fresh, ${count(record.cache_read_tokens)} cached, ${count(record.cache_write_tokens)} written to the cache`,
    "Tokens written": `${count(record.output_tokens)}, ${count(record.reasoning_tokens)} of them thinking`, Cost: usd(record.cost_usd),
    "First token": `${ms(record.first_token_ms)} (queue ${ms(record.queue_ms)}, process ${ms(record.process_ms)}, Claude ${ms(record.upstream_ms)})`, Duration: ms(record.duration_ms),
    "Approvals": record.approvals.map(({ tool, decision, by }) => `${tool} ${decision}${by ? ` by ${by}` : ""}`).join(", ") || "none",
    "Built-in tools": Object.entries(record.tools).map(([name, n]) => `${name} × ${n}`).join(", ") || "none",
  };
  const box = dialog("Request", h("dl", {}, Object.entries(lines).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
  if (!logsBodies || !isOperator) return;
  try {
    const body = await api(`/v1/usage/requests/${record.id}/body`);
    const text = JSON.stringify(body.request, null, 2);
    box.append(h("h3", {}, "Body"), h("pre", {}, text), h("h3", {}, "Answer"), h("pre", {}, body.answer || "–"), copyButton(() => curl(body.path, body.request), "Copy as curl"));
  } catch (error) { box.append(h("p", { class: "muted" }, error.message)); }
}

export function curl(path, body) {
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl ${location.origin}${path} \\\n  -H "Authorization: Bearer $API_KEY" -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
}
