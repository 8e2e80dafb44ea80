import { api } from "./api.js";
import { h, note } from "./dom.js";
import { overview } from "./overview.js";
import { usage } from "./usage.js";
import { requests } from "./requests.js";
import { keys } from "./keys.js";
import { approvals } from "./approvals.js";
import { sessions } from "./sessions.js";
import { tools } from "./tools.js";
import { playground } from "./playground.js";
import { connect } from "./connect.js";

const SECTIONS = { overview, usage, requests, approvals, keys, sessions, tools, playground, connect };
const place = document.getElementById("main");
let leave = () => {};

async function show() {
  leave();
  const name = location.hash.slice(1) in SECTIONS ? location.hash.slice(1) : "overview";
  for (const link of document.querySelectorAll("[data-section]")) {
    if (link.dataset.section === name) { link.setAttribute("aria-current", "page"); link.scrollIntoView({ block: "nearest", inline: "center" }); }
    else link.removeAttribute("aria-current");
  }
  const left = new AbortController();
  leave = () => left.abort();
  const root = h("div", { "data-view": name });
  place.replaceChildren(root);
  try { await SECTIONS[name](root, left.signal); }
  catch (error) { if (!left.signal.aborted) root.append(h("p", { class: "problem", role: "alert" }, error.message)); }
}

document.getElementById("theme").addEventListener("click", () => {
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
  const theme = isDark ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
});
document.getElementById("sign-out")?.addEventListener("click", async () => {
  await api("/sign-out", { method: "POST" });
  location.replace("/");
});
window.addEventListener("hashchange", () => { show(); place.focus({ preventScroll: true }); window.scrollTo(0, 0); });
window.addEventListener("unhandledrejection", (event) => note(event.reason?.message ?? "Something went wrong."));
show();
