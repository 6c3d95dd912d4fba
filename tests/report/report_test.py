"""spt report without a browser: what it writes, that its numbers are spt compare's, what it refuses."""
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))
from made_runs import HOSTILE, make_evaluation, make_judgement, make_run
from runs import BAD_INPUT, DONE, PROGRAM, JobTest, sha256

TASKS = {"gsm8k": 40, "mmlu": 44, "humaneval": 12, "arc_challenge_choice": 30, "lima_open": 8, "held_out": 25}


def report(*arguments, status=DONE, environment=None):
    done = subprocess.run([PROGRAM, "report", *map(str, arguments)], capture_output=True, text=True, timeout=120, env={**os.environ, **(environment or {})})
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def blocks_of(page):
    """The JSON blocks of a page by their ids."""
    return {name: json.loads(text) for name, text in re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page, re.DOTALL)}


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


class ReportTest(JobTest):
    def arms(self, seeds=1, tasks=None, hostile=False):
        """[role-1, …], [plain-1, …]"""
        sides = []
        for arm in ("role", "plain"):
            side = [make_run(self.folder / f"{arm}-{seed}", arm, seed) for seed in range(1, seeds + 1)]
            for seed, run in enumerate(side, 1):
                make_evaluation(run / "eval", arm, seed, tasks or TASKS, hostile)
            sides.append(side)
        return sides

    def test_one_page_and_every_table_in_three_forms(self):
        (role,), (plain,) = self.arms()
        make_judgement(role / "eval", plain / "eval")
        out = self.folder / "out"
        told = report(role, plain, "--out", out)
        self.assertIn("index.html", told)
        names = ["configuration", "differences", "experts", "judgements", "outputs", "roles", "runs", "scores"]
        self.assertEqual(sorted(path.name for path in (out / "tables").iterdir()), sorted(f"{n}.{e}" for n in names for e in ("tsv", "json", "tex")))
        for name in names:
            rows = rows_of((out / "tables" / f"{name}.tsv").read_text())
            as_json = json.loads((out / "tables" / f"{name}.json").read_text())
            self.assertEqual([list(row) for row in as_json], [list(row) for row in rows])
            self.assertIn("\\begin{tabular}", (out / "tables" / f"{name}.tex").read_text())
        page = (out / "index.html").read_text()
        for text in re.findall(r"(?:src|href)=\"?([^\" >]*)", page.split("<body>")[0]):
            self.assertEqual(text, "", "the head loads something")
        self.assertIn("default-src 'none'", page)
        blocks = blocks_of(page)
        self.assertEqual(len(blocks["items-2"]), 12)  # humaneval, the third of five with texts
        self.assertEqual([task["name"] for task in blocks["report"]["tasks"]], ["arc_challenge_choice", "gsm8k", "humaneval", "lima_open", "mmlu"])
        listed = json.loads((out / "report.json").read_text())["files"]
        self.assertEqual(listed, {name: sha256(out / name) for name in listed})

    def test_differences_are_those_of_compare(self):
        (role,), (plain,) = self.arms()
        out = self.folder / "out"
        report(role, plain, "--out", out)
        compared = subprocess.run([PROGRAM, "compare", role / "eval", plain / "eval", "--tsv"], capture_output=True, text=True, check=True).stdout
        rows = rows_of((out / "tables" / "differences.tsv").read_text())
        self.assertEqual({row.pop("compared") for row in rows}, {"role-1 − plain-1"})
        self.assertEqual(rows, rows_of(compared))
        # Scores are the sides of the differences, to the last digit.
        scores = {(row["task"], row["evaluation"]): row for row in rows_of((out / "tables" / "scores.tsv").read_text())}
        for row in rows:
            self.assertEqual((scores[row["task"], "role-1"]["score"], scores[row["task"], "plain-1"]["score"]), (row["A"], row["B"]))
            self.assertLessEqual(float(scores[row["task"], "role-1"]["95% from"]), float(row["A"]))
            self.assertGreaterEqual(float(scores[row["task"], "role-1"]["to"]), float(row["A"]))
        again = self.folder / "again"
        report(role, plain, "--out", again, "--tasks", "gsm8k,lima_open", "--seed", 7, "--resamples", 500)
        compared = subprocess.run([PROGRAM, "compare", role / "eval", plain / "eval", "--tsv", "--tasks", "gsm8k", "--seed", "7", "--resamples", "500"],
                                  capture_output=True, text=True, check=True).stdout
        self.assertEqual([row["p"] for row in rows_of((again / "tables" / "differences.tsv").read_text())], [row["p"] for row in rows_of(compared)])

    def test_seeds_are_paired_and_have_one_colour(self):
        role, plain = self.arms(seeds=3, tasks={"gsm8k": 40, "mmlu": 44})
        out = self.folder / "out"
        report(*role, "--baseline", *plain, "--out", out)
        compared = subprocess.run([PROGRAM, "compare", *(run / "eval" for run in role), "--baseline", *(run / "eval" for run in plain), "--tsv"],
                                  capture_output=True, text=True, check=True).stdout
        rows = rows_of((out / "tables" / "differences.tsv").read_text())
        self.assertEqual({row.pop("compared") for row in rows}, {"role − plain"})
        self.assertEqual(rows, rows_of(compared))
        data = blocks_of((out / "index.html").read_text())["report"]
        self.assertEqual([run["arm"] for run in data["runs"]], [0, 0, 0, 1, 1, 1])
        self.assertNotIn("training run a side", " ".join(data["warnings"]))
        scores = rows_of((out / "tables" / "scores.tsv").read_text())
        mean = [row for row in scores if row["evaluation"] == "role, mean of 3 seeds" and row["task"] == "gsm8k"][0]
        seeds = [float(row["score"]) for row in scores if row["task"] == "gsm8k" and re.fullmatch(r"role-\d", row["evaluation"])]
        self.assertAlmostEqual(float(mean["score"]), sum(seeds) / 3)
        self.assertLess(float(mean["95% from"]), min(seeds))
        # Without --baseline each against the last; seeds are known by their configurations.
        more = self.folder / "more"
        report(*role, plain[0], "--out", more)
        data = blocks_of((more / "index.html").read_text())["report"]
        self.assertEqual([run["arm"] for run in data["runs"]], [0, 0, 0, 1])
        self.assertEqual([c["name"] for c in data["comparisons"]], [f"role-{i} − plain-1" for i in (1, 2, 3)])

    def test_what_a_model_wrote_is_data_and_nothing_else(self):
        (role,), (plain,) = self.arms(tasks={"gsm8k": 30, "lima_open": 8}, hostile=True)
        hostile = self.folder / "ro<script>\x1b[31mle\u202e"
        role.rename(hostile)
        out = self.folder / "out"
        told = report(hostile, plain, "--out", out)
        self.assertNotIn("\x1b", told)
        page = (out / "index.html").read_text(encoding="utf-8")
        start, end = page.index('<script type="application/json" id="report">'), page.rindex('<script type="application/json"')
        data = page[start:page.index("</script>", end)]
        inside = re.sub(r'</?script[^<>]*>', "", data)
        self.assertTrue(inside.isascii())
        for sign in "<>&\x00\x1b\u2028":
            self.assertNotIn(sign, inside)
        blocks = blocks_of(page)
        prompt = blocks["items-0"][0]["prompt"]
        self.assertTrue(prompt.endswith(HOSTILE[0]), prompt)
        self.assertIn("\\x1b[31mred", blocks["items-0"][4]["prompt"])
        for path in (out / "tables").iterdir():
            self.assertNotIn("\x1b", path.read_text())

    def test_curves_of_a_run_that_ran_away_or_was_cut_off(self):
        run = make_run(self.folder / "run", steps=30)
        with open(run / "metrics.jsonl", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        rows[9]["loss"] = None
        for row in rows[::2]:
            row["mfu"] = 0.25
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 31, "ep')
        out = self.folder / "out"
        report(run, "--out", out)
        data = blocks_of((out / "index.html").read_text())["report"]
        self.assertEqual(data["curves"][0]["step"], list(range(1, 31)))
        self.assertIsNone(data["curves"][0]["loss"][9])
        self.assertEqual(data["comparisons"], [])
        self.assertTrue([w for w in data["warnings"] if "has not finished, 30 of 85 steps" in w])
        self.assertTrue([w for w in data["warnings"] if "1 of 30 steps have a loss or gradient norm that is not finite, first step 10" in w])
        self.assertEqual(data["curves"][0]["mfu"], [0.25 if step % 2 else None for step in range(1, 31)])

    def test_evaluations_alone_and_runs_without_them(self):
        a, b = make_evaluation(self.folder / "a", "role", 1, {"gsm8k": 40}), make_evaluation(self.folder / "b", "plain", 1, {"gsm8k": 40})
        out = self.folder / "out"
        report(a, b, "--out", out)
        data = blocks_of((out / "index.html").read_text())["report"]
        self.assertEqual((data["curves"], data["comparisons"][0]["name"]), ([], "a − b"))
        report(make_run(self.folder / "run"), a, "--out", self.folder / "mixed")
        data = blocks_of((self.folder / "mixed" / "index.html").read_text())["report"]
        self.assertEqual((len(data["curves"]), [e["name"] for e in data["evaluations"]], data["comparisons"]), (1, ["a"], []))
        self.assertEqual(data["warnings"], ["run: has no finished evaluation, so it is compared with nothing"])

    def test_evaluations_of_one_name_are_compared(self):
        (role,), (plain,) = self.arms(tasks={"gsm8k": 40})
        make_evaluation(role / "eval-none", "role", 2, {"gsm8k": 40}, role="none")
        make_evaluation(plain / "eval-none", "plain", 2, {"gsm8k": 40}, role="none")
        out = self.folder / "out"
        report(role, plain, "--out", out)
        data = blocks_of((out / "index.html").read_text())["report"]
        self.assertEqual([c["name"] for c in data["comparisons"]], ["role-1/eval − plain-1/eval", "role-1/eval-none − plain-1/eval-none"])
        self.assertTrue((out / "tables" / "settings.tsv").exists())
        self.assertIn('another role: "self" in role-1/eval', " ".join(data["warnings"]))

    def test_warnings_of_what_is_not_equal(self):
        role, plain = make_run(self.folder / "role"), make_run(self.folder / "plain", "plain", optimizer__lr=3e-5)
        make_evaluation(role / "eval", "role", 1, {"gsm8k": 40}, limit=40)
        make_evaluation(plain / "eval", "plain", 1, {"gsm8k": 40}, limit=40, max_new_tokens=256, dtype="BFloat16")
        (plain / "eval-2" / "journal").mkdir(parents=True)
        out = self.folder / "out"
        told = report(role, plain, "--out", out)
        for words in ("more than their corpora and seeds: optimizer.lr", "another max_new_tokens: 512 in role, 256 in plain", 'another dtype: "Float" in role',
                      "eval.limit=40", "one training run a side", r"40 pairs resolve about ±0\.\d\d, 100 about", "eval-2: an evaluation that has not finished"):
            self.assertRegex(told, words)
        rows = rows_of((out / "tables" / "configuration.tsv").read_text())
        self.assertEqual([row["key"] for row in rows], ["data.train", "data.valid", "optimizer.lr", "run.dir"])
        self.assertEqual([row["plain"] for row in rows if row["key"] == "optimizer.lr"], ["3e-05"])

    def test_fewer_samples_of_each_task(self):
        (role,), (plain,) = self.arms(tasks={"gsm8k": 40})
        out = self.folder / "out"
        report(role, plain, "--out", out, "--samples", 5)
        blocks = blocks_of((out / "index.html").read_text())
        self.assertEqual([len(blocks[name]) for name in ("items-0", "answers-0-0", "answers-0-1")], [5, 5, 5])
        self.assertEqual((blocks["report"]["tasks"][0]["n"], blocks["report"]["tasks"][0]["shown"]), (40, 5))
        report(role, plain, "--out", out, "--samples", 0)

    def test_a_folder_of_something_else_is_left_alone(self):
        (role,), (plain,) = self.arms(tasks={"gsm8k": 40})
        out = self.folder / "out"
        report(role, plain, "--out", out)
        make_judgement(role / "eval", plain / "eval")
        report(role, plain, "--out", out)  # its own, unchanged
        shutil.rmtree(role / "eval" / "judge")
        report(role, plain, "--out", out)
        self.assertFalse((out / "tables" / "judgements.tsv").exists(), "of an earlier report")
        for name, text in (("index.html", "mine"), ("tables/scores.tsv", "mine"), ("notes.txt", "mine"), ("tables/sub/x", "mine")):
            (out / name).parent.mkdir(exist_ok=True)
            kept = (out / name).read_bytes() if (out / name).exists() else None
            (out / name).write_text(text)
            self.assert_one_message(report(role, plain, "--out", out, status=BAD_INPUT), name.split("/x")[0], "--force")
            self.assertEqual((out / name).read_text(), text)
            (out / name).unlink() if kept is None else (out / name).write_bytes(kept)
        shutil.rmtree(out / "tables" / "sub")
        (out / "notes.txt").write_text("mine")
        report(role, plain, "--out", out, "--force")
        self.assertEqual((out / "notes.txt").read_text(), "mine")

    def test_refused(self):
        (role,), (plain,) = self.arms(tasks={"gsm8k": 40})
        out = self.folder / "out"
        samples = plain / "eval" / "samples" / "gsm8k.jsonl"
        good = samples.read_text()
        for change, says in ((good.replace('"gold": "7"', '"gold": "8"', 1), "has another gold"), (good.replace("gsm8k-00003", "gsm8k-x", 1), "is not in")):
            samples.write_text(change)
            self.assert_one_message(report(role, plain, "--out", out, status=BAD_INPUT), "gsm8k.jsonl", says, "only evaluations of the same items can be compared")
        samples.write_text(good)
        (self.folder / "empty").mkdir()
        self.assert_one_message(report(role, self.folder / "empty", "--out", out, status=BAD_INPUT), "empty: holds neither a training run")
        self.assert_one_message(report(role, role, "--out", out, status=BAD_INPUT), "is given twice")
        self.assert_one_message(report(role, "--baseline", plain, role, "--out", out, status=BAD_INPUT), "1 runs, and 2 after --baseline")
        self.assert_one_message(report(role, plain, "--tasks", "nothing", "--out", out, status=BAD_INPUT), "has no nothing")
        make_judgement(role / "eval", plain / "eval")
        judgement = role / "eval" / "judge" / "default" / "judgement.json"
        for text, says in (("{", "broken JSON"), ("{}", "is not what spt judge writes"), ('{"format": "spt-judgement", "version": 2}', "version 2"),
                           ('{"format": "spt-judgement", "version": 1, "a": 3}', "is not what spt judge writes")):
            judgement.write_text(text)
            self.assert_one_message(report(role, plain, "--out", out, status=BAD_INPUT), "judgement.json", says)
        self.assertFalse(out.exists())

    def test_open_questions_of_other_prompts_are_refused(self):
        (role,), (plain,) = self.arms(tasks={"lima_open": 5})
        samples = plain / "eval" / "samples" / "lima_open.jsonl"
        samples.write_text(samples.read_text().replace("buys", "sells", 1))
        self.assert_one_message(report(role, plain, "--out", self.folder / "out", status=BAD_INPUT), "lima_open.jsonl:1", "has another prompt")

    def test_without_the_charts_library_says_what_to_do(self):
        role = make_run(self.folder / "role")
        out = self.folder / "out"
        nowhere = {"SPT_PLOTLY": str(self.folder / "none.js")}
        self.assert_one_message(report(role, "--out", out, status=BAD_INPUT, environment=nowhere), "none.js: is not there", "launch/setup.sh")
        (self.folder / "none.js").write_text("alert(1)")
        self.assert_one_message(report(role, "--out", out, status=BAD_INPUT, environment=nowhere), "does not begin as plotly.js")
        self.assertFalse(out.exists())


if __name__ == "__main__":
    if not Path(os.environ["SPT_PLOTLY"]).is_file():
        print("SKIPPED: plotly.js is not there (launch/setup.sh)")
        sys.exit(0)
    unittest.main()
