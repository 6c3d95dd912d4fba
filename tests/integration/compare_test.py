"""spt compare: evaluation folders written by hand, compared and refused."""
import json
import math
import random
import re
import shutil
import subprocess
import unittest

from runs import BAD_INPUT, DONE, PROGRAM, JobTest

COLUMNS = ["task", "metric", "better", "n", "groups", "A", "B", "A - B", "95% from", "to", "p", "Holm p", "McNemar p"]


def score_samples(scores, groups=None):
    samples = [{"id": f"q{i:03}", "prompt": f"What is {i}?", "output": "text", "role": None, "answer": "text", "extracted": str(i),
                "gold": str(i), "score": score} for i, score in enumerate(scores)]
    for sample, group in zip(samples, groups or []):
        sample["group"] = group
    return samples


def loss_samples(losses, tokens):
    return [{"id": f"r{i:03}", "nll": loss, "trained_tokens": count} for i, (loss, count) in enumerate(zip(losses, tokens))]


def write_evaluation(folder, **tasks):
    (folder / "samples").mkdir(parents=True)
    results = {}
    for name, samples in tasks.items():
        is_loss = "nll" in samples[0] if samples else False
        counted = [sample for sample in samples if sample.get("trained_tokens", 1) > 0]
        results[name] = {"metric": "perplexity" if is_loss else "exact_match", "value": 0.5, "standard_error": 0.1, "n": len(counted)}
        write_samples(folder, name, samples)
    (folder / "results.json").write_text(json.dumps({"model": "m", "tasks": results}))
    return folder


def write_samples(folder, name, samples):
    (folder / "samples" / f"{name}.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))


def coins(seed, count, share):
    draw = random.Random(seed)
    return [1 if draw.random() < share else 0 for _ in range(count)]


class CompareCase(JobTest):
    def run_compare(self, *arguments):
        done = subprocess.run([PROGRAM, "compare", *map(str, arguments)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, DONE, done.stderr)
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.run_compare(*arguments, "--json"))

    def evaluation(self, name, **tasks):
        return write_evaluation(self.folder / name, **tasks)


class CompareTest(CompareCase):
    def test_two_evaluations_are_one_table(self):
        a, b = coins(1, 60, 0.6), coins(2, 60, 0.5)
        half = [0.5 * x for x in coins(3, 60, 0.5)]
        first = self.evaluation("a", gsm8k=score_samples(a), partial=score_samples(half))
        second = self.evaluation("b", gsm8k=score_samples(b), partial=score_samples(a))
        found = self.json(first, second)
        task = found["tasks"]["gsm8k"]
        pair = task["pairs"][0]
        self.assertEqual((task["metric"], task["better"], task["items"], task["groups"], task["over_seeds"]), ("exact_match", "higher", 60, None, None))
        self.assertAlmostEqual(pair["a"], sum(a) / 60)
        self.assertAlmostEqual(pair["b"], sum(b) / 60)
        self.assertAlmostEqual(pair["difference"], (sum(a) - sum(b)) / 60)
        self.assertTrue(pair["low"] < pair["difference"] < pair["high"])
        self.assertEqual((pair["only_a"], pair["only_b"]), (sum(x > y for x, y in zip(a, b)), sum(y > x for x, y in zip(a, b))))
        n, fewer = pair["only_a"] + pair["only_b"], min(pair["only_a"], pair["only_b"])
        self.assertAlmostEqual(pair["p_mcnemar"], min(1, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2 ** n))
        self.assertIsNone(found["tasks"]["partial"]["pairs"][0]["p_mcnemar"])  # scores of a half
        p = sorted((task["pairs"][0]["p"], task["pairs"][0]["p_holm"]) for task in found["tasks"].values())
        self.assertEqual([holm for _, holm in p], [min(1, 2 * p[0][0]), max(min(1, 2 * p[0][0]), p[1][0])])
        mean = found["mean"]["pairs"][0]
        self.assertAlmostEqual(mean["difference"], sum(task["pairs"][0]["difference"] for task in found["tasks"].values()) / 2)
        self.assertEqual((found["resamples"], found["seed"], found["a"], found["b"]), (10000, 1, [str(first)], [str(second)]))

        lines = self.run_compare(first, second).splitlines()
        self.assertEqual(lines[:2], [f"A: {first}", f"B: {second}"])
        self.assertIn("10000 resamples, seed 1", lines[2])
        table = lines[lines.index("") + 1:]
        self.assertEqual(re.split(r"  +", table[0]), COLUMNS)
        row = re.split(r"  +", table[1])
        self.assertEqual(row[:6], ["gsm8k", "exact_match", "higher", "60", "-", f"{sum(a) / 60:.4f}"])
        self.assertEqual(row[7], f"{(sum(a) - sum(b)) / 60:+.4f}")
        self.assertEqual(row[12], f"{pair['p_mcnemar']:.4f}")
        self.assertEqual(re.split(r"  +", table[3])[0], "mean of 2 tasks")
        self.assertEqual(len({len(line) for line in table[:4]}), 1)  # aligned

    def test_an_evaluation_and_itself_differ_by_nothing(self):
        folder = self.evaluation("a", t=score_samples(coins(1, 40, 0.5)), g=score_samples(coins(2, 40, 0.5), ["x", "y"] * 20),
                                 held_out=loss_samples([2.5] * 30, [3] * 30))
        for name, task in self.json(folder, folder)["tasks"].items():
            pair = task["pairs"][0]
            self.assertEqual((pair["difference"], pair["low"], pair["high"], pair["p"], pair["p_holm"]), (0, 0, 0, 1, 1), name)
            self.assertEqual(pair["p_mcnemar"], None if name == "held_out" else 1)

    def test_order_of_lines_other_tasks_and_unknown_fields_change_nothing(self):
        a, b = score_samples(coins(1, 50, 0.7)), score_samples(coins(2, 50, 0.5))
        first, second = self.evaluation("a", t=a), self.evaluation("b", t=b)
        expected = self.json(first, second)["tasks"]["t"]["pairs"][0]
        random.Random(3).shuffle(a)
        b = [{**sample, "later": {"field": [1]}} for sample in b]
        other = self.evaluation("c", t=a, u=score_samples([1, 0] * 15)), self.evaluation("d", t=b, u=score_samples([1, 1] * 15))
        found = self.json(*other)["tasks"]["t"]["pairs"][0]
        for facts in expected, found:
            facts.pop("p_holm")
        self.assertEqual(found, expected)
        self.assertEqual(self.json(*other, "--tasks", "t")["tasks"]["t"]["pairs"][0]["p_holm"], expected["p"])
        self.assertNotEqual(self.json(first, second, "--seed", 2)["tasks"]["t"]["pairs"][0]["p"], expected["p"])
        self.assertEqual(self.json(first, second, "--resamples", 500)["resamples"], 500)

    def test_groups_are_resampled_whole(self):
        groups = [f"subject {i % 25}" for i in range(200)]
        a = [1 if i % 25 < 20 else 0 for i in range(200)]
        b = coins(1, 200, 0.5)
        plain = self.json(self.evaluation("a", t=score_samples(a)), self.evaluation("b", t=score_samples(b)))["tasks"]["t"]
        grouped = self.json(self.evaluation("c", t=score_samples(a, groups)), self.evaluation("d", t=score_samples(b, groups)))["tasks"]["t"]
        self.assertEqual((plain["groups"], grouped["groups"]), (None, 25))
        self.assertAlmostEqual(plain["pairs"][0]["difference"], grouped["pairs"][0]["difference"])

        def width(task):
            return task["pairs"][0]["high"] - task["pairs"][0]["low"]
        self.assertGreater(width(grouped), 1.3 * width(plain))  # items of one group are alike

    def test_perplexity_is_compared_by_its_loss_and_lower_is_better(self):
        draw = random.Random(1)
        tokens = [draw.randrange(1, 50) for _ in range(40)] + [0]
        a = [draw.uniform(1, 2) * count for count in tokens]
        b = [loss + draw.uniform(0, 0.5) * count for loss, count in zip(a, tokens)]
        scores = {"s": score_samples(coins(1, 30, 0.5)), "t": score_samples(coins(2, 30, 0.5))}
        first = self.evaluation("a", held_out=loss_samples(a, tokens), **scores)
        second = self.evaluation("b", held_out=loss_samples(b, tokens), **scores)
        found = self.json(first, second)
        task = found["tasks"]["held_out"]
        pair = task["pairs"][0]
        self.assertEqual((task["metric"], task["better"], task["items"], pair["p_mcnemar"]), ("loss", "lower", 40, None))
        self.assertAlmostEqual(pair["a"], sum(a) / sum(tokens))
        self.assertAlmostEqual(pair["difference"], (sum(a) - sum(b)) / sum(tokens))
        self.assertLess(pair["high"], 0)
        self.assertEqual(found["mean"]["name"], "mean of 2 tasks")
        perplexities = f"{math.exp(sum(a) / sum(tokens)):.4f} against {math.exp(sum(b) / sum(tokens)):.4f}"
        self.assertRegex(self.run_compare(first, second), rf"held_out: .*{perplexities}; not in the mean")

    def test_seeds_are_shown_each_and_from_three_on_with_an_interval(self):
        role = [self.evaluation(f"role{seed}", t=score_samples(coins(seed, 50, 0.7)), u=score_samples(coins(seed, 50, 0.5))) for seed in range(3)]
        plain = [self.evaluation(f"plain{seed}", t=score_samples(coins(seed + 9, 50, 0.5)), u=score_samples(coins(seed, 50, 0.5))) for seed in range(3)]
        two = self.json(*role[:2], "--baseline", *plain[:2])
        self.assertEqual((len(two["tasks"]["t"]["pairs"]), two["tasks"]["t"]["over_seeds"], two["mean"]["over_seeds"]), (2, None, None))
        self.assertEqual(two["notes"], ["2 seeds: no interval over seeds, which needs 3"])
        self.assertNotIn("mean  ", self.run_compare(*role[:2], "--baseline", *plain[:2], "--tasks", "t"))

        three = self.json(*role, "--baseline", *plain)
        for task in (three["tasks"]["t"], three["mean"]):
            differences = [pair["difference"] for pair in task["pairs"]]
            mean = sum(differences) / 3
            half = 4.30265273 * math.sqrt(sum((x - mean) ** 2 for x in differences) / 2 / 3)
            over = task["over_seeds"]
            for found, expected in zip((over["difference"], over["low"], over["high"], over["a"]),
                                       (mean, mean - half, mean + half, sum(pair["a"] for pair in task["pairs"]) / 3)):
                self.assertAlmostEqual(found, expected)
        self.assertEqual(three["tasks"]["t"]["pairs"][1]["low"], self.json(role[1], plain[1])["tasks"]["t"]["pairs"][0]["low"])
        rows = [re.split(r"  +", line) for line in self.run_compare(*role, "--baseline", *plain, "--tasks", "t").splitlines()[5:]]
        self.assertEqual([row[5] for row in rows], ["seed", "1", "2", "3", "mean"])
        self.assertEqual(rows[4][11:], ["-", "-", "-"])

    def test_tables_for_scripts_and_papers_are_escaped(self):
        name = "50%_a&b\t\x1b[31m#1"
        first = self.evaluation("a", **{name: score_samples(coins(1, 30, 0.5))})
        second = self.evaluation("b", **{name: score_samples(coins(2, 30, 0.4))})
        for folder in first, second:
            results = json.loads((folder / "results.json").read_text())
            results["tasks"][name]["metric"] = "m\n^~\\{}$\u009b"
            (folder / "results.json").write_text(json.dumps(results))
        pair = self.json(first, second)["tasks"][name]["pairs"][0]
        lines = self.run_compare(first, second, "--tsv").splitlines()
        self.assertEqual(lines[0].split("\t"), COLUMNS)
        row = lines[1].split("\t")
        self.assertEqual((len(lines), row[:2]), (2, ["50%_a&b\\t\\x1b[31m#1", "m\\n^~\\{}$\\u009b"]))
        self.assertEqual([float(cell) for cell in row[5:]], [pair[key] for key in ("a", "b", "difference", "low", "high", "p", "p_holm", "p_mcnemar")])
        latex = self.run_compare(first, second, "--latex")
        self.assertIn("50\\%\\_a\\&b\\textbackslash{}t\\textbackslash{}x1b[31m\\#1 & m\\textbackslash{}n\\textasciicircum{}\\textasciitilde{}"
                      "\\textbackslash{}\\{\\}\\$\\textbackslash{}u009b & higher & 30 & -- & ", latex)
        self.assertRegex(latex, r"\\begin\{tabular\}\{lll" + "r" * 10 + r"\}")
        self.assertTrue(latex.endswith("\\hline\n\\end{tabular}\n"))
        for text in latex, self.run_compare(first, second), self.run_compare(first, second, "--json"):
            self.assertNotRegex(text, "[\x1b\x9b]")

    def test_open_questions_are_left_out_and_told(self):
        answers = [{key: value for key, value in sample.items() if key not in ("extracted", "gold", "score")} for sample in score_samples([0] * 30)]
        folders = [self.evaluation(name, t=score_samples(coins(1, 30, 0.5)), questions=answers) for name in "ab"]
        for folder in folders:
            results = json.loads((folder / "results.json").read_text())
            results["tasks"]["questions"].update(metric="none", value=None)
            (folder / "results.json").write_text(json.dumps(results))
        found = self.json(*folders)
        self.assertEqual((list(found["tasks"]), found["notes"]), (["t"], ["questions: has no scores, so it is left out"]))
        output = self.spt("compare", *folders, "--tasks", "questions", status=BAD_INPUT)
        self.assert_one_message(output, "a/results.json: no scores in questions")

    def test_few_items_are_told(self):
        first, second = self.evaluation("a", t=score_samples([1, 1])), self.evaluation("b", t=score_samples([0, 1]))
        self.assertIn("t: 2 items only; bootstraps of so few give intervals too narrow", self.run_compare(first, second))


class RefusedTest(CompareCase):
    def setUp(self):
        super().setUp()
        self.samples = score_samples([1, 0, 1, 0], ["x", "x", "y", "y"])
        self.a = self.evaluation("a", t=self.samples)
        self.b = self.evaluation("b", t=self.samples)

    def refused(self, *arguments, says):
        done = subprocess.run([PROGRAM, "compare", *map(str, arguments)], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (BAD_INPUT, ""), done.stderr)
        self.assert_one_message(done.stderr, *map(str, says))
        self.assertNotRegex(done.stderr, "[\x1b\x9b]")

    def refused_with(self, change, *says, folder=None):
        """Where one sample, or all of them, of B is other."""
        samples = json.loads(json.dumps(self.samples))
        change(samples)
        write_samples(folder or self.b, "t", samples)
        self.refused(self.a, self.b, says=says)

    def set_results(self, folder, results):
        (folder / "results.json").write_text(results if isinstance(results, str) else json.dumps(results))

    def test_folders_that_are_no_finished_evaluation(self):
        self.refused(self.a, self.folder / "none", says=["none: is no folder", "spt eval's run.dir"])
        self.refused(self.a / "results.json", self.b, says=["results.json: is no folder"])
        (self.b / "results.json").unlink()
        self.refused(self.a, self.b, says=["b/results.json: is not there", "not finished"])
        shutil.copy(self.a / "results.json", self.b)
        (self.b / "samples" / "t.jsonl").unlink()
        self.refused(self.a, self.b, says=["b/samples/t.jsonl: is no file", '"t"', "not whole"])

    def test_results_of_another_form(self):
        for results, says in (("{", "broken JSON"), ("[]", "expected a JSON object"), ("{}", '"tasks" is missing'), ({"tasks": 3}, '"tasks" is 3'),
                              ({"tasks": {"t": []}}, 'task "t": is an array'), ({"tasks": {"t": {"n": 4}}}, '"metric" is missing'),
                              ({"tasks": {"t": {"metric": "m", "n": 4.5}}}, '"n" is 4.5'), ({"tasks": {"../t": {"metric": "m", "n": 4}}}, "without /"),
                              ('{"tasks": {}, "tasks": {}}', 'has the field "tasks" twice'), ({"tasks": {}, "x": json.loads("[" * 50 + "]" * 50)}, "nested")):
            self.set_results(self.b, results)
            self.refused(self.a, self.b, says=["b/results.json", says])
        for folder in self.a, self.b:
            self.set_results(folder, {"tasks": {}})
        self.refused(self.a, self.b, says=["has no task"])

    def test_another_metric_or_a_sample_too_few(self):
        self.set_results(self.b, {"tasks": {"t": {"metric": "f1", "n": 4}}})
        self.refused(self.a, self.b, says=['task t has the metric "exact_match" in', '"f1" in'])
        self.set_results(self.b, {"tasks": {"t": {"metric": "exact_match", "n": 5}}})
        self.refused(self.a, self.b, says=["t.jsonl: has 4 samples that count", "n = 5", "not whole"])

    def test_tasks_that_one_side_lacks(self):
        more = self.evaluation("more", t=self.samples, u=self.samples, v=self.samples)
        self.refused(more, self.b, says=["not the same tasks", "b has no u, v", "--tasks t"])
        self.run_compare("--tasks", "t", more, self.b)
        self.refused(more, self.b, "--tasks", "t,u", says=["--tasks: ", "b has no u"])
        self.refused(more, self.b, "--tasks", "t,t", says=["names a task twice"])
        evil = self.evaluation("evil", **{"t\x1b[2J": self.samples})
        self.refused(evil, self.b, says=["b has no t\\x1b[2J"])
        self.refused(self.evaluation("other", u=self.samples), self.b, says=["other has no t", "b has no u", "no task is in all"])

    def test_other_items(self):
        self.refused_with(lambda s: s[1].update(id="zzz"), "a/samples/t.jsonl:2", 'the id "q001" is not in', "the same items")
        self.refused_with(lambda s: s[1].update(id="q000a"), "b/samples/t.jsonl:2", 'the id "q000a" is not in')
        self.refused_with(lambda s: s[2].update(prompt="Why?"), "a/samples/t.jsonl:3", "b/samples/t.jsonl:3", '"q002" has another prompt')
        self.refused_with(lambda s: s[2].update(gold=2), '"q002" has another gold')
        self.refused_with(lambda s: s[2].update(options=["x", "y"]), '"q002" has another list of options')
        self.refused_with(lambda s: s[3].update(group="x"), '"q003" has another group')
        self.refused_with(lambda s: [sample.pop("group") for sample in s], '"q000" has another group')
        self.refused_with(lambda s: s[3].update(id="q002"), "b/samples/t.jsonl:4", 'the id "q002" stands in line 3 too')

    def test_other_numbers_of_worked_examples(self):
        results = json.loads((self.b / "results.json").read_text())
        results["tasks"]["t"]["shots"] = 5
        (self.b / "results.json").write_text(json.dumps(results))
        self.refused(self.a, self.b, says=["task t was asked behind 0 examples in", "5 in", "eval.shots"])

    def test_other_numbers_of_items(self):
        fewer = self.evaluation("fewer", t=self.samples[:3])
        self.refused(self.a, fewer, says=["has 4 samples", "has 3: only evaluations of the same items"])
        self.refused(self.a, self.b, self.a, fewer, says=["--baseline"])
        self.refused(self.a, self.a, "--baseline", self.b, fewer, says=["has 4 samples", "has 3"])
        for count in 1, 0:
            few, same = (self.evaluation(f"{name}-{count}", t=self.samples[:count]) for name in ("few", "same"))
            self.refused(few, same, says=[f"{count} of its samples count", "at least 2"])

    def test_an_evaluation_against_itself_is_said(self):
        self.assertIn(f"{self.a} stands on both sides", self.run_compare(self.a, self.a))

    def test_what_was_measured_in_another_way_is_said(self):
        for folder, role in (self.a, "self"), (self.b, "none"):
            results = json.loads((folder / "results.json").read_text())
            (folder / "results.json").write_text(json.dumps({**results, "settings": {"role": role, "max_new_tokens": 8}}))
        self.assertIn(f'measured with another role: "self" in {self.a}, "none" in {self.b}', self.run_compare(self.a, self.b))

    def test_groups_of_some_items_only(self):
        for folder in self.a, self.b:
            samples = json.loads(json.dumps(self.samples))
            samples[2]["group"] = None
            write_samples(folder, "t", samples)
        self.refused(self.a, self.b, says=["a/samples/t.jsonl", "line 1 has a group and line 3 has none"])

    def test_samples_that_are_damaged(self):
        for score, says in ((1.5, '"score" is 1.5, expected a number from 0 to 1'), (-0.1, '"score" is -0.1'), ("1", '"score" is "1", expected a number'),
                            (True, '"score" is true'), (None, '"score" is null'), ([1], '"score" is an array')):
            self.refused_with(lambda s: s[1].update(score=score), "b/samples/t.jsonl:2", says)
        for key in "id", "prompt", "gold", "score":
            self.refused_with(lambda s: s[1].pop(key), "b/samples/t.jsonl:2", f'the field "{key}" is missing')
        for key in "id", "prompt", "group":
            self.refused_with(lambda s: s[1].update({key: 3}), "b/samples/t.jsonl:2", f'"{key}" is 3, expected text')
        path = self.b / "samples" / "t.jsonl"
        write_samples(self.b, "t", self.samples)
        good = path.read_bytes()
        for data, says in ((good[:-20], "4: broken JSON"), (good.replace(b'"score": 0', b'"score": NaN', 1), "2: broken JSON"),
                           (good.replace(b'"score": 0', b'"score": 1e999', 1), "2: broken JSON"), (b"\n" + good, "1: broken JSON"),
                           (good.replace(b"text", b"te\xff", 1), "1: broken JSON"), (b"[]\n" + good, "1: is an array"),
                           (good.replace(b'"score": 0', b'"score": 0\xc2\x9b', 1), "2: broken JSON"),
                           (good.replace(b'"role"', b'"score": 1, "role"', 1), '1: has the field "score" twice'),
                           (good.replace(b"null", b"[" * 100_000 + b"]" * 100_000, 1), "1: is nested more than")):
            path.write_bytes(data)
            self.refused(self.a, self.b, says=[f"b/samples/t.jsonl:{says}"])

    def test_losses_that_are_damaged_or_of_other_tokens(self):
        samples = loss_samples([2.0, 3.0, 4.0], [1, 2, 3])
        a, b = self.evaluation("c", t=samples), self.evaluation("d", t=samples)
        for change, says in (({"nll": -1}, '"nll" is -1'), ({"nll": "x"}, '"nll" is "x"'), ({"trained_tokens": 1.5}, "expected a whole number"),
                             ({"trained_tokens": -1}, '"trained_tokens" is -1'), ({"trained_tokens": 3}, '"r001" has another number of trained tokens')):
            write_samples(b, "t", [samples[0], {**samples[1], **change}, samples[2]])
            self.refused(a, b, says=["d/samples/t.jsonl:2", says])
        empty = self.evaluation("e", t=loss_samples([0, 0, 1], [0, 0, 1]))
        self.refused(empty, empty, says=["1 of its samples count"])

    def test_folders_that_do_not_make_two_sides(self):
        self.refused(self.a, says=["1 folders and no --baseline"])
        self.refused(self.a, self.b, self.a, self.b, says=["4 folders and no --baseline", "spt compare A1 A2 A3 --baseline B1 B2 B3"])
        self.refused(self.a, "--baseline", self.a, self.b, says=["1 folders, and 2 after --baseline", "as many"])
        self.refused(self.a, self.a, "--baseline", self.b, f"{self.b}/../b", says=["is given twice", "one seed"])

    def test_options_that_make_no_sense(self):
        for options in (("--resamples", "0"), ("--resamples", "99"), ("--seed", "-1"), ("--json", "--tsv"), ("--latex", "--json"), ("--tsv", "--latex")):
            done = subprocess.run([PROGRAM, "compare", self.a, self.b, *options], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stdout), (BAD_INPUT, ""))
            self.assertIn(options[0], done.stderr)


if __name__ == "__main__":
    unittest.main()
