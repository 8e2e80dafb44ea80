import { api } from "./api.js";
import { dialog, h, note, table } from "./dom.js";
import { bytes, count, usd, when } from "./format.js";
import { storedResponses } from "./responses.js";

export async function sessions(root, signal) {
  const list = h("div", {});
  const draw = async () => {
    const page = await api("/v1/sessions?limit=100", { signal });
    list.replaceChildren(listed(page.data, draw), page.has_more ? h("p", { class: "muted" }, "Only the newest 100 are shown.") : "");
  };
  const stats = await api("/v1/sessions/stats", { signal });
  root.append(h("h1", {}, "Sessions and responses of this key"),
    h("p", { class: "muted" }, `${count(stats.active_sessions)} active, ${count(stats.messages)} messages, ${bytes(stats.bytes)}; ${count(stats.turns)} turns ever, ${usd(stats.cost_usd)}.`),
    h("section", { class: "card" }, list));
  await draw();
  root.append(await storedResponses(signal));
}

const path = (session) => `/v1/sessions/${encodeURIComponent(session.id)}`;

function listed(all, draw) {
  return table([
    { title: "Session", cell: (s) => h("button", { class: "ghost mono", type: "button", onclick: () => read(s) }, s.id) },
    { title: "Model", cell: (s) => s.model ?? "–" }, { title: "Messages", num: true, cell: (s) => count(s.message_count) },
    { title: "Cost", num: true, cell: (s) => usd(s.cost_usd) }, { title: "Last used", nowrap: true, cell: (s) => when(s.last_used_at) },
    { title: "Expires", nowrap: true, cell: (s) => (s.expires_at ? when(s.expires_at) : "never") },
    { title: "", nowrap: true, cell: (s) => h("div", { class: "row" },
      h("button", { type: "button", "aria-label": `Fork ${s.id}`, onclick: async () => { const made = await api(`${path(s)}/fork`, { method: "POST", body: {} }); note(`Forked as ${made.id}.`); await draw(); } }, "Fork"),
      h("a", { class: "button", href: `${path(s)}/export`, download: `${s.id}.jsonl`, "aria-label": `Export ${s.id}` }, "Export"),
      h("button", { class: "danger", type: "button", "aria-label": `Delete ${s.id}`, onclick: () => remove(s, draw) }, "Delete")) },
  ], all, "No sessions. A request with `session_id` begins one.");
}

async function read(session) {
  const found = await api(path(session));
  const turns = found.messages.map((message) => h("div", { class: `turn ${message.role}` }, h("div", { class: "by" }, message.role), h("div", { class: "text" }, text(message))));
  dialog(session.id, found.system_prompt ? h("p", { class: "muted" }, `System prompt: ${found.system_prompt}`) : null, turns);
}

function text(message) {
  const parts = typeof message.content === "string" ? [message.content] : (message.content ?? []).map((part) => part.text ?? `[${part.type}]`);
  const calls = (message.tool_calls ?? []).map((call) => `→ ${call.function.name}(${call.function.arguments})`);
  return [...parts, ...calls].join("\n");
}

function remove(session, draw) {
  const yes = h("button", { class: "danger", type: "button", onclick: async () => { await api(path(session), { method: "DELETE" }); box.close(); await draw(); } }, "Delete for good");
  const box = dialog(`Delete ${session.id}?`, h("p", {}, "Its messages and files are gone then."), yes);
}
