"""spt inspect: corpora, records, checkpoints, runs, models; what is damaged; overlap with benchmarks."""
import ctypes
import gzip
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import time
import unittest

from runs import BAD_INPUT, DONE, PROGRAM, JobTest, make_corpus, make_small_model, sample_records, wait_until

QUESTION = "A robe takes two bolts of blue fiber and half that much white fiber, how many bolts in total"


def jsonl(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def grow(path, **sets):
    """Gives data sets of a corpus another size, as a number or by new elements; what is not written takes no room in the file."""
    library = ctypes.CDLL(re.search(r"(/\S*libhdf5\S*)", subprocess.run(["ldd", PROGRAM], check=True, capture_output=True, text=True).stdout)[1])
    number = ctypes.c_int64

    def call(name, *arguments, result=number):
        function = getattr(library, name)
        function.restype = result
        found = function(*arguments)
        assert found >= 0, name
        return found
    call("H5open", result=ctypes.c_int)
    native = number.in_dll(library, "H5T_NATIVE_INT64_g")
    file = number(call("H5Fopen", os.fsencode(path), ctypes.c_uint(1), number(0)))  # to be written
    for name, value in sets.items():
        elements = None if isinstance(value, int) else (ctypes.c_int64 * len(value))(*value)
        data_set = number(call("H5Dopen2", file, name.encode(), number(0)))
        call("H5Dset_extent", data_set, ctypes.byref(ctypes.c_uint64(value if elements is None else len(value))), result=ctypes.c_int)
        if elements is not None:
            call("H5Dwrite", data_set, native, number(0), number(0), number(0), elements, result=ctypes.c_int)
        call("H5Dclose", data_set, result=ctypes.c_int)
    call("H5Fclose", file, result=ctypes.c_int)
    os.truncate(path, 1 << 28)  # a hole: what a file may claim to hold grows with its size


class InspectTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_small_model(cls.shared / "architecture")
        cls.records = sample_records(cls.shared / "records.jsonl", 24)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, cls.records)
        cls.run_folder = cls.shared / "run"
        (cls.shared / "train.yaml").write_text("train: {steps: 3, batch_examples: 8}\ncheckpoint: {every_steps: 2}\n")
        subprocess.run([PROGRAM, "train", cls.shared / "train.yaml", f"model.path={cls.model}", "model.init=random",
                        f"data.train={cls.corpus}", f"data.valid={cls.corpus}", f"run.dir={cls.run_folder}"], check=True, capture_output=True)
        cls.checkpoint = cls.run_folder / "checkpoints" / "step-000003"

    def inspect(self, *arguments):
        return json.loads(self.text(*arguments, "--json"))

    def text(self, *arguments):
        done = subprocess.run([PROGRAM, "inspect", *map(str, arguments)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, DONE, done.stderr)
        return done.stdout

    def refused(self, *arguments, says):
        output = self.spt("inspect", *arguments, status=BAD_INPUT)
        self.assert_one_message(output, *map(str, says))

    def copy(self, path):
        copy = self.folder / path.name
        shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)
        return copy

    # Corpora

    def test_a_corpus_is_counted_by_source_with_its_roles(self):
        found = self.inspect(self.corpus, "--tokenizer", self.model)
        self.assertEqual((found["kind"], found["arm"], found["examples"]), ("corpus", "role", 24))
        self.assertEqual(found["roles"]["examples"], 24)
        self.assertEqual(found["roles"]["share_of_examples"], 1)
        lengths = sorted(len([id for span in row["spans"] for id in span["ids"]])
                         for row in self.inspect(self.corpus, "--rows", "0:24")["rows"])
        self.assertEqual(found["tokens"], sum(lengths))
        self.assertEqual(found["lengths"]["p50"], lengths[11])  # the 12th of 24
        self.assertEqual(found["lengths"]["max"], lengths[-1])
        self.assertEqual([source["examples"] for source in found["sources"]], [24])
        self.assertEqual(sum(bin["count"] for bin in found["histogram"]), 24)
        rows = self.inspect(self.corpus, "--rows", "0:24", "--tokenizer", self.model)["rows"]
        self.assertEqual([row["row"] for row in rows], list(range(24)))
        self.assertEqual([row["id"] for row in rows], [json.loads(line)["id"] for line in self.records.read_text().splitlines()])
        self.assertEqual([row["tokens"] for row in rows], [sum(len(span["ids"]) for span in row["spans"]) for row in rows])
        spans = [span for row in rows for span in row["spans"]]
        self.assertEqual(found["trained_tokens"], sum(len(span["ids"]) for span in spans if span["part"] != "context"))
        self.assertAlmostEqual(found["trained_share"], found["trained_tokens"] / found["tokens"])
        self.assertAlmostEqual(found["roles"]["share_of_trained_tokens"], found["roles"]["tokens"] / found["trained_tokens"])
        self.assertEqual(found["roles"]["tokens"], sum(len(span["ids"]) for span in spans if span["part"] == "role"))

    def test_rows_that_are_not_there_are_refused_with_the_limits(self):
        self.assertEqual([row["row"] for row in self.inspect(self.corpus, "--rows", "22:24")["rows"]], [22, 23])
        for rows in "0:25", "24", "3:3", "5:4", "-1:2", "a", "1:", "1:2:3":
            self.refused(self.corpus, f"--rows={rows}", says=[f"--rows is '{rows}'", "0 ≤ A < B ≤ 24"])

    def test_rows_are_text_with_names_in_brackets_and_ids_without_a_tokenizer(self):
        record = json.loads(self.records.read_text().splitlines()[0])
        shown = self.text(self.corpus, "--rows", "0:1", "--tokenizer", self.model)
        self.assertIn("[role]  " + record["role"], shown)
        self.assertIn("[trained] " + record["conversations"][1][:40], shown)
        self.assertRegex(self.text(self.corpus, "--rows", "0"), r"\[trained\] \d+ \d+")

    def test_on_a_terminal_what_is_trained_is_underlined_and_escapes_of_the_text_are_shown(self):
        records = jsonl(self.folder / "evil.jsonl", {"conversations": ["clear \x1b[2J\u009b2J", "b \x1b]0;x\x07"], "source": "s\x1b[31m",
                                                     "role": "You are \x1b[5ma cook."})
        corpus = make_corpus(self.folder / "evil.h5", self.model, records)
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        process = subprocess.Popen([PROGRAM, "inspect", corpus, "--rows", "0:1", "--tokenizer", self.model], stdout=follower)
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        self.assertEqual(process.wait(60), 0)
        text = shown.decode()
        self.assertIn("clear \\x1b[2J\\u009b2J", text)
        self.assertIn("s\\x1b[31m", text)
        self.assertEqual(set(re.findall(r"\x1b\[[\d;]*m", text)) - {"\x1b[0m", "\x1b[4m", "\x1b[90m", "\x1b[34m", "\x1b[36m", "\x1b[32m"}, set())
        self.assertEqual(text.count("\x1b"), len(re.findall(r"\x1b\[[\d;]*m", text)))
        self.assertRegex(text, r"\x1b\[4m\x1b\[36m You are \\x1b\[5ma cook\.")

    def test_verify_refuses_a_changed_corpus_of_each_kind(self):
        self.assertTrue(self.inspect(self.corpus, "--verify")["verified"])
        copy = self.copy(self.corpus)
        data = bytearray(copy.read_bytes())
        place = data.index(b"plain" if b"arm\0plain" in data else b"You are")  # an attribute
        data[place + 1] ^= 1
        copy.write_bytes(data)
        self.refused(copy, "--verify", says=[copy, "damaged"])
        copy.write_bytes(bytes(data[:len(data) // 2]))
        self.refused(copy, "--verify", says=[copy, "truncated"])

    def test_a_role_that_is_not_trained_is_told_from_the_context(self):
        with_loss = self.inspect(self.corpus, "--tokenizer", self.model, "--rows", "0:24")
        path = self.folder / "c.h5"
        self.spt("prepare", self.records, "--tokenizer", self.model, "--max-tokens", 160, "--no-role-loss", "--out", path)
        found = self.inspect(path, "--tokenizer", self.model, "--rows", "0:24")

        def roles(facts):
            return [span["text"] for row in facts["rows"] for span in row["spans"] if "role" in span["part"]]
        self.assertEqual(roles(found), roles(with_loss))
        self.assertEqual({span["part"] for row in found["rows"] for span in row["spans"]}, {"context", "untrained role", "trained"})
        self.assertEqual((found["roles"]["tokens"], found["roles"]["examples"], found["roles"]["share_of_trained_tokens"]), (with_loss["roles"]["tokens"], 24, 0))
        self.assertEqual(found["trained_tokens"], with_loss["trained_tokens"] - with_loss["roles"]["tokens"])
        self.assertIn("[untrained role]  You are", self.text(path, "--tokenizer", self.model, "--rows", "0"))

    def test_a_corpus_that_takes_too_much_memory_or_time_is_bad_input(self):
        large = self.copy(self.corpus)
        grow(large, offsets=1 << 29)  # 4 GB of them
        self.refused(large, "--verify", says=[large, "damaged or hostile", "more than 2 GB of memory"])
        long = self.folder / "long.h5"
        examples = 10_000  # of 4 M tokens each, none of which stands in the file
        shutil.copy(self.max_tokens_corpus(), long)
        grow(long, offsets=range(0, (examples + 1) << 22, 1 << 22), tokens=examples << 22, trained=examples << 22, source=examples, id=examples)
        begin = time.monotonic()
        self.refused(long, "--verify", "--verify-seconds", 2, says=[long, "damaged or hostile", "not done after 2 s", "--verify-seconds"])
        self.assertLess(time.monotonic() - begin, 20)
        self.refused(self.records, "--verify-seconds", 2, says=["--verify-seconds is for a corpus"])

    def max_tokens_corpus(self):
        self.spt("prepare", self.records, "--tokenizer", self.model, "--max-tokens", 1 << 22, "--out", self.folder / "most.h5")
        return self.folder / "most.h5"

    def test_a_crash_of_the_process_that_opens_a_corpus_first_is_bad_input(self):
        job = self.start_spt("inspect", self.corpus, "--verify")

        def opener():
            return [pid for pid in job.processes() if "--confined" in self.words_of(pid)]
        os.kill(wait_until(opener, "the process that opens the file is started", pause=0.001)[0], signal.SIGSEGV)
        self.assertEqual(job.finish(), BAD_INPUT)
        self.assert_one_message(job.output, str(self.corpus), "damaged or hostile", "crashed (Segmentation fault)")

    @staticmethod
    def words_of(pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return file.read().decode().split("\0")
        except OSError:
            return []  # ended just now

    # Records and benchmarks

    def test_records_are_counted(self):
        records = jsonl(self.folder / "r.jsonl",
                        {"conversations": ["one two", "three"], "source": "a", "role": "You are a cook."},
                        {"conversations": ["one", "two", "three", "four", "five"], "source": "b"}, {"conversations": ["alone"], "source": "b"})
        found = self.inspect(records)
        self.assertEqual((found["kind"], found["format"], found["records"]), ("records", "lima", 3))
        self.assertEqual((found["with_role"], found["multi_turn"], found["without_answer"], found["trailing_turns"]), (1, 1, 1, 1))
        self.assertEqual(found["sources"], [{"source": "a", "records": 1}, {"source": "b", "records": 2}])
        self.assertEqual([(row["count"], row["max"]) for row in found["words"]], [(5, 2), (3, 1), (1, 4)])

    def task(self, name, text):
        path = self.folder / f"{name}.yaml"
        path.write_text(f"name: {name}\n{text}")
        return path

    def test_overlap_names_the_record_and_the_item_in_records_and_in_their_corpus(self):
        jsonl(self.folder / "test.jsonl", {"q": {"stem": "What is copper?"}}, {"q": {"stem": QUESTION}})
        with gzip.open(self.folder / "packed.jsonl.gz", "wt") as file:
            file.write(json.dumps({"id": "x7", "turns": [QUESTION.upper() + "?"]}) + "\n")
        (self.folder / "a_test.csv").write_text(f'"{QUESTION}",1,A\n')
        tasks = [self.task("stems", 'kind: open\ndata: {path: test.jsonl}\nprompt: "{q.stem}"\n'),
                 self.task("packed", 'kind: open\ndata: {path: packed.jsonl.gz}\nid: id\nprompt: "{turns.0}"\n'),
                 self.task("cells", 'kind: open\ndata: {path: "*_test.csv", format: csv, columns: [question, A, answer]}\nprompt: "{question}"\n')]
        role = "You are a tailor. The user asks about cloth."
        records = jsonl(self.folder / "r.jsonl", {"id": "clean", "conversations": ["What is copper?", "A metal."], "role": role},
                        {"id": "seen", "conversations": ["Solve this.", f"Well: {QUESTION}? Three."], "role": role},
                        {"id": "role", "conversations": ["Solve it.", "Three."], "role": f"You are a tailor. The user asks: {QUESTION}?"})
        expected = [(record, *item) for record in ("seen", "role") for item in (("stems", "2"), ("packed", "x7"), ("cells", "1"))]
        for path, options in ((records, ()), (make_corpus(self.folder / "c.h5", self.model, records), ("--tokenizer", self.model))):
            found = self.inspect(path, *options, "--against", *tasks, "--data-root", self.folder)["against"]
            self.assertEqual([(o["record"], o["task"], o["item"]) for o in found["overlaps"]], expected)
            self.assertEqual([o["shared"] for o in found["overlaps"]], [o["runs"] for o in found["overlaps"]])
            self.assertEqual([(t["items"], t["too_short"], t["items_found"], t["records_found"]) for t in found["tasks"]],
                             [(2, 1, 1, 2), (1, 0, 1, 2), (1, 0, 1, 2)])
        self.assertIn("seen", self.text(records, "--against", *tasks, "--data-root", self.folder))
        found = self.inspect(records, "--against", tasks[0], "--data-root", self.folder, "--ngram", "3")["against"]
        self.assertEqual({o["record"] for o in found["overlaps"]}, {"clean", "seen", "role"})

    def test_overlap_with_what_is_no_benchmark_is_refused(self):
        task = self.task("t", 'kind: open\ndata: {path: none.jsonl}\nprompt: "{q}"\n')
        self.refused(self.records, "--against", task, says=[task, "none.jsonl", "--data-root"])
        self.refused(self.records, "--against", self.task("t", "kind: open\ndata: {path: a}\n"), says=["t.yaml", "prompt is missing"])
        self.refused(self.records, "--against", self.task("t", "kind: perplexity\ndata: {path: a}\n"), says=["t.yaml", "asks no questions"])
        self.refused(self.corpus, "--against", task, says=["--tokenizer"])
        self.refused(self.records, "--against", task, "--ngram", "0", says=["--ngram is 0"])
        jsonl(self.folder / "d.jsonl", {"q": "a"}, {"p": "b"})
        self.refused(self.records, "--against", self.task("d", 'kind: open\ndata: {path: d.jsonl}\nprompt: "{q}"\n'), "--data-root", self.folder,
                     says=["d.jsonl:2", "has no field q"])

    # Folders

    def test_a_model_folder_shows_architecture_tensors_tokenizer_and_arm(self):
        found = self.inspect(self.checkpoint / "hf", "--verify")
        self.assertEqual((found["kind"], found["architecture"], found["layers"], found["verified"]), ("model", "llama", 2, True))
        self.assertEqual(found["stored_values"], {"F32": found["parameters"]})
        self.assertEqual((found["spt"]["arm"], found["spt"]["step"], found["tokenizer"]["tokens"]), ("role", 3, 1024))
        self.assertIn({"name": "model.layers.*.mlp.up_proj.weight", "shape": [64, 32], "dtype": "F32", "count": 2}, found["tensors"])
        self.assertNotIn("tensors", self.inspect(self.model))  # without weights
        self.refused(self.model, "--verify", says=["there are none"])

    def test_weights_that_are_not_finite_are_found_with_their_place(self):
        copy = self.copy(self.checkpoint / "hf")
        path = copy / "model.safetensors"
        data = bytearray(path.read_bytes())
        size = struct.unpack("<Q", data[:8])[0]
        begin = json.loads(data[8:8 + size])["model.norm.weight"]["data_offsets"][0] + 8 + size
        data[begin + 4 * 5:begin + 4 * 6] = struct.pack("<f", float("nan"))
        path.write_bytes(data)
        self.assertIn("llama", self.text(copy))
        self.refused(copy, "--verify", says=[copy, "model.norm.weight", "nan", "element 5"])

    def test_a_checkpoint_shows_its_layout_and_files_and_is_verified_by_hashes(self):
        found = self.inspect(self.checkpoint, "--verify")
        self.assertEqual((found["kind"], found["step"], found["optimizer"]), ("checkpoint", 3, {"dp": 1, "tp": 1}))
        self.assertEqual(found["bytes"], sum(path.stat().st_size for path in self.checkpoint.rglob("*") if path.is_file() and path.name != "progress.json"))
        self.assertEqual(found["model"]["spt"]["arm"], "role")
        copy = self.copy(self.checkpoint)
        path = copy / "hf" / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        self.text(copy)
        self.refused(copy, "--verify", says=[path, "changed since it was saved"])
        path.unlink()
        self.refused(copy, says=[path, "missing"])

    def test_a_run_shows_losses_checkpoints_and_whether_it_is_finished(self):
        found = self.inspect(self.run_folder)
        self.assertEqual((found["kind"], found["state"]), ("run", "finished, 3 of 3 steps"))
        rows = [json.loads(line) for line in (self.run_folder / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual((found["metrics"]["first_loss"], found["metrics"]["last_loss"]), (rows[0]["loss"], rows[-1]["loss"]))
        self.assertEqual([(held["step"], held["valid_loss"]) for held in found["metrics"]["held_out"]],
                         [(row["step"], row["valid_loss"]) for row in rows if "valid_loss" in row])
        self.assertEqual([saved["name"] for saved in found["checkpoints"]], ["step-000002", "step-000003"])
        config = found["config"]
        self.assertEqual((config["train.steps"], config["data.packing"], config["optimizer.betas"]), (3, True, [0.9, 0.95]))
        self.assertEqual((config["model.init"], config["run.dir"], config["train.epochs"]), ("random", str(self.run_folder), None))
        self.assertIsInstance(config["optimizer.lr"], float)
        self.assertEqual(found["manifest"]["mesh"], {"dp": 1, "tp": 1})

    def test_values_of_a_configuration_that_are_text_stay_text(self):
        run = self.copy(self.run_folder)
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(re.sub(r"(?m)^(  dir: ).*", r'\1"12"', text) + "later: {number: 7, word: seven}\n")
        config = self.inspect(run)["config"]
        self.assertEqual((config["run.dir"], config["later.number"], config["later.word"]), ("12", 7, "seven"))

    def test_an_evaluation_shows_its_results_and_samples(self):
        (self.folder / "t.yaml").write_text(f"name: held_out\nkind: perplexity\ndata: {{path: {self.corpus.name}}}\n")
        out = self.folder / "eval"
        self.spt("eval", "/dev/null", f"model.path={self.checkpoint}/hf", f"run.dir={out}", f"eval.tasks=[{self.folder}/t.yaml]", f"eval.data.root={self.corpus.parent}")
        found = self.inspect(out)
        results = json.loads((out / "results.json").read_text())
        self.assertEqual((found["kind"], found["tasks"], found["model"]), ("evaluation", results["tasks"], results["model"]))
        self.assertEqual(found["samples"], [{"file": "samples/held_out.jsonl", "answers": 24}])
        shown = self.text(out)
        self.assertRegex(shown, r"held_out")
        self.assertRegex(shown, r"value +\d+\.\d+")
        self.refused(out, "--verify", says=["--verify is for", "is none"])
        (out / "results.json").write_text("[]")
        self.refused(out, says=[out / "results.json", "spt eval"])

    def test_a_run_at_work_is_said_to_be_in_use_and_one_that_was_killed_to_go_on(self):
        run = self.folder / "run"
        job = self.start_spt("train", self.shared / "train.yaml", f"model.path={self.model}", "model.init=random", f"data.train={self.corpus}",
                             f"run.dir={run}", "train.steps=1000000")
        wait_until(lambda: (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").read_bytes().count(b"\n") > 2, "it trains")
        self.assertIn(f"pid {job.process.pid}", self.inspect(run)["state"])
        job.kill()
        self.assertRegex(self.inspect(run)["state"], r"^not at work, \d+ of 1000000 steps")

    def test_what_is_nothing_of_ours_is_refused_with_what_was_looked_for(self):
        self.refused(self.folder, says=[self.folder, "progress.json", "manifest.json", "config.json"])
        self.refused(self.folder / "none", says=["does not exist"])
        (self.folder / "x.txt").write_text("hello")
        self.refused(self.folder / "x.txt", says=["neither a corpus", "nor records"])
        for options in (("--rows", "0:1"), ("--tokenizer", self.model), ("--against", "x.yaml")):
            self.refused(self.run_folder, *options, says=[options[0], "is none"])


if __name__ == "__main__":
    unittest.main()
