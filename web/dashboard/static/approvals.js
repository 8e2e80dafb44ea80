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
  const questions = one.tool === "AskUserQuestion" ? one.input.questions.map(choices) : [];
  const reason = h("input", { type: "text", maxlength: "10000", "aria-label": `Reason to deny ${one.tool}`, placeholder: "Reason, for a no" });
  const decide = (approve) => async () => {
    const answers = Object.fromEntries(questions.map(({ question, answer }) => [question, answer()]));
    if (approve && Object.values(answers).some((answer) => !answer)) return note("A question has no answer yet.");
    const body = { approve, ...(approve ? questions.length && { answers } : { reason: reason.value.trim() }) };
    await api(`/v1/approvals/${encodeURIComponent(one.id)}`, { method: "POST", body });
    note(approve ? `${one.tool} is ${questions.length ? "answered" : "approved"}.` : `${one.tool} is denied.`);
    await look();
  };
  const until = new Date(one.expires_at * 1000).toLocaleTimeString();
  return h("section", { class: "card", "aria-label": `${one.tool}, asked by ${one.key}` },
    h("h2", {}, one.tool),
    h("p", { class: "muted" }, [one.key, one.model, one.session_id && `session ${one.session_id}`, `denied at ${until} without an answer`].filter(Boolean).join(" · ")),
    questions.length ? questions.map(({ shown }) => shown) : asked(one),
    h("p", {},
      h("button", { type: "button", class: "primary", onclick: decide(true) }, questions.length ? "Answer" : "Approve"), " ",
      h("button", { type: "button", onclick: decide(false) }, "Deny"), " ", reason));
}

// One question with its choices, and what was chosen: several choices are one text.
function choices({ question, options, multiSelect }) {
  const name = `choice-${crypto.randomUUID()}`;
  const boxes = options.map(({ label }) => h("input", { type: multiSelect ? "checkbox" : "radio", name, value: label }));
  const other = h("input", { type: "text", "aria-label": `Another answer to: ${question}`, placeholder: "Another answer" });
  const lines = options.map(({ label, description }, at) =>
    h("label", { class: "choice" }, boxes[at], " ", label, h("span", { class: "muted" }, description ? ` · ${description}` : "")));
  const answer = () => [...boxes.filter((box) => box.checked).map((box) => box.value), other.value.trim()].filter(Boolean).join(", ");
  return { question, answer, shown: h("fieldset", {}, h("legend", {}, question), lines, other) };
}

function asked({ tool, input }) {
  if (typeof input.command === "string") return h("pre", { tabindex: "0" }, h("code", {}, input.command));
  if (typeof input.plan === "string") return h("pre", { class: "text", tabindex: "0" }, input.plan);
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
