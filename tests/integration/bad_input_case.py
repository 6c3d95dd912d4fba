"""What the bad_input tests share: a small model, corpora of it, and a way to see a command refuse.

Environment: SPT_PROGRAM, SPT_MPIEXEC [mpirun]. SPT_SHOW_MESSAGES=1 prints each refusal, to read them as a user.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

PROGRAM = os.environ["SPT_PROGRAM"]
SOURCE = Path(__file__).resolve().parents[2]
MPIEXEC = os.environ.get("SPT_MPIEXEC", "mpirun")
SECONDS = 20  # within which a refusal must come
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1")
OUR_ERROR = re.compile(r"^\S+ (\[\d+\] )?error ", re.MULTILINE)
CRASHES = ("terminate called", "what():", "Segmentation", "signal", "Assertion", "Traceback", "INTERNAL ASSERT",
           "[json.exception", "basic_string", "Exception raised from")


def processes_marked(mark):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            pass
    return found


def command_line(arguments, ranks):
    launcher = [MPIEXEC, "-n", str(ranks), "--oversubscribe", "--bind-to", "none"] if ranks else []
    return launcher + [PROGRAM, *map(str, arguments)]


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


class Case(unittest.TestCase):
    """Each test has a folder of its own (self.folder); the model and the corpora are made once."""

    shared = None

    @classmethod
    def setUpClass(cls):
        if Case.shared is None:
            Case.make_shared()

    @classmethod
    def make_shared(cls):
        cls.holder = tempfile.TemporaryDirectory(prefix="spt-bad-input-")  # removed when Python ends
        cls.shared = Path(cls.holder.name)
        cls.architecture = cls.shared / "architecture"  # without weights
        shutil.copytree(SOURCE / "configs/tiny_model", cls.architecture)
        edit_json(cls.architecture / "config.json", hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                  num_attention_heads=4, num_key_value_heads=2)
        cls.records = cls.shared / "records.jsonl"
        lines = (SOURCE / "configs/samples/records.jsonl").read_text().splitlines()
        cls.records.write_text("\n".join(lines[:24]) + "\n")
        cls.corpus = cls.shared / "corpus.h5"
        cls.start("prepare", cls.records, "--tokenizer", cls.architecture, "--out", cls.corpus)
        cls.run_folder = cls.shared / "run"  # finished after 2 steps, a checkpoint after each
        cls.start(*cls.training(cls.run_folder, "model.init=random", path=cls.architecture))
        cls.model = cls.run_folder / "checkpoints/step-000002/hf"

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="test-", dir=self.shared))

    @classmethod
    def start(cls, *arguments, ranks=0, **options):
        """Runs a command that must succeed."""
        done = subprocess.run(command_line(arguments, ranks), env=ENVIRONMENT, text=True, capture_output=True,
                              timeout=60, **options)
        if done.returncode != 0:
            raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stderr}")
        return done

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

    def refused(self, *arguments, says, status=1, ranks=0, in_one_message=True, unchanged=True, **options):
        """Runs a command that must fail as a user expects: status, one message with each text of `says`, soon, leaving
        nothing running and every file as it was (unless `unchanged` is false)."""
        before = self.files()
        mark = uuid.uuid4().hex
        begin = time.monotonic()
        process = subprocess.Popen(command_line(arguments, ranks), env=dict(ENVIRONMENT, SPT_TEST_MARK=mark), text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        try:
            out, err = process.communicate(timeout=3 * SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail(f"{arguments} hangs")
        seconds = time.monotonic() - begin
        shown = f"{' '.join(map(str, arguments))} on {ranks or 'no mpirun,'} ranks: exit {process.returncode}\n{err}"
        if os.environ.get("SPT_SHOW_MESSAGES"):
            print(f"\n--- {self.id().split('.')[-1]}: {shown}", file=sys.stderr)
        self.assertEqual(process.returncode, status, shown + out[-2000:])
        self.assertLess(seconds, SECONDS, shown)
        for crash in CRASHES:
            self.assertNotIn(crash, err, shown)
        if in_one_message:
            self.assertEqual(len(OUR_ERROR.findall(err)), 1, shown)
            err = err[OUR_ERROR.search(err).start():]
        for text in says:
            self.assertIn(str(text), err, shown)
        for _ in range(50):
            if not (left := processes_marked(mark.encode())):
                break
            time.sleep(0.1)
        self.assertEqual(left, [], shown)
        after = self.files()
        changed = [str(path) for path, facts in before.items() if after.get(path) != facts]
        if unchanged:
            self.assertEqual(changed, [], shown)

    def training_refused(self, *overrides, says, ranks=(0, 2), check=True, run=None, **options):
        """Sees `spt train` refuse alone and under mpirun; `options` are refused's and training's."""
        of_training = {key: options.pop(key) for key in ("path", "corpus") if key in options}
        arguments = self.training(run or self.folder / "run", *overrides, **of_training)
        for count in ranks:
            with self.subTest(ranks=count):
                self.refused(*arguments, *(["--check"] if check else []), says=says, ranks=count, **options)
