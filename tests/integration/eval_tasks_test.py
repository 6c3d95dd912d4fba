"""spt eval: tasks that ask questions, on several layouts, stopped, killed and started again."""
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from runs import BAD_INPUT, DONE, PROGRAM, STOPPED, JobTest, checkpoints, make_corpus, make_small_model, sample_records, wait_until

TASKS = {
    "sums": """name: sums
kind: generate
data: {path: sums.jsonl}
id: id
prompt: "{q}"
gold: "{a}"
trigger: "Therefore, the answer (arabic numerals) is"
extract: number
role: "You are a teacher of sums. The user adds {a}."
""",
    "picks": """name: picks
kind: choice
data: {path: picks.jsonl}
group: g
prompt: "{q}"
options: {from: c}
gold: "{a}"
""",
    "talk": """name: talk
kind: open
data: {path: sums.jsonl}
prompt: "Tell me about {q}"
""",
}


class EvalTasksTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        architecture = make_small_model(cls.shared / "model")
        corpus = make_corpus(cls.shared / "train.h5", architecture, sample_records(cls.shared / "train.jsonl", 40))
        (cls.shared / "train.yaml").write_text("train: {steps: 30, batch_examples: 8}\noptimizer: {lr: 3e-3}\n")
        subprocess.run([PROGRAM, "train", cls.shared / "train.yaml", f"model.path={architecture}", "model.init=random",
                        f"data.train={corpus}", f"run.dir={cls.shared}/run"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run = cls.shared / "run"
        cls.model = run / "checkpoints" / checkpoints(run)[-1] / "hf"
        for name, text in TASKS.items():
            (cls.shared / f"{name}.yaml").write_text(text)
        with open(cls.shared / "sums.jsonl", "w") as out:
            for i in range(24):
                out.write(json.dumps({"id": f"s{i}", "q": f"What is {i} plus {i * 7 % 5}, {'and why, ' * (i % 6)}please?", "a": i + i * 7 % 5}) + "\n")
        with open(cls.shared / "picks.jsonl", "w") as out:
            for i in range(15):
                out.write(json.dumps({"q": f"Which of these is number {i}?", "g": "even" if i % 2 == 0 else "odd",
                                      "c": [f"the number {i}", "something else", "nothing " * (1 + i % 4)], "a": 0}) + "\n")
        tasks = ", ".join(str(cls.shared / f"{name}.yaml") for name in TASKS)
        (cls.shared / "eval.yaml").write_text(f"eval:\n  tasks: [{tasks}]\n  data: {{root: {cls.shared}}}\n  max_new_tokens: 24\n  conclusion_tokens: 6\n")

    def arguments(self, name, *overrides):
        return ["eval", self.shared / "eval.yaml", f"model.path={self.model}", f"run.dir={self.folder}/{name}", *overrides]

    def read(self, name):
        out = self.folder / name
        samples = {task: [json.loads(line) for line in (out / "samples" / f"{task}.jsonl").read_text().splitlines()] for task in TASKS}
        self.assertFalse((out / "journal").exists())
        return json.loads((out / "results.json").read_text())["tasks"], samples

    def assert_same(self, one, other):
        self.assertEqual(one[0].keys(), other[0].keys())
        for task in TASKS:
            self.assertEqual(len(one[1][task]), len(other[1][task]))
            for a, b in zip(one[1][task], other[1][task]):
                a, b = dict(a), dict(b)
                for x, y in zip(a.pop("loglikelihoods", []), b.pop("loglikelihoods", [])):
                    self.assertAlmostEqual(x, y, delta=1e-5 * max(1, abs(x)))
                self.assertEqual(a, b)
            self.assertEqual(one[0][task], other[0][task])

    def test_samples_and_scores_are_the_same_on_every_layout_and_batch(self):
        self.spt(*self.arguments("alone"))
        alone = self.read("alone")
        self.assertEqual([s["id"] for s in alone[1]["sums"]], [f"s{i}" for i in range(24)])
        self.assertEqual([s["gold"] for s in alone[1]["picks"]], ["A"] * 15)
        for sample in alone[1]["sums"]:
            self.assertEqual(sample["score"], int(sample["extracted"] == sample["gold"]))
            self.assertEqual(sample["extracted"] is None, sample["rule"] is None)
        for sample in alone[1]["picks"]:
            best = max(range(3), key=lambda i: sample["loglikelihoods"][i])
            self.assertEqual(sample["extracted"], "ABC"[best])
            best = max(range(3), key=lambda i: sample["loglikelihoods"][i] / len(sample["options"][i]))
            self.assertEqual(sample["score_normalised"], int("ABC"[best] == "A"))
        picks = alone[0]["picks"]
        self.assertEqual((picks["groups"]["even"]["n"], picks["groups"]["odd"]["n"], picks["n"]), (8, 7, 15))
        self.assertAlmostEqual(picks["value"], sum(s["score"] for s in alone[1]["picks"]) / 15)
        self.assertIsNone(alone[0]["talk"]["value"])
        for ranks, overrides in ((2, ["eval.batch_sequences=1"]), (3, []), (2, ["mesh.tp=2"]), (1, ["eval.batch_sequences=5", "eval.batch_tokens=200"])):
            name = f"r{ranks}{len(overrides)}{overrides[-1][:9] if overrides else ''}"
            self.spt(*self.arguments(name, *overrides), ranks=ranks)
            self.assert_same(alone, self.read(name))

    def test_a_rank_that_stands_still_holds_up_only_what_it_has(self):
        job = self.start_spt(*self.arguments("slow", f"eval.tasks=[{self.shared}/sums.yaml]", "eval.batch_sequences=1", "eval.max_new_tokens=250"), ranks=3)
        journal = self.folder / "slow/journal"

        def lines(rank="*"):
            return sum(max(0, path.read_text().count("\n") - 1) for path in journal.glob(f"rank-0000{rank}.jsonl"))

        wait_until(lambda: job.status is not None or lines(2) >= 1, "a sample of the last rank")
        still = job.pid_of_rank(2)
        os.kill(still, signal.SIGSTOP)
        try:  # it holds the question that it answers and the one it asked for ahead
            wait_until(lambda: lines() >= 22, "all but two samples by the other ranks")
        finally:
            os.kill(still, signal.SIGCONT)
        self.assertEqual(job.finish(), DONE, job.output)
        samples = [json.loads(line) for line in (self.folder / "slow/samples/sums.jsonl").read_text().splitlines()]
        self.assertEqual([s["id"] for s in samples], [f"s{i}" for i in range(24)])

    def test_deterministic_evaluations_have_the_same_bits_everywhere(self):
        runs = {}
        for name, ranks, overrides in (("one", 1, []), ("three", 3, ["eval.batch_sequences=2"]), ("two", 2, ["eval.batch_tokens=100"])):
            output = self.spt(*self.arguments(name, "eval.deterministic=true", *overrides), ranks=ranks)
            self.assertRegex(output, r"eval.deterministic: a text of 128 tokens takes [0-9.]+ x as long")
            runs[name] = self.read(name)
        self.assertEqual(runs["one"], runs["three"])
        self.assertEqual(runs["one"], runs["two"])

    def test_worked_examples_stand_in_front(self):
        with open(self.folder / "shots.jsonl", "w") as out:
            for i in range(6):
                out.write(json.dumps({"q": f"Which is the letter {'abcdef'[i]}?", "g": "even" if i % 2 == 0 else "odd", "c": ["this", "that"], "a": i % 2}) + "\n")
        with open(self.folder / "picks.jsonl", "w") as out:
            out.write((self.shared / "picks.jsonl").read_text())
        task = (TASKS["picks"] + "shots: {path: shots.jsonl}\n").replace("name: picks", "name: few")
        (self.folder / "few.yaml").write_text(task)
        few = [f"eval.tasks=[{self.folder}/few.yaml]", f"eval.data.root={self.folder}", "eval.shots=2"]
        shown = self.spt(*self.arguments("x", *few), "--show", 2)
        self.assertIn("User: Which is the letter a? this\n\nWhich is the letter c? this\n\nWhich of these is number 0?", shown)
        self.assertIn("User: Which is the letter b? that\n\nWhich is the letter d? that\n\nWhich of these is number 1?", shown)
        self.spt(*self.arguments("few", *few))
        self.spt(*self.arguments("again", *few, "eval.batch_tokens=100"), ranks=2)
        for name in ("few", "again"):
            self.assertEqual(json.loads((self.folder / name / "results.json").read_text())["settings"]["shots"], 2)
        rows = [[json.loads(line) for line in (self.folder / name / "samples/few.jsonl").read_text().splitlines()] for name in ("few", "again")]
        for a, b in zip(*rows):
            for x, y in zip(a["loglikelihoods"], b["loglikelihoods"]):
                self.assertAlmostEqual(x, y, delta=1e-5 * max(1, abs(x)))
        self.spt(*self.arguments("none", *few[:2]))
        none = [json.loads(line) for line in (self.folder / "none/samples/few.jsonl").read_text().splitlines()]
        self.assertNotEqual([s["loglikelihoods"] for s in none], [s["loglikelihoods"] for s in rows[0]])
        output = self.spt(*self.arguments("x", *few, "eval.shots=4"), status=BAD_INPUT)
        self.assert_one_message(output, "eval.shots is 4, but shots.jsonl has 3 examples")
        (self.folder / "shots.jsonl").write_text((self.shared / "picks.jsonl").read_text())
        output = self.spt(*self.arguments("x", *few), status=BAD_INPUT)
        self.assert_one_message(output, "is one of its own examples")

    def test_stopped_and_killed_and_started_on_other_ranks_it_measures_nothing_twice(self):
        long = ["eval.max_new_tokens=250", "eval.batch_sequences=2"]  # so that there is time to stop it
        self.spt(*self.arguments("whole", *long))
        whole = self.read("whole")
        run = self.folder / "part"

        def lines():
            """Those of samples, whole, in all journals; none once it has finished."""
            try:
                texts = [path.read_text() for path in (run / "journal").glob("*.jsonl")]
            except FileNotFoundError:
                return []
            return [json.loads(line) for text in texts for line in text[:text.rfind("\n") + 1].splitlines()[1:]]

        measured, ranks = 0, 1
        for attempt in range(40):
            job = self.start_spt(*self.arguments("part", *long), ranks=ranks)
            goal = len(lines()) + 3
            wait_until(lambda: job.status is not None or len(lines()) >= goal, "some samples")
            if attempt % 2 == 0:
                job.kill()
            else:
                for pid in job.processes():
                    if ranks == 1:
                        os.kill(pid, signal.SIGTERM)
                if ranks > 1:
                    job.process.send_signal(signal.SIGUSR1)
                if job.finish() == DONE:
                    break
                self.assertEqual(job.status, STOPPED, job.output)
            if (run / "results.json").exists():
                break
            ids = [line["task"] + line["id"] for line in lines()]
            self.assertEqual(len(ids), len(set(ids)), "a sample was measured twice")
            self.assertGreaterEqual(len(ids), measured)
            measured = len(ids)
            ranks = 3 - ranks
        self.assertGreaterEqual(measured, 3)
        self.spt(*self.arguments("part", *long))
        self.assert_same(whole, self.read("part"))

    def test_the_answer_has_its_tokens_behind_the_role(self):
        records = sample_records(self.folder / "two.jsonl", 2)  # few enough to be learnt by heart
        corpus = make_corpus(self.folder / "two.h5", self.shared / "model", records)
        self.spt("train", self.shared / "train.yaml", f"model.path={self.shared}/model", "model.init=random", f"data.train={corpus}",
                 f"run.dir={self.folder}/run", "train.steps=200", "train.batch_examples=2", "optimizer.lr=1e-2")
        model = self.folder / "run/checkpoints/step-000200/hf"
        (self.folder / "say.yaml").write_text("name: say\nkind: open\ndata: {path: two.jsonl}\nprompt: \"{conversations.0}\"\n")
        tokens = {}
        for count in 8, 11:  # more than the role's beginning has, fewer than the role
            self.spt(*self.arguments(f"n{count}", f"eval.tasks=[{self.folder}/say.yaml]", f"eval.data.root={self.folder}", f"model.path={model}",
                                     f"eval.max_new_tokens={count}"))
            samples = [json.loads(line) for line in (self.folder / f"n{count}/samples/say.jsonl").read_text().splitlines()]
            self.assertTrue(all(sample["role"] and sample["cut"] for sample in samples), samples)
            tokens[count] = [sample["tokens"] for sample in samples]
        self.assertEqual([few + 3 for few in tokens[8]], tokens[11])

    def test_a_finished_evaluation_is_left_as_it_is_and_another_refused(self):
        overrides = [f"eval.tasks=[{self.shared}/picks.yaml]"]
        self.spt(*self.arguments("out", *overrides))
        before = {path: path.stat().st_mtime_ns for path in (self.folder / "out").rglob("*")}
        self.assertIn("picks: accuracy", self.spt(*self.arguments("out", *overrides), ranks=2))
        self.assertEqual({path: path.stat().st_mtime_ns for path in (self.folder / "out").rglob("*")}, before)
        output = self.spt(*self.arguments("out", *overrides, "eval.limit=3"), status=BAD_INPUT)
        self.assert_one_message(output, "results.json is of another evaluation (what differs: task picks (its file or data, eval.limit, eval.seed, eval.shots))", "run.dir")

    def test_a_finished_evaluation_that_was_changed_is_refused(self):
        arguments = self.arguments("out", f"eval.tasks=[{self.shared}/picks.yaml,{self.shared}/sums.yaml]")
        self.spt(*arguments)
        file, samples = self.folder / "out/results.json", self.folder / "out/samples/sums.jsonl"
        whole, lines = file.read_text(), samples.read_text()
        for change, says in ((lambda r: r["tasks"].pop("picks"), "lacks the task picks"), (lambda r: r["tasks"]["sums"].pop("value"), "says that sums is null"),
                             (lambda r: r["tasks"]["sums"].update(value=0.99), "says that sums is 0.99")):
            results = json.loads(whole)
            change(results)
            file.write_text(json.dumps(results))
            self.assert_one_message(self.spt(*arguments, status=BAD_INPUT), says, "start this again")
        file.write_text(whole)
        samples.write_text(lines.replace('"role":', '"rule_of":', 1))
        self.assert_one_message(self.spt(*arguments, status=BAD_INPUT), "sums.jsonl:1: the sample is not whole (without role)")
        samples.unlink()
        self.assert_one_message(self.spt(*arguments, status=BAD_INPUT), "sums.jsonl: is no file", "remove results.json")

    def test_a_sample_of_the_journal_that_was_changed_is_refused(self):
        arguments = self.arguments("out", f"eval.tasks=[{self.shared}/sums.yaml]")
        job = self.start_spt(*arguments, "eval.batch_sequences=1")
        journal = self.folder / "out/journal/rank-00000.jsonl"
        wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 2, "some samples are written")
        job.kill()
        lines = [line for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
        sample = json.loads(lines[1])
        for change, says in (({"score": 7}, "score is 7, expected a number from 0 to 1"), ({"score": None}, "score is null"), ({"cut": "x"}, 'cut is "x"')):
            journal.write_text("".join([lines[0], json.dumps({**sample, **change}) + "\n", *lines[2:]]))
            self.assert_one_message(self.spt(*arguments, status=BAD_INPUT), f"the sample {json.dumps(sample['id'])} of task", says)

    def test_a_file_STOP_ends_it_and_it_goes_on(self):
        arguments = self.arguments("out", f"eval.tasks=[{self.shared}/sums.yaml]", "eval.max_new_tokens=1200")
        job = self.start_spt(*arguments, "eval.batch_sequences=1", ranks=2)
        wait_until(lambda: (self.folder / "out/journal/rank-00000.jsonl").exists(), "it measures")
        (self.folder / "out/STOP").write_text("")
        self.assertEqual(job.finish(), STOPPED, job.output)
        self.assertFalse((self.folder / "out/STOP").exists())
        (self.folder / "out/STOP").write_text("")  # left from the last time: this call is not meant
        self.spt(*arguments)

    def test_given_roles_stand_where_they_are_asked_for(self):
        sums = f"eval.tasks=[{self.shared}/sums.yaml]"
        roles = [None if i % 5 == 0 else f"You are expert {i}. The user wants a sum." for i in range(24)]  # as a model would have written
        (self.folder / "self/samples").mkdir(parents=True)
        (self.folder / "self/samples/sums.jsonl").write_text("".join(json.dumps({"id": f"s{i}", "role": role}) + "\n" for i, role in enumerate(roles)))
        shown = self.spt(*self.arguments("x", sums, "eval.role=task"), "--show", 1)
        self.assertIn("AI Assistant: You are a teacher of sums. The user adds 0.\n\n", shown)
        shown = self.spt(*self.arguments("x", sums, "eval.role=You are a cook.", "eval.role_in=user"), "--show", 1)
        self.assertIn("User: You are a cook.\n\nWhat is 0", shown)
        shown = self.spt(*self.arguments("x", sums, "eval.role=generic", "eval.role_in=system"), "--show", 1)
        self.assertTrue(shown.split("\n", 1)[1].lstrip("\n").find("You are") < shown.find("User:"), shown)
        self.spt(*self.arguments("none", sums, "eval.role=none"))
        none = [json.loads(line) for line in (self.folder / "none/samples/sums.jsonl").read_text().splitlines()]
        self.assertEqual([s["role"] for s in none], [None] * 24)
        self.spt(*self.arguments("other", sums, "eval.role=other", f"eval.roles_from={self.folder}/self"))
        other = [json.loads(line) for line in (self.folder / "other/samples/sums.jsonl").read_text().splitlines()]
        with_role = [i for i, role in enumerate(roles) if role is not None]
        self.assertEqual([other[i]["role"] for i in with_role], [roles[i] for i in with_role[1:] + with_role[:1]])
        self.assertTrue(all(other[i]["role_is_given"] for i in with_role))
        shown = self.spt(*self.arguments("x", sums, "eval.role=filler", f"eval.roles_from={self.folder}/self"), "--show", 2)
        self.assertNotIn("You are expert 1.", shown)
        output = self.spt(*self.arguments("y", sums, "eval.role=other"), status=BAD_INPUT)
        self.assert_one_message(output, "eval.role=other needs eval.roles_from")
        output = self.spt(*self.arguments("y", sums, "eval.role=somebody"), status=BAD_INPUT)
        self.assert_one_message(output, "eval.role is 'somebody'", "self, none, task")

    def test_code_is_run_and_scored(self):
        task = ("name: code\nkind: code\ndata: {path: code.jsonl}\nid: id\nprompt: \"{p}\"\n"
                "code: {prompt: \"{p}\", test: \"{t}\", entry_point: \"{e}\"}\n")
        (self.folder / "code.yaml").write_text(task)
        (self.folder / "code.jsonl").write_text("".join(json.dumps(
            {"id": f"c{i}", "p": f"def add{i}(a, b):\n    \"\"\"The sum.\"\"\"\n", "t": "def check(f):\n    assert f(1, 2) == 3\n", "e": f"add{i}"}) + "\n" for i in range(3)))
        arguments = self.arguments("code", f"eval.tasks=[{self.folder}/code.yaml]", f"eval.data.root={self.folder}")
        job = self.start_spt(*arguments)
        if job.finish() == BAD_INPUT and "sandbox" in job.output:
            self.skipTest(f"no sandbox here: {job.output}")
        self.assertEqual(job.status, DONE, job.output)
        samples = [json.loads(line) for line in (self.folder / "code/samples/code.jsonl").read_text().splitlines()]
        self.assertEqual([s["id"] for s in samples], ["c0", "c1", "c2"])
        for sample in samples:  # this model cannot write code
            self.assertEqual((sample["score"], sample["gold"]), (0, "passed"))
            self.assertIn(sample["outcome"], ("failed", "nothing to run"))
        self.assertEqual(json.loads((self.folder / "code/results.json").read_text())["tasks"]["code"]["metric"], "pass@1")

    def test_bad_tasks_are_refused_before_the_model_is_loaded(self):
        model = self.folder / "model"  # without weights, which would be missed if they were asked for
        shutil.copytree(self.model, model, ignore=shutil.ignore_patterns("*.safetensors"))
        cases = (("name: x\nkind: choice\ndata: {path: picks.jsonl}\nprompt: \"{q}\"\nchoices: 5\n", ["t.yaml:5", "unknown key choices"]),
                 ("name: x\nkind: open\ndata: {path: none.jsonl}\nprompt: \"{q}\"\n", ["none.jsonl: no such file"]),
                 ("name: x\nkind: open\ndata: {path: empty.jsonl}\nprompt: \"{q}\"\n", ["empty.jsonl"]),
                 ("name: x\nkind: generate\nextract: number\ndata: {path: picks.jsonl}\nprompt: \"{q}\"\ngold: \"{g}\"\n", ["picks.jsonl:1", "gold is 'even', in which there is no number"]),
                 ("name: x\nkind: open\ndata: {path: sums.jsonl}\nprompt: \"{q}\"\nprompt_end: \"" + "long " * 3000 + "\"\n", ["item", "tokens, the model at most"]))
        (self.folder / "empty.jsonl").write_text("")
        for name in ("picks.jsonl", "sums.jsonl"):
            (self.folder / name).write_text((self.shared / name).read_text())
        for text, says in cases:
            with self.subTest(says[-1]):
                (self.folder / "t.yaml").write_text(text)
                begin = time.monotonic()
                output = self.spt(*self.arguments("z", f"eval.tasks=[{self.folder}/t.yaml]", f"eval.data.root={self.folder}", f"model.path={model}"), status=BAD_INPUT)
                self.assert_one_message(output, *says)
                self.assertFalse((self.folder / "z").exists())
                self.assertLess(time.monotonic() - begin, 20)
        output = self.spt(*self.arguments("z", "eval.tasks=[gsm9k]"), status=BAD_INPUT)
        self.assert_one_message(output, "gsm9k", "gsm8k")


if __name__ == "__main__":
    unittest.main()
