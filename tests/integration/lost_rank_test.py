"""Ranks whose shares of the work take unlike time wait for each other, but not for one that is stopped or lost."""
import json
import os
import signal
import time
import unittest

from runs import DONE, FAILURE, JobTest, random_checkpoint, sample_records, wait_until

LIMITS = ("run.collective_timeout_s=2", "run.io_timeout_s=2")
ANNOTATOR = """
system: Write.
question: "{question}"
correction: "No: {fault}"
attempts: 1
max_new_tokens: 400
checks: {prefix: "", min_words: 0, max_words: 5, answer_words: 0}
"""
TASK = """
name: long
kind: generate
data: {path: questions.jsonl, format: jsonl}
id: id
prompt: "{text}"
gold: "1"
extract: number
metric: accuracy
"""


class LostRankTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = random_checkpoint(cls.shared, sample_records(cls.shared / "records.jsonl", 8))
        questions = [{"id": str(i), "text": f"What is {i}?"} for i in range(6000)]
        (cls.shared / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
        (cls.shared / "prompts.jsonl").write_text("".join(json.dumps({"prompt": question["text"]}) + "\n" for question in questions))
        (cls.shared / "in.jsonl").write_text("".join(json.dumps({"conversations": [question["text"], "It is."]}) + "\n" for question in questions))
        (cls.shared / "task.yaml").write_text(TASK)
        (cls.shared / "annotator.yaml").write_text(ANNOTATOR)

    def commands(self):
        return {
            "generate": ("--model", self.model, "--input", self.shared / "prompts.jsonl", "--out", self.folder / "g.jsonl", "--max-new-tokens", 400),
            "annotate": (self.shared / "in.jsonl", "--out", self.folder / "a.jsonl", "--checkpoint", self.model, "--template", "spt", "--annotator",
                         self.shared / "annotator.yaml"),
            "eval": ("/dev/null", f"model.path={self.model}", f"run.dir={self.folder}/eval", f"eval.tasks=[{self.shared}/task.yaml]",
                     f"eval.data.root={self.shared}", "eval.max_new_tokens=400"),
        }

    def test_a_stopped_rank_ends_the_job_whatever_it_does(self):
        for command, arguments in self.commands().items():
            for rank in (1, 0):
                with self.subTest(command=command, rank=rank):
                    job = self.start_spt(command, *arguments, *LIMITS, ranks=2)
                    wait_until(lambda job=job: "2 rank(s)" in job.output, "it starts")
                    time.sleep(1.5)  # it is at work
                    self.assertIsNone(job.status, job.output)
                    os.kill(job.pid_of_rank(rank), signal.SIGSTOP)
                    begin = time.monotonic()
                    self.assertEqual(job.finish(30), FAILURE, job.output)
                    self.assertLess(time.monotonic() - begin, 9)
                    self.assertRegex(job.output, r"rank 1@\S+: silent \(stopped" if rank == 1 else r"Rank 0@\S+, which knows who waits where, is silent")

    def test_ranks_wait_for_a_slow_one_for_longer_than_the_limit(self):
        prompts = self.folder / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": f"What is {i}?"}) + "\n" for i in range(160)))
        job = self.start_spt("generate", "--model", self.model, "--input", prompts, "--out", self.folder / "g.jsonl", "--max-new-tokens", 1000, "--batch", 1,
                             LIMITS[0], ranks=2)
        pid = job.pid_of_rank(1)
        wait_until(lambda: "2 rank(s)" in job.output, "it starts")
        begin = time.monotonic()
        while job.status is None:  # a tenth of its time is left to it, and its heartbeats go on
            for number, seconds in ((signal.SIGSTOP, 0.9), (signal.SIGCONT, 0.1)):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    break
                time.sleep(seconds)
        self.assertEqual(job.status, DONE, job.output)
        self.assertGreater(time.monotonic() - begin, 6)


if __name__ == "__main__":
    unittest.main()
