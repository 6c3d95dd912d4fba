"""Steps whose loss or gradient is not finite are left out, named, and end the run where they do not stop."""
import json
import shutil
import struct
import unittest

from runs import FAILURE, TINY_MODEL, JobTest, checkpoints, make_corpus, random_checkpoint, read_rows, sample_records, sha256

# The second byte of a snowman, a token of its own that no sample record has: configs/tiny_model/tokenizer.json.
RARE, RARE_TOKEN = "☃", 248
FIRST_TOKEN = json.loads((TINY_MODEL / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]["A"]  # the template begins so


def poke(weights, name, row, value):
    """Fills a row of an fp32 matrix, or a vector (row 0), in a safetensors file."""
    data = bytearray(weights.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    tensor = json.loads(data[8:8 + length])[name]
    width = tensor["shape"][-1]
    begin = 8 + length + tensor["data_offsets"][0] + 4 * row * width
    data[begin:begin + 4 * width] = struct.pack("<f", value) * width
    weights.write_bytes(bytes(data))


class BadStepsTest(JobTest):
    """Six examples, of which the fourth alone has a token whose embedding is NaN."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lines = sample_records(cls.shared / "some.jsonl", 6).read_text(encoding="utf-8").splitlines()
        record = json.loads(lines[3])
        record["conversations"][0] = RARE + record["conversations"][0]
        lines[3] = json.dumps(record)
        cls.id = str(record["id"])
        records = cls.shared / "records.jsonl"
        records.write_text("\n".join(lines) + "\n", encoding="utf-8")
        cls.model = random_checkpoint(cls.shared / "start", records)
        poke(cls.model / "model.safetensors", "model.embed_tokens.weight", RARE_TOKEN, float("nan"))
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, records)

    def train(self, *keys, ranks=1, status=0, model=None, run=None):
        run = run or self.folder / "run"
        output = self.spt("train", "/dev/null", f"run.dir={run}", f"model.path={model or self.model}", f"data.train={self.corpus}", "optimizer.lr=1e-3",
                          "checkpoint.every_steps=1", "checkpoint.keep=99", *keys, ranks=ranks, status=status)
        return run, read_rows(run), output

    def bad_steps(self, rows):
        return [row["step"] for row in rows if row["loss"] is None]

    def state(self, run, step):
        """SHA-256 of weights, moments and masters after a step."""
        folder = run / "checkpoints" / f"step-{step:06}"
        files = [path for path in sorted(folder.rglob("*.safetensors"))]
        self.assertGreater(len(files), 1)
        return [sha256(path) for path in files]

    def test_a_bad_step_is_not_applied_and_the_run_goes_on(self):
        for dtype in ("fp32", "bf16"):
            with self.subTest(dtype=dtype):
                run, rows, output = self.train("train.epochs=2", "train.batch_examples=1", f"model.dtype={dtype}", run=self.folder / dtype)
                bad = self.bad_steps(rows)
                self.assertEqual(len(rows), 12)
                self.assertEqual(len(bad), 2, "one an epoch")
                for row in rows:
                    self.assertEqual(row["grad_norm"] is None, row["step"] in bad)
                for step in range(2, 13):
                    self.assertEqual(self.state(run, step) == self.state(run, step - 1), step in bad, step)
                self.assertEqual(output.count("is not applied"), 2)
                self.assertRegex(output, rf"step {bad[1]} is not applied: loss -?nan, gradient norm -?nan \(1 in a row, train.max_bad_steps is 3\)")
                self.assertRegex(output, rf"rank 0@\S+: the loss of a micro-batch of row 3 \(id {self.id}\)\n")
                # It counts for the schedule: the rate goes on falling.
                self.assertEqual(sorted({row["lr"] for row in rows}, reverse=True), [row["lr"] for row in rows])

    def test_the_rank_that_has_it_is_named_whatever_the_layout(self):
        losses = []
        for ranks, keys in ((2, []), (4, ["mesh.tp=2"]), (2, ["optimizer.zero=2", "mesh.overlap=on"])):
            with self.subTest(ranks=ranks, keys=keys):
                run, rows, output = self.train("train.epochs=1", "train.batch_examples=2", *keys, ranks=ranks, run=self.folder / f"{ranks}-{len(keys)}")
                bad = self.bad_steps(rows)
                self.assertEqual((len(rows), len(bad)), (3, 1))
                self.assertRegex(output, rf"rank \d@\S+: the loss of a micro-batch of row 3 \(id {self.id}\)")
                self.assertEqual(output.count("the loss of a micro-batch"), 1, "one rank of a model speaks")
                self.assertNotIn("the gradient alone", output)
                losses.append([row["loss"] for row in rows])
        for other in losses[1:]:
            for a, b in zip(losses[0], other):
                self.assertTrue(a is b is None or abs(a - b) < 1e-5 * abs(b), losses)

    def test_several_in_a_row_end_the_run_with_their_rows_and_advice(self):
        for most in (3, 1):
            with self.subTest(most=most):
                keys = ["train.epochs=9", "train.batch_examples=6", "train.micro_batch_tokens=1"]
                run, rows, output = self.train(*keys, *([] if most == 3 else [f"train.max_bad_steps={most}"]), ranks=2, status=FAILURE, run=self.folder / str(most))
                self.assertEqual(self.bad_steps(rows), list(range(1, most + 1)))
                self.assertEqual(len(rows), most)
                self.assert_one_message(output, f"in {most} step(s) in a row (train.max_bad_steps)", "optimizer.lr below 0.001", "the rows named above")
                self.assertEqual(output.count(f"row 3 (id {self.id})"), most)
                self.assertEqual(checkpoints(run), [f"step-{step:06}" for step in range(1, most)], "what was saved stays whole")

    def test_a_stop_in_between_changes_nothing(self):
        keys = ["train.epochs=1", "train.batch_examples=1"]
        whole, rows, _ = self.train(*keys)
        stopped = self.folder / "stopped"
        shutil.copytree(whole, stopped)
        bad = self.bad_steps(rows)[0]
        for step in range(bad + 1, 7):
            shutil.rmtree(stopped / "checkpoints" / f"step-{step:06}")
        _, again, _ = self.train(*keys, run=stopped)
        self.assertEqual([(row["loss"], row["grad_norm"]) for row in again], [(row["loss"], row["grad_norm"]) for row in rows])
        self.assertEqual(self.state(whole, 6), self.state(stopped, 6))

    def test_where_the_gradient_alone_is_bad_the_ranks_rows_are_named(self):
        """The first token's embedding is zero, and remains so as deep as it sees itself alone: each norm's backward pass multiplies by 1/√eps = 3e18, the first one by 1e4 besides."""
        start = self.folder / "model"
        shutil.copytree(self.model, start)
        poke(start / "model.safetensors", "model.embed_tokens.weight", RARE_TOKEN, 0.1)
        poke(start / "model.safetensors", "model.embed_tokens.weight", FIRST_TOKEN, 0.0)
        poke(start / "model.safetensors", "model.layers.0.input_layernorm.weight", 0, 1e4)
        config = json.loads((start / "config.json").read_text())
        (start / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-37}))
        run, rows, output = self.train("train.epochs=9", "train.batch_examples=2", model=start, ranks=2, status=FAILURE)
        self.assertEqual([(row["loss"] is None, row["grad_norm"]) for row in rows], [(False, None)] * 3)
        self.assertRegex(output, r"rank 0@\S+: the gradient alone, of row \d \(id ")
        self.assertRegex(output, r"rank 1@\S+: the gradient alone, of row \d \(id ")


if __name__ == "__main__":
    unittest.main()
