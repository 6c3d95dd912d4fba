"""spt judge by a local checkpoint: the program's own generator replies, on any number of ranks."""
import shutil
import signal
import unittest

from judge_case import JudgeTest
from runs import BAD_INPUT, DONE, STOPPED, random_checkpoint, sample_records, wait_until

# A random model writes no verdict: the last vowel of its reply is one, and some replies have none.
VOWELS = """
system: Judge.
prompt: "{question} {first} {second}"
correction: "No: {fault}"
verdict: {pattern: "([aeiou])[^aeiou]*$", first: a, second: e, tie: o}
attempts: 2
max_new_tokens: 8
"""


class CheckpointTest(JudgeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = random_checkpoint(cls.shared, sample_records(cls.shared / "records.jsonl", 8))

    def setUp(self):
        super().setUp()
        self.evaluations([f"answer {i} yes" for i in range(16)] + ["same"], [f"other {i * 7} no" for i in range(16)] + ["same"])
        self.file = self.folder / "vowels.yaml"
        self.file.write_text(VOWELS)
        self.out = self.folder / "out"
        self.record = self.out / "judgements.jsonl"

    def ask(self, *options, ranks=1, status=DONE):
        return self.spt("judge", self.a, self.b, "--checkpoint", self.model, "--judge", self.file, "--out", self.out, *options, ranks=ranks, status=status)

    def test_the_judgement_does_not_depend_on_ranks_tensor_parallelism_or_batch(self):
        self.ask()
        expected, calls = self.judgement(), self.sorted_calls()
        task = expected["tasks"]["talk"]
        self.assertEqual((expected["judge"]["model"], expected["judge"]["checkpoint"]), (str(self.model), str(self.model)))
        self.assertEqual((task["pairs"], task["identical"], task["n"] + task["unparsed"]), (17, 1, 17))
        self.assertGreater(len({call["verdict"] for call in calls}), 2)
        for ranks, options in (2, []), (2, ["mesh.tp=2", "--batch", 3]):
            with self.subTest(ranks=ranks, options=options):
                shutil.rmtree(self.out)
                self.ask(*options, ranks=ranks)
                self.assertEqual((self.judgement(), self.sorted_calls()), (expected, calls))

    def sorted_calls(self):
        return sorted(self.calls(), key=lambda call: (call["id"], call["order"], call["attempt"]))

    def test_stopped_or_killed_it_goes_on_where_it_was_and_finished_it_asks_nothing(self):
        self.ask()
        expected, calls = self.judgement(), self.sorted_calls()
        for end in "stop", "kill":
            with self.subTest(end=end):
                shutil.rmtree(self.out)
                job = self.start_spt("judge", self.a, self.b, "--checkpoint", self.model, "--judge", self.file, "--out", self.out, "--batch", 1,
                                     ranks=2, by_local_sh=end == "stop")
                wait_until(lambda: len(self.calls()) >= 2 or job.status is not None, "replies are in the record")
                if end == "kill":
                    job.kill()
                else:
                    job.process.send_signal(signal.SIGTERM)
                    self.assertIn(job.finish(30), (STOPPED, DONE), job.output)
                self.ask(ranks=1)
                self.assertEqual((self.judgement(), self.sorted_calls()), (expected, calls))
        record = self.record.read_bytes()
        self.assertIn(str(self.model), self.ask(ranks=2))
        self.assertEqual(self.record.read_bytes(), record)

    def test_another_type_of_numbers_is_another_judge(self):
        self.ask()
        self.assert_one_message(self.ask("model.dtype=bf16", status=BAD_INPUT), "what differs: settings")
        for ranks in 1, 2:
            self.assert_one_message(self.spt("judge", self.a, self.folder, "--checkpoint", self.model, ranks=ranks, status=BAD_INPUT), "results.json: is not there")

    def test_a_prompt_longer_than_the_model_gets_no_reply(self):
        for name in "ab":
            shutil.rmtree(self.folder / name)
        self.evaluations(["short", "why " * 2000], ["brief", "how"])
        output = self.ask()
        self.assertEqual(self.judgement()["tasks"]["talk"]["unanswered"], 1)
        self.assertIn("1 pairs got no answer", output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
