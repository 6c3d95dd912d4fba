"""spt annotate against a scripted endpoint: its bad days, its limits, and the key."""
import datetime
import email.utils
import os
import threading
import time
import unittest

from annotate_case import KEY, AnnotateTest, read_lines, role_of, write_records
from chat_server import Reply, completion, make_certificate
from runs import BAD_INPUT, FAILURE, wait_until


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

        def script(request):
            time.sleep(0.05)  # so that a thirteenth would find twelve there
            return role_of(request.question)

        server = self.serve(script, gate=gate)
        job = self.start_spt(*self.command(server, write_records(self.folder / "in.jsonl", 60), "--concurrency", 12))
        wait_until(lambda: server.in_flight >= 12, "12 requests are in flight")
        gate.set()
        self.assertEqual(job.finish(), 0, job.output)
        self.assertEqual((server.most_in_flight, len(server.requests)), (12, 60))

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
        file.chmod(0o600)
        self.assert_one_message(self.annotate(server, self.records, "--key-file", file, "--concurrency", 1, status=BAD_INPUT), "401", str(file))
        del os.environ["OPENAI_API_KEY"]
        server.script = lambda request: Reply(401, {"error": "no key"})
        self.assert_one_message(self.annotate(server, self.records, "--concurrency", 1, status=BAD_INPUT), "No key was sent", "OPENAI_API_KEY")
        self.assertNotIn("Authorization", server.requests[-1].headers)

    def test_a_key_file_or_another_variable_is_used(self):
        server = self.serve()
        file = self.folder / "key.txt"
        file.write_text("sk-from-the-file\n")
        file.chmod(0o600)
        self.annotate(server, self.records, "--key-file", file)
        os.environ["OTHER_KEY"] = "sk-from-other"
        self.addCleanup(os.environ.pop, "OTHER_KEY")
        self.annotate(server, self.records, "--key-env", "OTHER_KEY", "--force")
        self.assertEqual([r.headers["Authorization"] for r in server.requests], ["Bearer sk-from-the-file"] * 2 + ["Bearer sk-from-other"] * 2)
        for text, says in ("", "empty"), ("two words", "one word"):
            file.write_text(text)
            self.assert_one_message(self.annotate(server, self.records, "--key-file", file, "--force", status=BAD_INPUT), str(file), says)
        self.assert_one_message(self.annotate(server, self.records, "--key-file", self.folder / "none", "--force", status=BAD_INPUT), "none")

    def test_a_key_file_that_others_may_read_is_refused(self):
        server = self.serve()
        file = self.folder / "key.txt"
        file.write_text(KEY)
        for mode in 0o644, 0o640, 0o602:
            file.chmod(mode)
            self.assert_one_message(self.annotate(server, self.records, "--key-file", file, status=BAD_INPUT), f"mode {mode:04o}", "chmod 600")
        self.assertEqual(server.requests, [])
        file.chmod(0o400)
        self.annotate(server, self.records, "--key-file", file)
        self.assertEqual(server.requests[0].headers["Authorization"], f"Bearer {KEY}")

    def test_a_key_in_the_url_is_refused(self):
        server = self.serve()
        for query in f"key={KEY}", f"api-version=1&API-Key={KEY}", f"token={KEY}":
            self.assert_one_message(self.annotate(f"{server.url}?{query}", self.records, status=BAD_INPUT), "--endpoint", "in its query")
        self.assertEqual(server.requests, [])
        self.annotate(f"{server.url}?api-version=2", self.records)
        self.assertEqual(len(server.requests), 2)

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
