"use strict";

const D = read_block("report");

function method_section() {
  return [
    make("p", null, `Intervals and p are those of a paired bootstrap: ${count_text(D.resamples)} resamples, seed ${D.seed}, drawn over items, or over groups where samples have any. From three seeds on, t-intervals over seeds stand beside them. The same folders give the same numbers with spt compare.`),
    make("p", null, "A loss is nats a trained token, exp(loss) the perplexity. Control characters and marks that turn the direction of writing are shown by their numbers (\\x1b, \\u202e). Every table lies in tables/ as .tsv (all digits), .json and .tex."),
  ];
}

const SECTIONS = [
  ["runs", "Runs", runs_section], ["configuration", "Configuration differences", differences_section], ["curves", "Training curves", curves_section],
  ["scores", "Scores", scores_section], ["differences", "Differences", forest_section], ["outputs", "Outputs", outputs_section],
  ["roles", "Roles", roles_section], ["judge", "Judgements", judge_section], ["samples", "Samples", samples_section], ["method", "How numbers are made", method_section],
];

function start() {
  document.title = `spt report: ${title_of()}`;
  const main = document.getElementById("content"), contents = document.getElementById("contents");
  main.append(head_of_page());
  const links = new Map();
  for (const [id, title, content] of SECTIONS) {
    const nodes = content().filter((node) => node);
    if (!nodes.length) continue;
    main.append(make("section", { id, "aria-labelledby": `title-${id}` }, make("h2", { id: `title-${id}` }, title), ...nodes));
    links.set(id, make("a", { href: `#${id}` }, title));
    contents.append(make("li", null, links.get(id)));
  }
  draw_all();
  watch_colours();
  // The contents show where one is.
  const in_view = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) in_view[entry.isIntersecting ? "add" : "delete"](entry.target.id);
    const current = [...links.keys()].find((id) => in_view.has(id));
    for (const [id, link] of links) id === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  });
  for (const id of links.keys()) observer.observe(document.getElementById(id));
}

start();
