"""spt rerun: a run again from its manifest, with the same bits or the first difference."""
import json
import shutil
import unittest

from runs import BAD_INPUT, JobTest, curve, make_corpus, make_small_model, read_rows, sample_records


class RerunTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_small_model(cls.shared / "model")
        cls.corpus = make_corpus(cls.shared / "c.h5", cls.model, sample_records(cls.shared / "r.jsonl", 24))
        cls.valid = make_corpus(cls.shared / "v.h5", cls.model, sample_records(cls.shared / "v.jsonl", 8, 24))

    def train(self, ranks=1):
        run = self.folder / "first"
        self.spt("train", "/dev/null", f"run.dir={run}", f"model.path={self.model}", "model.init=random", f"data.train={self.corpus}",
                 f"data.valid={self.valid}", "train.steps=4", "train.batch_examples=6", "checkpoint.every_steps=2", "run.seed=7", ranks=ranks)
        return run

    def edit_manifest(self, run, change):
        manifest = json.loads((run / "manifest.json").read_text())
        change(manifest)
        (run / "manifest.json").write_text(json.dumps(manifest))

    def test_the_manifest_alone_makes_the_same_bits_again(self):
        run = self.train(ranks=2)
        (run / "config.yaml").unlink()
        shutil.rmtree(run / "checkpoints")
        output = self.spt("rerun", f"{run}/", ranks=2)
        self.assertIn("program, machine and inputs are as they were", output)
        self.assertIn("metrics equal to the bit for 4 steps", output)
        self.assertEqual(curve(read_rows(self.folder / "first-rerun")), curve(read_rows(run)))
        self.assertEqual(len((run / "metrics.jsonl").read_text().splitlines()), 4)

    def test_the_first_difference_is_named(self):
        run = self.train()
        rows = read_rows(run)
        rows[2]["loss"] += 1e-15 * rows[2]["loss"]
        rows[3]["grad_norm"] = 1.0
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        output = self.spt("rerun", run, "--out", self.folder / "again", status=BAD_INPUT)
        again = read_rows(self.folder / "again")
        self.assertIn(f"step 3: loss is {rows[2]['loss']!r} there, {again[2]['loss']!r} here", output)
        self.assertNotIn("step 4", output.splitlines()[-1])

    def test_times_may_differ(self):
        run = self.train()
        rows = read_rows(run)
        rows[1].update(seconds=99.0, data_seconds=1.0, tokens_per_second=0.5, memory_bytes=1)
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.assertIn("equal to the bit for 4 steps", self.spt("rerun", run))

    def test_what_is_not_as_it_was_is_said(self):
        run = self.train()

        def change(manifest):
            manifest["program"]["version"] = "0.0.9"
            manifest["program"]["libraries"]["libtorch"] = "2.10.0"
            manifest["ranks"][0].update(cpu="Another CPU", threads=5)
        self.edit_manifest(run, change)
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("seed: 7", "seed: 8"))
        output = self.spt("rerun", run, "run.log_every=2")
        for line in ("program.version: 0.0.9 there", "program.libraries.libtorch: 2.10.0 there", "ranks.0.cpu: Another CPU there",
                     "ranks.0.threads: 5 there, 1 here", "config.yaml is not what ran: run.seed: 7 there, 8 now", "run.log_every: 1 there, 2 now"):
            self.assertIn(line, output)
        self.assertNotIn("are as they were", output)

    def test_other_inputs_are_refused(self):
        run = self.train()
        self.assert_one_message(self.spt("rerun", run, f"data.train={self.valid}", status=BAD_INPUT), "other inputs", "corpus_sha256: ")
        self.edit_manifest(run, lambda manifest: manifest.update(model_config_sha256="0" * 64))
        self.assert_one_message(self.spt("rerun", run, status=BAD_INPUT), "other inputs", "model_config_sha256: 0000")
        self.assertFalse((self.folder / "first-rerun").exists())

    def test_other_ranks_are_refused_with_the_line_to_use(self):
        run = self.train(ranks=2)
        self.assert_one_message(self.spt("rerun", run, status=BAD_INPUT), "ran on 2 rank(s)", "OMP_NUM_THREADS=1 mpirun -np 2 ", f"rerun {run}")

    def test_folders_are_refused(self):
        run = self.train()
        self.assert_one_message(self.spt("rerun", run, "--out", run, status=BAD_INPUT), "is the run itself")
        self.spt("rerun", run)
        self.assert_one_message(self.spt("rerun", run, status=BAD_INPUT), "first-rerun holds a finished run")
        self.edit_manifest(run, lambda manifest: manifest.pop("config"))
        self.assert_one_message(self.spt("rerun", run, "--out", self.folder / "x", status=BAD_INPUT), "no configuration in it")
        self.assert_one_message(self.spt("rerun", self.folder, status=BAD_INPUT), "manifest.json")


if __name__ == "__main__":
    unittest.main()
