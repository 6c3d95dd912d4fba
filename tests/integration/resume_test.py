"""A run that is stopped or killed at any moment and started again gives the bits of the run that was not."""
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
import unittest

from runs import (BAD_INPUT, DONE, FAILURE, STOPPED, JobTest, checkpoints, count_rows, curve, distance, last_weights, make_corpus,
                  make_small_model, read_rows, sample_records, sha256, wait_until)

STEPS = 40


class Training(JobTest):
    """Forty steps of a small model; a whole run of each layout is made once."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_small_model(cls.shared / "model", num_key_value_heads=2)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, sample_records(cls.shared / "train.jsonl", 40))
        cls.valid = make_corpus(cls.shared / "valid.h5", cls.model, sample_records(cls.shared / "valid.jsonl", 4, first=100))
        cls.whole_runs = {}

    def arguments(self, run, tp, *keys):
        return ["train", "/dev/null", f"run.dir={run}", f"model.path={self.model}", "model.init=random", f"data.train={self.corpus}",
                f"data.valid={self.valid}", f"mesh.tp={tp}", f"train.steps={STEPS}", "train.batch_examples=6", "optimizer.lr=1e-3",
                "checkpoint.every_steps=15", *keys]

    def endless(self, run, *keys):
        arguments = [word for word in self.arguments(run, 1, *keys) if not word.startswith("train.steps")]
        return [*arguments, "train.steps=1000000"]

    def whole_run(self, ranks, tp, *keys):
        """The folder of a run that nothing interrupts."""
        name = f"whole-{ranks}-{tp}-{'-'.join(keys)}"
        if name not in self.whole_runs:
            run = self.shared / name
            self.spt(*self.arguments(run, tp, *keys), ranks=ranks)
            self.assertEqual([row["step"] for row in read_rows(run)], list(range(1, STEPS + 1)))
            self.whole_runs[name] = run
        return self.whole_runs[name]

    def assert_same_bits(self, run, whole):
        # A held-out loss is measured with every checkpoint, so at other steps after a stop.
        measured = {row["step"]: row["valid_loss"] for row in read_rows(whole) if "valid_loss" in row}
        rows = read_rows(run)
        for row in rows:
            value = row.pop("valid_loss", None)
            if value is not None and row["step"] in measured:
                self.assertEqual(value, measured[row["step"]])
        self.assertEqual(curve(rows), [(*row[:-1], None) for row in curve(read_rows(whole))])
        self.assertEqual(last_weights(run), last_weights(whole))

    def assert_nothing_half_done(self, run):
        for name in checkpoints(run):
            self.assertRegex(name, r"^step-\d{6}$")

    def stopped(self, run, tp, stop, *keys, ranks, by_local_sh=False):
        """A run that `stop(job)` stops after a few steps; the number of steps it made."""
        job = self.start_spt(*self.arguments(run, tp, *keys), ranks=ranks, by_local_sh=by_local_sh)
        wait_until(lambda: count_rows(run) >= 3 or job.status is not None, "three steps")
        stop(job)
        self.assertEqual(job.finish(), STOPPED, job.output)
        steps = len(read_rows(run))
        self.assertLess(steps, STEPS)
        self.assertEqual(checkpoints(run)[-1], f"step-{steps:06}", "it saves before it ends")
        self.assertIn("stopped on request", job.output)
        return steps


class StopTest(Training):
    def test_a_run_stopped_by_sigterm_through_local_sh_goes_on_with_the_same_bits(self):
        run = self.folder / "run"
        self.stopped(run, 1, lambda job: os.kill(job.process.pid, signal.SIGTERM), ranks=2, by_local_sh=True)
        self.spt(*self.arguments(run, 1), ranks=2, by_local_sh=True)
        self.assert_same_bits(run, self.whole_run(2, 1))
        self.assert_nothing_half_done(run)

    def test_a_run_stopped_by_sigusr1_to_mpirun_goes_on_with_the_same_bits_also_in_bf16(self):
        run = self.folder / "run"
        self.stopped(run, 2, lambda job: os.kill(job.process.pid, signal.SIGUSR1), "model.dtype=bf16", ranks=2)
        self.spt(*self.arguments(run, 2, "model.dtype=bf16"), ranks=2)
        self.assert_same_bits(run, self.whole_run(2, 2, "model.dtype=bf16"))

    def test_a_run_stopped_by_sigterm_alone_goes_on_with_the_same_bits(self):
        run = self.folder / "run"
        self.stopped(run, 1, lambda job: os.kill(job.process.pid, signal.SIGTERM), ranks=1)
        self.spt(*self.arguments(run, 1), ranks=1)
        self.assert_same_bits(run, self.whole_run(1, 1))

    def test_a_run_stopped_by_a_stop_file_goes_on_with_the_same_bits_and_on_another_layout_with_close_numbers(self):
        run = self.folder / "run"
        steps = self.stopped(run, 2, lambda job: (run / "STOP").touch(), ranks=4)
        self.assertFalse((run / "STOP").exists(), "removed when honoured")
        moved = self.folder / "moved"
        shutil.copytree(run, moved)
        with open(run / "metrics.jsonl", "a") as file:
            file.write('{"step":9999,"epoch":1,"lo')  # a torn last line
        self.spt(*self.arguments(run, 2), ranks=4)
        whole = self.whole_run(4, 2)
        self.assert_same_bits(run, whole)
        self.spt(*self.arguments(moved, 1, "train.micro_batch_tokens=300", "model.recompute=block", "run.log_every=7", "checkpoint.keep=1"),
                 ranks=3)
        rows, expected = read_rows(moved), read_rows(whole)
        self.assertEqual(curve(rows[:steps - 1]), curve(expected[:steps - 1]))
        self.assertLess(distance(rows, expected), 1e-5)
        self.assertEqual(checkpoints(moved), [f"step-{STEPS:06}"])

    def test_a_run_with_every_option_goes_on_with_the_same_bits_and_without_them_with_close_numbers(self):
        options = ["optimizer.zero=2", "optimizer.offload=cpu", "model.recompute=attention", "mesh.overlap=on", "train.micro_batch_tokens=300"]
        run, moved = self.folder / "run", self.folder / "moved"
        self.stopped(run, 2, lambda job: (run / "STOP").touch(), *options, ranks=4)
        shutil.copytree(run, moved)
        self.spt(*self.arguments(run, 2, *options), ranks=4)
        self.assert_same_bits(run, self.whole_run(4, 2, *options))
        self.spt(*self.arguments(moved, 1), ranks=2)
        self.assertLess(distance(read_rows(moved), read_rows(self.whole_run(4, 2))), 1e-5)

    def test_a_run_in_bf16_with_every_option_goes_on_with_the_same_bits(self):
        options = ["model.dtype=bf16", "optimizer.grad_dtype=bf16", "optimizer.zero=2", "optimizer.offload=cpu", "model.recompute=block",
                   "mesh.overlap=on", "train.micro_batch_tokens=300"]
        run = self.folder / "run"
        self.stopped(run, 2, lambda job: (run / "STOP").touch(), *options, ranks=4)
        self.spt(*self.arguments(run, 2, *options), ranks=4)
        self.assert_same_bits(run, self.whole_run(4, 2, *options))

    def test_local_sh_asked_again_ends_only_when_its_ranks_have(self):
        run = self.folder / "run"
        job = self.start_spt(*self.endless(run), ranks=2, by_local_sh=True)
        wait_until(lambda: count_rows(run) >= 3, "three steps")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            try:
                os.kill(job.process.pid, number)
            except ProcessLookupError:
                break
            time.sleep(0.03)
        job.finish(60)
        self.assertEqual(job.processes(), {})


class KillTest(Training):
    def go_through(self, ranks, tp, rounds, by_local_sh=False):
        """Kills every process `rounds` times, at moments near loading, stepping and saving (more often until one fell into a
        save), then lets the run end."""
        run, at_random, while_saving = self.folder / "run", random.Random(20240717), 0
        keys = ["checkpoint.every_steps=1"]

        def changes(folder, names):
            try:
                return [(path.name, path.stat().st_ctime_ns) for path in folder.glob(names)]
            except FileNotFoundError:
                return []  # renamed or removed just now

        def unfinished():
            return changes(run / "checkpoints", "*.partial")
        signs = {  # each changes at its moment, and an earlier kill may have left an old one
            "start": lambda: changes(run, "run.lock"),
            "step": lambda: count_rows(run),
            "saving": unfinished,
            "saved": lambda: [name for name in checkpoints(run) if re.fullmatch(r"step-\d+", name)],
        }
        killed = 0
        while killed < rounds or (while_saving == 0 and killed < rounds + 10):
            moment = list(signs)[(killed + 1) % len(signs)] if killed < rounds else "saving"
            sign = signs[moment]
            before = sign()
            job = self.start_spt(*self.arguments(run, tp, *keys), ranks=ranks, by_local_sh=by_local_sh)
            wait_until(lambda: job.status is not None or sign() not in (before, 0, []), moment, pause=0.001)
            time.sleep(at_random.uniform(0, 0.005 if moment == "saving" else 0.15))
            job.kill()
            killed += 1
            while_saving += len(unfinished())
        self.assertGreater(while_saving, 0, "no kill fell into a save")
        self.assertLess(count_rows(run), STEPS)
        # Newer than any whole checkpoint, and broken.
        half_done = run / "checkpoints" / f"step-{STEPS + 1:06}.partial" / "hf"
        half_done.mkdir(parents=True)
        (half_done / "config.json").write_text("{")
        output = self.spt(*self.arguments(run, tp, *keys), ranks=ranks, by_local_sh=by_local_sh)
        self.assertIn("resuming after step", output)
        self.assert_nothing_half_done(run)
        self.assert_same_bits(run, self.whole_run(ranks, tp))
        self.assertEqual(checkpoints(run), [f"step-{STEPS - 1:06}", f"step-{STEPS:06}"])

    def test_a_run_killed_again_and_again_ends_with_the_same_bits(self):
        self.go_through(ranks=2, tp=1, rounds=8)

    def test_a_run_killed_together_with_local_sh_ends_with_the_same_bits(self):
        self.go_through(ranks=2, tp=2, rounds=4, by_local_sh=True)


# Every file takes a moment until it is on the disk.
SLOW_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
int fsync(int file) {
  usleep(150000);
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}
"""


class BackgroundTest(Training):
    def slow_disk(self):
        """For the jobs that this test starts from here on."""
        source, library = self.folder / "slow.c", self.folder / "slow.so"
        source.write_text(SLOW_DISK)
        if not shutil.which("cc") or subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=False).returncode != 0:
            self.skipTest("no C compiler here, to make a disk slow by")
        os.environ["LD_PRELOAD"] = str(library)
        self.addCleanup(os.environ.pop, "LD_PRELOAD", None)

    def test_what_is_saved_in_the_background_is_what_is_saved_while_training_waits(self):
        self.slow_disk()
        facts = {}
        for background in "true", "false":
            run = self.folder / background
            self.spt(*self.arguments(run, 2, "checkpoint.every_steps=8", "checkpoint.keep=10", f"checkpoint.background={background}"), ranks=4)
            self.assertEqual(checkpoints(run), [f"step-{step:06}" for step in (8, 16, 24, 32, 40)])
            facts[background] = [json.loads((run / "checkpoints" / name / "progress.json").read_text()) for name in checkpoints(run)]
            self.assert_same_bits(run, self.whole_run(4, 2))
        self.assertEqual(facts["true"], facts["false"])

    def test_a_run_stopped_during_a_save_ends_that_one_and_saves_where_it_is(self):
        self.slow_disk()
        run = self.folder / "run"
        job = self.start_spt(*self.endless(run, "checkpoint.every_steps=10", "checkpoint.keep=9"), ranks=2)
        wait_until(lambda: "step-000010.partial" in checkpoints(run) and count_rows(run) > 12, "training goes on beside a save")
        self.assertNotIn("step-000010", checkpoints(run))
        os.kill(job.process.pid, signal.SIGUSR1)
        self.assertEqual(job.finish(60), STOPPED, job.output)
        rows = count_rows(run)
        self.assertEqual(checkpoints(run)[0], "step-000010")
        self.assertEqual(checkpoints(run)[-1], f"step-{rows:06}")
        self.assert_nothing_half_done(run)

    def test_a_run_killed_during_a_save_goes_on_from_the_one_before_with_the_same_bits(self):
        self.slow_disk()
        run = self.folder / "run"
        job = self.start_spt(*self.arguments(run, 1, "checkpoint.every_steps=10"), ranks=2)
        wait_until(lambda: "step-000020.partial" in checkpoints(run) and count_rows(run) > 21, "training goes on beside a save")
        job.kill()
        self.assertEqual(checkpoints(run), ["step-000010", "step-000020.partial"])
        os.environ.pop("LD_PRELOAD")
        self.assertIn("resuming after step 10 of", self.spt(*self.arguments(run, 1), ranks=2))
        self.assert_nothing_half_done(run)
        self.assert_same_bits(run, self.whole_run(2, 1))

    def test_a_disk_slower_than_saves_are_asked_for_is_waited_for(self):
        self.slow_disk()
        run = self.folder / "run"
        job = self.start_spt(*self.endless(run, "checkpoint.every_steps=1"))
        found = wait_until(lambda: re.search(r"step 2 waited (\S+) s until the checkpoint of step 1 was written", job.output), "the second save")
        self.assertGreater(float(found[1]), 0.2)
        stopped = wait_until(lambda: re.search(r"saved \S+/step-000001 in (\S+) s \(training stopped for (\S+) s\)", job.output), "its message")
        self.assertGreaterEqual(float(stopped[1]) + 0.1, float(stopped[2]))
        self.assertGreater(float(stopped[2]), 0.2)

    def test_a_folder_that_vanishes_during_a_save_is_named_and_made_again(self):
        self.slow_disk()
        run = self.folder / "run"
        job = self.start_spt(*self.endless(run, "checkpoint.every_steps=10"))
        wait_until(lambda: "step-000010.partial" in checkpoints(run), "a save")
        (run / "checkpoints").rename(run / "elsewhere")
        found = wait_until(lambda: re.search(r"warning step 10 is not saved: (.*)", job.output), "it fails")
        for part in (f"{run}/checkpoints/step-000010.partial", "No such file or directory", "there is no checkpoint yet", "training goes on"):
            self.assertIn(part, found[1])
        wait_until(lambda: [name for name in checkpoints(run) if re.fullmatch(r"step-\d+", name)], "the next save")

    def test_a_bad_newest_checkpoint_is_named_and_the_one_before_it_used(self):
        whole = self.whole_run(2, 1)
        for fault in "changed", "missing", "torn":
            with self.subTest(fault):
                run = self.folder / fault
                shutil.copytree(whole, run)
                newest = run / "checkpoints" / f"step-{STEPS:06}"
                path = newest / {"changed": "hf/model.safetensors", "missing": "optimizer/dp-0001-tp-0000.safetensors", "torn": "progress.json"}[fault]
                data = path.read_bytes()
                if fault == "missing":
                    path.unlink()
                else:
                    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if fault == "changed" else data[:len(data) // 2])
                output = self.spt(*self.arguments(run, 1), ranks=2)
                warning = re.search(r"warning (.*)", output)[1]
                self.assertIn(str(path), warning)
                self.assertIn(f"training goes back to step-{30:06}; the bad checkpoint is now {newest}.bad", warning)
                self.assertIn(f"resuming after step 30 of {STEPS}", output)
                self.assertEqual(checkpoints(run), ["step-000030", f"step-{STEPS:06}", f"step-{STEPS:06}.bad"])
                shutil.rmtree(f"{newest}.bad")
                self.assert_same_bits(run, whole)


class FoldersTest(Training):
    def test_a_finished_run_started_again_is_done_and_changes_nothing(self):
        run = self.whole_run(2, 1)

        def content():
            return {path: (sha256(path), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file() and path.name != "log.txt"}
        before = content()
        self.assertIn("is finished", self.spt(*self.arguments(run, 1), ranks=2))
        self.assertIn("is finished", self.spt(*self.arguments(run, 2), ranks=2))
        self.assertEqual(content(), before)

    def test_as_many_checkpoints_stay_as_asked_and_the_last_has_no_optimizer_if_not_wanted(self):
        run = self.folder / "run"
        keys = ["checkpoint.every_steps=10", "checkpoint.keep=3", "checkpoint.final_optimizer=false"]
        self.spt(*self.arguments(run, 1, *keys))
        self.assertEqual(checkpoints(run), ["step-000020", "step-000030", "step-000040"])
        folders = [run / "checkpoints" / name / "optimizer" for name in checkpoints(run)]
        self.assertEqual([any(folder.glob("*")) for folder in folders], [True, True, False])
        self.assertIn("is finished", self.spt(*self.arguments(run, 1, *keys), ranks=2))

    def test_a_run_folder_holds_what_the_contract_says(self):
        run = self.whole_run(2, 1)
        self.assertLessEqual({"config.yaml", "manifest.json", "metrics.jsonl", "log.txt", "checkpoints", "tensorboard"}, set(os.listdir(run)))
        self.assertIn("dtype: fp32", (run / "config.yaml").read_text(), "as resolved")
        manifest = json.loads((run / "manifest.json").read_text())
        self.assertEqual([rank["count"] for rank in manifest["ranks"]], [2])
        for rank in manifest["ranks"]:
            self.assertEqual(rank["host"], socket.gethostname())
            self.assertLessEqual({"threads", "cpu", "device"}, set(rank))
        self.assertLessEqual({"version", "git_commit", "libraries", "backends"}, set(manifest["program"]))
        self.assertEqual(manifest["mesh"], {"dp": 2, "tp": 1})
        self.assertIn(f"run.dir={run}", manifest["command_line"])
        self.assertRegex(manifest["corpus_sha256"], "^[0-9a-f]{64}$")
        log = (run / "log.txt").read_text()
        self.assertEqual(len(re.findall("example .* tokens; what is trained stands in", log)), 2)
        self.assertRegex(log, "AI Assistant:⟦ You are")
        self.assertIn(f"step {STEPS}/{STEPS}", log)
        self.assertEqual(len(list((run / "tensorboard").iterdir())), 1)

    def test_a_corpus_or_model_that_changed_is_refused_on_resume(self):
        run, model = self.folder / "run", self.folder / "model"
        shutil.copytree(self.model, model)
        corpus = self.folder / "corpus.h5"
        shutil.copy(self.corpus, corpus)
        arguments = [word for word in self.arguments(run, 1) if not word.startswith(("model.path", "data.train"))]
        arguments += [f"model.path={model}", f"data.train={corpus}"]
        self.spt(*arguments)
        corpus.unlink()
        make_corpus(corpus, model, sample_records(self.folder / "other.jsonl", 40, first=50))
        self.assert_one_message(self.spt(*arguments, status=BAD_INPUT), "content_sha256", str(corpus), "another run.dir")
        shutil.copy(self.corpus, corpus)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "rope_theta": 1234.0}))
        self.assert_one_message(self.spt(*arguments, status=BAD_INPUT), "different models", str(model / "config.json"))

    def test_what_changes_the_mathematics_is_refused_with_both_values(self):
        run = self.whole_run(2, 1)
        for ranks in 1, 2:
            output = self.spt(*self.arguments(run, 1, "optimizer.lr=2e-3", "run.seed=2"), ranks=ranks, status=BAD_INPUT)
            self.assert_one_message(output, "optimizer.lr: 0.001 there, 0.002 now", "run.seed: 1 there, 2 now", str(run))


class ShareTest(Training):
    def test_a_second_run_in_a_folder_is_refused_until_the_first_is_gone(self):
        run = self.folder / "run"
        first = self.start_spt(*self.endless(run), ranks=2)
        wait_until(lambda: count_rows(run) >= 2, "two steps")
        pid = first.pid_of_rank(0)
        for ranks in 1, 2:
            output = self.spt(*self.endless(run), ranks=ranks, status=BAD_INPUT)
            self.assert_one_message(output, "in use by", f"host {socket.gethostname()}, pid {pid}")
        # A refused start must not take away a request that the first has not seen yet.
        os.kill(pid, signal.SIGSTOP)
        (run / "STOP").touch()
        self.spt(*self.endless(run), status=BAD_INPUT)
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(first.finish(20), STOPPED)

        first = self.start_spt(*self.endless(run), ranks=2)
        wait_until(lambda: " step " in first.output, "a step")
        first.kill()
        self.assertTrue((run / "run.lock").exists())
        second = self.start_spt(*self.endless(run), ranks=2)
        # Far below the 60 s after which a silent holder on another machine counts as gone.
        wait_until(lambda: " step " in second.output or second.status is not None, "takes over", seconds=30)
        self.assertIn("taking over", second.output)
        os.kill(second.process.pid, signal.SIGUSR1)
        self.assertEqual(second.finish(20), STOPPED)


class FailureTest(Training):
    def started(self, run, *keys, ranks=3):
        job = self.start_spt(*self.endless(run, *keys), ranks=ranks)
        wait_until(lambda: count_rows(run) >= 2, "two steps")
        return job

    def assert_ended(self, job, seconds):
        begin = time.monotonic()
        status = job.finish(seconds)
        wait_until(lambda: not job.processes(), "no process is left", seconds=5)
        self.assertLess(time.monotonic() - begin, seconds)
        return status

    def test_an_exception_on_one_rank_ends_all_with_one_message(self):
        run = self.folder / "run"
        job = self.started(run)
        (run / "run.lock").unlink()
        self.assertEqual(self.assert_ended(job, seconds=5), FAILURE, job.output)
        self.assert_one_message(job.output, f"rank 0@{socket.gethostname()}: ", "the lock is gone")
        self.assertNotIn("TORCH_", job.output)

    def test_a_save_that_fails_on_one_rank_is_done_without_and_tried_again(self):
        run = self.folder / "run"
        job = self.started(run, "checkpoint.every_steps=5")
        pid = job.pid_of_rank(1)
        most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, most[1]))  # this rank can open no file
        found = wait_until(lambda: re.search(r"warning step (\d+) is not saved: (.*)", job.output), "a save fails")
        for part in (f"rank 1@{socket.gethostname()}: ", f"step-{int(found[1]):06}.partial/optimizer/dp-0001-tp-0000.safetensors", "Too many open files",
                     "training goes on"):
            self.assertIn(part, found[2])
        resource.prlimit(pid, resource.RLIMIT_NOFILE, most)
        wait_until(lambda: f"saved {run}/checkpoints/step-" in job.output[job.output.rindex("is not saved"):], "a later save")
        os.kill(job.process.pid, signal.SIGUSR1)
        self.assertEqual(job.finish(20), STOPPED, job.output)
        self.assert_nothing_half_done(run)

    def test_a_last_save_that_fails_on_one_rank_ends_all_with_one_message(self):
        run = self.folder / "run"
        job = self.started(run, "checkpoint.every_steps=1000000")
        resource.prlimit(job.pid_of_rank(1), resource.RLIMIT_NOFILE, (3, 3))
        os.kill(job.process.pid, signal.SIGUSR1)
        self.assertEqual(self.assert_ended(job, seconds=10), FAILURE, job.output)
        self.assert_one_message(job.output, "is not saved", f"rank 1@{socket.gethostname()}: ", "Too many open files", "there is no checkpoint yet")
        self.assertEqual(checkpoints(run), [])

    def test_a_killed_rank_ends_all(self):
        job = self.started(self.folder / "run")
        os.kill(job.pid_of_rank(2), signal.SIGKILL)
        self.assertNotIn(self.assert_ended(job, seconds=10), (DONE, STOPPED))

    def test_local_sh_makes_a_killed_rank_a_failure(self):
        run = self.folder / "run"
        job = self.start_spt(*self.endless(run), ranks=2, by_local_sh=True)
        wait_until(lambda: count_rows(run) >= 2, "two steps")
        os.kill(job.pid_of_rank(1), signal.SIGKILL)
        self.assertEqual(self.assert_ended(job, seconds=10), FAILURE)

    def test_a_rank_that_hangs_is_noticed_and_the_job_ends(self):
        job = self.started(self.folder / "run", "run.collective_timeout_s=3", "run.io_timeout_s=100", "checkpoint.every_steps=1000000")
        os.kill(job.pid_of_rank(1), signal.SIGSTOP)
        self.assertEqual(self.assert_ended(job, seconds=20), FAILURE)
        host = socket.gethostname()
        self.assert_one_message(job.output, "the job hangs for longer than run.collective_timeout_s = 3 s:", f"\n  rank 1@{host}: silent")
        waiting = re.search(rf"ranks 0, 2 on {host}: waiting in \w+ #\d+ of dp in step (\d+) for \d s", job.output)
        self.assertTrue(waiting, job.output)
        self.assertGreaterEqual(int(waiting[1]), 2)


del Training  # not a test by itself


if __name__ == "__main__":
    unittest.main(verbosity=2)
