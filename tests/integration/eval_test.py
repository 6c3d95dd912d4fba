"""spt eval, kind: perplexity."""
import json
import math
import unittest

from runs import BAD_INPUT, JobTest, checkpoints, make_corpus, make_small_model, read_rows, sample_records


class EvalTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_small_model(cls.shared / "model")
        cls.train = make_corpus(cls.shared / "train.h5", cls.model, sample_records(cls.shared / "train.jsonl", 40))
        cls.valid = make_corpus(cls.shared / "valid.h5", cls.model, sample_records(cls.shared / "valid.jsonl", 11, first=40))
        (cls.shared / "held_out.yaml").write_text("name: held_out\nkind: perplexity\ndata: {path: valid.h5}\n")
        (cls.shared / "eval.yaml").write_text(f"eval:\n  tasks: [{cls.shared}/held_out.yaml]\n  data: {{root: {cls.shared}}}\n")

    def train_model(self):
        run = self.folder / "run"
        (self.folder / "train.yaml").write_text("train: {steps: 2, batch_examples: 8}\n")
        self.spt("train", self.folder / "train.yaml", f"model.path={self.model}", "model.init=random", f"data.train={self.train}",
                 f"data.valid={self.valid}", f"run.dir={run}")
        return run, run / "checkpoints" / checkpoints(run)[-1] / "hf"

    def evaluate(self, model, name, *overrides, ranks=1):
        out = self.folder / name
        self.spt("eval", self.shared / "eval.yaml", f"model.path={model}", f"run.dir={out}", *overrides, ranks=ranks)
        samples = [json.loads(line) for line in (out / "samples" / "held_out.jsonl").read_text().splitlines()]
        return json.loads((out / "results.json").read_text())["tasks"]["held_out"], samples

    def test_perplexity_is_that_of_training_and_the_same_on_every_layout(self):
        run, model = self.train_model()
        result, samples = self.evaluate(model, "alone")
        self.assertEqual(result["n"], 11)
        nll = sum(sample["nll"] for sample in samples)
        tokens = sum(sample["trained_tokens"] for sample in samples)
        self.assertAlmostEqual(result["value"], math.exp(nll / tokens), places=9)
        self.assertAlmostEqual(nll / tokens, read_rows(run)[-1]["valid_loss"], places=5)
        for ranks, tp in ((2, 1), (3, 1), (2, 2)):
            other, others = self.evaluate(model, f"{ranks}-{tp}", f"mesh.tp={tp}", ranks=ranks)
            self.assertEqual([sample["id"] for sample in others], [sample["id"] for sample in samples])
            for mine, theirs in zip(samples, others):
                self.assertAlmostEqual(mine["nll"], theirs["nll"], delta=1e-5 * mine["nll"])
            self.assertAlmostEqual(other["value"], result["value"], delta=1e-5 * result["value"])

    def test_a_corpus_that_is_not_there_is_refused_with_its_task_and_the_root(self):
        (self.folder / "task.yaml").write_text("name: x\nkind: perplexity\ndata: {path: none.h5}\n")
        output = self.spt("eval", self.shared / "eval.yaml", f"model.path={self.model}", f"run.dir={self.folder}/out",
                          f"eval.tasks=[{self.folder}/task.yaml]", status=BAD_INPUT)
        self.assert_one_message(output, "task.yaml", "none.h5", f"eval.data.root ({self.shared})")

    def test_an_unknown_kind_is_refused_with_its_line(self):
        (self.folder / "task.yaml").write_text("name: x\nkind: riddle\ndata: {path: valid.h5}\n")
        output = self.spt("eval", self.shared / "eval.yaml", f"model.path={self.model}", f"run.dir={self.folder}/out",
                          f"eval.tasks=[{self.folder}/task.yaml]", status=BAD_INPUT)
        self.assert_one_message(output, "task.yaml:2", "riddle", "perplexity")


if __name__ == "__main__":
    unittest.main()
