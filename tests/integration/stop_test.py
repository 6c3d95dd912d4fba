"""A request to stop is honoured within a micro-batch, whatever a run does, and leaves no trace."""
import os
import signal
import time
import unittest

from runs import STOPPED, JobTest, checkpoints, count_rows, curve, last_weights, make_corpus, make_model, make_small_model, read_rows, sample_records, wait_until


class TrainingTest(JobTest):
    """Steps of many micro-batches: a step takes seconds, a micro-batch a few hundredths of one."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_model(cls.shared / "model", hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, sample_records(cls.shared / "train.jsonl", 160))
        cls.valid = make_corpus(cls.shared / "valid.h5", cls.model, sample_records(cls.shared / "valid.jsonl", 150, first=100))

    def arguments(self, run, *keys):
        return ["train", "/dev/null", f"run.dir={run}", f"model.path={self.model}", "model.init=random", f"data.train={self.corpus}", "train.steps=3",
                "train.batch_examples=160", "train.micro_batch_tokens=160", "optimizer.lr=1e-3", "checkpoint.every_steps=2", *keys]

    def whole(self, *keys, ranks):
        run = self.folder / "whole"
        self.spt(*self.arguments(run, *keys), ranks=ranks)
        return run, read_rows(run)[1]["seconds"]

    def stopped_in_a_step(self, run, stop, *keys, ranks, seconds):
        """Asks in the second step; the run must end long before that is over."""
        job = self.start_spt(*self.arguments(run, *keys), ranks=ranks)
        wait_until(lambda: count_rows(run) == 1 or job.status is not None, "a step")
        time.sleep(0.1 * seconds)
        asked = time.monotonic()
        stop(job)
        wait_until(lambda: "stopped on request after step 1 of 3" in job.output or job.status is not None, "the end of what it does")
        self.assertLess(time.monotonic() - asked, 0.6 * seconds, job.output)
        self.assertEqual(job.finish(), STOPPED, job.output)
        self.assertIn("stopped on request after step 1 of 3", job.output)
        self.assertEqual(count_rows(run), 1)
        self.assertEqual(checkpoints(run), ["step-000001"])

    def check(self, stop, *keys, ranks):
        whole, seconds = self.whole(*keys, ranks=ranks)
        run = self.folder / "run"
        self.stopped_in_a_step(run, lambda job: stop(job, run), *keys, ranks=ranks, seconds=seconds)
        self.spt(*self.arguments(run, *keys), ranks=ranks)
        self.assertEqual(curve(read_rows(run)), curve(read_rows(whole)))
        self.assertEqual(last_weights(run), last_weights(whole))

    def test_a_signal_to_one_rank_stops_all_in_mid_step_and_the_run_goes_on_with_the_same_bits(self):
        self.check(lambda job, run: os.kill(job.pid_of_rank(1), signal.SIGUSR1), ranks=2)

    def test_a_stop_file_does_so_with_tensor_parallel_ranks_and_cut_gradients(self):
        def stop(job, run):
            (run / "STOP").touch()
        self.check(stop, "mesh.tp=2", "optimizer.zero=2", ranks=4)
        self.assertFalse((self.folder / "run/STOP").exists(), "removed when honoured")

    def test_in_the_first_step_nothing_is_saved(self):
        run = self.folder / "run"
        job = self.start_spt(*self.arguments(run), ranks=2)
        wait_until(lambda: "example " in job.output or job.status is not None, "its records")
        os.kill(job.pid_of_rank(0), signal.SIGTERM)
        self.assertEqual(job.finish(), STOPPED, job.output)
        self.assertEqual((checkpoints(run), count_rows(run)), ([], 0))
        self.spt(*self.arguments(run, "train.steps=1"), ranks=2, status=1)  # another length: it is this run's folder
        self.spt(*self.arguments(run), ranks=2)

    def test_while_held_out_data_is_measured(self):
        keys = [f"data.valid={self.valid}", "train.batch_examples=2", "checkpoint.every_steps=1"]
        run = self.folder / "run"
        job = self.start_spt(*self.arguments(run, *keys), ranks=2)
        wait_until(lambda: "example " in job.output or job.status is not None, "its records")
        time.sleep(0.5)  # a step takes some hundredths of a second, held-out data seconds
        os.kill(job.pid_of_rank(1), signal.SIGTERM)
        asked = time.monotonic()
        self.assertEqual(job.finish(), STOPPED, job.output)
        self.assertLess(time.monotonic() - asked, 2)
        rows = read_rows(run)
        self.assertNotIn("valid_loss", rows[-1])
        self.assertEqual(checkpoints(run)[-1], f"step-{len(rows):06}")

    def test_a_file_from_before_the_start_is_removed_and_said(self):
        run = self.folder / "run"
        run.mkdir()
        (run / "STOP").touch()
        self.assertIn("STOP is from before this start: removed", self.spt(*self.arguments(run, "train.batch_examples=2")))
        self.assertFalse((run / "STOP").exists())


class LoadingTest(JobTest):
    def test_weights_that_are_being_loaded_are_given_up(self):
        model = make_small_model(self.folder / "start")
        corpus = make_corpus(self.folder / "c.h5", model, sample_records(self.folder / "r.jsonl", 8))
        train = ["train", "/dev/null", f"data.train={corpus}", "train.batch_examples=2"]
        self.spt(*train, f"run.dir={self.folder / 'first'}", f"model.path={model}", "model.init=random", "train.steps=1", "checkpoint.final_optimizer=false")
        trained = self.folder / "first/checkpoints/step-000001/hf"
        run = self.folder / "run"
        job = self.start_spt(*train, f"run.dir={run}", f"model.path={trained}", "train.steps=2", ranks=2)
        wait_until(lambda: len([e for e in job.processes().values() if "OMPI_COMM_WORLD_RANK" in e]) == 2, "two ranks")
        # From the moment on at which a rank listens, whenever it comes: with next to nothing to load it is done soon.
        while job.status is None:
            time.sleep(0.01)
            if "rank(s)" in job.output:
                os.kill(job.pid_of_rank(0), signal.SIGTERM)
                break
        self.assertEqual(job.finish(), STOPPED, job.output)
        self.assertIn("stopped on request", job.output)
        self.spt(*train, f"run.dir={run}", f"model.path={trained}", "train.steps=2", ranks=2)


if __name__ == "__main__":
    unittest.main()
