"""The numbers of a training run do not depend on how it is laid out: ranks, tensor parallelism, packing, micro-batches, recompute."""
import unittest

from runs import JobTest, distance, make_corpus, make_model, read_rows, sample_records

LAYOUTS = [(1, 1), (2, 1), (2, 2), (3, 1), (4, 2), (4, 4)]  # ranks, tp
TOLERANCE = 1e-5


class Curves(JobTest):
    """Ten steps of a random model; `batch` and `model_changes` by the class."""

    batch = 8
    model_changes = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_model(cls.shared / "model", **cls.model_changes)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, sample_records(cls.shared / "records.jsonl", 40))

    def train(self, ranks, tp, *keys):
        run = self.folder / f"run-{ranks}-{tp}-{'-'.join(keys)}"
        self.spt("train", "/dev/null", f"run.dir={run}", f"model.path={self.model}", "model.init=random", "model.dtype=fp32",
                 f"data.train={self.corpus}", f"mesh.tp={tp}", "train.steps=10", f"train.batch_examples={self.batch}",
                 "optimizer.lr=1e-3", "schedule.warmup_steps=2", "run.log_every=100", *keys, ranks=ranks)
        rows = read_rows(run)
        self.assertEqual([row["step"] for row in rows], list(range(1, 11)))
        return rows

    def check_layouts(self):
        expected = self.train(1, 1)
        self.assertLess(expected[-1]["loss"], expected[0]["loss"] - 0.3, "it learns, so wrong gradients would show")
        for ranks, tp in LAYOUTS[1:]:
            with self.subTest(ranks=ranks, tp=tp):
                rows = self.train(ranks, tp)
                self.assertLess(distance(rows, expected), TOLERANCE)
                self.assertEqual([row["trained_tokens"] for row in rows], [row["trained_tokens"] for row in expected])
                self.assertTrue(all(0 < row["comm_exposed_seconds"] < row["seconds"] for row in rows))


class LayoutsTest(Curves):
    def test_ranks_and_tensor_parallelism_do_not_change_the_losses(self):
        self.check_layouts()

    def test_ranks_with_other_numbers_of_micro_batches_share_gradients(self):
        keys = "data.packing=false", "train.batch_examples=3"
        self.assertLess(distance(self.train(2, 1, *keys, "optimizer.zero=2"), self.train(1, 1, *keys)), TOLERANCE)


    def test_communication_that_goes_on_while_computing_changes_no_bit(self):
        for ranks, tp, *keys in [(2, 1), (3, 1, "optimizer.zero=2", "train.micro_batch_tokens=400"), (4, 2, "model.recompute=block"),
                                 (4, 1, "train.batch_examples=3")]:  # one rank has nothing to compute
            with self.subTest(ranks=ranks, tp=tp, keys=keys):
                usual, overlapped = (self.train(ranks, tp, f"mesh.overlap={overlap}", *keys) for overlap in ("off", "on"))
                for row, other in zip(usual, overlapped):
                    self.assertEqual((row["loss"], row["grad_norm"]), (other["loss"], other["grad_norm"]))
                logs = [(self.folder / f"run-{ranks}-{tp}-{'-'.join([f'mesh.overlap={overlap}', *keys])}" / "log.txt").read_text() for overlap in ("off", "on")]
                self.assertEqual(["overlapped with computing" in log for log in logs], [False, True])


class OddLayoutsTest(Curves):
    """A vocabulary that no tp divides, larger than the tokenizer, and a batch that no dp divides; output weights of their own."""

    batch = 7
    model_changes = {"tokens": 1000, "vocab_size": 1003, "tie_word_embeddings": False}

    def test_a_vocabulary_of_1003_and_a_batch_of_7_give_the_same_losses_on_every_layout(self):
        self.check_layouts()


class MicroBatchesTest(Curves):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.usual = None

    def check(self, *keys, ranks=1, tp=1):
        self.assertLess(distance(self.train(ranks, tp, *keys), self.expected()), TOLERANCE)

    def expected(self):
        if self.usual is None:
            type(self).usual = self.train(1, 1)
        return self.usual

    def test_training_without_packing_gives_the_same_losses(self):
        self.check("data.packing=false")
        self.check("data.packing=false", ranks=2, tp=1)

    def test_micro_batches_of_one_example_give_the_same_losses(self):
        self.check("train.micro_batch_tokens=1")

    def test_micro_batches_of_some_examples_give_the_same_losses(self):
        self.check("train.micro_batch_tokens=400", ranks=2, tp=2)

    def test_recomputing_blocks_gives_the_same_losses(self):
        self.check("model.recompute=block")
        self.check("model.recompute=attention")
        self.check("model.recompute=block", "train.micro_batch_tokens=400", ranks=2, tp=2)

    def test_activations_that_are_whole_on_every_tp_rank_give_the_same_losses(self):
        self.check("model.sequence_parallel=false", ranks=2, tp=2)

    def test_all_options_together_give_the_same_losses(self):
        self.check("optimizer.zero=2", "optimizer.offload=cpu", "model.recompute=attention", "mesh.overlap=on", "train.micro_batch_tokens=400", ranks=4, tp=2)
        self.check("optimizer.zero=2", "optimizer.offload=cpu", "model.recompute=block", "mesh.overlap=on", "data.packing=false", ranks=3)

    def test_gradients_cut_over_dp_give_the_same_losses(self):
        self.check("optimizer.zero=2")
        self.check("optimizer.zero=2", "train.micro_batch_tokens=400", ranks=2)
        self.check("optimizer.zero=2", "model.recompute=block", ranks=4, tp=2)


del Curves  # not a test by itself


if __name__ == "__main__":
    unittest.main(verbosity=2)
