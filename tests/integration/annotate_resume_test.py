"""spt annotate, stopped and killed at any moment: it goes on where it was, and asks nothing twice."""
import hashlib
import json
import random
import signal
import threading
import time
import unittest

from annotate_case import AnnotateTest, role_of, write_records
from chat_server import Reply, completion
from runs import BAD_INPUT, SOURCE, STOPPED, wait_until

ANNOTATOR = SOURCE / "configs" / "annotators" / "role_prompt.yaml"


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
