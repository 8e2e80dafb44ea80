import { api } from "./api.js";
import { bars } from "./chart.js";
import { field, h, select, table } from "./dom.js";
import { compact, count, ms, usd } from "./format.js";

const isOperator = Boolean(document.body.dataset.operator);

export async function usage(root, signal) {
  const days = select([["7", "7 days"], ["30", "30 days"], ["90", "90 days"]], "30");
  const by = select([["model", "Model"], ...(isOperator ? [["key", "Key"]] : []), ["dialect", "API"]], "model");
  const csv = h("a", { class: "button", download: "usage.csv" }, "Download CSV");
  const body = h("div", {});
  const draw = async () => {
    const from = new Date(Date.now() - (days.value - 1) * 86400000).toISOString().slice(0, 10);
    csv.href = `/v1/usage?format=csv&by=day,key,model,dialect&from=${from}`;
    const report = await api(`/v1/usage?by=day,${by.value}&from=${from}`, { signal });
    body.replaceChildren(...drawn(report, by.value, Number(days.value)));
  };
  days.addEventListener("change", draw);
  by.addEventListener("change", draw);
  root.append(
    h("div", { class: "head" }, h("h1", {}, isOperator ? "Usage of all keys" : "Usage of this key"), csv),
    h("div", { class: "filters" }, field("Time", days, "usage-days"), field("Colours and rows", by, "usage-by")), body);
  await draw();
}

function drawn(report, by, days) {
  const { total } = report;
  return [
    h("p", { class: "muted" }, `${count(total.turns)} requests, ${compact(total.total_tokens)} tokens (${compact(total.cache_read_tokens)} from the cache), ${usd(total.cost_usd)}.`),
    h("div", { class: "grid" },
      h("section", { class: "card" }, bars("Cost by day, US dollars", points(report.data, by, days, "cost_usd"), usd)),
      h("section", { class: "card" }, bars("Tokens by day", points(report.data, by, days, "total_tokens"), compact))),
    h("section", { class: "card" }, h("h2", {}, "Sums"), sums(report.data, by)),
  ];
}

function points(rows, by, days, measure) {
  const values = new Map();
  for (const row of rows) {
    const day = values.get(row.day) ?? {};
    const name = row[by] || "none";
    day[name] = (day[name] ?? 0) + row[measure];
    values.set(row.day, day);
  }
  return Array.from({ length: days }, (_, at) => {
    const day = new Date(Date.now() - (days - 1 - at) * 86400000).toISOString().slice(0, 10);
    return { label: day.slice(5), values: values.get(day) ?? {} };
  });
}

const ADDED = ["turns", "errors", "prompt_tokens", "cache_read_tokens", "output_tokens", "cost_usd"];

function sums(rows, by) {
  const all = new Map();
  for (const row of rows) {
    const name = row[by] || "none";
    const sum = all.get(name) ?? { name, first: 0, ...Object.fromEntries(ADDED.map((measure) => [measure, 0])) };
    for (const measure of ADDED) sum[measure] += row[measure];
    sum.first += (row.mean_first_token_ms ?? 0) * row.turns;
    all.set(name, sum);
  }
  const number = (title, measure, format = compact) => ({ title, num: true, cell: (row) => format(row[measure]) });
  return table([
    { title: by === "dialect" ? "API" : by[0].toUpperCase() + by.slice(1), cell: (row) => row.name },
    number("Requests", "turns", count), number("Failed", "errors", count), number("Read", "prompt_tokens"), number("Cached", "cache_read_tokens"),
    number("Written", "output_tokens"), { title: "First token", num: true, cell: (row) => ms(row.turns ? row.first / row.turns : null) }, number("Cost", "cost_usd", usd),
  ], [...all.values()].sort((a, b) => b.cost_usd - a.cost_usd), "Nothing was used in this time.");
}
