"""The batch scripts of slurm/ under a real Slurm: what they start, what they do with a stop, a failure and a lost node, and that the
weights come out as without any of these."""
import json
import re
import shutil
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from cluster import NODES, Cluster, kill, missing_programs  # noqa: E402
from runs import (PROGRAM, SOURCE, JobTest, checkpoints, count_rows, last_weights, make_corpus, make_small_model, read_rows,  # noqa: E402
                  sample_records, wait_until)

STEPS = 60
FOUR_RANKS = ("--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=1", "--gpus-per-node=0")
TWO_RANKS = ("--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1", "--gpus-per-node=0")


class SlurmTest(JobTest):
    """A cluster for the class, and a corpus and a small model to train."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_small_model(cls.shared / "model")
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, sample_records(cls.shared / "train.jsonl", 40))
        cls.config = cls.shared / "train.yaml"
        cls.config.write_text(f"model: {{path: {cls.model}, init: random}}\ndata: {{train: {cls.corpus}}}\noptimizer: {{lr: 1e-3}}\n"
                              f"train: {{steps: {STEPS}, batch_examples: 8}}\ncheckpoint: {{every_steps: 25}}\n")
        folder = cls.shared / "slurm"
        folder.mkdir()
        cls.cluster = Cluster(folder)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()

    def tearDown(self):
        self.cluster.clear()

    def submit(self, script, options, *arguments, **variables):
        """The number of a job whose output goes into the test's folder."""
        variables = {"SPT_HOME": str(SOURCE), "SPT_PROGRAM": PROGRAM, **variables}
        return self.cluster.sbatch(*options, SOURCE / "slurm" / script, *arguments, cwd=self.folder, variables=variables)

    def train(self, run, options, *keys, **variables):
        return self.submit("train.sbatch", options, self.config, f"run.dir={run}", *keys, **variables)

    def text(self, number):
        """Everything that a job wrote: its script and its ranks."""
        return "".join(f"{path.name}: {path.read_text(errors='replace')}" for path in sorted(self.folder.glob(f"*-{number}*.out"))
                       + sorted(self.folder.glob(f"*-{number}/rank-*.txt")))

    def finished(self, number, state="COMPLETED", seconds=90):
        job = self.cluster.wait(number, seconds)
        self.assertEqual(job["JobState"], state, f"{job}\n{self.text(number)}")
        return job

    def assert_whole(self, run):
        self.assertEqual([row["step"] for row in read_rows(run)], list(range(1, STEPS + 1)))
        self.assertEqual(checkpoints(run)[-1], f"step-{STEPS:06}")

    def in_the_middle(self, number, run, point="", hold=1):
        """Waits for three steps, then holds one rank (of that point of a sweep), and so the run. The ranks' pids."""
        wait_until(lambda: count_rows(run) >= 3 or self.cluster.job(number)["JobState"] not in ("PENDING", "RUNNING"), "three steps")
        job = self.cluster.job(number)["JobId"]
        found = {int(environment["PMIX_RANK"]): pid for pid, environment in self.cluster.processes().items()
                 if environment.get("SLURM_JOB_ID") == job and "PMIX_RANK" in environment and point in environment.get("SPT_SWEEP_STEP", "")}
        self.assertIn(hold, found, self.text(number))
        kill(found[hold], signal.SIGSTOP)
        self.assertLess(count_rows(run), STEPS)
        return found

    def ask_to_stop(self, number, held):
        """As Slurm does ahead of the time limit; the job is back in the queue then."""
        self.cluster.ask("scancel", "--batch", "--signal=USR1", number)
        kill(held[1], signal.SIGCONT)
        wait_until(lambda: self.cluster.job(number)["Restarts"] == "1", "the job is back in the queue")

    def fake(self, script):
        """In place of spt: a shell script."""
        path = self.folder / "spt"
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        return str(path)


class TrainTest(SlurmTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole = {}

    def whole_run(self, options):
        """A run that nothing interrupts."""
        if options not in self.whole:
            run = self.shared / f"whole-{len(self.whole)}"
            self.finished(self.train(run, options))
            self.assert_whole(run)
            self.whole[options] = run
        return self.whole[options]

    def test_four_ranks_on_two_nodes_by_srun_and_by_mpirun_give_the_same_and_what_is_done_is_not_done_again(self):
        run = self.folder / "run"
        number = self.train(run, FOUR_RANKS)
        self.finished(number)
        self.assert_whole(run)
        self.assertRegex(self.text(number), r"start 0 by srun on n\[1-2\]: spt train .*\n.*: done")
        self.assertEqual(sorted(path.name for path in (self.folder / f"spt-train-{number}").iterdir()), [f"rank-{rank}.txt" for rank in range(4)])
        self.assertIn("4 rank(s), 2 of them on", (self.folder / f"spt-train-{number}" / "rank-0.txt").read_text())

        again = self.train(run, FOUR_RANKS)
        self.finished(again)
        self.assertNotIn("step ", (self.folder / f"spt-train-{again}" / "rank-0.txt").read_text().split("already")[-1])
        self.assert_whole(run)

        other = self.folder / "other"
        number = self.train(other, FOUR_RANKS, SPT_LAUNCHER="mpirun")
        self.finished(number)
        self.assertIn("start 0 by mpirun", self.text(number))
        self.assertTrue((self.folder / f"spt-train-{number}" / "rank-3.txt").exists())
        self.assertEqual(last_weights(other), last_weights(run))

    def test_ahead_of_its_time_limit_a_job_saves_goes_back_into_the_queue_and_ends_with_the_same_weights(self):
        run = self.folder / "run"
        # Slurm looks at limits every 30 s, and sends the signal up to that much earlier.
        number = self.train(run, ("--time=1", "--signal=B:USR1@29", *FOUR_RANKS))
        held = self.in_the_middle(number, run)
        wait_until(lambda: "asked to stop" in self.text(number), "Slurm sends SIGUSR1", seconds=50)
        kill(held[1], signal.SIGCONT)
        wait_until(lambda: self.cluster.job(number)["Restarts"] == "1", "the job is back in the queue")
        steps = len(read_rows(run))
        self.assertLess(steps, STEPS)
        self.assertEqual(checkpoints(run)[-1], f"step-{steps:06}", "it saves before it ends")
        self.cluster.ask("scontrol", "update", f"JobId={number}", "TimeLimit=10")
        self.finished(number)
        self.assert_whole(run)
        self.assertEqual(last_weights(run), last_weights(self.whole_run(FOUR_RANKS)))
        self.assertIn("exit status 75, stopped after saving: back into the queue", self.text(number))

    def test_asked_to_stop_under_mpirun_it_saves_and_goes_back_into_the_queue(self):
        run = self.folder / "run"
        number = self.train(run, FOUR_RANKS, "train.steps=100000", SPT_LAUNCHER="mpirun")
        wait_until(lambda: count_rows(run) >= 3, "three steps")
        self.cluster.ask("scancel", "--batch", "--signal=USR1", number)
        wait_until(lambda: self.cluster.job(number)["Restarts"] == "1", "the job is back in the queue")
        self.assertEqual(checkpoints(run)[-1], f"step-{len(read_rows(run)):06}")

    def test_cancelled_it_stays_away_and_a_later_job_goes_on_to_the_same_weights(self):
        run = self.folder / "run"
        number = self.train(run, FOUR_RANKS)
        held = self.in_the_middle(number, run)
        self.cluster.ask("scancel", number)
        kill(held[1], signal.SIGCONT)
        self.finished(number, "CANCELLED")
        wait_until(lambda: "ended from outside" in self.text(number), "its script says how it ended")
        self.assertEqual(self.cluster.job(number)["Restarts"], "0")
        self.assertLess(len(read_rows(run)), STEPS)
        self.assertEqual(checkpoints(run)[-1], f"step-{len(read_rows(run)):06}", "saved within KillWait")
        self.finished(self.train(run, FOUR_RANKS))
        self.assert_whole(run)
        self.assertEqual(last_weights(run), last_weights(self.whole_run(FOUR_RANKS)))

    def test_a_job_whose_node_is_lost_goes_on_on_the_other_one_to_the_same_weights(self):
        run = self.folder / "run"
        whole = self.whole_run(TWO_RANKS)
        number = self.train(run, TWO_RANKS)
        self.in_the_middle(number, run)
        lost = self.cluster.job(number)["NodeList"]
        self.assertIn(lost, NODES)
        self.cluster.power_off(lost)
        self.cluster.ask("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=test")
        job = self.finished(number)
        self.assertEqual((job["Restarts"], job["NodeList"]), ("1", NODES[1 - NODES.index(lost)]))
        self.assert_whole(run)
        self.assertEqual(last_weights(run), last_weights(whole))


class EndsTest(SlurmTest):
    """What becomes of a job by the exit status of spt."""

    def starts(self, number):
        return re.findall(r"start (\d+) by", self.text(number))

    def test_bad_input_is_said_in_the_jobs_own_output_and_not_tried_again(self):
        number = self.train(self.folder / "run", FOUR_RANKS, "optimizer.lr=-1")
        job = self.finished(number, "FAILED")
        self.assertEqual(job["ExitCode"], "1:0")
        self.assertEqual(self.starts(number), ["0"])
        own = (self.folder / f"spt-train-{number}.out").read_text()
        self.assertRegex(own, r"error .*optimizer\.lr")
        self.assertIn("exit status 1, bad input: not started again", own)

    def test_a_failure_is_tried_again_three_times(self):
        number = self.train(self.folder / "run", TWO_RANKS, SPT_PROGRAM=self.fake("exit 2"))
        job = self.finished(number, "FAILED")
        self.assertEqual(job["ExitCode"], "2:0")
        self.assertEqual(self.starts(number), ["0", "1", "2", "3"])
        for restart in (1, 2, 3):
            self.assertIn(f"exit status 2, a failure: back into the queue, restart {restart} of at most 3", self.text(number))
        self.assertIn("the job was started again 3 times: given up", self.text(number))

    def test_stops_do_not_count_as_failures(self):
        program = self.fake('[ "${SLURM_RESTART_COUNT:-0}" -lt 4 ] && exit 75; echo done')
        number = self.train(self.folder / "run", TWO_RANKS, SPT_PROGRAM=program)
        self.finished(number)
        # One more where this Slurm did not start a step.
        self.assertEqual(self.starts(number)[:5], list("01234"))

    def test_a_killed_rank_is_a_failure_and_the_job_goes_on(self):
        run = self.folder / "run"
        number = self.train(run, TWO_RANKS)
        held = self.in_the_middle(number, run)
        kill(held[1], signal.SIGKILL)
        self.finished(number)
        # One more where this Slurm did not start a step.
        self.assertEqual(self.starts(number)[:2], ["0", "1"])
        self.assertIn("a failure: back into the queue, restart 1 of at most 3", self.text(number))
        self.assert_whole(run)

    def test_a_step_that_did_not_start_is_not_taken_for_done(self):
        home = self.folder / "home"
        shutil.copytree(SOURCE / "slurm", home / "slurm")
        with open(home / "slurm" / "env.sh", "a") as site:
            site.write("srun() { return 0; }\n")  # as srun where a node refuses
        number = self.train(self.folder / "run", TWO_RANKS, SPT_HOME=str(home), SPT_RESTARTS="0")
        self.finished(number, "FAILED")
        self.assertIn("no rank was started", self.text(number))

    def test_ranks_see_all_gpus_of_their_node_or_one_each(self):
        if not self.cluster.has_gpus:
            self.skipTest("no right to make device files")
        program = self.fake('echo "gpus $CUDA_VISIBLE_DEVICES"')
        options = ("--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=1")  # and the script's own --gpus-per-node=8

        def seen(number):
            self.finished(number)
            return [(self.folder / f"spt-train-{number}" / f"rank-{rank}.txt").read_text() for rank in range(4)]
        self.assertEqual(seen(self.train("run", options, SPT_PROGRAM=program)), ["gpus 0,1,2,3,4,5,6,7\n"] * 4)
        home = self.folder / "home"
        shutil.copytree(SOURCE / "slurm", home / "slurm")
        site = home / "slurm" / "env.sh"
        commented = "# srun_options+=(--gpus-per-task=1)\n"
        self.assertIn(commented, site.read_text())
        site.write_text(site.read_text().replace(commented, commented[2:]))
        each = seen(self.train("run", options, SPT_PROGRAM=program, SPT_HOME=str(home)))
        self.assertEqual([len(text.split(",")) for text in each], [1] * 4)
        self.assertNotEqual(each[0], each[1])


class EvaluatedTest(SlurmTest):
    """With the configuration of an evaluation."""

    def setUp(self):
        super().setUp()
        make_corpus(self.folder / "valid.h5", self.model, sample_records(self.folder / "valid.jsonl", 8, first=100))
        (self.folder / "task.yaml").write_text("name: held_out\nkind: perplexity\ndata: {path: valid.h5}\n")
        self.evaluation = self.folder / "eval.yaml"
        self.evaluation.write_text(f"eval: {{tasks: [{self.folder}/task.yaml], data: {{root: {self.folder}}}}}\n")


class EvaluationTest(EvaluatedTest):
    def evaluate(self, run, behind):
        return self.submit("eval.sbatch", (f"--dependency=afterok:{behind}", *TWO_RANKS), self.evaluation, f"model.path={run}", f"run.dir={run}/eval")

    def test_it_waits_for_a_training_that_goes_back_into_the_queue_and_takes_its_last_checkpoint(self):
        run = self.folder / "run"
        number = self.train(run, TWO_RANKS)
        evaluation = self.evaluate(run, number)
        held = self.in_the_middle(number, run)
        self.ask_to_stop(number, held)
        self.assertEqual(self.cluster.job(evaluation)["Reason"], "Dependency")
        self.finished(number)
        self.finished(evaluation)
        results = json.loads((run / "eval" / "results.json").read_text())
        self.assertEqual(results["tasks"]["held_out"]["n"], 8)
        self.assertEqual(results["model"], f"{run}/checkpoints/step-{STEPS:06}/hf")

    def test_it_does_not_begin_behind_a_training_that_failed(self):
        run = self.folder / "run"
        number = self.train(run, TWO_RANKS, "optimizer.lr=-1")
        evaluation = self.evaluate(run, number)
        self.finished(number, "FAILED")
        self.finished(evaluation, "CANCELLED")
        self.assertFalse((run / "eval").exists())


class SweepTest(EvaluatedTest):
    POINTS = ("fast_seed-1", "slow_seed-1", "fast_seed-2", "slow_seed-2")

    def setUp(self):
        super().setUp()
        self.file = self.folder / "sweep.yaml"
        self.file.write_text(f"dir: {self.folder}/s\ntrain: {self.config}\nranks: 2\n"
                             "points: {fast: {optimizer.lr: 1e-3}, slow: {optimizer.lr: 1e-5}}\nseeds: [1, 2]\n"
                             f"evaluations:\n  held_out: {{config: {self.evaluation}}}\ncompare: {{fast_against_slow: {{a: fast, b: slow}}}}\n"
                             "after:\n  - compare {every.fast}/held_out --baseline {every.slow}/held_out --tsv\n"
                             f"slurm: {{script: {SOURCE}/slurm/sweep.sbatch}}\n")

    def run_of(self, point):
        return self.folder / "s" / point

    def submit_sweep(self, *keys, **variables):
        """What → number of its job."""
        output = self.cluster.ask(PROGRAM, "sweep", self.file, *keys, "--slurm", cwd=self.folder,
                                  variables={"SPT_HOME": str(SOURCE), "SPT_PROGRAM": PROGRAM, **variables})
        return {what: number for number, what in re.findall(r"(?m)^job (\d+): (prepare|\d of \d points|the comparisons)", output)}

    def text(self, number):
        return "".join(f"{path.name}: {path.read_text()}" for path in sorted(self.folder.glob("s/slurm/*.txt")) + sorted(self.folder.glob("*.out")))

    def assert_all_done(self):
        for point in self.POINTS:
            self.assert_whole(self.run_of(point))
        state = json.loads((self.folder / "s" / "sweep.json").read_text())
        steps = [step for point in state["points"] for step in point["steps"]] + state["prepare"] + state["after"]
        self.assertEqual({step["status"] for step in steps}, {"done"})
        comparison = json.loads((self.folder / "s/compare/fast_against_slow_held_out.json").read_text())
        self.assertEqual(len(comparison["tasks"]["held_out"]["pairs"]), 2)

    def test_points_are_tasks_of_an_array_and_a_job_behind_them_compares(self):
        records = sample_records(self.folder / "more.jsonl", 40)
        keys = (f"prepare=[prepare {records} --tokenizer {self.model} --max-tokens 160 --out {self.folder}/s/made.h5]",
                f"set.data.train={self.folder}/s/made.h5")
        jobs = self.submit_sweep(*keys)
        self.assertEqual(list(jobs), ["prepare", "4 of 4 points", "the comparisons"])
        self.finished(jobs["the comparisons"])
        self.assert_all_done()
        for index in range(4):  # two at a time, and each leaves the other alone
            job = self.cluster.job(f"{jobs['4 of 4 points']}_{index}")
            self.assertEqual((job["JobState"], job["Restarts"]), ("COMPLETED", "0"))
        again = self.submit_sweep(*keys)
        self.assertEqual(list(again), ["the comparisons"])
        self.finished(again["the comparisons"])

    def test_a_point_that_fails_takes_no_other_with_it_and_is_alone_in_the_next_array(self):
        missing = self.folder / "missing.h5"
        key = f"points.slow.data.train={missing}"
        jobs = self.submit_sweep(key, "seeds=[1]")
        self.finished(jobs["the comparisons"], "FAILED")
        self.assertIn("not started again", self.text(0))
        self.assertIn("1 of 2 points are done, 1 failed", self.text(0))
        self.assert_whole(self.run_of("fast_seed-1"))
        shutil.copy(self.corpus, missing)
        jobs = self.submit_sweep(key, "seeds=[1]", SPT_LAUNCHER="mpirun")
        self.assertEqual(list(jobs), ["1 of 2 points", "the comparisons"])
        self.finished(jobs["the comparisons"])
        self.assert_whole(self.run_of("slow_seed-1"))

    def test_a_point_that_is_asked_to_stop_goes_back_into_the_queue_alone(self):
        jobs = self.submit_sweep("seeds=[1]", "parallel=1")
        array = jobs["2 of 2 points"]
        run = self.run_of("fast_seed-1")
        held = self.in_the_middle(f"{array}_0", run)
        self.ask_to_stop(f"{array}_0", held)
        self.finished(f"{array}_0")
        self.finished(jobs["the comparisons"])
        self.assertEqual([self.cluster.job(f"{array}_{index}")["Restarts"] for index in range(2)], ["1", "0"])
        for point in self.POINTS[:2]:
            self.assert_whole(self.run_of(point))

    def test_in_one_job_points_run_side_by_side(self):
        number = self.submit("sweep.sbatch", ("--nodes=2", "--ntasks=4", "--cpus-per-task=1"), self.file, "ranks=1")
        held = self.in_the_middle(number, self.run_of("fast_seed-1"), "fast_seed-1", hold=0)
        wait_until(lambda: all((self.run_of(point) / "held_out" / "results.json").exists() for point in self.POINTS[1:]),
                   "the others are done meanwhile")
        kill(held[0], signal.SIGCONT)
        self.finished(number)
        self.assert_all_done()


if __name__ == "__main__":
    if missing_programs():
        sys.exit(print(f"SKIPPED: no {', '.join(missing_programs())} here (launch/setup.sh --tests installs Slurm and MUNGE)"))
    unittest.main()
