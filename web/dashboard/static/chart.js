// Stacked bars as SVG, with a table of the same numbers for those who do not see them.
import { h, svg } from "./dom.js";
import { count } from "./format.js";

const HEIGHT = 220, LEFT = 52, BOTTOM = 24, TOP = 8, MOST_SERIES = 8;

// `points`: [{label, values: {series: number}}], oldest first. Drawn as wide as its place is.
export function bars(title, points, format) {
  const names = ranked(points);
  const place = h("div", {});
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width > 0) place.replaceChildren(drawn(title, points, names, format, width));
  }).observe(place);
  return h("figure", {}, h("figcaption", {}, title), place, legend(names), asTable(title, points, names, format));
}

function drawn(title, points, names, format, width) {
  const total = (point) => names.reduce((sum, name) => sum + (point.values[name] ?? 0), 0);
  const top = nice(Math.max(...points.map(total), format === count ? 2 : 0)); // half of it is a number, too
  const step = (width - LEFT) / Math.max(1, points.length);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const marks = [];
  for (const share of [0, 0.5, 1]) {
    marks.push(svg("line", { class: "axis", x1: LEFT, x2: width, y1: y(top * share), y2: y(top * share) }));
    marks.push(svg("text", { x: LEFT - 8, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share)));
  }
  points.forEach((point, at) => marks.push(...column(point, at, names, step, y, format)));
  marks.push(...labels(points, step, width));
  const label = `${title}: ${points.length} bars, the highest is ${format(Math.max(...points.map(total), 0))}`;
  return svg("svg", { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label }, marks);
}

const colour = (names, name) => (name === "failed" ? "s-failed" : name === "answered" ? "s1" : `s${names.indexOf(name)}`);

function ranked(points) {
  const sums = new Map();
  for (const { values } of points)
    for (const [name, value] of Object.entries(values)) sums.set(name, (sums.get(name) ?? 0) + value);
  return [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name).slice(0, MOST_SERIES);
}

function column(point, at, names, step, y, format) {
  let below = 0;
  const width = Math.max(1, Math.min(step * 0.72, 46));
  return names.filter((name) => point.values[name]).map((name) => {
    const value = point.values[name], from = y(below), to = y(below + value);
    below += value;
    const box = { x: LEFT + at * step + (step - width) / 2, width, y: to, height: Math.max(0.5, from - to) };
    return svg("rect", { ...box, rx: 2, class: colour(names, name) }, svg("title", {}, `${point.label} · ${name}: ${format(value)}`));
  });
}

function labels(points, step, width) {
  const every = Math.ceil(points.length / Math.max(2, Math.floor(width / 90)));
  return points.map((point, at) => (at % every ? null
    : svg("text", { x: LEFT + (at + 0.5) * step, y: HEIGHT - 6, "text-anchor": "middle" }, point.label)));
}

function legend(names) {
  if (names.length < 2) return null;
  return h("ul", { class: "legend" }, names.map((name) =>
    h("li", {}, svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { width: 10, height: 10, rx: 2, class: colour(names, name) })), name)));
}

function asTable(title, points, names, format) {
  const rows = points.filter((point) => names.some((name) => point.values[name]));
  return h("div", { class: "visually-hidden" }, h("table", {}, h("caption", {}, title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "When"), names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((point) => h("tr", {}, h("th", { scope: "row" }, point.label), names.map((name) => h("td", {}, format(point.values[name] ?? 0))))))));
}

function nice(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}
