"""What the bad_input tests share: a small model, corpora of it, and a way to see a command refuse.

SPT_SHOW_MESSAGES=1 prints each refusal, to read them as a user.
"""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time

from runs import PROGRAM, TINY_MODEL, JobTest, make_corpus, sample_records, wait_until

SECONDS = 20  # within which a refusal must come
OUR_ERROR = re.compile(r"^\S+ (\[\s*\d+\] )?error ", re.MULTILINE)
CRASHES = ("terminate called", "what():", "Segmentation", "signal", "Assertion", "Traceback", "INTERNAL ASSERT",
           "[json.exception", "basic_string", "Exception raised from")


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def write_safetensors(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def edit_json(path, **changes):
    """Sets the keys of a JSON file; None removes one."""
    value = json.loads(path.read_text())
    for key, new in changes.items():
        value.pop(key, None)
        if new is not None:
            value[key] = new
    path.write_text(json.dumps(value))


class Case(JobTest):
    """The class has a small model and its corpus, and a run of 2 steps with a checkpoint after each."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.architecture = cls.shared / "architecture"  # without weights
        shutil.copytree(TINY_MODEL, cls.architecture)
        edit_json(cls.architecture / "config.json", hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                  num_attention_heads=4, num_key_value_heads=2)
        cls.records = sample_records(cls.shared / "records.jsonl", 24)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.architecture, cls.records, max_tokens=2048)
        cls.run_folder = cls.shared / "run"
        subprocess.run([PROGRAM, *cls.training(cls.run_folder, "model.init=random", path=cls.architecture)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.model = cls.run_folder / "checkpoints/step-000002/hf"

    @classmethod
    def training(cls, run, *overrides, path=None, corpus=None):
        """Arguments of a training of 2 steps."""
        config = cls.shared / "train.yaml"
        config.write_text("train:\n  steps: 2\n  batch_examples: 4\n  micro_batch_tokens: 512\n"
                          "checkpoint: {every_steps: 1, keep: 2}\n")
        return ("train", config, f"run.dir={run}", f"model.path={path or cls.model}",
                f"data.train={corpus or cls.corpus}", *overrides)

    def copy_of(self, folder):
        """A copy of a folder that the test may spoil."""
        copy = self.folder / f"copy-{len(list(self.folder.iterdir()))}"
        shutil.copytree(folder, copy)
        return copy

    def files(self):
        """What is on the disk and may not change: the lock and the log of a run may."""
        return {path: (path.stat().st_size, path.stat().st_mtime_ns)
                for path in self.shared.rglob("*") if path.is_file() and path.name not in ("run.lock", "log.txt")}

    def refused(self, *arguments, says, status=1, ranks=1, in_one_message=True, unchanged=True, **options):
        """Runs a command that must fail as a user expects: status, one message with each text of `says`, soon, leaving
        nothing running and every file as it was (unless `unchanged` is false)."""
        before = self.files()
        begin = time.monotonic()
        job = self.start_spt(*arguments, ranks=ranks, **options)
        found = job.finish(3 * SECONDS)
        seconds = time.monotonic() - begin
        output = job.output
        shown = f"{' '.join(map(str, arguments))} on {ranks} rank(s): exit {found}\n{output}"
        if os.environ.get("SPT_SHOW_MESSAGES"):
            print(f"\n--- {self.id().split('.')[-1]}: {shown}", file=sys.stderr)
        self.assertEqual(found, status, shown)
        self.assertLess(seconds, SECONDS, shown)
        for crash in CRASHES:
            self.assertNotIn(crash, output, shown)
        if in_one_message:
            self.assertEqual(len(OUR_ERROR.findall(output)), 1, shown)
            output = output[OUR_ERROR.search(output).start():]
        for text in says:
            self.assertIn(str(text), output, shown)
        wait_until(lambda: not job.processes(), "all its processes have ended", 5)
        after = self.files()
        changed = [str(path) for path, facts in before.items() if after.get(path) != facts]
        if unchanged:
            self.assertEqual(changed, [], shown)

    def training_refused(self, *overrides, says, ranks=(1, 2), check=True, run=None, **options):
        """Sees `spt train` refuse alone and under mpirun; `options` are refused's and training's."""
        of_training = {key: options.pop(key) for key in ("path", "corpus") if key in options}
        arguments = self.training(run or self.folder / "run", *overrides, **of_training)
        for count in ranks:
            with self.subTest(ranks=count):
                self.refused(*arguments, *(["--check"] if check else []), says=says, ranks=count, **options)
