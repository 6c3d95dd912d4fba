"""spt annotate without an endpoint: by a checkpoint on any number of ranks, and from a field of persona data."""
import json
import os
import re
import signal
import unittest
from pathlib import Path

from annotate_case import AnnotateTest, read_lines, write_records
from runs import BAD_INPUT, DONE, SOURCE, STOPPED, TINY_MODEL, random_checkpoint, wait_until

PERSONAS = Path(os.environ.get("SPT_SHARED_DATA", SOURCE.parent / "shared" / "data")) / "lima" / "lima_expert_persona.jsonl"
# A random model writes no role, so any text passes that has no blank line; some are asked again.
LENIENT = """
system: Write.
question: "{question}"
correction: "No: {fault}"
attempts: 2
max_new_tokens: 12
checks: {prefix: "", min_words: 0, max_words: 5, answer_words: 0}
"""


class CheckpointTest(AnnotateTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = random_checkpoint(cls.shared, write_records(cls.shared / "records.jsonl", 8, role="You are an expert. The user asks."))

    def setUp(self):
        super().setUp()
        self.records = write_records(self.folder / "in.jsonl", 21)
        self.annotator = self.folder / "lenient.yaml"
        self.annotator.write_text(LENIENT)

    def ask(self, *options, ranks=1, status=DONE, model=None):
        return self.spt("annotate", self.records, "--out", self.out, "--checkpoint", model or self.model, "--annotator", self.annotator, *options,
                        ranks=ranks, status=status)

    def test_the_output_does_not_depend_on_ranks_tensor_parallelism_or_batch(self):
        self.ask("--report", self.report)
        expected, report = self.out.read_bytes(), self.report.read_bytes()
        self.assertGreater(len({record.get("role") for record in read_lines(self.out)}), 2)
        self.assertIn('"no role"', report.decode())
        for ranks, options in (1, ["--batch", 2]), (2, []), (2, ["mesh.tp=2"]), (4, ["mesh.tp=2", "--batch", 3]):
            with self.subTest(ranks=ranks, options=options):
                self.ask("--report", self.report, "--force", *options, ranks=ranks)
                self.assertEqual((self.out.read_bytes(), self.report.read_bytes()), (expected, report))
        self.assertEqual(read_lines(self.out)[0]["source"], "made")

    def test_stopped_or_killed_it_goes_on_where_it_was(self):
        self.ask()
        expected = self.out.read_bytes()
        for end in "stop", "kill":
            with self.subTest(end=end):
                self.out.unlink()
                job = self.start_spt("annotate", self.records, "--out", self.out, "--checkpoint", self.model, "--annotator", self.annotator,
                                     "--batch", 1, ranks=2, by_local_sh=end == "stop")
                wait_until(lambda: self.answers() >= 2 or job.status is not None, "answers are in the journal")
                if end == "kill":
                    job.kill()
                else:
                    job.process.send_signal(signal.SIGTERM)
                    self.assertIn(job.finish(30), (STOPPED, DONE), job.output)
                self.ask(ranks=1)
                self.assertEqual(self.out.read_bytes(), expected)
                self.assertFalse(self.journal.exists())

    def answers(self):
        try:
            return self.journal.read_bytes().count(b'"attempt"')
        except FileNotFoundError:
            return 0

    def test_without_a_template_the_error_lists_the_names_and_one_by_name_is_used(self):
        start = self.folder / "bare"
        start.mkdir()
        for file in self.model.iterdir():
            if file.name != "spt.json":
                (start / file.name).write_bytes(file.read_bytes())
        for ranks in 1, 2:
            self.assert_one_message(self.ask(model=start, ranks=ranks, status=BAD_INPUT), "spt.json", "--template", "chatml", "llama2_chat", "mistral_instruct",
                                    "spt")
        self.ask("--template", "chatml", model=start)
        by_chatml = self.out.read_bytes()
        self.ask("--template", "spt", "--force", model=start)
        self.assertNotEqual(self.out.read_bytes(), by_chatml)

    def test_an_output_that_exists_is_kept_on_any_number_of_ranks(self):
        self.out.write_text("mine\n")
        for ranks in 1, 2:
            self.assert_one_message(self.ask(ranks=ranks, status=BAD_INPUT), str(self.out), "exists")
        self.assertEqual(self.out.read_text(), "mine\n")

    def test_a_prompt_longer_than_the_model_is_that_records_failure(self):
        with open(self.records, "a", encoding="utf-8") as file:
            file.write(json.dumps({"id": "long", "conversations": ["why " * 2000, "so"]}) + "\n")
        self.ask("--report", self.report)
        row = [row for row in read_lines(self.report) if row["id"] == "long"][0]
        self.assertEqual(row["outcome"], "no answer")
        self.assertIn("the model at most 511", row["failure"])


class RoleFromTest(AnnotateTest):
    def convert(self, records, *options, status=DONE):
        return self.spt("annotate", records, "--out", self.out, *options, status=status)

    def test_a_field_becomes_the_role_and_the_result_can_be_prepared(self):
        records = self.folder / "in.jsonl"
        fields = ["An expert in birds.\nThey know  them", "a cook", None, "", "You are a tailor."]
        records.write_text("".join(json.dumps({"conversations": [f"q{i}", "a"], "respondent": field}) + "\n" for i, field in enumerate(fields)))
        output = self.convert(records, "--role-from", "respondent")
        self.assertEqual(self.roles(), ["You are an expert in birds. They know them.", "You are a cook.", None, None, "You are a tailor."])
        self.assertEqual(read_lines(self.out)[0]["annotation"], {"from": "respondent", "wording": "You are {}"})
        self.assertRegex(output, r"without a role +2\b")
        self.assertEqual(len(re.findall(r"(?m) warn\w* ", output)), 1, output)
        self.assertIn(f"1 of 3 roles go on in the third person, the first: {records}:1: \"… They know them …\"", output)
        self.assertRegex(self.spt("prepare", self.out, "--tokenizer", TINY_MODEL, "--missing-role", "drop", "--out", self.folder / "c.h5"), r"examples +3\b")

    def test_bad_fields_wordings_and_outputs_are_refused(self):
        records = write_records(self.folder / "in.jsonl", 2, persona=["list"])
        for options, says in ((["--role-from", "persona"], f"{records}:1"), (["--role-from", "nobody"], "nobody"),
                              (["--role-from", "source", "--role-wording", "You are"], "--role-wording"),
                              (["--role-from", "source", "--role-wording", "He is {}"], "You are"),
                              (["--role-from", "source", "--endpoint", "http://127.0.0.1/v1"], "one of")):
            self.assert_one_message(self.convert(records, *options, status=BAD_INPUT), says)
        self.assertFalse(self.out.exists())
        self.out.write_text("mine\n")
        self.assert_one_message(self.convert(records, "--role-from", "source", status=BAD_INPUT), "exists")
        self.assertEqual(self.out.read_text(), "mine\n")
        self.convert(records, "--role-from", "source", "--role-wording", "You are someone from {}", "--force")
        self.assertEqual(self.roles(), ["You are someone from made."] * 2)
        self.assertNotIn("third person", self.convert(records, "--role-from", "source", "--force"))

    @unittest.skipUnless(PERSONAS.exists(), f"{PERSONAS} is not here")
    def test_limas_personas_become_a_file_that_can_be_prepared(self):
        self.assertRegex(self.convert(PERSONAS, "--role-from", "respondent"), r"roles from the field +1023\b")
        self.assertTrue(all(role.startswith("You are ") and "\n" not in role for role in self.roles()))
        output = self.spt("prepare", self.out, "--tokenizer", TINY_MODEL, "--missing-role", "drop", "--max-tokens", 4096, "--out", self.folder / "c.h5")
        self.assertRegex(output, r"records +1023\b")


if __name__ == "__main__":
    unittest.main(verbosity=2)
