import { api } from "./api.js";
import { dialog, h, note, table } from "./dom.js";
import { count, when } from "./format.js";

const path = (response) => `/v1/responses/${encodeURIComponent(response.id)}`;

// A card with the responses that this key has stored, newest first.
export async function storedResponses(signal) {
  const list = h("div", {});
  const draw = async () => list.replaceChildren(listed((await api("/page/responses", { signal })).data, draw));
  await draw();
  return h("section", { class: "card" }, h("h2", {}, "Stored responses"), list);
}

function listed(all, draw) {
  return table([
    { title: "Response", cell: (r) => h("button", { class: "ghost mono", type: "button", onclick: () => read(r) }, r.id) },
    { title: "Model", cell: (r) => r.model ?? "–" }, { title: "Status", cell: (r) => r.status },
    { title: "Tokens", num: true, cell: (r) => count(r.usage?.total_tokens) }, { title: "Created", nowrap: true, cell: (r) => when(r.created_at) },
    { title: "Continues", cell: (r) => h("span", { class: "mono" }, r.conversation?.id ?? r.previous_response_id ?? "–") },
    { title: "", nowrap: true, cell: (r) => h("button", { class: "danger", type: "button", "aria-label": `Delete ${r.id}`, onclick: () => remove(r, draw) }, "Delete") },
  ], all, "None. POST /v1/responses stores them unless `store` is false.");
}

async function read(response) {
  const [found, before] = await Promise.all([api(path(response)), api(`${path(response)}/input_items?limit=100&order=asc`)]);
  dialog(response.id, found.instructions ? h("p", { class: "muted" }, `Instructions: ${found.instructions}`) : null, [...before.data, ...found.output].map(shown));
}

function shown(item) {
  const role = item.role ?? item.type;
  return h("div", { class: `turn ${role}` }, h("div", { class: "by" }, role), h("div", { class: "text" }, text(item)));
}

function text(item) {
  const parts = [item.content, item.output, item.summary].filter(Array.isArray).flat();
  if (parts.length) return parts.map((part) => part.text ?? `[${part.type}]`).join("\n");
  if (typeof item.output === "string") return item.output;
  return item.name ? `${item.name}(${item.arguments ?? item.input ?? ""})` : "";
}

function remove(response, draw) {
  const yes = h("button", { class: "danger", type: "button", onclick: async () => { await api(path(response), { method: "DELETE" }); box.close(); note("Deleted."); await draw(); } }, "Delete for good");
  const box = dialog(`Delete ${response.id}?`, h("p", {}, "Responses after it cannot be continued then."), yes);
}
