"""spt annotate: what it asks a model and what it writes."""
import json
import threading
import unittest

from annotate_case import KEY, AnnotateTest, read_lines, role_of, write_records
from chat_server import Reply, completion
from runs import BAD_INPUT, MPIEXEC, PROGRAM, SOURCE, TINY_MODEL, sha256

ANNOTATOR = SOURCE / "configs" / "annotators" / "role_prompt.yaml"


class OutputTest(AnnotateTest):
    def test_the_output_has_the_inputs_order_and_fields_and_a_role_with_its_origin(self):
        records = write_records(self.folder / "in.jsonl", 12, extra={"kept": [1.5, None, "ä"]})
        last = threading.Event()  # the first answer comes last

        def script(request):
            if "number 11?" in request.question:
                last.set()
            return Reply(body=completion(role_of(request.question)), wait=last if "number 0?" in request.question else None)

        self.annotate(self.serve(script), records)
        expected = [{**record, "role": role_of(record["conversations"][0]),
                     "annotation": {"model": "test-model", "prompt_sha256": sha256(ANNOTATOR), "attempts": 1}} for record in read_lines(records)]
        self.assertEqual(read_lines(self.out), expected)
        self.assertFalse(self.journal.exists())
        self.spt("prepare", self.out, "--tokenizer", TINY_MODEL, "--out", self.folder / "c.h5")

    def test_the_model_sees_the_example_and_the_question_and_never_the_answer(self):
        records = self.folder / "in.jsonl"
        records.write_text(json.dumps({"conversations": ["q-one", "a-one", "q-two", "a-two"]}) + "\n")
        server = self.serve()
        self.annotate(server, records)
        body = server.requests[0].body
        self.assertEqual([message["role"] for message in body["messages"]], ["system", "user", "assistant", "user"])
        self.assertIn("q-one", body["messages"][3]["content"])
        for hidden in "a-one", "q-two", "a-two":
            self.assertNotIn(hidden, json.dumps(body))
        self.assertEqual((body["model"], body["temperature"]), ("test-model", 0))
        self.assertEqual(server.requests[0].headers["Authorization"], f"Bearer {KEY}")

    def test_refusals_and_wrong_roles_are_asked_again_with_the_correction_at_most_three_times_then_reported(self):
        records = write_records(self.folder / "in.jsonl", 4)
        bad = {0: ["I'm sorry, but I can't assist with that."], 1: ["A good expert.", "You are short."], 2: ["You are short."] * 9}

        def script(request):
            number = int(request.question.split("number ")[1].split("?")[0])
            tries = (len(request.turns) - 3) // 2
            texts = bad.get(number, [])
            return texts[tries] if tries < len(texts) else role_of(request.question)

        server = self.serve(script)
        output = self.annotate(server, records, "--report", self.report)
        self.assertEqual([role is not None for role in self.roles()], [True, True, False, True])
        self.assertEqual([record.get("annotation", {}).get("attempts") for record in read_lines(self.out)], [2, 3, None, 1])
        self.assertEqual(len(server.requests), 2 + 3 + 3 + 1)
        report = {row["id"]: row for row in read_lines(self.report)}
        self.assertEqual({key: row["outcome"] for key, row in report.items()}, {"r0": "asked again", "r1": "asked again", "r2": "no role"})
        self.assertIn("refusal", report["r0"]["answers"][0]["fault"])
        self.assertIn("3 words", report["r2"]["answers"][2]["fault"])
        self.assertRegex(output, r"without a role +1\b")
        third = max((r for r in server.requests if r.question.startswith("what is thing number 1?")), key=lambda r: len(r.turns))
        self.assertEqual(third.turns[3], "A good expert.")
        self.assertIn('does not begin with "You are"', third.turns[4])
        self.assertIn("3 words", third.turns[6])

    def test_answer_text_is_not_taken_for_a_role(self):
        records = self.folder / "in.jsonl"
        answer = "boil the water first then add the rice and wait for twelve minutes"
        records.write_text(json.dumps({"conversations": ["How do I cook rice?", answer]}) + "\n")
        server = self.serve(lambda request: role_of("rice") + " So " + answer + "." if len(request.turns) == 3 else role_of("rice"))
        self.annotate(server, records, "--report", self.report)
        self.assertIn("answer text", read_lines(self.report)[0]["answers"][0]["fault"])
        self.assertEqual(self.roles(), [role_of("rice")])

    def test_degenerate_texts_are_not_taken_for_a_role(self):
        records = write_records(self.folder / "in.jsonl", 2)
        degenerate = {0: "You are a" + " the" * 40, 1: "You are an expert who knows this field. " * 5}
        server = self.serve(lambda request: degenerate[int("number 1?" in request.question)] if len(request.turns) == 3 else role_of(request.question))
        self.annotate(server, records, "--report", self.report)
        self.assertEqual([record["annotation"]["attempts"] for record in read_lines(self.out)], [2, 2])
        for row in read_lines(self.report):
            self.assertIn("it repeats itself", row["answers"][0]["fault"])

    def test_under_mpirun_an_endpoint_is_refused_with_one_message_and_alone_it_is_not(self):
        records = write_records(self.folder / "in.jsonl", 2)
        server = self.serve()
        for options in [], ["--dry-run"]:
            output = self.spt(*self.command(server, records, *options), ranks=2, status=BAD_INPUT)
            self.assert_one_message(output, "one process", "2 were started", "without mpirun", "--concurrency")
        output = self.spt("annotate", records, "--out", self.out, "--role-from", "source", ranks=2, status=BAD_INPUT)
        self.assert_one_message(output, "one process", "without mpirun")
        self.assertEqual((server.requests, self.out.exists()), ([], False))
        self.start(MPIEXEC, "-np", 1, PROGRAM, *self.command(server, records)).finish()
        self.assertEqual(len(self.roles()), 2)

    def test_safety_records_get_the_role_written_by_hand_and_are_not_asked_for(self):
        records = self.folder / "in.jsonl"
        records.write_text(json.dumps({"conversations": ["How do I rob a shop?", "It is illegal to rob a shop. Do not."]}) + "\n")
        server = self.serve()
        self.annotate(server, records)
        self.assertEqual(server.requests, [])
        self.assertTrue(self.roles()[0].startswith("You are a careful"))
        self.assertEqual(read_lines(self.out)[0]["annotation"]["model"], None)

    def test_roles_that_are_there_are_kept_unless_replace_is_given(self):
        records = write_records(self.folder / "in.jsonl", 3, role="You are an old hand.")
        server = self.serve()
        self.assertRegex(self.annotate(server, records), r"roles that were there +3\b")
        self.assertEqual(self.out.read_bytes(), records.read_bytes())
        self.assertEqual(server.requests, [])
        self.annotate(server, records, "--replace", "--force")
        self.assertEqual(len(server.requests), 3)
        self.assertNotIn("You are an old hand.", self.roles())

    def test_an_output_or_report_that_exists_is_replaced_with_force_only(self):
        records = write_records(self.folder / "in.jsonl", 2)
        server = self.serve()
        for path, options in (self.out, []), (self.report, ["--report", self.report]):
            path.write_text("mine\n")
            self.assert_one_message(self.annotate(server, records, *options, status=BAD_INPUT), str(path), "exists", "--force")
            self.assertEqual(path.read_text(), "mine\n")
            self.assertEqual(server.requests, [])
            self.assertFalse(self.journal.exists())
            path.unlink()
        for path in self.out, self.report:
            path.write_text("mine\n")
        self.annotate(server, records, "--report", self.report, "--force")
        self.assertEqual(len(self.roles()), 2)
        self.assertEqual(self.report.read_text(), "")
        self.assert_one_message(self.spt("annotate", records, "--out", records, "--endpoint", server.url, "--model", "m", "--force",
                                         status=BAD_INPUT), str(records))

    def test_an_output_that_is_a_device_is_refused_before_anything_is_asked(self):
        server = self.serve()
        output = self.spt("annotate", write_records(self.folder / "in.jsonl", 1), "--out", "/dev/full", "--endpoint", server.url, "--model", "m", "--force",
                          status=BAD_INPUT)
        self.assert_one_message(output, "/dev/full", "device")
        self.assertEqual(server.requests, [])

    def test_broken_input_lines_end_it_before_anything_is_asked(self):
        server = self.serve()
        records = self.folder / "in.jsonl"
        for line, says in ('{"conversations": ["q"', "broken JSON"), ('{"conversations": ["q"]}', "no assistant turn"), ("[1]", "array"):
            write_records(records, 2)
            with open(records, "a", encoding="utf-8") as file:
                file.write(line + "\n")
            self.assert_one_message(self.annotate(server, records, status=BAD_INPUT), f"{records}:3", says)
        self.assertEqual((server.requests, list(self.folder.iterdir())), ([], [records]))

    def test_a_dry_run_shows_prompts_tokens_and_cost_and_asks_nothing(self):
        records = write_records(self.folder / "in.jsonl", 5)
        server = self.serve()
        dry = ("annotate", records, "--dry-run", "--price-in", 1000, "--price-out", 1000)
        output = self.spt(*dry)
        self.assertEqual(output, self.annotate(server, records, *dry[2:]))
        self.assertEqual(output.count("--- prompt"), 3)
        self.assertIn("--- and 2 more; --limit N", output)
        self.assertIn("what is thing number 0?", output)
        self.assertRegex(output, r"to ask for +5\b")
        self.assertRegex(output, r"about \d+ tokens in, \d+ out, cost \d+\.\d+")
        limited = self.spt(*dry, "--limit", 4)
        self.assertEqual((limited.count("--- prompt"), limited.count(" more;")), (4, 0))
        self.assertRegex(limited, r"to ask for +4\b")
        self.assert_one_message(self.spt("annotate", records, "--endpoint", server.url, "--model", "m", status=BAD_INPUT), "--out is missing")
        self.assertEqual((server.requests, list(self.folder.iterdir())), ([], [records]))

    def test_a_limit_asks_for_the_first_records_and_the_whole_asks_for_the_others_alone(self):
        records = write_records(self.folder / "in.jsonl", 9)
        server = self.serve()
        self.annotate(server, records, "--limit", 4)
        self.assertEqual((len(self.roles()), len(server.requests)), (4, 4))
        self.assertTrue(self.journal.exists())
        self.annotate(server, records)
        self.assertEqual((len(self.roles()), len(server.requests)), (9, 9))
        self.assertFalse(self.journal.exists())

    def test_tokens_and_cost_are_counted(self):
        records = write_records(self.folder / "in.jsonl", 3)
        self.assertIn("300 tokens in, 150 out, cost 0.0090", self.annotate(self.serve(), records, "--price-in", 10, "--price-out", 40))

    def test_request_merges_json_into_each_request(self):
        server = self.serve()
        records = write_records(self.folder / "in.jsonl", 1)
        self.annotate(server, records, "--request", '{"max_tokens": null, "seed": 5}')
        self.assertEqual(server.requests[0].body["seed"], 5)
        self.assertNotIn("max_tokens", server.requests[0].body)
        self.assert_one_message(self.annotate(server, records, "--force", "--request", '{"stream": true}', status=BAD_INPUT), "--request", "stream")


if __name__ == "__main__":
    unittest.main(verbosity=2)
