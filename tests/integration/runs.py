"""Shared by the integration tests: whole jobs of spt in a temporary folder, and what they leave behind.

Environment: SPT_PROGRAM, the binary; SPT_MPIEXEC, mpirun. Tests take a second or two a job, most of it MPI's and libtorch's start.
"""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import uuid
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
PROGRAM = os.environ["SPT_PROGRAM"]
MPIEXEC = os.environ["SPT_MPIEXEC"]
LOCAL = SOURCE / "launch" / "local.sh"
TINY_MODEL = SOURCE / "configs" / "tiny_model"
RECORDS = SOURCE / "configs" / "samples" / "records.jsonl"
DONE, BAD_INPUT, FAILURE, STOPPED = 0, 1, 2, 75


def wait_until(condition, what, seconds=60, pause=0.005):
    """The first true value of condition()."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def processes_with(mark):
    """pid → environment of each living process that has the line `mark` (NAME=value) in its environment."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path("/proc", entry, "environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # ended just now
            if mark in words:
                found[int(entry)] = dict(word.split("=", 1) for word in words if "=" in word)
    return found


class Job:
    """A job started from `command`, with all its processes; `options` are Popen's."""

    def __init__(self, command, folder, **options):
        self.mark = f"SPT_TEST_JOB={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        # What Open MPI leaves when it is killed goes with the folder.
        environment = {**os.environ, name: value, "TMPDIR": str(folder), "OMPI_MCA_btl_vader_backing_directory": str(folder)}
        self._output = Path(folder) / f"output-{value[:8]}.txt"
        with open(self._output, "wb") as output:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, env=environment, start_new_session=True, **options)

    @property
    def output(self):
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def status(self):
        """None while it runs; minus the signal when one ended it."""
        return self.process.poll()

    def processes(self):
        """pid → environment of each living process of the job: mpirun, ranks, scripts."""
        return processes_with(self.mark)

    def pid_of_rank(self, rank):
        def find():
            return [pid for pid, environment in self.processes().items() if environment.get("OMPI_COMM_WORLD_RANK") == str(rank)]
        return wait_until(find, f"rank {rank} is started")[0]

    def finish(self, seconds=120):
        """Exit status, once it has ended by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end within {seconds} s:\n{self.output[-3000:]}") from None

    def kill(self):
        """SIGKILL to every process of the job, as when the power goes."""
        while True:
            processes = self.processes()
            for pid in sorted(processes):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if self.process.poll() is not None and not processes:
                return
            time.sleep(0.002)


class JobTest(unittest.TestCase):
    """Tests with a temporary folder for the class and one for each test; no job outlives its test."""

    @classmethod
    def setUpClass(cls):
        cls.shared = Path(tempfile.mkdtemp(prefix="spt-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="test-", dir=self.shared))

    def start(self, *command, **options):
        job = Job(command, self.shared, **options)
        self.addCleanup(job.kill)
        return job

    def start_spt(self, *arguments, ranks=1, by_local_sh=False, **options):
        if by_local_sh:
            return self.start(LOCAL, ranks, PROGRAM, *arguments, **options)
        if ranks == 1:
            return self.start(PROGRAM, *arguments, **options)
        return self.start(MPIEXEC, "--oversubscribe", "--bind-to", "none", "-np", ranks, PROGRAM, *arguments, **options)

    def spt(self, *arguments, ranks=1, status=DONE, by_local_sh=False):
        """Runs a job to its end, checks its exit status, and returns its output."""
        job = self.start_spt(*arguments, ranks=ranks, by_local_sh=by_local_sh)
        found = job.finish()
        self.assertEqual(found, status, job.output[-3000:])
        return job.output

    def assert_one_message(self, output, *parts):
        """One line of ours at level error, with all of `parts` in it or the lines after it."""
        self.assertEqual(len(re.findall(r"(?m)^\d\d:\d\d:\d\d (?:\[\s*\d+\] )?error ", output)), 1, output)
        for part in parts:
            self.assertIn(part, output)


def make_model(folder, tokens=1024, **changes):
    """A copy of configs/tiny_model with other values in config.json and the tokenizer's first `tokens` tokens."""
    folder.mkdir(parents=True)
    config = json.loads((TINY_MODEL / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    shutil.copy(TINY_MODEL / "tokenizer_config.json", folder)
    tokenizer = json.loads((TINY_MODEL / "tokenizer.json").read_text(encoding="utf-8"))
    model = tokenizer["model"]
    made_by_merges = len(model["vocab"]) - len(model["merges"])  # specials and bytes come first, then one token a merge
    model["merges"] = model["merges"][:tokens - made_by_merges]
    model["vocab"] = {token: number for token, number in model["vocab"].items() if number < tokens}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


def make_small_model(folder, **changes):
    """Two layers of width 32, for what does not depend on the model."""
    return make_model(folder, **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, **changes})


def sample_records(path, count, first=0):
    """Some of configs/samples/records.jsonl."""
    lines = RECORDS.read_text(encoding="utf-8").splitlines(keepends=True)[first:first + count]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def make_corpus(path, model, records, arm="role", max_tokens=160):
    subprocess.run([PROGRAM, "prepare", records, "--tokenizer", model, "--arm", arm, "--max-tokens", str(max_tokens), "--out", path],
                   check=True, stdout=subprocess.DEVNULL)
    return path


def random_checkpoint(folder, records):
    """A model that writes this and that, as a run of one step leaves it; the corpus of the records is folder / "c.h5"."""
    start = make_model(folder / "start", hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, tie_word_embeddings=False,
                       initializer_range=0.4)
    corpus, run = folder / "c.h5", folder / "run"
    for command in (("prepare", records, "--tokenizer", start, "--out", corpus),
                    ("train", "/dev/null", f"run.dir={run}", f"model.path={start}", "model.init=random", f"data.train={corpus}", "train.steps=1",
                     "train.batch_examples=2", "checkpoint.final_optimizer=false")):
        subprocess.run([PROGRAM, *map(str, command)], check=True, capture_output=True)
    return run / "checkpoints" / "step-000001" / "hf"


def read_rows(run):
    """metrics.jsonl, every line of it."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def count_rows(run):
    try:
        return (run / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def curve(rows):
    """What must be equal to the bit. JSON has the digits that give the same double again."""
    return [(row["step"], row["loss"], row["grad_norm"], row["lr"], row["trained_tokens"], row.get("valid_loss")) for row in rows]


def distance(rows, expected):
    """The largest relative difference of loss and gradient norm."""
    assert [row["step"] for row in rows] == [row["step"] for row in expected], (rows, expected)
    return max(abs(a[key] - b[key]) / abs(b[key]) for a, b in zip(rows, expected) for key in ("loss", "grad_norm"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checkpoints(run):
    """Names in the checkpoints folder, sorted."""
    folder = run / "checkpoints"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def last_weights(run):
    return sha256(run / "checkpoints" / checkpoints(run)[-1] / "hf" / "model.safetensors")
