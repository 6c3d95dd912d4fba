"""spt annotate against a scripted endpoint: what it asks and writes, the endpoint's bad days, the key, kills at any moment."""
import datetime
import email.utils
import hashlib
import json
import os
import random
import signal
import threading
import time
import unittest

from annotate_case import KEY, AnnotateTest, read_lines, role_of, write_records
from chat_server import Reply, completion, make_certificate
from runs import BAD_INPUT, FAILURE, SOURCE, STOPPED, TINY_MODEL, sha256, wait_until

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
        output = self.annotate(server, records, "--dry-run", "--price-in", 1000, "--price-out", 1000)
        self.assertEqual(output.count("--- prompt"), 3)
        self.assertIn("what is thing number 0?", output)
        self.assertRegex(output, r"to ask for +5\b")
        self.assertRegex(output, r"about \d+ tokens in, \d+ out, cost \d+\.\d+")
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


class FaultsTest(AnnotateTest):
    """Each fault hits the first requests; the work is done all the same, or ends with one message."""

    def survive(self, *faults, records=3, options=()):
        """Requests fail as `faults` says, one after another; the server, and the seconds it took."""
        left = list(faults)

        def script(request):
            with self.lock:
                fault = left.pop(0) if left else None
            return fault if fault is not None else role_of(request.question)

        self.lock = threading.Lock()
        server = self.serve(script)
        begin = time.monotonic()
        self.annotate(server, write_records(self.folder / "in.jsonl", records), *options)
        self.assertEqual(self.roles(), [role_of(f"what is thing number {i}?") for i in range(records)])
        self.assertEqual(len(server.requests), records + len(faults))
        return server, time.monotonic() - begin

    def test_server_errors_broken_connections_and_responses_that_are_none_are_tried_again(self):
        whole = completion(role_of("x"))
        self.survive(Reply(500, {"error": {"message": "overloaded"}}), Reply(503, b"busy"), Reply(502, b"<html>bad gateway</html>"),
                     Reply(200, whole, cut=20), Reply(200, whole, cut=0), Reply(200, b"<!DOCTYPE html><p>hello"), Reply(200, b'{"choices": [{'),
                     Reply(200, completion("")), Reply(200, {"choices": []}), Reply(200, b""), Reply(200, {"error": "odd"}),
                     Reply(200, {"choices": [{"message": {"content": None}}]}), records=6, options=["--concurrency", 3, "--tries", 20])

    def test_retry_after_is_honoured_in_seconds(self):
        server, seconds = self.survive(Reply(429, {}, {"Retry-After": "2"}), options=["--concurrency", 1])
        self.assertGreaterEqual(server.requests[1].time - server.requests[0].time, 1.9)
        self.assertLess(seconds, 20)

    def test_retry_after_is_honoured_as_a_date_and_holds_back_all_requests(self):
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
        server, _ = self.survive(Reply(429, {}, {"Retry-After": email.utils.format_datetime(when, usegmt=True)}), options=["--concurrency", 1])
        self.assertGreaterEqual(server.requests[1].time - server.requests[0].time, 1)

    def test_a_wait_of_hours_ends_it_with_what_was_asked_kept(self):
        server = self.serve(lambda request: role_of(request.question) if request.number == 1 else Reply(429, {}, {"Retry-After": "86400"}))
        output = self.annotate(server, write_records(self.folder / "in.jsonl", 3), "--concurrency", 1, status=FAILURE)
        self.assert_one_message(output, "86400")
        self.assertTrue(self.journal.exists())

    def test_slow_answers_time_out_and_are_tried_again(self):
        never = threading.Event()
        self.addCleanup(never.set)
        self.survive(Reply(200, completion("late"), wait=never), options=["--timeout", 1, "--concurrency", 1])

    def test_what_stays_without_an_answer_is_that_records_failure(self):
        records = write_records(self.folder / "in.jsonl", 4)
        server = self.serve(lambda request: Reply(200, b"<html>") if "number 2?" in request.question else role_of(request.question))
        output = self.annotate(server, records, "--tries", 3, "--report", self.report)
        self.assertEqual([role is None for role in self.roles()], [False, False, True, False])
        row, = read_lines(self.report)
        self.assertEqual((row["id"], row["outcome"]), ("r2", "no answer"))
        self.assertIn("HTML instead of JSON (after 3 tries)", row["failure"])
        self.assertEqual(len(server.requests), 3 + 3)
        self.assertIn("1 records got no answer", output)

    def test_an_endpoint_that_is_down_ends_it_and_its_answers_are_kept(self):
        records = write_records(self.folder / "in.jsonl", 40)
        down = threading.Event()
        server = self.serve(lambda request: Reply(500, {}) if down.is_set() or request.number > 5 else role_of(request.question))
        output = self.annotate(server, records, "--tries", 2, "--concurrency", 1, status=FAILURE)
        self.assert_one_message(output, "10 prompts in a row", "500")
        self.assertFalse(self.out.exists())
        server.script = lambda request: role_of(request.question)
        asked = len(server.requests)
        self.annotate(server, records)
        self.assertEqual((len(server.requests) - asked, self.roles().count(None)), (35, 0))

    def test_an_endpoint_that_is_not_there_ends_it(self):
        server = self.serve()
        server.__exit__()
        output = self.annotate(server, write_records(self.folder / "in.jsonl", 1), "--tries", 2, status=FAILURE)
        self.assert_one_message(output, "no prompt got an answer", "onnect")
        self.assertFalse(self.out.exists())

    def test_requests_the_server_refuses_end_it_with_the_servers_message(self):
        records = write_records(self.folder / "in.jsonl", 3)
        for status, message in (400, "max_tokens is not supported"), (404, "the model does not exist"):
            server = self.serve(lambda request: Reply(status, {"error": {"message": message}}))
            self.assert_one_message(self.annotate(server, records, "--concurrency", 1, status=BAD_INPUT), str(status), message)
            self.assertEqual(len(server.requests), 1)
            self.assertEqual(list(self.folder.iterdir()), [records])

    def test_a_content_filter_is_that_records_failure(self):
        records = write_records(self.folder / "in.jsonl", 2)
        server = self.serve(lambda request: Reply(400, {"error": {"message": "filtered", "code": "content_filter"}})
                            if "number 0?" in request.question else role_of(request.question))
        self.annotate(server, records, "--report", self.report)
        self.assertIn("filtered", read_lines(self.report)[0]["failure"])
        self.assertEqual(len(server.requests), 2)

    def test_as_many_requests_are_in_flight_as_concurrency_says(self):
        gate = threading.Event()
        server = self.serve(gate=gate)
        job = self.start_spt(*self.command(server, write_records(self.folder / "in.jsonl", 40), "--concurrency", 12))
        wait_until(lambda: server.in_flight == 12, "12 requests are in flight")
        gate.set()
        self.assertEqual(job.finish(), 0, job.output)
        self.assertEqual((server.most_in_flight, len(server.requests)), (12, 40))

    def test_limits_of_a_minute_space_the_requests(self):
        records = write_records(self.folder / "in.jsonl", 6)
        server = self.serve()
        self.annotate(server, records, "--requests-per-minute", 200)
        times = [request.time for request in server.requests]
        self.assertGreaterEqual(times[-1] - times[0], 0.9 * 5 * 60 / 200)
        # A prompt and its answer: 150 tokens by the server's own count.
        self.annotate(server, records, "--tokens-per-minute", 20000, "--force")
        times = [request.time for request in server.requests[6:]]
        self.assertGreaterEqual(times[-1] - times[0], 0.9 * 5 * 60 * 150 / 20000)


class KeyTest(AnnotateTest):
    """The key goes to the endpoint over a safe way, and nowhere else."""

    def setUp(self):
        super().setUp()
        self.records = write_records(self.folder / "in.jsonl", 2)

    def test_a_refused_key_stops_at_once_and_names_the_variable_or_file(self):
        server = self.serve(lambda request: Reply(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}))
        output = self.annotate(server, self.records, "--concurrency", 1, status=BAD_INPUT)
        self.assert_one_message(output, "401", "OPENAI_API_KEY", "Incorrect API key provided: ***")
        self.assertEqual(len(server.requests), 1)
        file = self.folder / "key.txt"
        file.write_text(KEY + "\n")
        self.assert_one_message(self.annotate(server, self.records, "--key-file", file, "--concurrency", 1, status=BAD_INPUT), "401", str(file))
        del os.environ["OPENAI_API_KEY"]
        server.script = lambda request: Reply(401, {"error": "no key"})
        self.assert_one_message(self.annotate(server, self.records, "--concurrency", 1, status=BAD_INPUT), "No key was sent", "OPENAI_API_KEY")
        self.assertNotIn("Authorization", server.requests[-1].headers)

    def test_a_key_file_or_another_variable_is_used(self):
        server = self.serve()
        file = self.folder / "key.txt"
        file.write_text("sk-from-the-file\n")
        self.annotate(server, self.records, "--key-file", file)
        os.environ["OTHER_KEY"] = "sk-from-other"
        self.addCleanup(os.environ.pop, "OTHER_KEY")
        self.annotate(server, self.records, "--key-env", "OTHER_KEY", "--force")
        self.assertEqual([r.headers["Authorization"] for r in server.requests], ["Bearer sk-from-the-file"] * 2 + ["Bearer sk-from-other"] * 2)
        for text, says in ("", "empty"), ("two words", "one word"):
            file.write_text(text)
            self.assert_one_message(self.annotate(server, self.records, "--key-file", file, "--force", status=BAD_INPUT), str(file), says)
        self.assert_one_message(self.annotate(server, self.records, "--key-file", self.folder / "none", "--force", status=BAD_INPUT), "none")

    def test_a_redirect_is_not_followed(self):
        other = self.serve()
        server = self.serve(lambda request: Reply(307, {}, {"Location": other.url + "/chat/completions?key=" + KEY}))
        output = self.annotate(server, self.records, "--concurrency", 1, status=BAD_INPUT)
        self.assert_one_message(output, "redirects to", "not followed")
        self.assertEqual((len(server.requests), other.requests), (1, []))

    def test_plain_http_to_another_host_is_refused_before_anything_is_sent(self):
        for url in "http://192.0.2.1/v1", "http://127.0.0.1.example.org/v1", "http://localhost.example.org/v1":
            begin = time.monotonic()
            self.assert_one_message(self.annotate(url, self.records, status=BAD_INPUT), "plain http", "OPENAI_API_KEY")
            self.assertLess(time.monotonic() - begin, 5)
        for url in "ftp://127.0.0.1/v1", "127.0.0.1:8000", f"http://user:{KEY}@127.0.0.1/v1":
            self.assert_one_message(self.annotate(url, self.records, status=BAD_INPUT), "--endpoint")

    def test_a_proxy_does_not_see_what_is_for_loopback(self):
        proxy, server = self.serve(), self.serve()
        os.environ["http_proxy"] = proxy.url
        self.addCleanup(os.environ.pop, "http_proxy")
        self.annotate(server, self.records)
        self.assertEqual((len(server.requests), proxy.requests), (2, []))

    def test_a_certificate_that_is_not_trusted_stops_at_once_and_ca_file_trusts_it(self):
        certificate = make_certificate(self.shared)
        server = self.serve(certificate=certificate)
        self.assert_one_message(self.annotate(server, self.records, status=BAD_INPUT), "not trusted", "--ca-file")
        self.assertEqual(server.requests, [])
        self.annotate(server, self.records, "--ca-file", certificate[0])
        self.assertEqual((len(server.requests), self.roles().count(None)), (2, 0))
        self.assert_one_message(self.annotate(server, self.records, "--ca-file", "/none.pem", "--force", status=BAD_INPUT), "/none.pem")

    def test_a_key_that_a_server_repeats_is_blacked_out(self):
        server = self.serve(lambda request: role_of(request.question) + f" Their key is {KEY}.")
        self.annotate(server, self.records)
        self.assertIn("Their key is ***.", self.roles()[0])


class ResumeTest(AnnotateTest):
    RECORDS = 200

    def test_killed_at_random_moments_it_asks_nothing_journalled_again_and_ends_with_the_same_file(self):
        records = write_records(self.folder / "in.jsonl", self.RECORDS)
        # Every third record is asked for twice, so that kills fall between its attempts, too.
        def script(request):
            number = int(request.question.split("number ")[1].split("?")[0])
            time.sleep(0.005)
            return "You are short." if number % 3 == 0 and len(request.turns) == 3 else role_of(request.question)

        server = self.serve(script)
        options = ["--concurrency", 4, "--report", self.report]
        self.annotate(server, records, *options)
        expected, expected_report = self.out.read_bytes(), self.report.read_bytes()
        undisturbed = len(server.requests)
        self.out.unlink(), self.report.unlink()

        generator = random.Random(4)
        server.requests.clear()
        journalled = {}
        for kill in range(20):
            before = len(server.requests)
            job = self.start_spt(*self.command(server, records, *options))
            more = generator.randint(0, 14)
            wait_until(lambda: len(server.requests) >= before + more or job.status is not None, f"{more} more requests", pause=0.001)
            time.sleep(generator.uniform(0, 0.03))
            job.kill()
            self.assert_not_asked_again(server.requests[before:], journalled)
            for line in self.whole_lines():
                if "attempt" in line:
                    journalled[f"what is thing number {line['id'][1:]}?", line["attempt"]] = line["text"]
        self.assertFalse(self.out.exists(), "it was done before the last kill")
        self.assertGreater(len(journalled), 60)
        before = len(server.requests)
        self.annotate(server, records, *options)
        self.assert_not_asked_again(server.requests[before:], journalled)
        self.assertEqual(self.out.read_bytes(), expected)
        self.assertEqual(self.report.read_bytes(), expected_report)
        self.assertFalse(self.journal.exists())
        # Asked twice can only be what was in flight when a kill came.
        self.assertLessEqual(len(server.requests), undisturbed + 4 * 20)

    def assert_not_asked_again(self, requests, journalled):
        """The journal had these answers when the process began."""
        for request in requests:
            self.assertNotIn((request.question, (len(request.turns) - 1) // 2), journalled)

    def whole_lines(self):
        try:
            text = self.journal.read_bytes()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text[:text.rfind(b"\n") + 1].splitlines()]

    def half_done(self, *options):
        """Records, a server, and a journal with some answers, left by a killed call."""
        records = write_records(self.folder / "in.jsonl", 20)
        gate = threading.Event()
        server = self.serve(lambda request: Reply(200, completion(role_of(request.question)), wait=gate if request.number > 6 else None))
        self.addCleanup(gate.set)
        job = self.start_spt(*self.command(server, records, "--concurrency", 2, *options))
        wait_until(lambda: len(self.whole_lines()) == 7, "six answers are in the journal")
        return records, server, job, gate

    def test_a_stop_request_keeps_the_answers_and_exits_75(self):
        for number in signal.SIGINT, signal.SIGTERM:
            with self.subTest(signal=number):
                records, server, job, gate = self.half_done()
                job.process.send_signal(number)
                self.assertEqual(job.finish(20), STOPPED, job.output)
                self.assertIn("6 of 20 records are done", job.output)
                self.assertFalse(self.out.exists())
                gate.set()
                asked = len(server.requests)
                self.annotate(server, records)
                self.assertEqual((len(server.requests) - asked, self.roles().count(None)), (14, 0))
                self.out.unlink()

    def test_a_torn_last_line_is_cut_and_asked_for_again(self):
        records, server, job, gate = self.half_done()
        job.kill()
        gate.set()
        text = self.journal.read_bytes()
        self.journal.write_bytes(text[:-20])
        asked = len(server.requests)
        self.annotate(server, records)
        self.assertEqual((len(server.requests) - asked, self.roles().count(None)), (15, 0))

    def test_a_journal_of_another_annotation_is_refused_with_the_way_out(self):
        records, server, job, gate = self.half_done()
        job.kill()
        gate.set()
        text, asked = self.journal.read_bytes(), len(server.requests)
        other = self.folder / "other.yaml"
        other.write_text(ANNOTATOR.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
        for options, differs in ([["--model", "another"], "model"], [["--annotator", other], "annotator_sha256"], [["--request", '{"seed": 1}'], "settings"]):
            command = [word for word in self.command(server, records) if options[0] != "--model" or word not in ("--model", "test-model")]
            self.assert_one_message(self.spt(*command, *options, status=BAD_INPUT), str(self.journal), differs, "--force", "--out")
        records.write_text(records.read_text() + "\n")
        self.assert_one_message(self.annotate(server, records, status=BAD_INPUT), "input_sha256")
        self.assertEqual((self.journal.read_bytes(), len(server.requests)), (text, asked))
        self.annotate(server, records, "--force")
        self.assertEqual(len(server.requests) - asked, 20)

    def test_a_damaged_journal_and_a_file_that_is_none_are_refused_and_left_alone(self):
        records = write_records(self.folder / "in.jsonl", 2)
        server = self.serve()
        for text in b"my notes", b"my notes\n", b'{"format": "other"}\n', b'{"format": "spt-annotation-journal"}\n{"line": 1\n':
            self.journal.write_bytes(text)
            self.assert_one_message(self.annotate(server, records, status=BAD_INPUT), str(self.journal))
            self.assertEqual(self.journal.read_bytes(), text)
        self.assertEqual(server.requests, [])

    def test_two_processes_do_not_share_a_journal(self):
        records, server, _, _ = self.half_done()
        self.assert_one_message(self.annotate(server, records, status=BAD_INPUT), str(self.journal), "another process")

    def test_killed_after_the_output_got_its_name_it_ends_without_force(self):
        records, server, job, gate = self.half_done("--report", self.report)
        job.kill()
        gate.set()
        journal = self.journal.read_bytes()
        self.annotate(server, records, "--report", self.report)
        output, report = self.out.read_bytes(), self.report.read_bytes()
        lines = [json.dumps({"written": [hashlib.sha256(output).hexdigest(), hashlib.sha256(report).hexdigest()]}).encode() + b"\n"]
        self.journal.write_bytes(journal + b"".join(lines))
        self.annotate(server, records, "--report", self.report)
        self.assertEqual((self.out.read_bytes(), self.journal.exists()), (output, False))
        # But not when somebody has changed it since.
        self.journal.write_bytes(journal + b"".join(lines))
        self.out.write_bytes(output + b"\n")
        self.assert_one_message(self.annotate(server, records, "--report", self.report, status=BAD_INPUT), "exists")


if __name__ == "__main__":
    unittest.main(verbosity=2)
