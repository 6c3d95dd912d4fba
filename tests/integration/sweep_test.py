"""spt sweep: a point that fails takes no other with it, and what was done is not done again, whatever ended the sweep."""
import json
import os
import shutil
import signal
import unittest
from unittest import mock

from runs import (BAD_INPUT, DONE, FAILURE, STOPPED, JobTest, checkpoints, count_rows, make_corpus, make_small_model, read_rows,
                  sample_records, wait_until)

STEPS = 30


class Sweep(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_small_model(cls.shared / "model")
        cls.records = sample_records(cls.shared / "train.jsonl", 40)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, cls.records)
        cls.train = cls.shared / "train.yaml"
        cls.train.write_text(f"model: {{path: {cls.model}, init: random}}\ntrain: {{steps: {STEPS}, batch_examples: 4}}\n"
                             "optimizer: {lr: 1e-3}\ncheckpoint: {every_steps: 10}\n")

    def sweep_file(self, text):
        path = self.folder / "sweep.yaml"
        path.write_text(f"dir: {self.folder}/s\ntrain: {self.train}\nset: {{data.train: {self.corpus}}}\n{text}")
        return path

    def sweep(self, *arguments, status=DONE, ranks=1):
        """Runs a sweep to its end, which is that of several jobs, checks its exit status, and returns its output."""
        job = self.start_spt("sweep", *arguments, ranks=ranks)
        self.assertEqual(job.finish(400), status, job.output[-3000:])
        return job.output

    def state(self):
        return json.loads((self.folder / "s" / "sweep.json").read_text())

    def steps(self, key):
        """(point, step) → status or another member, of sweep.json."""
        return {(point["name"], step["name"]): step[key] for point in self.state()["points"] for step in point["steps"]}

    def run_of(self, point):
        return self.folder / "s" / point

    def assert_whole(self, point):
        self.assertEqual([row["step"] for row in read_rows(self.run_of(point))], list(range(1, STEPS + 1)))
        self.assertEqual(checkpoints(self.run_of(point))[-1], f"step-{STEPS:06}")

    def mpirun_of(self, job, point):
        """The one of a point's processes that is no rank."""
        def find():
            return [pid for pid, environment in job.processes().items()
                    if f"/{point}/" in environment.get("SPT_SWEEP_STEP", "") and "OMPI_COMM_WORLD_RANK" not in environment]
        return wait_until(find, f"{point} is started")[0]


class PointsTest(Sweep):
    def test_a_point_that_fails_takes_no_other_with_it_and_runs_again_alone(self):
        missing = self.folder / "missing.h5"
        file = self.sweep_file(f"points: {{bad: {{data.train: {missing}}}, good: {{train.batch_examples: 5}}}}\nseeds: [1, 2]\nparallel: 2\n")
        output = self.sweep(file, status=FAILURE)
        self.assertEqual(self.steps("status"), {("bad_seed-1", "train"): "failed", ("good_seed-1", "train"): "done",
                                                ("bad_seed-2", "train"): "failed", ("good_seed-2", "train"): "done"})
        self.assertIn("2 of 4 points are done, 2 failed", output)
        for seed in (1, 2):
            log = self.run_of(f"bad_seed-{seed}") / "train.txt"
            self.assertIn(f"bad_seed-{seed}, train failed with exit status 1: {log}", output)
            self.assertIn(str(missing), log.read_text())
            self.assert_whole(f"good_seed-{seed}")
        first = json.loads((self.run_of("good_seed-1") / "manifest.json").read_text())
        self.assertEqual(first["seed"], 1)
        self.assertIn("failed (1)", self.sweep(file, "--list"))

        shutil.copy(self.corpus, missing)
        self.sweep(file)
        self.assertEqual(self.steps("starts"), {("bad_seed-1", "train"): 2, ("good_seed-1", "train"): 1,
                                                ("bad_seed-2", "train"): 2, ("good_seed-2", "train"): 1})
        self.assertEqual(set(self.steps("status").values()), {"done"})
        self.assert_whole("bad_seed-2")
        self.assertIn("4 of 4 points are done", self.sweep(file))
        self.assertEqual(sum(self.steps("starts").values()), 6, "nothing was started again")

    def test_what_is_prepared_evaluated_and_compared_belongs_to_it(self):
        (self.folder / "task.yaml").write_text("name: held_out\nkind: perplexity\ndata: {path: valid.h5}\n")
        (self.folder / "eval.yaml").write_text("eval: {tasks: [TASK]}\n".replace("TASK", str(self.folder / "task.yaml")))
        file = self.sweep_file(
            f"inputs: {{records: {self.records}}}\n"
            f"prepare:\n  - prepare {{records}} --tokenizer {self.model} --max-tokens 160 --out '{{dir}}/train.h5' --valid 8 --valid-out {{dir}}/valid.h5\n"
            "points: {fast: {data.train: '{dir}/train.h5'}, slow: {data.train: '{dir}/train.h5', optimizer.lr: 1e-5}}\nseeds: [3]\n"
            f"evaluations:\n  held_out: {{config: {self.folder}/eval.yaml, set: {{eval.data.root: '{{dir}}'}}}}\n"
            "compare: {fast_against_slow: {a: fast, b: slow}}\n"
            "after:\n  - compare {every}/held_out --tsv\n")
        dry = self.sweep(file, "--dry-run")
        self.assertIn("2 points, ", dry)
        self.assertIn(f"run.dir={self.folder}/s/slow_seed-3/held_out", dry)
        self.assertFalse((self.folder / "s").exists(), "--dry-run writes nothing")
        output = self.sweep(file)
        self.assertEqual(set(self.steps("status").values()), {"done"})
        self.assertIn("fast_against_slow_held_out", output)
        for path in self.state()["comparisons"]:
            self.assertGreater(os.path.getsize(path), 0)
        comparison = json.loads((self.folder / "s/compare/fast_against_slow_held_out.json").read_text())
        self.assertLess(comparison["tasks"]["held_out"]["pairs"][0]["difference"], 0, "the fast one has learnt more")
        self.assertIn("held_out\t", (self.folder / "s/after-1.txt").read_text())
        made = (self.folder / "s/train.h5").stat().st_mtime_ns
        self.sweep(file)
        self.assertEqual((self.folder / "s/train.h5").stat().st_mtime_ns, made)
        self.assertEqual([step["starts"] for step in self.state()["prepare"] + self.state()["after"]], [1, 1])

    def test_what_cannot_work_is_refused_before_anything_is_started(self):
        self.assert_one_message(self.sweep(self.sweep_file("seeds: [1]\ngrid: {optimizer.rl: [1]}\n"), status=BAD_INPUT),
                                "point rl-1_seed-1, train: ", "unknown key optimizer.rl")
        self.assert_one_message(self.sweep(self.sweep_file("seeds: [1, 1]\n"), status=BAD_INPUT), "sweep.yaml:4: ", "twice")
        self.assert_one_message(self.sweep(self.sweep_file("seeds: [1]\n"), ranks=2, status=BAD_INPUT), "without mpirun")
        (self.folder / "eval.yaml").write_text("eval: {tasks: [gsm8k], data: {root: nowhere}}\n")
        self.assert_one_message(self.sweep(self.sweep_file(f"seeds: [1]\nevaluations: {{sums: {{config: {self.folder}/eval.yaml}}}}\n"), status=BAD_INPUT),
                                "evaluation sums: ", "nowhere/gsm8k/test.jsonl: no such file")
        self.assertFalse((self.folder / "s").exists())

    def test_a_launcher_that_starts_nothing_leaves_a_failure(self):
        self.sweep(self.sweep_file("seeds: [1]\nlauncher: ['true']\n"), status=FAILURE)
        self.assertEqual(self.steps("status"), {("seed-1", "train"): "failed"})

    def test_a_file_that_it_did_not_make_is_not_taken_for_its_own(self):
        (self.folder / "s").mkdir()
        shutil.copy(self.corpus, self.folder / "s/train.h5")
        line = f"prepare {self.records} --tokenizer {self.model} --out {{dir}}/train.h5"
        output = self.sweep(self.sweep_file(f"seeds: [1]\nprepare: ['{line}']\n"), status=BAD_INPUT)
        self.assert_one_message(output, f"{self.folder}/s/train.h5: is there", "remove it")
        output = self.sweep(self.sweep_file("seeds: [1]\nprepare: ['prepare nowhere.jsonl --tokenizer x --out {dir}/x.h5']\n"),
                          status=BAD_INPUT)
        self.assertIn("ended with status 1; the end of", output)


class PartsTest(Sweep):
    """What the jobs of --slurm do; tests/slurm has them under Slurm."""

    def test_points_one_by_one_and_a_finish_are_the_sweep(self):
        file = self.sweep_file("points: {a: {optimizer.lr: 1e-3}, b: {optimizer.lr: 2e-3}}\n"
                               "prepare:\n  - PREPARE\nafter:\n  - inspect {dir}/a\n".replace(
                                   "PREPARE", f"prepare {self.records} --tokenizer {self.model} --out {{dir}}/made.h5"))
        self.sweep(file, "--prepare")
        self.assertTrue((self.folder / "s" / "made.h5").exists())
        self.assertEqual(set(self.steps("status").values()), {"waiting"})
        self.sweep(file, "--point", 1)
        self.assert_whole("b")
        self.assertFalse(self.run_of("a").exists())
        output = self.sweep(file, "--finish", status=FAILURE)
        self.assertIn("1 of 2 points are done", output)
        self.assertEqual(self.steps("status"), {("a", "train"): "waiting", ("b", "train"): "done"})
        self.sweep(file, "--point", 0)
        self.sweep(file, "--point", 0)
        self.sweep(file, "--finish")
        self.sweep(file, "--finish")
        self.assertEqual(self.steps("starts"), {("a", "train"): 1, ("b", "train"): 1})
        self.assertEqual([(step["status"], step["starts"]) for step in self.state()["after"]], [("done", 2)])

    def test_a_point_that_is_refused_is_bad_input_and_one_that_is_not_there_too(self):
        file = self.sweep_file(f"points: {{bad: {{data.train: {self.folder}/missing.h5}}}}\n")
        self.assertIn("bad, train failed with exit status 1", self.sweep(file, "--point", 0, status=BAD_INPUT))
        self.assert_one_message(self.sweep(file, "--point", 1, status=BAD_INPUT), "--point is 1, must be 0 to 0")
        self.sweep(file, "--point", 0, "--finish", status=BAD_INPUT)

    def test_while_a_point_runs_it_and_the_whole_sweep_are_refused(self):
        file = self.sweep_file("seeds: [1, 2]\ngrid: {train.steps: [100000]}\n")
        job = self.start_spt("sweep", file, "--point", 0)
        wait_until(lambda: job.status is not None or count_rows(self.run_of("steps-100000_seed-1")) >= 1, "a step")
        self.assert_one_message(self.sweep(file, "--point", 0, status=BAD_INPUT), "seed-1/point.lock", "in use", str(job.process.pid))
        self.assert_one_message(self.sweep(file, status=BAD_INPUT), "seed-1/point.lock", "in use", str(job.process.pid))
        os.kill(job.process.pid, signal.SIGUSR1)
        self.assertEqual(job.finish(), STOPPED, job.output)

    def test_slurm_is_given_the_points_that_are_not_done(self):
        file = self.sweep_file("seeds: [1, 2, 3]\nranks: 2\nthreads: 3\nparallel: 2\nslurm: {script: s.sbatch, options: [--partition=p]}\n"
                               "prepare: ['prepare x --out {dir}/x.h5']\n")
        programs = self.folder / "programs"
        programs.mkdir()
        said = self.folder / "said.txt"

        def fake(script):
            (programs / "sbatch").write_text(f"#!/bin/bash\n{script}\n")
            (programs / "sbatch").chmod(0o755)
            with mock.patch.dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}"):
                return self.start_spt("sweep", file, "--slurm", "seeds=[2, 3]")
        job = fake(f'echo "$@" >>{said}; echo "a warning" >&2; echo "$((40 + $(wc -l <{said})));cluster"')
        self.assertEqual(job.finish(), DONE, job.output)
        self.assertRegex(job.output, r"job 41: prepare\njob 42: 2 of 2 points, an array\njob 43: the comparisons")
        logs = f"{self.folder}/s/slurm"
        arguments = f"s.sbatch {file} seeds=[2, 3]"
        self.assertEqual(said.read_text().splitlines(), [
            f"--parsable --job-name=s-prepare --output={logs}/prepare-%j.txt {arguments} --prepare",
            f"--parsable --job-name=s-point --output={logs}/point-%A_%a.txt --array=0,1%2 --ntasks=2 --cpus-per-task=3 "
            f"--dependency=afterok:41 --kill-on-invalid-dep=yes --partition=p {arguments}",
            f"--parsable --job-name=s-finish --output={logs}/finish-%j.txt --dependency=afterany:42 {arguments} --finish"])
        job = fake('echo "sbatch: error: invalid partition" >&2; exit 1')
        self.assertEqual(job.finish(), BAD_INPUT)
        self.assert_one_message(job.output, "invalid partition")


class EndsTest(Sweep):
    def start_long(self):
        """Two points at a time, in the middle of their training."""
        file = self.sweep_file("points: {a: {optimizer.lr: 1e-3}, b: {optimizer.lr: 2e-3}}\nseeds: [1, 2]\nparallel: 2\n")
        job = self.start_spt("sweep", file)
        wait_until(lambda: job.status is not None or min(count_rows(self.run_of(f"{point}_seed-1")) for point in "ab") >= 3,
                   "three steps", seconds=240)
        self.assertIsNone(job.status, job.output)
        return file, job

    def assert_goes_on_to_the_end(self, file):
        output = self.sweep(file)
        for point in ("a_seed-1", "b_seed-1", "a_seed-2", "b_seed-2"):
            self.assert_whole(point)
        return output

    def test_stopped_it_ends_when_its_points_have_saved_and_goes_on(self):
        file, job = self.start_long()
        os.kill(job.process.pid, signal.SIGTERM)
        self.assertEqual(job.finish(), STOPPED, job.output)
        self.assertEqual(job.processes(), {})
        self.assertEqual(self.steps("status")["a_seed-1", "train"], "stopped")
        self.assertEqual(self.steps("status")["a_seed-2", "train"], "waiting")
        for point in ("a_seed-1", "b_seed-1"):
            self.assertEqual(checkpoints(self.run_of(point))[-1], f"step-{len(read_rows(self.run_of(point))):06}", "saved")
        self.assert_goes_on_to_the_end(file)

    def test_a_point_that_is_stopped_stops_all(self):
        file, job = self.start_long()
        (self.run_of("a_seed-1") / "STOP").touch()
        self.assertEqual(job.finish(), STOPPED, job.output)
        self.assertEqual(job.processes(), {})
        self.assert_goes_on_to_the_end(file)

    def test_killed_it_goes_on_with_what_it_left_running(self):
        file, job = self.start_long()
        os.kill(job.process.pid, signal.SIGKILL)
        job.process.wait()
        self.assertNotEqual(job.processes(), {})
        output = self.assert_goes_on_to_the_end(file)
        self.assertEqual(job.processes(), {})
        self.assertRegex(output, r"processes of this sweep still run, though it was killed")

    def test_killed_with_all_its_processes_it_goes_on(self):
        file, job = self.start_long()
        job.kill()
        self.assert_goes_on_to_the_end(file)

    def test_a_killed_mpirun_fails_its_point_alone(self):
        file, job = self.start_long()
        os.kill(self.mpirun_of(job, "a_seed-1"), signal.SIGKILL)
        self.assertEqual(job.finish(400), FAILURE, job.output)
        self.assertEqual(self.steps("status"), {("a_seed-1", "train"): "failed", ("b_seed-1", "train"): "done",
                                                ("a_seed-2", "train"): "done", ("b_seed-2", "train"): "done"})
        self.assertEqual(self.steps("exit_status")["a_seed-1", "train"], 128 + signal.SIGKILL)
        self.assertEqual(job.processes(), {})
        self.assert_goes_on_to_the_end(file)
        self.assertEqual(self.steps("starts")["b_seed-1", "train"], 1)

    def test_a_second_sweep_in_the_same_folder_is_refused(self):
        file, job = self.start_long()
        self.assert_one_message(self.sweep(file, status=BAD_INPUT), "in use", str(job.process.pid))
        os.kill(job.process.pid, signal.SIGINT)
        self.assertEqual(job.finish(), STOPPED)


if __name__ == "__main__":
    unittest.main()
