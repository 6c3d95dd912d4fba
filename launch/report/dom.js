"use strict";
// Text from outside is only ever put in as a text node: `text` of `make`, never markup.

// make("p", {class: "quiet"}, "text", node, …)
function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(node.style, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function read_block(id) {
  const block = document.getElementById(id);
  return block ? JSON.parse(block.textContent) : null;
}

// The page's minus is a minus, so that numbers with signs line up.
function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return (Number(text) === 0 ? "" : value < 0 ? "−" : "+") + text;
}
function p_text(p) {
  return p < 0.0001 ? "< 0.0001" : p.toFixed(4);
}
function count_text(count) {
  return count.toLocaleString("en");
}
function percent(share) {
  return `${(100 * share).toFixed(0)} %`;
}

// A table of the report: {columns: [{name, is_text}], rows: [[text, …], …]}. `heads`: how many columns name the row.
function table_of(table, { heads = 1, is_sum = () => false } = {}) {
  const head = make("tr", null, ...table.columns.map((c) => make("th", { scope: "col", class: c.is_text && "text" }, c.name)));
  const body = table.rows.map((row) => make("tr", { class: is_sum(row) && "sum" }, ...row.map((cell, i) =>
    i < heads ? make("th", { scope: "row", class: "text" }, cell)
              : make("td", { class: table.columns[i].is_text && "text" }, cell === "" ? "–" : cell))));
  return make("div", { class: "scroll", tabindex: 0 }, make("table", null, make("thead", null, head), make("tbody", null, ...body)));
}

// The files that hold a table.
function files_of(name) {
  const link = (ending) => make("a", { href: `tables/${name}.${ending}` }, ending);
  return make("p", { class: "files" }, `tables/${name}: `, link("tsv"), " · ", link("json"), " · ", link("tex"));
}
