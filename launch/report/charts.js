"use strict";
// Charts: plotly.js, in the colours of the page's style, drawn again where these change (dark, light, paper).

const drawn = [];  // {node, figure}: figure(colours) gives {data, layout}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { text: of("text"), quiet: of("quiet"), line: of("line"), strong: of("strong-line"), ground: of("ground"), of,
           arm: (i) => of(`arm-${i % 6}`) };
}

const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];

function draw({ node, figure }, width) {
  const c = colours();
  const { data, layout } = figure(c);
  const axis = { gridcolor: c.line, linecolor: c.strong, zerolinecolor: c.line, tickcolor: c.strong, automargin: true };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height: 280, margin: { l: 56, r: 14, t: 10, b: 40 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: c.text }, showlegend: false,
    hoverlabel: { bgcolor: c.ground, bordercolor: c.strong, font: { color: c.text } }, ...layout,
  };
  if (width) base.width = width;
  if (base.xaxis && base.xaxis.title) base.xaxis = { ...base.xaxis, title: { font: { size: 12.5, color: c.quiet }, ...base.xaxis.title } };
  if (base.yaxis && base.yaxis.title) base.yaxis = { ...base.yaxis, title: { font: { size: 12.5, color: c.quiet }, ...base.yaxis.title } };
  for (const name of ["xaxis", "yaxis", "yaxis2"]) if (name !== "yaxis2" || base[name]) base[name] = { ...axis, ...base[name] };
  Plotly.react(node, data, base, { displaylogo: false, responsive: !width, scrollZoom: false,
                                   modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
}

// A figure with a caption and what stands below that; it is drawn when it is in the page.
function chart(caption, figure, below = null) {
  const node = make("div", { class: "chart", role: "img", "aria-label": caption });
  drawn.push({ node, figure });
  return make("figure", null, make("figcaption", null, caption), ...(below ? [below] : []), node);
}

function draw_all() {
  for (const entry of drawn) draw(entry);
}

function watch_colours() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw_all);
  const paper = 680, half = 330;  // pixels of a sheet between its margins
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
    drawn.forEach((entry) => draw(entry, entry.node.closest(".charts") ? half : paper));
  });
  addEventListener("afterprint", draw_all);
}

// Lines of all runs over steps. `key`: of the curves; values that are null or missing leave a gap.
function curve_chart(title, key, curves, dash_of) {
  return chart(title, (c) => ({
    data: curves.map((curve) => {
      const is_sparse = curve[key].some((value) => value === null) && key === "valid_loss";
      const kept = curve.step.map((step, i) => [step, curve[key][i]]).filter(([, value]) => !is_sparse || value !== null);
      return {
        type: "scatter", mode: kept.length < 40 ? "lines+markers" : "lines", name: plain_text(curve.name), x: kept.map((p) => p[0]), y: kept.map((p) => p[1]),
        line: { color: c.arm(curve.arm), dash: dash_of(curve), width: 1.8 }, marker: { size: 4.5 }, connectgaps: false,
        hovertemplate: "%{y:.5~g} at step %{x}<extra>%{fullData.name}</extra>",
      };
    }),
    layout: { xaxis: { title: { text: "step" } }, yaxis: { exponentformat: "e" }, hovermode: "closest" },
  }));
}

// Places of rows from top to bottom, and within each those of `count` marks.
function rows_axis(names) {
  return { tickvals: names.map((_, i) => -i), ticktext: names.map(plain_text), range: [-names.length + 0.45, 0.55], zeroline: false, showgrid: false, fixedrange: true };
}
function offset(i, count) {
  return count === 1 ? 0 : 0.56 * (0.5 - i / (count - 1)) * Math.min(1, count / 4 + 0.25);
}
// plotly.js reads a small markup in its texts (<b>, <a href>): as text it must be escaped.
function plain_text(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
function rows_height(rows, marks) {
  return 70 + rows * Math.max(30, 10 + 15 * marks);
}

// An axis of its own at the right edge, with a text a row.
function right_axis(rows, texts) {
  return { ...rows_axis(rows), ticktext: texts.map(plain_text), overlaying: "y", side: "right", ticklen: 0 };
}
const RIGHT_TRACE = { type: "scatter", x: [null], y: [null], yaxis: "y2", hoverinfo: "skip", showlegend: false };

// points: [{row, mark, value, low, high, text}]; a mark a column of `marks` ({name, arm or null, symbol, size}). `right`: a
// text a row; `zero`: a line at 0; `apart`: the last row, a mean, stands apart; `low`: without room for intervals.
function dot_chart(caption, rows, marks, points, { xaxis, right = null, zero = false, apart = false, low = false }) {
  return chart(caption, (c) => {
    const data = marks.map((mark, i) => {
      const mine = points.filter((point) => point.mark === i);
      const color = mark.arm === null ? c.text : c.arm(mark.arm);
      return {
        type: "scatter", mode: "markers", name: plain_text(mark.name), x: mine.map((p) => p.value), y: mine.map((p) => -p.row + offset(i, marks.length)),
        marker: { color, symbol: mark.symbol || "circle", size: mark.size || 9, line: { color: c.ground, width: 1 } },
        error_x: { type: "data", symmetric: false, array: mine.map((p) => (p.high === null ? 0 : p.high - p.value)),
                   arrayminus: mine.map((p) => (p.low === null ? 0 : p.value - p.low)), color, thickness: mark.arm === null ? 2.4 : 1.6, width: 3 },
        text: mine.map((p) => plain_text(p.text)), hovertemplate: "%{text}<extra>%{fullData.name}</extra>",
      };
    });
    const layout = { height: rows_height(rows.length, low ? marks.length / 2 : marks.length), xaxis, shapes: [], yaxis: rows_axis(rows), margin: { l: 20, r: 20, t: 6, b: 46 } };
    if (zero) layout.shapes.push({ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: c.quiet, width: 1.2, dash: "dot" } });
    if (apart) layout.shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: 1.5 - rows.length, y1: 1.5 - rows.length, line: { color: c.strong, width: 1 } });
    if (right) {
      data.push(RIGHT_TRACE);
      layout.yaxis2 = right_axis(rows, right);
    }
    return { data, layout };
  });
}

// Bars of shares that make one together. rows: names; parts: [{name, colour: of the style, is_dark, shares: [one a row]}];
// `right`: a text a row.
function stacked_chart(caption, rows, parts, right) {
  const legend = make("ul", { class: "legend" }, ...parts.map((part) =>
    make("li", null, make("span", { class: "box", style: { borderTopColor: `var(--${part.colour})` } }), part.name)));
  return chart(caption, (c) => ({
    data: [...parts.map((part) => ({
      type: "bar", orientation: "h", name: plain_text(part.name), x: part.shares, y: rows.map((_, i) => -i), width: 0.62,
      marker: { color: c.of(part.colour), line: { color: c.ground, width: 1 } }, text: part.shares.map((share) => (share < 0.04 ? "" : percent(share))),
      textposition: "inside", insidetextanchor: "middle", insidetextfont: { color: part.is_dark ? c.ground : c.text }, textangle: 0,
      hovertemplate: "%{x:.1%}<extra>%{fullData.name}</extra>",
    })), RIGHT_TRACE],
    layout: { barmode: "stack", height: rows_height(rows.length, 1), xaxis: { range: [0, 1], tickformat: ".0%", fixedrange: true }, yaxis: rows_axis(rows),
              yaxis2: right_axis(rows, right), margin: { l: 20, r: 20, t: 6, b: 40 } },
  }), legend);
}
