"""Jobs over three hosts, which are network namespaces of this one (bench/hosts.py)."""
import json
import os
import re
import shutil
import sys
import time
import unittest

from runs import BAD_INPUT, DONE, MPIEXEC, PROGRAM, SOURCE, JobTest, count_rows, make_corpus, make_small_model, read_rows, sample_records, wait_until

sys.path.insert(0, str(SOURCE / "bench"))
from hosts import Hosts  # noqa: E402

LACKS = "network namespaces are root's" if os.geteuid() != 0 else "no iproute2 here" if not shutil.which("ip") else None
LIMIT_S = 3
SLACK_S = 6  # until rank 0 speaks, and the ranks that it does not reach give it up


@unittest.skipIf(LACKS, LACKS)
class HostsTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_small_model(cls.shared / "model", num_key_value_heads=2)
        cls.corpus = make_corpus(cls.shared / "corpus.h5", cls.model, sample_records(cls.shared / "train.jsonl", 12))

    def start_on(self, hosts, run, *keys):
        """A training with a rank on each host."""
        return self.start(*hosts.command([MPIEXEC, "-np", hosts.count, "--map-by", "node", PROGRAM, "train", "/dev/null", f"run.dir={run}",
                                          f"model.path={self.model}", "model.init=random", f"data.train={self.corpus}", "train.batch_examples=6", *keys]))

    def hosts(self, **options):
        hosts = Hosts(3, "1gbit", "0", **options)
        self.addCleanup(hosts.__exit__)
        return hosts.__enter__()

    def test_training_runs_over_three_hosts(self):
        run = self.folder / "run"
        job = self.start_on(self.hosts(), run, "train.steps=3")
        self.assertEqual(job.finish(), DONE, job.output)
        self.assertEqual([row["step"] for row in read_rows(run)], [1, 2, 3])
        manifest = json.loads((run / "manifest.json").read_text())
        self.assertEqual([(host["host"], host["count"]) for host in manifest["ranks"]], [("host1", 1), ("host2", 1), ("host3", 1)])

    def test_start_up_says_which_file_differs_on_which_host(self):
        here = self.folder / "here"
        for folder in (here, *(self.folder / f"host{number}" for number in (1, 2, 3))):
            folder.mkdir()
        for number in (1, 2):
            shutil.copy(self.corpus, self.folder / f"host{number}" / "corpus.h5")
        make_corpus(self.folder / "host3" / "corpus.h5", self.model, self.shared / "train.jsonl", arm="plain")
        hosts = self.hosts(own=self.folder)
        job = self.start_on(hosts, self.folder / "run", "train.steps=1", f"data.train={here}/corpus.h5")
        self.assertEqual(job.finish(), BAD_INPUT, job.output)
        self.assert_one_message(job.output, f"host host3 does not see the same corpus {here}/corpus.h5 as rank 0 on host1")
        self.assertNotIn("host host2", job.output)

    def cut(self, number):
        """Cuts a host off in mid-step, and returns the job when no rank is left, and the seconds that took."""
        hosts = self.hosts()
        run = self.folder / "run"
        job = self.start_on(hosts, run, "train.steps=1000000", "checkpoint.every_steps=1000000", f"run.collective_timeout_s={LIMIT_S}")
        wait_until(lambda: count_rows(run) >= 3, "three steps")
        time.sleep(1)  # heartbeats of all ranks came
        begin = time.monotonic()
        hosts.cut(number)
        # mpirun may outlive its ranks: it waits for the daemon of a host that it cannot reach.
        wait_until(lambda: not any("OMPI_COMM_WORLD_RANK" in environment for environment in job.processes().values()), "no rank is left", 60, 0.1)
        seconds = time.monotonic() - begin
        self.assertGreater(seconds, LIMIT_S - 1)
        self.assertLess(seconds, LIMIT_S + SLACK_S, job.output)
        return job

    def test_a_host_that_is_cut_off_is_named_and_all_ranks_end(self):
        job = self.cut(3)
        self.assertRegex(job.output, rf"the job hangs for longer than run\.collective_timeout_s = {LIMIT_S} s:")
        self.assertRegex(job.output, r"\n  rank 2@host3: silent \(stopped, or its host or its network is down\) for \d s")
        self.assertRegex(job.output, r"rank[s]? [01].*: waiting in \w+ #\d+ of \w+ in step \d+ for \d s")
        self.assertEqual(len(re.findall(r"error the job hangs", job.output)), 1)

    def test_ranks_end_that_rank_0_does_not_reach(self):
        job = self.cut(1)
        self.assertRegex(job.output, r"ranks 1-2 on host2, host3: silent|rank 1@host2: silent")


if __name__ == "__main__":
    unittest.main()
