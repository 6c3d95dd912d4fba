"use strict";
// Samples side by side. A task's texts are read when it is chosen; a page holds a few, so any number stays fluid.

const PAGE = 10;

const FILTERS = {
  all: ["all samples", () => true],
  differ: ["only where both differ", (a, b, scored) => b && (scored ? a.score !== b.score : a.answer !== b.answer)],
  left: ["only left right", (a, b) => a.score === 1 && b && b.score < 1],
  right: ["only right right", (a, b) => b && b.score === 1 && a.score < 1],
  wrong: ["only with a wrong answer", (a, b) => a.score < 1 || (b && b.score < 1)],
  both: ["only both wrong", (a, b) => a.score < 1 && (!b || b.score < 1)],
};

class Samples {
  constructor() {
    this.read = new Map();  // block → its data
    this.task = 0;
    this.filter = "all";
    this.words = "";
    this.page = 0;
    this.list = make("div", { class: "list", "aria-live": "polite" });
    this.count = make("span", { class: "quiet", id: "sample-count" });
    this.back = make("button", { type: "button", onclick: () => this.turn(-1) }, "← Previous");
    this.next = make("button", { type: "button", onclick: () => this.turn(1) }, "Next →");
    this.controls = make("form", { class: "controls", role: "search", onsubmit: (event) => event.preventDefault() });
    this.search = make("input", { type: "search", id: "sample-search", placeholder: "words in prompt, role, answer, id or group", autocomplete: "off", spellcheck: "false",
                                  oninput: () => this.search_soon() });
    this.open_task(0);
    addEventListener("keydown", (event) => this.key(event));
  }

  nodes() {
    return [
      make("p", { class: "quiet" }, "Keys: ", make("kbd", null, "/"), " searches, ", make("kbd", null, "Esc"), " leaves the search, ", make("kbd", null, "←"), " ", make("kbd", null, "→"), " turn pages."),
      this.controls, make("div", { class: "pager" }, this.back, this.next, this.count), this.list,
    ];
  }

  block(id) {
    if (!this.read.has(id)) this.read.set(id, read_block(id) || []);
    return this.read.get(id);
  }

  open_task(number) {
    this.task = number;
    const evaluations = D.tasks[number].evaluations;
    const of_comparison = D.comparisons.map((c) => [c.a, c.b].map((name) => evaluations.find((e) => D.evaluations[e].name === name)));
    const pair = of_comparison.find((p) => p.every((e) => e !== undefined)) || [];
    const other = evaluations.find((e) => D.evaluations[e].arm !== D.evaluations[evaluations[0]].arm) ?? evaluations[1];
    const keep = (side, fallback) => (evaluations.includes(side) ? side : fallback);
    this.left = keep(this.left, pair[0] ?? evaluations[0]);
    this.right = keep(this.right, pair[1] ?? other ?? null);
    if (!D.tasks[number].has_scores && !["all", "differ"].includes(this.filter)) this.filter = "all";
    this.show_controls();
    this.select();
  }

  choice(label, id, entries, value, chosen) {
    return make("label", null, label, make("select", { id, onchange: (event) => chosen(event.target.value) },
      ...entries.map(([key, text]) => make("option", { value: key, selected: String(key) === String(value) }, text))));
  }

  show_controls() {
    const task = D.tasks[this.task];
    const evaluations = task.evaluations.map((e) => [e, D.evaluations[e].name]);
    const filters = Object.entries(FILTERS).filter(([key]) => task.has_scores || ["all", "differ"].includes(key)).map(([key, [text]]) => [key, text]);
    this.controls.replaceChildren(
      this.choice("Task", "sample-task", D.tasks.map((t, i) => [i, `${t.name} (${t.shown < t.n ? `${t.shown} of ${t.n}` : t.n})`]), this.task, (value) => this.open_task(Number(value))),
      this.choice("Left", "sample-left", evaluations, this.left, (value) => { this.left = Number(value); this.select(); }),
      evaluations.length > 1 ? this.choice("Right", "sample-right", evaluations, this.right, (value) => { this.right = Number(value); this.select(); }) : "",
      this.choice("Show", "sample-filter", filters, this.filter, (value) => { this.filter = value; this.select(); }),
      make("label", { class: "search" }, "Search", this.search));
  }

  answers(evaluation) {
    return evaluation === null ? null : this.block(`answers-${this.task}-${evaluation}`);
  }

  // The texts of a sample in which is searched, lower case, made once.
  haystack(i) {
    const key = `${this.task} ${this.left} ${this.right}`;
    if (this.hay_key !== key) [this.hay_key, this.hay] = [key, []];
    if (this.hay[i] === undefined) {
      const item = this.block(`items-${this.task}`)[i];
      const texts = [item.id, item.group, item.prompt, ...(item.options || [])];
      for (const side of [this.left, this.right]) {
        const answer = (this.answers(side) || [])[i];
        if (answer) texts.push(answer.role, answer.answer, answer.conclusion, answer.extracted);
      }
      this.hay[i] = texts.filter((text) => text).join("\n").toLowerCase();
    }
    return this.hay[i];
  }

  search_soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.words = this.search.value; this.select(); }, 120);
  }

  // Which samples are left by filter and search.
  select() {
    const items = this.block(`items-${this.task}`);
    const left = this.answers(this.left), right = this.answers(this.right);
    const passes = FILTERS[this.filter][1];
    const scored = D.tasks[this.task].has_scores;
    const words = this.words.toLowerCase().split(/\s+/).filter((word) => word);
    this.chosen = [];
    for (let i = 0; i < items.length; ++i)
      if (passes(left[i], right && right[i], scored) && words.every((word) => this.haystack(i).includes(word))) this.chosen.push(i);
    this.page = 0;
    this.show();
  }

  turn(by) {
    const pages = Math.max(1, Math.ceil(this.chosen.length / PAGE));
    const page = Math.min(Math.max(0, this.page + by), pages - 1);
    if (page === this.page) return;
    this.page = page;
    this.show();
    this.controls.scrollIntoView({ block: "start", behavior: "instant" });
  }

  key(event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      this.controls.scrollIntoView({ block: "start", behavior: "instant" });
      this.search.focus({ preventScroll: true });
    } else if (event.key === "Escape" && document.activeElement === this.search) {
      this.search.blur();
    } else if (!typing && (event.key === "ArrowLeft" || event.key === "ArrowRight") && this.is_in_view()) {
      this.turn(event.key === "ArrowLeft" ? -1 : 1);
    }
  }

  is_in_view() {
    const { top, bottom } = this.list.getBoundingClientRect();
    return top < innerHeight * 0.8 && bottom > 0 && !document.activeElement.closest(".scroll, .chart");
  }

  show() {
    const pages = Math.max(1, Math.ceil(this.chosen.length / PAGE));
    this.count.textContent = `${this.chosen.length} of ${this.block(`items-${this.task}`).length} samples, page ${this.page + 1} of ${pages}`;
    this.back.disabled = this.page === 0;
    this.next.disabled = this.page + 1 >= pages;
    this.list.replaceChildren(...this.chosen.slice(this.page * PAGE, (this.page + 1) * PAGE).map((i) => this.sample(i)));
  }

  sample(i) {
    const item = this.block(`items-${this.task}`)[i];
    const fact = (name, value) => (value === undefined ? null : make("span", null, make("span", { class: "quiet" }, `${name} `), this.marked(value)));
    const sides = [this.left, this.right].filter((side) => side !== null).map((side) => this.side(item, side, this.answers(side)[i]));
    return make("article", { class: "sample" },
      make("header", null, fact("id", item.id), fact("group", item.group), fact("gold", item.gold)),
      make("div", { class: "prompt" }, make("pre", { class: "text" }, this.marked(item.prompt))), make("div", { class: "sides" }, ...sides));
  }

  side(item, evaluation, answer) {
    const facts = D.evaluations[evaluation];
    const verdict = answer.score === undefined ? null : make("span", { class: answer.score === 1 ? "right" : "wrong" }, answer.score === 1 ? "✓ right" : answer.score === 0 ? "✗ wrong" : `score ${answer.score}`);
    const nodes = [make("h4", null, make("span", { style: { color: `var(--arm-${facts.arm % 6})` } }, facts.name), verdict,
      answer.cut ? make("span", { class: "quiet" }, "cut by the limit") : null, answer.outcome ? make("span", { class: "quiet" }, answer.outcome) : null)];
    if (answer.role !== undefined)
      nodes.push(make("div", { class: "role" }, make("div", { class: "label" }, answer.given ? "role, given" : "role"), make("pre", { class: "text" }, this.marked(answer.role))));
    if (answer.answer !== undefined) nodes.push(make("pre", { class: "text" }, this.marked(answer.answer)));
    if (answer.loglikelihoods) nodes.push(this.options(item, answer));
    if (answer.conclusion !== undefined) nodes.push(make("div", { class: "foot" }, make("span", { class: "label" }, "asked for the answer: "), make("span", { class: "text" }, this.marked(answer.conclusion))));
    if (answer.extracted !== undefined && !answer.loglikelihoods)
      nodes.push(answer.outcome !== undefined && answer.extracted
        ? make("div", { class: "foot" }, make("div", { class: "label" }, "what was run"), make("pre", { class: "text code" }, this.marked(answer.extracted)))
        : make("div", { class: "foot" }, make("span", { class: "label" }, "extracted: "), answer.extracted === null ? make("span", { class: "wrong" }, "nothing") : this.marked(answer.extracted)));
    return make("div", { class: "side" }, ...nodes);
  }

  options(item, answer) {
    return make("ul", { class: "options" }, ...(item.options || []).map((option, i) => {
      const letter = String.fromCharCode(65 + i);
      const value = answer.loglikelihoods[i];
      return make("li", { class: letter === answer.extracted && (answer.score === 1 ? "right" : "wrong") },
        `(${letter}) `, this.marked(option), make("span", { class: "quiet" }, value === undefined ? "" : `  ${value.toFixed(3)}`));
    }));
  }

  // The text with the words that are searched for marked; text nodes only.
  marked(text) {
    const words = this.words.split(/\s+/).filter((word) => word).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    if (!words.length) return document.createTextNode(text);
    const node = document.createDocumentFragment();
    let end = 0;
    for (const found of text.matchAll(new RegExp(words.join("|"), "gi"))) {
      node.append(text.slice(end, found.index), make("mark", null, found[0]));
      end = found.index + found[0].length;
    }
    node.append(text.slice(end));
    return node;
  }
}

function samples_section() {
  return D.tasks.length ? new Samples().nodes() : [];
}
