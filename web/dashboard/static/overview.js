import { api } from "./api.js";
import { bars } from "./chart.js";
import { h, meter, table } from "./dom.js";
import { compact, count, ms, until, usd } from "./format.js";

const EVERY_MS = 5000;

export async function overview(root, signal) {
  const body = h("div", {});
  root.append(h("div", { class: "head" }, h("h1", {}, "Overview"), h("p", { class: "muted small live" }, "updated every 5 seconds")), body);
  body.replaceChildren(...drawn(await api("/page/overview", { signal })));
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try { body.replaceChildren(...drawn(await api("/page/overview", { signal }))); } catch { /* the next look may work */ }
  }, EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function drawn(data) {
  const parts = data.first_tokens;
  const first = parts.upstream === null ? null : parts.queue + parts.process + parts.upstream;
  const tiles = [
    tile("Cost today", usd(data.today.cost_usd), "UTC, as Claude Code reports it"),
    tile("Requests today", count(data.today.turns), data.today.errors ? `${count(data.today.errors)} failed` : "none failed"),
    tile("Tokens today", compact(data.today.total_tokens), `${compact(data.today.output_tokens)} written`),
    tile("First token", ms(first), first === null ? "no turn yet" : `${ms(parts.queue + parts.process)} of it here`),
  ];
  if (data.pool) {
    tiles.push(tile("Running now", count(data.running), `${count(data.pool.queue.length)} waiting`));
    tiles.push(tile("Processes", `${data.pool.processes} of ${data.pool.max_processes}`, states(data.pool.states)));
  }
  return [
    h("div", { class: "tiles" }, tiles),
    h("div", { class: "grid" }, health(data), windows(data)),
    h("section", { class: "card" }, bars("Requests by hour (UTC)", hours(data.hours), count)),
    data.pool && h("section", { class: "card" }, h("h2", {}, "Processes"), processes(data.pool.workers)),
  ].filter(Boolean);
}

function tile(label, value, more) {
  return h("div", { class: "tile" }, h("div", { class: "label" }, label), h("div", { class: "value" }, value), h("div", { class: "more" }, more));
}

function states(all) {
  return Object.entries(all).filter(([, n]) => n).map(([state, n]) => `${n} ${state}`).join(", ") || "none";
}

function health(data) {
  const names = ["Claude Code", "Credentials"];
  const rows = data.health.map((check, at) => h("p", {}, h("span", { class: check.ok ? "badge good" : "badge bad" }, check.ok ? "OK" : "Problem"), " ", names[at],
    at === 0 && check.detail ? h("span", { class: "muted" }, ` · ${check.detail}`) : null));
  const found = data.credentials;
  return h("section", { class: "card" }, h("h2", {}, "Health"), rows,
    found && h("p", { class: "muted small" }, `${found.method}: ${found.detected_by}`),
    found?.hint && h("p", { class: "warn" }, found.hint));
}

function windows(data) {
  const mine = data.limits.map((w) => meter(w.name.replaceAll("_", " "), w.used, w.limit,
    `${amount(w, w.used)} of ${amount(w, w.limit)}, resets ${until(w.resets_at)}`));
  const claude = data.subscription.map((w) => meter(w.name.replaceAll("_", " "), w.utilization ?? (w.status === "rejected" ? 1 : 0), 1,
    `${w.status.replaceAll("_", " ")}${w.utilization === null ? "" : `, ${Math.round(w.utilization * 100)} % used`}${w.resets_at ? `, resets ${until(w.resets_at)}` : ""}`));
  const empty = h("p", { class: "empty" }, "No limits of this key, and no windows reported: Claude Code tells of them under a subscription only.");
  return h("section", { class: "card" }, h("h2", {}, "Limits"), mine, claude, mine.length + claude.length ? null : empty);
}

const amount = (w, value) => (w.name.startsWith("usd") ? usd(value) : compact(value));

function hours(rows) {
  const byHour = new Map(rows.map((row) => [row.hour, row]));
  const now = Math.floor(Date.now() / 3600000);
  return Array.from({ length: 24 }, (_, at) => {
    const hour = new Date((now - 23 + at) * 3600000).toISOString().slice(0, 13);
    const row = byHour.get(hour);
    return { label: `${hour.slice(11)}:00`, values: { answered: row ? row.turns - row.errors : 0, failed: row?.errors ?? 0 } };
  });
}

function processes(workers) {
  return table([
    { title: "No.", cell: (w) => String(w.number) }, { title: "State", cell: (w) => h("span", { class: "badge" }, w.state) },
    { title: "Model", cell: (w) => w.model ?? "–" }, { title: "Uses", num: true, cell: (w) => count(w.uses) },
    { title: "Age", num: true, cell: (w) => `${Math.round(w.age_seconds)} s` },
    { title: "Memory", num: true, cell: (w) => `${Math.round(w.memory_bytes / 1048576)} MB` },
  ], workers, "No process runs: the next request starts one.");
}
