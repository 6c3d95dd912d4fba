"""Run folders, checkpoints and machines that are not what a training needs."""

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from bad_input_case import Case
from runs import wait_until


def has_trained(run):
    """Whether a first step is in the metrics: all files are open then."""
    metrics = run / "metrics.jsonl"
    return metrics.exists() and metrics.stat().st_size > 0


class BadRunFolder(Case):
    def setUp(self):
        super().setUp()
        self.run_copy = self.folder / "run"
        shutil.copytree(self.run_folder, self.run_copy)
        self.checkpoint = self.run_copy / "checkpoints/step-000002"

    def test_a_run_with_another_configuration_is_refused_with_both_values(self):
        for check in (True, False):
            self.training_refused("model.init=random", "optimizer.lr=0.5", "run.seed=7", path=self.architecture, run=self.run_copy, check=check,
                                  says=["another configuration", "optimizer.lr: 1e-05 there, 0.5 now", "run.seed: 1 there, 7 now"],
                                  ranks=[1, 2] if check else [1])

    def test_a_stored_configuration_that_is_broken_is_refused(self):
        (self.run_copy / "config.yaml").write_text("optimizer: {lr: [")
        self.training_refused("model.init=random", path=self.architecture, run=self.run_copy, says=[self.run_copy / "config.yaml"], ranks=[1])

    def test_a_run_folder_that_is_a_file_is_refused(self):
        path = self.folder / "file"
        path.touch()
        for run in (path, path / "below"):
            self.training_refused(run=run, says=["run.dir", path, "Not a directory"], ranks=[1, 2] if run == path else [1])

    def test_a_checkpoint_in_a_run_that_must_not_resume_is_refused(self):
        self.training_refused("model.init=random", "checkpoint.resume=never", path=self.architecture, run=self.run_copy, check=False,
                              says=[self.checkpoint, "checkpoint.resume is never"], ranks=[1])

    def test_a_run_folder_in_use_is_refused_with_its_user(self):
        run = self.folder / "busy"
        overrides = ("model.init=random", "train.steps=100000", "checkpoint.every_steps=100000")
        arguments = self.training(run, *overrides, path=self.architecture)
        first = self.start_spt(*arguments)
        wait_until(lambda: has_trained(run), "it trains")
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                self.refused(*arguments, says=["run.lock: the run folder is in use by", f"pid {first.process.pid}", "another run.dir"],
                             ranks=ranks, unchanged=False)
        self.assertIsNone(first.status)

    def test_a_check_says_where_the_run_would_start_and_what_it_may_not_do(self):
        check = self.training(self.run_copy, "model.init=random", path=self.architecture)
        self.assertIn(f"{self.run_copy} is finished: 2 of 2 steps", self.spt(*check, "--check"))
        shutil.rmtree(self.checkpoint)
        self.assertIn(f"goes on after step 1 of 2 in {self.run_copy}", self.spt(*check, "--check", ranks=2))
        self.training_refused("model.init=random", "checkpoint.resume=never", path=self.architecture, run=self.run_copy,
                              says=["checkpoint.resume is never"])
        shutil.rmtree(self.run_copy)
        self.assertIn("starts at step 1", self.spt(*check, "--check"))

    def checkpoint_refused(self, says, ranks=(1, 2)):
        """With no older one: resume_test has what happens where there is."""
        shutil.rmtree(self.run_copy / "checkpoints/step-000001", ignore_errors=True)
        self.training_refused("model.init=random", path=self.architecture, run=self.run_copy, says=says, check=False, ranks=ranks)

    def test_a_checkpoint_with_a_missing_file_is_refused_with_its_name(self):
        (self.checkpoint / "hf/tokenizer.json").unlink()
        self.checkpoint_refused([self.checkpoint / "hf/tokenizer.json", "missing", "remove the folder"])

    def test_a_checkpoint_with_an_extra_file_is_refused_with_its_name(self):
        (self.checkpoint / "hf/notes.txt").write_text("mine")
        self.checkpoint_refused([self.checkpoint / "hf/notes.txt", "extra"], ranks=[1])

    def test_a_checkpoint_with_a_changed_file_is_refused_with_its_name(self):
        path = self.checkpoint / "hf/model.safetensors"
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)
        self.checkpoint_refused([path, "changed since it was saved", "remove the folder"])

    def test_a_checkpoint_with_a_truncated_file_is_refused_with_its_name(self):
        path = next((self.checkpoint / "optimizer").iterdir())
        path.write_bytes(path.read_bytes()[:1000])
        self.checkpoint_refused([path, "changed since it was saved"], ranks=[1])

    def test_a_checkpoint_with_a_broken_list_of_files_is_refused(self):
        path = self.checkpoint / "progress.json"
        good = json.loads(path.read_text())
        for label, value in (("empty", ""), ("list", "[]"), ("format", json.dumps(dict(good, format="x"))),
                             ("newer", json.dumps(dict(good, version=99))), ("step", json.dumps(dict(good, step=7))),
                             ("types", json.dumps(dict(good, format=1, version="a"))), ("version", json.dumps(dict(good, version="a"))),
                             ("files", json.dumps(dict(good, files=[]))), ("facts", json.dumps(dict(good, files={"hf/config.json": 5})))):
            with self.subTest(label):
                path.write_text(value)
                self.checkpoint_refused([self.checkpoint], ranks=[1])
        path.unlink()
        self.checkpoint_refused([path, "missing or broken"])

    def test_a_lock_that_is_none_of_ours_is_refused_while_it_is_young(self):
        for text in ("", "[]", '{"pid": "x", "host": 5}', '{"pid": 1e99}'):
            (self.run_copy / "run.lock").write_text(text)
            with self.subTest(text):
                self.training_refused("model.init=random", path=self.architecture, run=self.run_copy, check=False, ranks=[1],
                                      says=["run.lock: the run folder is in use by an unknown process"])

    def test_a_lock_that_is_a_folder_is_refused(self):
        (self.run_copy / "run.lock").unlink(missing_ok=True)
        (self.run_copy / "run.lock").mkdir()
        self.training_refused("model.init=random", path=self.architecture, run=self.run_copy, check=False, ranks=[1],
                              says=[self.run_copy / "run.lock", "is a folder"])

    def test_folders_that_are_no_checkpoints_of_ours_are_left_alone(self):
        strangers = [self.run_copy / "checkpoints" / name for name in ("step--00001", "step-1", "step-0000003")]
        for stranger in strangers:
            stranger.mkdir()
            (stranger / "notes.txt").write_text("mine")
        shutil.rmtree(self.checkpoint)
        self.spt(*self.training(self.run_copy, "model.init=random", path=self.architecture))
        self.assertTrue(self.checkpoint.is_dir())
        for stranger in strangers:
            self.assertEqual((stranger / "notes.txt").read_text(), "mine")

    def test_what_a_killed_pruning_left_goes_also_when_the_run_is_finished(self):
        left = self.run_copy / "checkpoints/step-000001.deleting"
        left.mkdir()
        self.spt(*self.training(self.run_copy, "model.init=random", path=self.architecture))
        self.assertFalse(left.exists())

    def test_a_checkpoint_removed_by_hand_is_made_again(self):
        (self.checkpoint / "hf/notes.txt").write_text("mine")
        shutil.rmtree(self.checkpoint)
        self.spt(*self.training(self.run_copy, "model.init=random", path=self.architecture))
        self.assertTrue((self.checkpoint / "progress.json").is_file())


class Failures(Case):
    """What is not the user's fault: a save that fails is done without, the last one's is exit status 2, and what was saved stays."""

    def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoints(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                run = self.folder / f"run-{ranks}"
                arguments = self.training(run, "model.init=random", "train.steps=20", "optimizer.lr=1e37", path=self.architecture)
                self.refused(*arguments, says=["step 4: loss ", "nan", "in 3 step(s) in a row", "another run.dir and an optimizer.lr below 1e+37"], status=2, ranks=ranks)
                self.assertEqual(self.checkpoints_are_whole(run)[-1], 3)
                rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
                self.assertEqual([row["loss"] is None for row in rows], [False, True, True, True])

    def checkpoints_are_whole(self, run):
        """Returns the steps of the checkpoints under a name of their own."""
        steps = []
        for folder in (run / "checkpoints").glob("step-*"):
            if folder.suffix != ".partial":
                files = json.loads((folder / "progress.json").read_text())["files"]
                self.assertEqual({name: facts["size"] for name, facts in files.items()},
                                 {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*")
                                  if path.is_file() and path.name != "progress.json"})
                steps.append(int(folder.name[5:]))
        return sorted(steps)

    @unittest.skipIf(os.geteuid() != 0, "a small file system is mounted, which only root can")
    def test_a_full_disk_ends_the_run_with_its_last_save_and_it_goes_on_when_there_is_room(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                self.fill_and_go_on(ranks)

    def fill_and_go_on(self, ranks):
        place = Path(tempfile.mkdtemp(dir=self.folder))
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True)
        if mount.returncode != 0:
            self.skipTest(f"no file system can be mounted here: {mount.stderr.strip()}")
        try:
            run = Path(tempfile.mkdtemp(dir=self.folder))
            (run / "checkpoints").symlink_to(place)  # its metrics and log are elsewhere
            arguments = self.training(run, "model.init=random", "train.steps=12", "checkpoint.keep=12", path=self.architecture)
            self.refused(*arguments, says=["step 12 is not saved: rank", run / "checkpoints", "No space left on device", "the newest whole checkpoint is"],
                         status=2, ranks=ranks)
            whole = self.checkpoints_are_whole(run)
            self.assertTrue(1 <= len(whole) < 12, whole)
            self.assertEqual(whole, list(range(1, len(whole) + 1)))
            log = (run / "log.txt").read_text()
            warning = re.search(rf"warning step {len(whole) + 1} is not saved: (.*)", log)
            self.assertRegex(warning[1], rf"^rank [01]@{socket.gethostname()}: ")
            for part in (".partial/", "No space left on device",
                         f"the newest whole checkpoint is {run / 'checkpoints'}/step-{len(whole):06}", "training goes on"):
                self.assertIn(part, warning[1])
            rows = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
            self.assertEqual(rows, list(range(1, 13)), "training went on")
            self.refused(*arguments, says=["step 12 is not saved", "No space left on device"], status=2, ranks=ranks, unchanged=False)
            self.assertEqual(self.checkpoints_are_whole(run), whole)
            subprocess.run(["mount", "-o", "remount,size=32m", place], check=True)
            self.spt(*arguments, ranks=ranks)
            self.assertEqual(self.checkpoints_are_whole(run), list(range(1, 13)))
            rows = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
            self.assertEqual(rows, list(range(1, 13)))
        finally:
            subprocess.run(["umount", place], check=True)

    def test_a_file_that_cannot_grow_ends_the_run_and_it_goes_on_when_it_can(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        run = self.folder / "run"
        arguments = self.training(run, "model.init=random", path=self.architecture)
        self.refused(*arguments, says=[run / "checkpoints/step-000002.partial", "File too large", "there is no checkpoint yet"], status=2,
                     preexec_fn=limit)
        self.assertIn("step 1 is not saved", (run / "log.txt").read_text())
        self.assertEqual(self.checkpoints_are_whole(run), [])
        self.spt(*arguments)
        self.assertEqual(self.checkpoints_are_whole(run), [1, 2])

    def test_a_run_folder_that_is_moved_away_ends_the_run(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                run = self.folder / f"run-{ranks}"
                job = self.start_spt(*self.training(run, "model.init=random", "train.steps=100000", "checkpoint.every_steps=100000", path=self.architecture),
                                     ranks=ranks)
                wait_until(lambda: has_trained(run) or job.status is not None, "it trains")
                run.rename(self.folder / f"moved-{ranks}")
                self.assertEqual(job.finish(), 2, job.output)
                self.assert_one_message(job.output, "run.lock: the lock is gone", "run folder moved")

    def test_a_corpus_that_cannot_be_written_leaves_nothing(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

        self.refused("prepare", self.records, "--tokenizer", self.architecture, "--out", self.folder / "x.h5", status=2,
                     says=[self.folder / "x.h5", "File too large"], preexec_fn=limit)
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
