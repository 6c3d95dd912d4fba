"use strict";
// The page's sections from the report's data `D` (launch/report_page.cpp). Each returns nodes, or nothing where there is
// nothing to say.

// A table and links to its files; a long one of numbers is folded.
function shown(name, { folds = true, ...options } = {}) {
  const table = D.tables[name];
  if (!table) return [];
  const short = 14;
  const node = table_of(table, options);
  return [!folds || table.rows.length <= short ? node : make("details", null, make("summary", null, `All numbers, ${table.rows.length} rows`), node), files_of(name)];
}

function arm_legend(entries) {
  return make("ul", { class: "legend" }, ...entries.map(({ name, arm, dash }) =>
    make("li", null, make("span", { class: dash === "solid" ? null : dash === "dot" ? "dotted" : "dashed",
                                    style: { borderTopColor: `var(--arm-${arm % 6})` } }), name)));
}

// Of charts with one colour an arm.
function evaluation_legend() {
  const arms = new Map();
  for (const { name, arm } of D.evaluations) arms.set(arm, [...(arms.get(arm) || []), name]);
  return arm_legend([...arms].map(([arm, names]) => ({ name: names.join(", "), arm, dash: "solid" })));
}

// Seeds of an arm have its colour and a dash each; `all`: the curves or evaluations that `one` is among.
function dash_in(all, one) {
  return DASHES[all.filter((other) => other.arm === one.arm).indexOf(one) % DASHES.length];
}
function dash_of(curve) {
  return dash_in(D.curves, curve);
}

function notes_list(notes) {
  return notes.length ? make("ul", { class: "quiet small" }, ...notes.map((note) => make("li", null, note))) : null;
}

function interval_text(low, high, write) {
  return low === null ? "" : `[${write(low)}, ${write(high)}]`;
}

// ---- the head --------------------------------------------------------------------------------------------------------

function title_of() {
  const [first] = D.comparisons;
  if (D.comparisons.length === 1 || (first && D.comparisons.every((c) => c.a === first.a && c.b === first.b))) return `${first.a} against ${first.b}`;
  return D.runs.map((run) => run.name).join(", ");
}

function tile(what, value, below) {
  return make("div", { class: "tile" }, make("span", { class: "what" }, what), make("b", null, value), make("span", { class: "quiet small" }, below));
}

// The result of a comparison: over seeds where there are enough, else of the only pair.
function difference_tile(comparison) {
  const task = comparison.mean || comparison.tasks[0];
  const { value, low, high, p } = task.over_seeds || task.pairs[0];
  const pairs = task.pairs.length;
  const how = task.over_seeds ? `over ${pairs} seeds` : pairs > 1 ? `seed 1 of ${pairs}` : `p ${p_text(p)}`;
  return tile(comparison.name, signed(value, 4), `${task.task}: 95% from ${signed(low, 4)} to ${signed(high, 4)}, ${how}`);
}

// Of the evaluations of a side together.
function role_tile(name, evaluations) {
  const sum = (key) => evaluations.flatMap((e) => D.evaluations[e].outputs).reduce((total, task) => total + task[key], 0);
  const answers = sum("answers");
  return answers ? tile(name, percent(sum("with_role") / answers), `of ${count_text(answers)} answers begin with a role of the model's own`) : null;
}

function role_tiles() {
  const sides = new Map();
  for (const c of D.comparisons) sides.set(c.a, c.a_side).set(c.b, c.b_side);
  if (!sides.size) D.evaluations.forEach((e, i) => sides.set(e.name, [i]));
  return [...sides].map(([name, side]) => role_tile(name, side));
}

function head_of_page() {
  const tiles = [...D.comparisons.map(difference_tile), ...role_tiles()].filter((node) => node).slice(0, 12);
  const warnings = D.warnings.length ? make("div", { class: "warnings", role: "note" }, make("h2", null, "Before you read on"),
    make("ul", null, ...D.warnings.map((text) => make("li", null, text)))) : null;
  return make("header", null, make("h1", null, title_of()), make("p", { class: "quiet" }, `Made ${D.made} by ${D.program}.`),
    tiles.length ? make("div", { class: "tiles" }, ...tiles) : null, warnings);
}

// ---- runs ------------------------------------------------------------------------------------------------------------

function runs_section() {
  return shown("runs", { folds: false });
}

function differences_section() {
  const configuration = shown("configuration", { folds: false }), settings = shown("settings", { folds: false });
  const nodes = [];
  if (configuration.length) nodes.push(make("h3", null, "Training"), ...configuration);
  else if (D.curves.length > 1) nodes.push(make("p", null, "The training runs have the same configuration."));
  if (settings.length) nodes.push(make("h3", null, "Evaluation"), ...settings);
  else if (D.evaluations.length > 1) nodes.push(make("p", null, "All evaluations were made with the same settings."));
  return nodes;
}

function curves_section() {
  if (!D.curves.length) return [];
  const of = (title, key) => D.curves.some((curve) => curve[key].some((value) => value !== null)) ? curve_chart(title, key, D.curves, dash_of) : null;
  const thinned = D.curves.filter((curve) => curve.shown < curve.steps);
  return [
    arm_legend(D.curves.map((curve) => ({ name: curve.name, arm: curve.arm, dash: dash_of(curve) }))),
    thinned.length ? make("p", { class: "quiet small" }, "Long runs are thinned: of each stretch of steps its first, its largest loss and its largest gradient norm stay.") : null,
    make("div", { class: "charts" }, of("Training loss, nats a token", "loss"), of("Held-out loss, nats a token", "valid_loss"),
      of("Gradient norm before clipping", "grad_norm"), of("Learning rate", "lr"), of("Tokens a second", "tokens_per_second"),
      of("Share of the GPUs' peak (mfu)", "mfu")),
  ];
}

// ---- scores ----------------------------------------------------------------------------------------------------------

function score_names(is_lower) {
  const names = new Set();
  for (const evaluation of D.evaluations) for (const score of evaluation.scores) if (score.lower === is_lower) names.add(score.task);
  return [...names];
}

// One row a task, one column an evaluation.
function score_table() {
  const tasks = [...score_names(false), ...score_names(true)];
  const cell = (score) => score === undefined || score === null ? make("td", null, "–")
    : make("td", null, score.value.toFixed(4), make("span", { class: "interval" }, ` ${interval_text(score.low, score.high, (x) => x.toFixed(4))}`));
  const row = (name, scores, is_sum) => {
    const first = scores.find((score) => score);
    return make("tr", { class: is_sum && "sum" }, make("th", { scope: "row", class: "text" }, name),
      make("td", { class: "text" }, first.metric + (first.lower ? " (lower is better)" : "")), make("td", null, String(first.n)), ...scores.map(cell));
  };
  const rows = tasks.map((task) => row(task, D.evaluations.map((e) => e.scores.find((score) => score.task === task))));
  if (D.evaluations.some((e) => e.mean)) rows.push(row(D.evaluations.find((e) => e.mean).mean.task, D.evaluations.map((e) => e.mean), true));
  const head = make("tr", null, make("th", { class: "text" }, "task"), make("th", { class: "text" }, "metric"), make("th", null, "n"),
    ...D.evaluations.map((e) => make("th", { scope: "col" }, e.name)));
  return make("div", { class: "scroll", tabindex: 0 }, make("table", null, make("thead", null, head), make("tbody", null, ...rows)));
}

function score_chart(caption, is_lower) {
  const tasks = score_names(is_lower);
  if (!tasks.length) return null;
  const means = is_lower ? [] : D.evaluations.filter((e) => e.mean).slice(0, 1).map((e) => e.mean.task);
  const rows = [...tasks, ...means];
  const points = [];
  D.evaluations.forEach((evaluation, mark) => {
    for (const score of [...evaluation.scores, ...(means.length && evaluation.mean ? [evaluation.mean] : [])]) {
      const row = score === evaluation.mean ? rows.length - 1 : tasks.indexOf(score.task);
      if (row >= 0) points.push({ row, mark, value: score.value, low: score.low, high: score.high,
                                  text: `${score.task}: ${score.value.toFixed(4)} ${interval_text(score.low, score.high, (x) => x.toFixed(4))}` });
    }
  });
  const xaxis = is_lower ? { title: { text: "nats a trained token" } } : { title: { text: "score" } };
  return dot_chart(caption, rows, D.evaluations.map((e) => ({ name: e.name, arm: e.arm })), points, { xaxis, apart: means.length > 0 });
}

function scores_section() {
  if (!D.tables.scores) return [];
  return [
    make("p", { class: "quiet" }, `Bars and brackets are 95% intervals: percentiles of a bootstrap over items, or over groups such as MMLU's subjects where samples have any (${count_text(D.resamples)} resamples, seed ${D.seed}). Where all items have the same score there is none.`),
    evaluation_legend(),
    score_chart("Scores", false), score_chart("Held-out loss", true), score_table(), files_of("scores"),
  ];
}

// ---- differences -----------------------------------------------------------------------------------------------------

function forest_chart(comparison, is_lower) {
  const tasks = comparison.tasks.filter((task) => task.lower === is_lower);
  if (!tasks.length) return null;
  if (!is_lower && comparison.mean) tasks.push(comparison.mean);
  const seeds = tasks[0].pairs.length;
  const arm = D.evaluations.find((e) => e.name === comparison.a)?.arm ?? 0;
  const marks = tasks[0].pairs.map((_, i) => ({ name: seeds > 1 ? `seed ${i + 1}` : comparison.name, arm, size: seeds > 1 ? 7 : 10, symbol: "square" }));
  const has_over = tasks.some((task) => task.over_seeds);
  if (has_over) marks.push({ name: "over seeds", arm: null, size: 12, symbol: "diamond" });
  const points = [];
  tasks.forEach((task, row) => {
    const add = (mark, d, tail) => points.push({ row, mark, value: d.value, low: d.low, high: d.high,
      text: `${task.task}: ${signed(d.value, 4)} [${signed(d.low, 4)}, ${signed(d.high, 4)}]${tail}` });
    task.pairs.forEach((pair, i) => add(i, pair, pair.p_holm === null ? `, p ${p_text(pair.p)}` : `, Holm p ${p_text(pair.p_holm)}`));
    if (task.over_seeds) add(marks.length - 1, task.over_seeds, "");
  });
  const right = tasks.map((task) => {
    const d = task.over_seeds || task.pairs[0];
    const p = task.over_seeds ? "" : task.pairs[0].p_holm === null ? `  p ${p_text(task.pairs[0].p)}` : `  Holm p ${p_text(task.pairs[0].p_holm)}`;
    return seeds > 1 && !task.over_seeds ? "" : `${signed(d.value, 3)} [${signed(d.low, 3)}, ${signed(d.high, 3)}]${p}`;
  });
  const better = is_lower ? `${comparison.a} is better below 0` : `${comparison.a} is better above 0`;
  const title = is_lower ? "difference in nats a token" : "difference in score";
  return dot_chart(`${comparison.name}: ${better}`, tasks.map((task) => task.task), marks, points,
    { xaxis: { title: { text: title } }, right, zero: true, apart: !is_lower && Boolean(comparison.mean) });
}

function forest_section() {
  if (!D.comparisons.length) return [];
  const nodes = [make("p", { class: "quiet" }, "Paired differences with 95% intervals, as spt compare gives them. Holm p is corrected for the number of tasks; an interval that leaves out 0 is not yet a difference where Holm p is above 0.05." +
    (D.comparisons.some((c) => c.tasks.some((task) => task.over_seeds)) ? " ■ a seed, ◆ over seeds, with their t-interval; the numbers at the right are those of ◆." : ""))];
  for (const comparison of D.comparisons) {
    nodes.push(forest_chart(comparison, false), forest_chart(comparison, true));
    nodes.push(notes_list(comparison.notes));
  }
  return [...nodes, ...shown("differences", { heads: 2 })];
}

// ---- what was written ------------------------------------------------------------------------------------------------

function share_chart(caption, count, of) {
  const tasks = [...new Set(D.evaluations.flatMap((e) => e.outputs.map((task) => task.task)))];
  const points = [];
  D.evaluations.forEach((evaluation, mark) => evaluation.outputs.forEach((task) => {
    if (task[of] > 0) points.push({ row: tasks.indexOf(task.task), mark, value: task[count] / task[of], low: null, high: null,
                                    text: `${task.task}: ${task[count]} of ${task[of]}` });
  }));
  return points.length ? dot_chart(caption, tasks, D.evaluations.map((e) => ({ name: e.name, arm: e.arm })), points,
    { xaxis: { range: [-0.03, 1.03], tickformat: ".0%" }, low: true }) : null;
}

function outputs_section() {
  if (!D.tables.outputs) return [];
  return [
    evaluation_legend(),
    make("div", { class: "charts narrow" }, share_chart("With a role of its own", "with_role", "answers"),
      share_chart("Nothing extracted (counts as wrong)", "nothing_extracted", "asked_to_extract"), share_chart("Cut by the limit of tokens", "cut", "answers")),
    ...shown("outputs", { heads: 2, is_sum: (row) => row[1] === "all tasks" }),
  ];
}

function with_roles() {
  return D.evaluations.filter((e) => e.role_words.length);
}

function lengths_chart() {
  const evaluations = with_roles();
  if (!evaluations.length) return null;
  return chart("Words of a role", (c) => ({
    data: evaluations.map((e) => {
      const all = e.role_words.reduce((sum, bin) => sum + bin[2], 0);
      const [begin, end] = [e.role_words[0], e.role_words[e.role_words.length - 1]];
      return { type: "scatter", mode: "lines", name: plain_text(e.name),
               x: [begin[0], ...e.role_words.map((bin) => bin[0]), end[1]], y: [0, ...e.role_words.map((bin) => bin[2] / all), 0],
               line: { shape: "hv", color: c.arm(e.arm), dash: dash_in(evaluations, e), width: 1.8 }, hovertemplate: "%{y:.1%} from %{x} words<extra>%{fullData.name}</extra>" };
    }),
    layout: { xaxis: { title: { text: "words" } }, yaxis: { tickformat: ".0%", title: { text: "of roles" } } },
  }));
}

function expert_list(evaluation) {
  const rows = D.tables.experts.rows.filter((row) => row[0] === evaluation.name);
  if (!rows.length) return null;
  const most = Math.max(...rows.map((row) => Number(row[2])));
  const body = rows.map((row) => make("tr", null, make("td", { class: "text" }, row[1]), make("td", null, row[2]),
    make("td", { class: "bar" }, make("i", { style: { width: `${100 * Number(row[2]) / most}%`, background: `var(--arm-${evaluation.arm % 6})` } }))));
  return make("div", null, make("h3", null, evaluation.name), make("div", { class: "scroll", tabindex: 0 }, make("table", null,
    make("thead", null, make("tr", null, make("th", { class: "text" }, "expert"), make("th", null, "roles"), make("th", null))), make("tbody", null, ...body))));
}

function roles_section() {
  if (!D.tables.roles) return [];
  return [
    make("p", { class: "quiet" }, "Roles that the model wrote itself; lengths in words."),
    arm_legend(with_roles().map((e) => ({ name: e.name, arm: e.arm, dash: dash_in(with_roles(), e) }))), lengths_chart(), ...shown("roles", { heads: 2, is_sum: (row) => row[1] === "all tasks" }),
    make("h3", null, "Most frequent experts"),
    make("p", { class: "quiet small" }, `Whom a role speaks to: the words behind “You are a”, “an” or “the”, in lower case, up to the first of . , ; : ( ) ! ?, a line end, or one of: ${D.expert_ends.join(", ")}; at most 8 words. The 20 most frequent over all tasks.`),
    make("div", { class: "lists" }, ...D.evaluations.map(expert_list)), files_of("experts"),
  ];
}

// ---- judgements ------------------------------------------------------------------------------------------------------

function judge_chart(judgement) {
  const rows = [], win = [], tie = [], lose = [], right = [];
  const with_interval = ([share, low, high]) => `${percent(share)} [${(100 * low).toFixed(0)}, ${(100 * high).toFixed(0)}]`;
  for (const task of judgement.tasks)
    for (const [shares, of] of [[task.all, ""], [task.length_matched, ", of matched length"]]) {
      if (!shares || !shares.n) continue;
      rows.push(`${task.task}${of}  n ${shares.n}`);
      win.push(shares.win[0]);
      tie.push(shares.tie[0]);
      lose.push(shares.lose[0]);
      right.push(`${with_interval(shares.win)} · ${with_interval(shares.lose)}`);
    }
  if (!rows.length) return null;
  // The arms' colours, unless both sides are of one.
  const [a, b] = [judgement.a_side, judgement.b_side].map((side) => (side === null ? null : D.evaluations[side].arm));
  const [arm_a, arm_b] = a === null || b === null || a === b ? [0, 1] : [a, b];
  return stacked_chart(`${judgement.a} against ${judgement.b}, judged by ${judgement.judge}`, rows, [
    { name: `${judgement.a} is better`, shares: win, colour: `arm-${arm_a % 6}`, is_dark: true },
    { name: "tie", shares: tie, colour: "tie", is_dark: false },
    { name: `${judgement.b} is better`, shares: lose, colour: `arm-${arm_b % 6}`, is_dark: true },
  ], right);
}

function judge_section() {
  if (!D.judgements.length) return [];
  const judges = D.judgements.map((j) => `${j.judge}${j.place ? ` (${j.place})` : ""}${j.keep_role ? ", which saw the roles" : ", roles taken away"}`);
  return [
    make("p", { class: "quiet" }, `Each pair of answers was judged in both orders; where the orders disagree it is a tie. Judged by ${[...new Set(judges)].join("; ")}. At the right: how often each side was better, with 95% intervals.`),
    ...D.judgements.flatMap((judgement) => [judge_chart(judgement), notes_list(judgement.notes)]), ...shown("judgements"),
  ];
}
