"""spt plan: its memory against what runs take, and what it says to people and scripts."""
import json
import operator
import os
import subprocess
import unittest
from pathlib import Path

from runs import BAD_INPUT, PROGRAM, JobTest, make_corpus, make_model, read_rows, sample_records

GB = 10**9
# ranks, keys: what takes the memory differs.
WAYS = [(1, ["train.micro_batch_tokens=2048"]),
        (1, ["train.micro_batch_tokens=2048", "model.recompute=attention"]),
        (1, ["train.micro_batch_tokens=2048", "model.recompute=block"]),
        (1, ["train.micro_batch_tokens=1024", "optimizer.grad_dtype=bf16"]),
        (1, ["train.micro_batch_tokens=1024", "model.dtype=bf16"]),
        (1, ["train.micro_batch_tokens=1024", "model.dtype=bf16", "optimizer.grad_dtype=bf16", "model.recompute=block"]),
        (2, ["train.micro_batch_tokens=1024"]),
        (2, ["train.micro_batch_tokens=1024", "optimizer.zero=2"]),
        (2, ["train.micro_batch_tokens=1024", "optimizer.zero=2", "mesh.overlap=on"]),
        (2, ["train.micro_batch_tokens=2048", "mesh.tp=2"]),
        (2, ["train.micro_batch_tokens=2048", "mesh.tp=2", "model.sequence_parallel=false"])]
# Models of other shapes: a large vocabulary, attention wider than the MLP, many narrow blocks.
SHAPES = {"vocabulary": dict(hidden_size=1024, intermediate_size=2816, num_hidden_layers=2, num_attention_heads=16, num_key_value_heads=8, vocab_size=150000,
                             tie_word_embeddings=True),
          "attention": dict(hidden_size=512, intermediate_size=256, num_hidden_layers=12, num_attention_heads=64, num_key_value_heads=16),
          "narrow": dict(hidden_size=256, intermediate_size=1024, num_hidden_layers=24, num_attention_heads=4, num_key_value_heads=4)}


class PlanCase(JobTest):
    def train_arguments(self, run, *keys):
        return ["/dev/null", f"run.dir={run}", f"model.path={self.model}", "model.init=random", f"data.train={self.corpus}", "train.steps=2",
                "train.batch_examples=16", "checkpoint.final_optimizer=false", *keys]

    def plan(self, *arguments, ranks=1, keys=(), status=0):
        done = subprocess.run([PROGRAM, "plan", *map(str, self.train_arguments(self.folder / "none", *keys)), "--ranks", str(ranks), *map(str, arguments)],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout


class MemoryTest(PlanCase):
    """Within 5% of the largest resident set, less what a process takes with next to no model; most of 2 GB and more. Freed memory goes back to the kernel: kept, its
    fragments come on top."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_model(cls.shared / "model", hidden_size=1024, intermediate_size=2816, num_hidden_layers=11, num_attention_heads=16,
                               num_key_value_heads=8, head_dim=64, vocab_size=12000, tie_word_embeddings=False, max_position_embeddings=2048)
        cls.tiny = make_model(cls.shared / "tiny", hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
                              num_key_value_heads=2, head_dim=32, vocab_size=12000, tie_word_embeddings=False, max_position_embeddings=2048)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, sample_records(cls.shared / "records.jsonl", 40), max_tokens=512)

    def taken_and_planned(self, model, ranks, keys):
        arguments = [word if not str(word).startswith("model.path=") else f"model.path={model}" for word in
                     self.train_arguments(self.folder / f"{model.name}-{ranks}-{'-'.join(keys)}".replace("=", "-"), *keys)]
        planned = subprocess.run([PROGRAM, "plan", *arguments, "--ranks", str(ranks), "--json"], stdout=subprocess.PIPE, text=True).stdout
        job = self.start_spt("train", *arguments, ranks=ranks, by_local_sh=True)
        self.assertEqual(job.finish(300), 0, job.output[-3000:])
        run = Path(arguments[1].removeprefix("run.dir="))
        return max(row["memory_bytes"] for row in read_rows(run)), json.loads(planned)["memory_total_bytes"]

    def compare(self, model, ranks, keys, least):
        with self.subTest(model=model.name, ranks=ranks, keys=keys):
            base = operator.sub(*self.taken_and_planned(self.tiny, ranks, keys))
            taken, planned = self.taken_and_planned(model, ranks, keys)
            taken -= base
            print(f"{model.name}, {ranks} ranks, {' '.join(keys)}: planned {planned / GB:.2f} GB, taken {taken / GB:.2f} GB, {taken / planned - 1:+.1%}",
                  flush=True)
            self.assertGreater(planned, least)
            self.assertLess(abs(taken / planned - 1), 0.05)

    def setUp(self):
        super().setUp()
        os.environ["SPT_RETURN_MEMORY"] = "1"
        self.addCleanup(os.environ.pop, "SPT_RETURN_MEMORY")

    def test_memory_of_runs_is_within_5_percent_of_the_plan(self):
        for ranks, keys in WAYS:
            self.compare(self.model, ranks, keys, 2 * GB)

    def test_the_same_for_models_of_other_shapes(self):
        for name, shape in SHAPES.items():
            for keys in ["train.micro_batch_tokens=4096"], ["train.micro_batch_tokens=8192", "train.batch_examples=32", "model.dtype=bf16"]:
                model = make_model(self.folder / f"{name}-{len(keys)}", head_dim=64, max_position_embeddings=2048, **{"vocab_size": 12000,
                                   "tie_word_embeddings": False, **shape})
                self.compare(model, 1, keys, 1.5 * GB)


class OutputTest(PlanCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_model(cls.shared / "model")
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, sample_records(cls.shared / "records.jsonl", 40))

    def test_text_and_json_say_the_same_and_nothing_is_written(self):
        text = self.plan(ranks=4, keys=["mesh.tp=2"])
        for part in "dp 2 × tp 2", "weights", "gradients", "optimizer state", "activations", "matrix products", "steps", "a checkpoint":
            self.assertIn(part, text)
        self.assertNotIn("does not fit", text)
        planned = json.loads(self.plan("--json", ranks=4, keys=["mesh.tp=2"]))
        self.assertEqual((planned["dp"], planned["tp"], planned["steps"], planned["fits"]), (2, 2, 2, True))
        self.assertEqual(planned["memory_total_bytes"], sum(planned["memory_bytes"].values()))
        self.assertAlmostEqual(planned["step_total_seconds"], sum(planned["step_seconds"].values()))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_saved_machine_is_planned_with_again(self):
        saved = self.folder / "here.yaml"
        here = json.loads(self.plan("--json", "--save-machine", saved, ranks=2))
        again = json.loads(self.plan("--json", "--gpu", saved, ranks=2))
        self.assertEqual(again.pop("machine"), "here")
        here.pop("machine")
        self.assertEqual(again["memory_bytes"], here["memory_bytes"])
        for part, seconds in here["step_seconds"].items():
            self.assertAlmostEqual(again["step_seconds"][part], seconds, delta=1e-3 * here["step_total_seconds"])
        output = self.spt("plan", *self.train_arguments(self.folder / "none"), "--save-machine", saved, status=BAD_INPUT)
        self.assert_one_message(output, str(saved), "is there already")

    def test_what_does_not_fit_says_which_keys_to_turn(self):
        machine = self.folder / "small.yaml"
        machine.write_text("memory_gb: 0.03\nbf16_tflops: 1\nfp32_tflops: 1\nmemory_gb_s: 10\nlink_gb_s: 1\nnetwork_gb_s: 1\nhost_link_gb_s: 1\n"
                           "host_memory_gb_s: 1\n")
        text = self.plan("--gpu", machine, ranks=2, keys=["train.micro_batch_tokens=4096"], status=BAD_INPUT)
        self.assertIn("it does not fit; this does", text)
        self.assertIn("model.recompute=block", text)

    def test_where_nothing_fits_it_says_so(self):
        machine = self.folder / "tiny.yaml"
        machine.write_text("memory_gb: 0.001\nbf16_tflops: 1\nfp32_tflops: 1\nmemory_gb_s: 10\nlink_gb_s: 1\nnetwork_gb_s: 1\nhost_link_gb_s: 1\n"
                           "host_memory_gb_s: 1\n")
        self.assertIn("no key of the configuration makes it fit", self.plan("--gpu", machine, status=BAD_INPUT))

    def test_a_model_beyond_64_bits_is_refused(self):
        config = json.loads((self.model / "config.json").read_text())
        config.update(hidden_size=2**30, intermediate_size=2**31, num_hidden_layers=9999)
        (self.folder / "absurd").mkdir()
        (self.folder / "absurd/config.json").write_text(json.dumps(config))
        output = self.spt("plan", *self.train_arguments(self.folder / "none", f"model.path={self.folder / 'absurd'}"), status=BAD_INPUT)
        self.assert_one_message(output, "config.json", "parameters", "1e+13")

    def test_bad_input_is_refused(self):
        for arguments, parts in ((["--ranks", "3", "mesh.tp=2"], ["mesh.tp is 2", "does not divide the 3 rank(s)"]), (["--ranks", "0"], ["--ranks is 0"]),
                                 (["--gpu", "h999"], ["h999", "h100-80"]), (["--examples", "5"], ["--example-tokens"]),
                                 (["--save-machine", "/nowhere/here.yaml"], ["--save-machine", "there is no folder /nowhere"]),
                                 (["--examples", "-5", "--example-tokens", "-3"], ["--examples is -5"]),
                                 (["data.train=/nowhere.h5"], ["/nowhere.h5", "--examples"])):
            with self.subTest(arguments=arguments):
                output = self.spt("plan", *self.train_arguments(self.folder / "none"), *arguments, status=BAD_INPUT)
                self.assert_one_message(output, *parts)


if __name__ == "__main__":
    unittest.main()
