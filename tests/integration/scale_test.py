"""What a rank writes, keeps and learns does not grow with the number of ranks: 8, 32 and 64 processes of a small model."""
import shutil
import unittest

from runs import JobTest, make_corpus, make_small_model, read_rows, sample_records


class ScaleTest(JobTest):
    def train(self, ranks):
        """Three steps, or what is left of them."""
        run = self.folder / f"run-{ranks}"
        job = self.start_spt("train", "/dev/null", f"run.dir={run}", f"model.path={self.model}", "model.init=random", f"data.train={self.corpus}",
                             "train.steps=3", "checkpoint.every_steps=2", "train.batch_examples=64", "run.collective_timeout_s=600", ranks=ranks)
        self.assertEqual(job.finish(600), 0, job.output[-3000:])
        files = [path for path in run.rglob("*") if path.is_file()]
        shards = [path for path in files if path.parent.name == "optimizer"]
        self.assertEqual(len(shards), 2 * ranks, "of two checkpoints; a file a rank is all that there is more of")
        return {"files": len(files) - len(shards), "manifest": (run / "manifest.json").stat().st_size, "log": (run / "log.txt").stat().st_size,
                "memory": max(row["memory_bytes"] for row in read_rows(run))}

    def test_64_ranks_write_and_keep_what_8_do_and_go_on_where_they_stopped(self):
        self.model = make_small_model(self.folder / "model")
        self.corpus = make_corpus(self.folder / "corpus.h5", self.model, sample_records(self.folder / "records.jsonl", 80))
        few, some, many = (self.train(ranks) for ranks in (8, 32, 64))
        print(f"8 ranks: {few}\n32 ranks: {some}\n64 ranks: {many}")
        self.assertEqual(many["files"], few["files"])
        self.assertLess(many["manifest"], few["manifest"] + 200)
        self.assertLess(many["log"], few["log"] + 1000)
        # Open MPI keeps something of each other rank.
        self.assertLess(some["memory"], few["memory"] + 24 * (12 << 17))
        self.assertLess(many["memory"], some["memory"] + 32 * (12 << 17))

        run = self.folder / "run-64"
        rows = read_rows(run)
        shutil.rmtree(run / "checkpoints" / "step-000003")
        again = self.train(64)
        self.assertEqual(read_rows(run)[:2], rows[:2])
        self.assertEqual([row["loss"] for row in read_rows(run)], [row["loss"] for row in rows])
        self.assertLess(again["memory"], many["memory"] + (32 << 20))


if __name__ == "__main__":
    unittest.main()
