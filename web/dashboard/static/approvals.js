import { api } from "./api.js";
import { h, note } from "./dom.js";

const EVERY_MS = 2000;
const CHANGES = { Edit: ["old_string", "new_string"], Write: [null, "content"] };

export async function approvals(root, signal) {
  const isOperator = document.body.dataset.operator === "yes";
  const path = isOperator ? "/v1/approvals/all" : "/v1/approvals";
  const list = h("div", { "aria-live": "polite" });
  root.append(h("div", { class: "head" }, h("h1", {}, "Approvals"), h("p", { class: "muted small live" }, "updated every 2 seconds")), list);
  let shown = null;

  async function look() {
    const { data } = await api(path, { signal });
    const ids = data.map((one) => one.id).join(" ");
    if (ids === shown) return; // what has the focus stays
    shown = ids;
    list.replaceChildren(...(data.length ? data.map((one) => card(one, look)) : [h("p", { class: "empty" }, "No agent waits for an approval.")]));
  }

  await look();
  const timer = setInterval(() => { if (!document.hidden) look().catch(() => {}); }, EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function card(one, look) {
  const decide = (approve) => async () => {
    await api(`/v1/approvals/${encodeURIComponent(one.id)}`, { method: "POST", body: { approve } });
    note(approve ? `${one.tool} is approved.` : `${one.tool} is denied.`);
    await look();
  };
  const until = new Date(one.expires_at * 1000).toLocaleTimeString();
  return h("section", { class: "card", "aria-label": `${one.tool}, asked by ${one.key}` },
    h("h2", {}, one.tool),
    h("p", { class: "muted" }, [one.key, one.model, one.session_id && `session ${one.session_id}`, `denied at ${until} without an answer`].filter(Boolean).join(" · ")),
    asked(one),
    h("p", {},
      h("button", { type: "button", class: "primary", onclick: decide(true) }, "Approve"), " ",
      h("button", { type: "button", onclick: decide(false) }, "Deny")));
}

function asked({ tool, input }) {
  if (typeof input.command === "string") return h("pre", { tabindex: "0" }, h("code", {}, input.command));
  const [before, after] = CHANGES[tool] ?? [];
  if (after && typeof input[after] === "string") {
    const lines = [...(before ? marked("−", input[before]) : []), ...marked("+", input[after])];
    return [h("p", {}, h("code", {}, input.file_path ?? "")), h("pre", { tabindex: "0" }, h("code", {}, lines.join("\n")))];
  }
  return h("pre", { tabindex: "0" }, h("code", {}, JSON.stringify(input, null, 2)));
}

function marked(sign, text) {
  return String(text ?? "").replace(/\n$/, "").split("\n").map((line) => `${sign} ${line}`);
}
