"""spt prepare as a user runs it: studies with parts, held-out records and ablations, from records to a trained model."""
import json
import os
import resource
import stat
import statistics
import subprocess
import time
import unittest

from runs import BAD_INPUT, DONE, FAILURE, PROGRAM, SOURCE, JobTest, checkpoints, curve, make_model, read_rows, sample_records, wait_until


def repeated(path, records, times):
    """The records again and again; the line number is their id."""
    lines = [{key: value for key, value in json.loads(line).items() if key != "id"} for line in records.read_text(encoding="utf-8").splitlines()]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text * times, encoding="utf-8")
    return path


class PrepareTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_model(cls.shared / "model")
        cls.records = sample_records(cls.shared / "records.jsonl", 40)

    def prepare(self, out, *options, records=None, **more):
        """Writes self.folder/out."""
        self.spt("prepare", records or self.records, "--tokenizer", self.model, "--max-tokens", 160, "--out", self.folder / out, *options, **more)
        return self.folder / out

    def inspect(self, corpus, *options):
        output = self.spt("inspect", corpus, "--json", "--verify", *options)
        return json.loads(output[output.index("{"):])

    def train(self, name, corpus, *overrides, ranks=1):
        run = self.folder / name
        self.spt("train", "/dev/null", f"run.dir={run}", f"model.path={self.model}", "model.init=random", f"data.train={corpus}",
                 "train.batch_examples=8", "train.micro_batch_tokens=512", "optimizer.lr=1e-3", "checkpoint.final_optimizer=false",
                 *overrides, ranks=ranks)
        return run

    def names(self):
        return sorted(entry.name for entry in self.folder.iterdir())

    def test_a_study_in_parts_trains_as_one_in_a_single_file(self):
        options = ("--valid", 5, "--valid-out", self.folder / "valid.h5", "--select", "random=20")
        single = self.prepare("single.h5", *options)
        parts = self.prepare("parts.h5", *options[:3], self.folder / "valid2.h5", *options[4:], "--shards", 3)
        self.assertEqual([name for name in self.names() if name.startswith("parts")],
                         ["parts.h5"] + [f"parts.part-0000{n}-of-00003.h5" for n in (1, 2, 3)])
        facts, of_parts = self.inspect(single), self.inspect(parts)
        self.assertEqual(facts["examples"], 20)
        self.assertEqual(facts["content_sha256"], of_parts["content_sha256"])
        expected = curve(read_rows(self.train("run-single", single, f"data.valid={self.folder / 'valid.h5'}", "train.epochs=2")))
        found = curve(read_rows(self.train("run-parts", parts, f"data.valid={self.folder / 'valid2.h5'}", "train.epochs=2")))
        self.assertEqual(found, expected)
        self.assertIsNotNone(found[-1][-1])
        last = self.folder / "parts.part-00003-of-00003.h5"
        last.rename(self.folder / "elsewhere")
        self.assert_one_message(self.spt("train", "/dev/null", "--check", f"run.dir={self.folder / 'x'}", f"model.path={self.model}", "model.init=random",
                                         f"data.train={parts}", "train.steps=1", status=BAD_INPUT), "data.train", str(last), "is missing")

    def test_rows_are_read_ahead(self):
        corpus = self.prepare("corpus.h5", records=repeated(self.folder / "many.jsonl", self.records, 5))
        rows = read_rows(self.train("run", corpus, "train.steps=12"))[1:]
        waited = statistics.median(row["data_seconds"] / row["seconds"] for row in rows)
        self.assertLess(waited, 0.01)

    def test_a_system_line_goes_with_the_model(self):
        corpus = self.prepare("corpus.h5", "--system", "Answer in one word.", "--roles", "filler", "--no-role-loss")
        hf = self.train("run", corpus, "train.steps=1") / "checkpoints"
        hf = hf / checkpoints(hf.parent)[-1] / "hf"
        self.assertEqual(json.loads((hf / "spt.json").read_text())["system"], "Answer in one word.")
        self.assertIn("Answer in one word.", json.loads((hf / "tokenizer_config.json").read_text())["chat_template"])
        questions = self.folder / "questions.jsonl"
        questions.write_text('{"prompt": "Why?"}\n')
        self.spt("generate", "--model", hf, "--input", questions, "--out", self.folder / "out.jsonl", "--max-new-tokens", 2)
        prompt = json.loads((self.folder / "out.jsonl").read_text())["prompt_ids"]
        row = self.inspect(corpus, "--rows", "0:1")["rows"][0]["spans"][0]["ids"]
        line = len(os.path.commonprefix([prompt, row]))
        self.assertGreater(line, 4)  # the system line's tokens, up to the question

    def test_killed_while_it_writes_it_leaves_nothing_under_the_final_name(self):
        records = repeated(self.folder / "many.jsonl", self.records, 2000)
        corpus = self.folder / "corpus.h5"
        corpus.write_text("mine")
        partial = self.folder / "corpus.h5.partial"
        job = self.start_spt("prepare", records, "--tokenizer", self.model, "--out", corpus, "--force", "--threads", 1)
        wait_until(lambda: partial.exists() or job.status is not None, "writing has begun")
        job.kill()
        self.assertEqual(corpus.read_text(), "mine")
        self.assertTrue(partial.exists())
        self.prepare("corpus.h5", "--force")
        self.assertEqual(self.names(), ["corpus.h5", "many.jsonl"])
        self.assertEqual(self.inspect(corpus)["examples"], 40)

    def test_a_full_disk_is_a_failure_that_leaves_nothing(self):
        records = repeated(self.folder / "many.jsonl", self.records, 100)
        for limit in (1_000, 60_000):
            for shards in (1, 3):
                with self.subTest(limit=limit, shards=shards):
                    done = subprocess.run([PROGRAM, "prepare", records, "--tokenizer", self.model, "--out", self.folder / "corpus.h5", "--shards", str(shards)],
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                    self.assertEqual(done.returncode, FAILURE, done.stdout)
                    self.assert_one_message(done.stdout, ".partial: writing failed: File too large")
                    self.assertEqual(self.names(), ["many.jsonl"])

    def test_a_full_disk_leaves_neither_of_two_corpora(self):
        records = repeated(self.folder / "many.jsonl", self.records, 100)
        done = subprocess.run([PROGRAM, "prepare", records, "--tokenizer", self.model, "--out", self.folder / "corpus.h5", "--valid", "10", "--valid-out", self.folder / "valid.h5"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)))
        self.assertEqual(done.returncode, FAILURE, done.stdout)
        self.assert_one_message(done.stdout, "corpus.h5.partial: writing failed: File too large")
        self.assertEqual(self.names(), ["many.jsonl"])

    def test_memory_does_not_grow_with_the_file(self):
        def peak(times):
            records = repeated(self.folder / "many.jsonl", self.records, times)
            return self.cost("prepare", records, "--tokenizer", self.model, "--out", self.folder / "corpus.h5", "--force")[1]
        small, large = peak(50), peak(1000)  # 2,000 and 40,000 records: 5 M tokens more, 25 MB
        self.assertLess(large - small, 20)

    def test_lima_takes_two_seconds_and_300_megabytes(self):
        data = SOURCE.parent / "shared" / "data"
        if not (data / "lima/train.jsonl").is_file():
            self.skipTest("LIMA is not here (shared/data)")
        for tokenizer in "tokenizers/llama2", "tokenizers/mistral_v0.1", "weights/smollm2-135m-instruct":
            with self.subTest(tokenizer):
                seconds, megabytes = self.cost("prepare", data / "lima/train.jsonl", "--tokenizer", data / tokenizer, "--arm", "plain",
                                               "--out", self.folder / "lima.h5", "--force")
                self.assertLess(seconds, 2)
                self.assertLess(megabytes, 300)

    def cost(self, *arguments):
        """Seconds and the most memory (MB) of a command that must succeed."""
        begin = time.monotonic()
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, DONE)
        return time.monotonic() - begin, usage.ru_maxrss / 1024

    def test_options_that_cannot_be_are_refused(self):
        more = sample_records(self.folder / "more.jsonl", 3, first=40)
        for options, says in (
                (["--select", "250"], ["--select is '250'", "random=N"]), (["--select", "random=41"], ["--select random asks for 41 records, there are 40"]),
                (["--select", "source=none"], ["--select source=none", "no record is of it", "there are: "]), (["--valid", "3"], ["--valid and --valid-out"]),
                (["--valid", "40", "--valid-out", self.folder / "v.h5"], ["--valid asks for 40 of 40"]),
                (["--valid", "many", "--valid-out", self.folder / "v.h5"], ["--valid is 'many'"]), (["--weight", "0"], ["--weight is 0"]),
                (["--weight", "1", "--weight", "2"], ["--weight is given 2 times for 1"]), (["--shards", "41"], ["--shards is 41", "1…40"]),
                (["--threads", "-1"], ["--threads is -1"]), (["--roles", "foreign"], ["--roles is 'foreign'", "shuffled"]),
                (["--arm", "plain", "--no-role-loss"], ["--arm plain has none"]), (["--duplicates-with", more], ["--duplicates-with needs --duplicates"]),
                (["--duplicates", more], [more, "exists already"]), (["--seed", "-1"], None),
                (["--duplicates", self.records, "--force"], ["--duplicates", self.records, "choose another"]),
                (["--duplicates", self.folder / "out.h5"], ["--duplicates", "out.h5", "choose another"]),
                (["--duplicates", self.folder / "d.tsv", "--duplicates-with", self.folder / "out.h5"], ["--out", "out.h5", "choose another"]), (["--template", "mistral_instruct", "--system", "{"], [])):
            with self.subTest(options):
                status = DONE if says == [] else BAD_INPUT  # a brace in a system line is text
                output = self.spt("prepare", self.records, "--tokenizer", self.model, "--out", self.folder / "out.h5", *options, status=status)
                if says is None:
                    self.assertIn(options[0], output)  # CLI11's own words
                elif says:
                    self.assert_one_message(output, *map(str, says))
                    self.assertEqual(self.names(), ["more.jsonl"])

    def test_a_report_of_duplicates_does_not_overwrite_what_it_reads(self):
        records = sample_records(self.folder / "x.jsonl", 3)
        text = records.read_text(encoding="utf-8")
        for options in ([], ["--duplicates-with", records]):
            output = self.spt("prepare", records if not options else self.records, "--tokenizer", self.model, "--out", self.folder / "out.h5", "--duplicates", records,
                              *options, "--force", status=BAD_INPUT)
            self.assert_one_message(output, "--duplicates", str(records), "choose another")
            self.assertEqual(records.read_text(encoding="utf-8"), text)

    def test_a_report_and_a_corpus_of_one_name_are_refused(self):
        output = self.spt("prepare", self.records, "--tokenizer", self.model, "--out", self.folder / "a.h5", "--duplicates", self.folder / "a.h5", status=BAD_INPUT)
        self.assert_one_message(output, "--duplicates", "a.h5", "choose another")
        self.assertEqual(self.names(), [])

    def test_a_name_that_is_empty_is_refused(self):
        self.assert_one_message(self.spt("prepare", self.records, "--tokenizer", self.model, "--out", "", status=BAD_INPUT), "--out is empty")

    @unittest.skipIf(os.geteuid() != 0, "a device is made, which only root can")
    def test_a_device_is_not_replaced(self):
        device = self.folder / "null"
        os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        output = self.spt("prepare", self.records, "--tokenizer", self.model, "--out", device, "--force", status=BAD_INPUT)
        self.assert_one_message(output, str(device), "is a device")
        self.assertTrue(stat.S_ISCHR(device.stat().st_mode))
        self.assertEqual(self.names(), ["null"])

    def test_examples_longer_than_the_model_takes_are_told_of_with_the_knob(self):
        model = make_model(self.folder / "short", max_position_embeddings=100)
        for tokens, warned in (160, True), (100, False):
            output = self.spt("prepare", self.records, "--tokenizer", model, "--max-tokens", tokens, "--out", self.folder / f"{tokens}.h5")
            self.assertEqual("max_position_embeddings" in output, warned, output)
        longer = sum(sum(len(span["ids"]) for span in row["spans"]) > 100
                     for row in self.inspect(self.folder / "160.h5", "--rows", "0:40")["rows"])
        output = self.spt("prepare", self.records, "--tokenizer", model, "--max-tokens", 160, "--out", self.folder / "160.h5", "--force")
        self.assertIn(f"{longer} examples hold more than the 100 tokens", output)
        self.assertIn("--max-tokens 100 cuts them", output)
        (model / "config.json").write_text("[]")
        self.assertNotIn("max_position_embeddings", self.spt("prepare", self.records, "--tokenizer", model, "--out", self.folder / "x.h5"))

    def test_perplexity_of_a_corpus_in_parts_is_that_of_one_in_a_single_file(self):
        self.prepare("single.h5")
        self.prepare("parts.h5", "--shards", 3)
        hf = self.train("run", self.folder / "single.h5", "train.steps=1") / "checkpoints" / "step-000001" / "hf"
        found = {}
        for name in "single", "parts":
            (self.folder / f"{name}.yaml").write_text(f"name: held_out\nkind: perplexity\ndata: {{path: {name}.h5}}\n")
            for ranks in 1, 2:
                out = self.folder / f"eval-{name}-{ranks}"
                self.spt("eval", "/dev/null", f"model.path={hf}", f"run.dir={out}", f"eval.tasks=[{self.folder}/{name}.yaml]",
                         f"eval.data.root={self.folder}", ranks=ranks)
                found[name, ranks] = ((out / "samples" / "held_out.jsonl").read_bytes(), json.loads((out / "results.json").read_text())["tasks"])
        self.assertEqual(found["single", 1][0].count(b"\n"), 40)
        for ranks in 1, 2:
            self.assertEqual(found["parts", ranks], found["single", ranks])
        (self.folder / "parts.part-00002-of-00003.h5").unlink()
        output = self.spt("eval", "/dev/null", f"model.path={hf}", f"run.dir={self.folder}/x", f"eval.tasks=[{self.folder}/parts.yaml]",
                          f"eval.data.root={self.folder}", status=BAD_INPUT)
        self.assert_one_message(output, "parts.part-00002-of-00003.h5", "is missing")

    def test_every_switch_stands_in_the_attributes(self):
        facts = self.inspect(self.prepare("c.h5", "--no-restatement", "--no-role-loss", "--roles", "shuffled", "--system", "Be brief.", "--seed", 7,
                                          "--select", "random=0.5", "--weight", 2, "--valid", 4, "--valid-out", self.folder / "v.h5"))
        self.assertEqual(facts["ablation"], {"system": "Be brief.", "roles": "shuffled", "restatement": False, "role_loss": False})
        self.assertEqual(facts["selection"], {"seed": 7, "weights": [2.0], "valid": 4, "random": 0.5})
        self.assertEqual((facts["system"], facts["examples"], facts["arm"]), ("Be brief.", 2 * 18, "role"))
        plain = self.inspect(self.prepare("p.h5", "--arm", "plain", "--shards", 2))
        self.assertEqual((plain["arm"], plain["parts"], plain["max_tokens"]), ("plain", 2, 160))
        alpaca = self.folder / "alpaca.jsonl"
        alpaca.write_text('{"conversations": [], "instruction": "a", "output": "b", "role": "You are A."}\n')
        self.assertEqual(self.inspect(self.prepare("a.h5", "--format", "alpaca", records=alpaca))["examples"], 1)

    def test_under_mpirun_it_is_refused_with_one_message(self):
        output = self.spt("prepare", self.records, "--tokenizer", self.model, "--out", self.folder / "out.h5", ranks=2, status=BAD_INPUT)
        self.assert_one_message(output, "one process", "2 were started", "--threads")
        self.assertEqual(self.names(), [])

    def test_duplicates_are_reported_beside_the_corpus(self):
        test = sample_records(self.folder / "test.jsonl", 2)
        output = self.spt("prepare", self.records, "--tokenizer", self.model, "--out", self.folder / "out.h5", "--duplicates", self.folder / "twice.tsv",
                          "--duplicates-with", test)
        self.assertIn("42 questions, 2 pairs the same", output)
        table = [line.split("\t") for line in (self.folder / "twice.tsv").read_text(encoding="utf-8").splitlines()]
        self.assertEqual([row[0] for row in table], ["kind", "exact", "exact"])
        self.assertEqual(table[1][4], f"{test}:1")


if __name__ == "__main__":
    unittest.main()
