// Elements out of data. Text is always text: nothing here parses HTML, so nothing that a model, a key
// or a session is called can become part of the page.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...flat(children));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(3).filter((child) => child !== null && child !== undefined && child !== false);
}

export function table(columns, rows, empty = "Nothing yet.") {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const head = columns.map((c) => h("th", { scope: "col", class: c.num ? "num" : null }, c.title));
  const body = rows.map((row) => {
    const cells = columns.map((c) =>
      h("td", { class: [c.num && "num", c.nowrap && "nowrap"].filter(Boolean).join(" ") || null }, c.cell(row)));
    return h("tr", {}, cells);
  });
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" },
    h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

export function field(label, control, id) {
  control.id = id;
  return h("div", {}, h("label", { for: id }, label), control);
}

export function select(options, value, props = {}) {
  const made = h("select", props, options.map(([id, title]) => h("option", { value: id }, title)));
  made.value = value;
  return made;
}

export function dialog(title, ...content) {
  const close = h("button", { type: "button", onclick: () => made.close() }, "Close");
  const made = h("dialog", { "aria-label": title }, h("div", { class: "head" }, h("h2", {}, title), close), content);
  made.addEventListener("close", () => made.remove());
  document.body.append(made);
  made.showModal();
  return made;
}

export function meter(name, used, limit, detail) {
  const share = limit ? Math.min(1, used / limit) : 0;
  const track = svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { width: (share * 100).toFixed(1), height: 8 }));
  return h("div", { class: share >= 1 ? "meter full" : "meter" },
    h("div", { class: "top" }, h("span", {}, name), h("span", { class: "muted" }, detail)),
    h("div", { class: "track" }, track));
}

let noteTimer = 0;

export function note(text) {
  const place = document.getElementById("note");
  place.textContent = text;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => { place.textContent = ""; }, 4000);
}

export function copyButton(text, label = "Copy") {
  return h("button", { type: "button", onclick: async () => {
    try { await navigator.clipboard.writeText(text()); note("Copied."); }
    catch { note("The browser does not let this page copy: select the text."); }
  } }, label);
}
