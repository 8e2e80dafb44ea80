import { api } from "./api.js";
import { copyButton, dialog, h, note, table } from "./dom.js";
import { compact, usd, when } from "./format.js";

const LIMITS = [
  ["usd_per_day", "US dollars a day", "0.01"], ["usd_per_month", "US dollars a month", "0.01"], ["tokens_per_day", "Tokens a day", "1"], ["tokens_per_month", "Tokens a month", "1"],
  ["requests_per_minute", "Requests a minute", "1"], ["tokens_per_minute", "Tokens a minute", "1"], ["parallel_requests", "Requests at once", "1"],
];

export async function keys(root, signal) {
  const list = h("div", {}), secret = h("div", { "aria-live": "polite" });
  const draw = async () => list.replaceChildren(listed((await api("/v1/keys", { signal })).data, draw));
  root.append(h("div", { class: "head" }, h("h1", {}, "Keys"), h("button", { class: "primary", type: "button", onclick: () => edit(null, draw, secret) }, "New key")), secret, h("section", { class: "card" }, list));
  await draw();
}

function listed(all, draw) {
  return table([
    { title: "Name", cell: (key) => [h("strong", {}, key.name), key.operator ? [" ", h("span", { class: "badge" }, "operator")] : null] },
    { title: "Id", cell: (key) => h("code", {}, key.key_id ?? "–") },
    { title: "State", cell: state }, { title: "Models", cell: (key) => key.models.join(", ") || "all" }, { title: "Limits", cell: (key) => limits(key) },
    { title: "Last used", nowrap: true, cell: (key) => (key.read_only ? "–" : when(key.last_used_at)) },
    { title: "", nowrap: true, cell: (key) => (key.read_only ? h("span", { class: "muted small" }, "in the settings") : actions(key, draw)) },
  ], all, "No keys: everybody who reaches this server may use it.");
}

function state(key) {
  if (key.disabled) return h("span", { class: "badge warn" }, "disabled");
  if (key.expires_at && key.expires_at < Date.now() / 1000) return h("span", { class: "badge warn" }, "expired");
  return h("span", { class: "badge good" }, key.expires_at ? `until ${new Date(key.expires_at * 1000).toLocaleDateString()}` : "active");
}

function limits(key) {
  const shown = LIMITS.filter(([name]) => key[name] !== null).map(([name, title]) => `${name.startsWith("usd") ? usd(key[name]) : compact(key[name])} ${title.replace(/^\S+( dollars)? /, name.startsWith("usd") ? "" : "$&").toLowerCase()}`);
  return shown.join(", ") || "none";
}

function actions(key, draw) {
  const change = async (body) => { await api(`/v1/keys/${encodeURIComponent(key.name)}`, { method: "PATCH", body }); await draw(); };
  return h("div", { class: "row" },
    h("button", { type: "button", "aria-label": `Edit ${key.name}`, onclick: () => edit(key, draw) }, "Edit"),
    h("button", { type: "button", "aria-label": `${key.disabled ? "Enable" : "Disable"} ${key.name}`, onclick: () => change({ disabled: !key.disabled }) }, key.disabled ? "Enable" : "Disable"),
    h("button", { type: "button", class: "danger", "aria-label": `Revoke ${key.name}`, onclick: () => revoke(key, draw) }, "Revoke"));
}

function revoke(key, draw) {
  const yes = h("button", { class: "danger", type: "button", onclick: async () => {
    await api(`/v1/keys/${encodeURIComponent(key.name)}`, { method: "DELETE" });
    box.close(); note(`${key.name} is revoked.`); await draw();
  } }, "Revoke for good");
  const box = dialog(`Revoke ${key.name}?`, h("p", {}, "Nothing can use it any more. Its usage stays known."), yes);
}

function edit(key, draw, secret) {
  const problem = h("p", { class: "problem", role: "alert" });
  const input = (name, label, props) => h("div", {}, h("label", { for: `k-${name}` }, label), h("input", { id: `k-${name}`, name, ...props }));
  const check = (name, label, on) => h("label", { class: "inline" }, h("input", { type: "checkbox", name, checked: on }), label);
  const form = h("form", {},
    key ? null : input("name", "Name", { required: true, pattern: "[A-Za-z0-9_.@\\-]{1,64}", title: "Letters, digits and _ . @ -, 64 at most", autocomplete: "off" }),
    input("models", "Models (patterns, comma separated; empty is all)", { value: key?.models.join(", ") ?? "", placeholder: "claude-haiku*, sonnet", autocomplete: "off" }),
    input("expires", "Expires on", { type: "date", value: key?.expires_at ? new Date(key.expires_at * 1000).toISOString().slice(0, 10) : "" }),
    h("div", { class: "fields" }, LIMITS.map(([name, label, step]) => input(name, label, { type: "number", min: step, step, value: key?.[name] ?? "", placeholder: "none" }))),
    h("div", {}, check("operator", "Operator: may manage keys, tools and servers", key?.operator), check("builtin_tools", "May use built-in tools", key?.builtin_tools ?? true)),
    problem, h("button", { class: "primary", type: "submit" }, key ? "Save" : "Make key"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const made = await api(key ? `/v1/keys/${encodeURIComponent(key.name)}` : "/v1/keys", { method: key ? "PATCH" : "POST", body: read(form, key) });
      box.close();
      if (!key) secret.replaceChildren(shown(made));
      await draw();
    } catch (error) { problem.textContent = error.message; }
  });
  const box = dialog(key ? `Edit ${key.name}` : "New key", form);
}

function read(form, key) {
  const data = new FormData(form);
  const body = {
    operator: data.has("operator"), builtin_tools: data.has("builtin_tools"), models: data.get("models").split(",").map((part) => part.trim()).filter(Boolean),
    expires_at: data.get("expires") ? Date.parse(`${data.get("expires")}T23:59:59Z`) / 1000 : null,
  };
  if (!key) body.name = data.get("name");
  for (const [name] of LIMITS) body[name] = data.get(name) ? Number(data.get(name)) : null;
  return body;
}

function shown(made) {
  return h("div", { class: "secret" }, h("h2", {}, `The key of ${made.name}`), h("p", {}, "Copy it now: it is shown only once."),
    h("div", { class: "row" }, h("code", { id: "new-key" }, made.key), copyButton(() => made.key)));
}
