"""run.reproducible: the same bits on any number of dp ranks, however micro-batches are dealt, and after any interruption."""
import os
import unittest

from runs import BAD_INPUT, STOPPED, JobTest, count_rows, curve, last_weights, make_corpus, make_small_model, read_rows, sample_records, wait_until

STEPS = 12


class ReproducibleTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_small_model(cls.shared / "model", num_key_value_heads=2)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, sample_records(cls.shared / "train.jsonl", 40))
        cls.valid = make_corpus(cls.shared / "valid.h5", cls.model, sample_records(cls.shared / "valid.jsonl", 7, first=100))
        cls.threads = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"

    @classmethod
    def tearDownClass(cls):
        if cls.threads is None:
            os.environ.pop("OMP_NUM_THREADS")
        super().tearDownClass()

    def arguments(self, run, *keys, reproducible=True):
        return ["train", "/dev/null", f"run.dir={run}", f"run.reproducible={str(reproducible).lower()}", f"model.path={self.model}", "model.init=random",
                f"data.train={self.corpus}", f"data.valid={self.valid}", f"train.steps={STEPS}", "train.batch_examples=10",
                "train.micro_batch_tokens=320", "optimizer.lr=1e-3", "checkpoint.every_steps=5", *keys]

    def train(self, name, ranks, *keys, **options):
        run = self.folder / name
        self.spt(*self.arguments(run, *keys, **options), ranks=ranks)
        return run

    def assert_same_bits(self, run, other):
        self.assertEqual(curve(read_rows(run)), curve(read_rows(other)))
        self.assertEqual(last_weights(run), last_weights(other))

    def test_any_dp_gives_the_same_bits_and_without_the_key_it_does_not(self):
        one = self.train("one", 1)
        for ranks in 2, 3, 4:
            with self.subTest(ranks=ranks):
                self.assert_same_bits(self.train(f"dp-{ranks}", ranks), one)
        plain = [curve(read_rows(self.train(f"plain-{ranks}", ranks, reproducible=False))) for ranks in (1, 3)]
        self.assertNotEqual(plain[0], plain[1])
        for ours, usual in zip(read_rows(one), read_rows(self.folder / "plain-1")):
            self.assertAlmostEqual(ours["loss"], usual["loss"], delta=1e-4 * usual["loss"])
            self.assertAlmostEqual(ours["grad_norm"], usual["grad_norm"], delta=1e-3 * usual["grad_norm"])

    def test_bf16_and_tp_too(self):
        for keys in ["model.dtype=bf16"], ["mesh.tp=2"]:
            with self.subTest(keys=keys):
                tp = 2 if "mesh.tp=2" in keys else 1
                self.assert_same_bits(self.train(f"two-{tp}", 2 * tp, *keys), self.train(f"one-{tp}", tp, *keys))

    def test_an_interrupted_run_goes_on_with_another_dp_and_the_same_bits(self):
        whole, run = self.train("whole", 1), self.folder / "run"
        for ranks in 2, 3:
            job = self.start_spt(*self.arguments(run), ranks=ranks, by_local_sh=True)
            before = count_rows(run)
            wait_until(lambda: count_rows(run) > before + 1 or job.status is not None, "two steps")
            if ranks == 2:
                job.process.terminate()
                self.assertEqual(job.finish(), STOPPED, job.output)
            else:
                job.kill()
        self.spt(*self.arguments(run), ranks=4)
        rows, expected = read_rows(run), read_rows(whole)
        for row in rows + expected:
            row.pop("valid_loss", None)  # measured with every checkpoint
        self.assertEqual(curve(rows), curve(expected))
        self.assertEqual(last_weights(run), last_weights(whole))

    def test_what_would_change_the_bits_is_refused(self):
        for key in "optimizer.zero=2", "optimizer.grad_dtype=bf16", "mesh.overlap=on":
            with self.subTest(key=key):
                output = self.spt(*self.arguments(self.folder / "none", key), ranks=2, status=BAD_INPUT)
                self.assert_one_message(output, "run.reproducible", key.split("=")[0])
        run = self.train("run", 1, "train.steps=2")
        for change in ["train.micro_batch_tokens=160"], ["model.recompute=block"]:
            self.assert_one_message(self.spt(*self.arguments(run, "train.steps=2", *change), status=BAD_INPUT), "another configuration", change[0].split("=")[0])
        os.environ["OMP_NUM_THREADS"] = "2"
        try:
            self.assert_one_message(self.spt(*self.arguments(run, "train.steps=2"), status=BAD_INPUT), "with 1 thread(s) a rank", "OMP_NUM_THREADS=1")
        finally:
            os.environ["OMP_NUM_THREADS"] = "1"


if __name__ == "__main__":
    unittest.main()
