"""spt judge, stopped and killed at any moment, started again, and read again from its record alone."""
import collections
import json
import os
import random
import shutil
import signal
import threading
import time
import unittest

from chat_server import Reply, completion
from judge_case import JudgeTest, longer, read_samples, shown_in, write_evaluation, write_samples
from runs import BAD_INPUT, SOURCE, STOPPED, wait_until

LIMA = SOURCE / "configs" / "judges" / "lima.yaml"
AB = [f"answer {i} " * (1 + i % 5) for i in range(60)], [f"other {i} " * (1 + i % 3) for i in range(60)]


def key_of(request):
    """What a request asks: the question, who stands first, and which attempt it is."""
    question, first, _ = shown_in(request)
    return question, first.startswith("answer"), len(request.turns)


class ResumeTest(JudgeTest):
    def recorded(self):
        """The same of the record's whole lines."""
        return {(f"Question number {int(call['id'][1:])}?", call["order"] == "ab", 2 * call["attempt"] - 1) for call in self.calls()}

    def test_killed_at_random_moments_it_asks_nothing_recorded_again_and_ends_with_the_same_judgement(self):
        self.evaluations(*AB)

        def script(request):
            time.sleep(0.005)
            question, _, _ = shown_in(request)
            return "I waver." if len(request.turns) == 1 and "3?" in question else longer(request)

        server = self.serve(script)
        options = ["--concurrency", 4]
        self.judge(server, *options)
        expected, undisturbed = self.judgement(), len(server.requests)
        self.assertEqual(undisturbed, 2 * (60 + 6))
        shutil.rmtree(self.out)

        generator = random.Random(4)
        server.requests.clear()
        for kill in range(12):
            before, known = len(server.requests), self.recorded()
            job = self.start_spt(*self.command(server, *options))
            more = generator.randint(0, 14)
            wait_until(lambda: len(server.requests) >= before + more or job.status is not None, f"{more} more requests", pause=0.001)
            time.sleep(generator.uniform(0, 0.03))
            job.kill()
            for request in server.requests[before:]:
                self.assertNotIn(key_of(request), known)
        self.assertFalse((self.out / "judgement.json").exists(), "it was done before the last kill")
        self.assertGreater(len(self.recorded()), 30)
        before, known = len(server.requests), self.recorded()
        self.judge(server, *options)
        for request in server.requests[before:]:
            self.assertNotIn(key_of(request), known)
        self.assertEqual(self.judgement(), expected)
        # Asked twice can only be what was in flight when a kill came.
        twice = sum(count - 1 for count in collections.Counter(map(key_of, server.requests)).values())
        self.assertLessEqual(twice, 4 * 12)
        self.assertEqual(len(server.requests) - twice, undisturbed)

    def half_done(self):
        """A server, and a call that waits for its seventh reply."""
        self.evaluations(*([side[i] for i in range(10)] for side in AB))
        gate = threading.Event()
        server = self.serve(lambda request: Reply(200, completion(longer(request)), wait=gate if request.number > 6 else None))
        self.addCleanup(gate.set)
        job = self.start_spt(*self.command(server, "--concurrency", 2))
        wait_until(lambda: len(self.calls()) == 6, "six replies are in the record")
        return server, job, gate

    def test_a_stop_request_keeps_the_replies_and_exits_75(self):
        for number in signal.SIGINT, signal.SIGTERM:
            with self.subTest(signal=number):
                server, job, gate = self.half_done()
                job.process.send_signal(number)
                self.assertEqual(job.finish(20), STOPPED, job.output)
                self.assertIn("6 of 20 calls are done", job.output)
                self.assertFalse((self.out / "judgement.json").exists())
                gate.set()
                asked = len(server.requests)
                self.judge(server)
                self.assertEqual((len(server.requests) - asked, self.judgement()["tasks"]["talk"]["n"]), (14, 10))
                for name in "ab":
                    shutil.rmtree(self.folder / name)

    def test_a_torn_last_line_is_cut_and_asked_for_again(self):
        server, job, gate = self.half_done()
        job.kill()
        gate.set()
        self.record.write_bytes(self.record.read_bytes()[:-20])
        asked = len(server.requests)
        self.judge(server)
        self.assertEqual(len(server.requests) - asked, 15)

    def test_two_processes_do_not_share_a_record(self):
        server, _, _ = self.half_done()
        self.assert_one_message(self.judge(server, status=BAD_INPUT), "judgements.jsonl", "another process")

    def test_a_record_of_another_judging_is_refused_and_says_which(self):
        server, job, gate = self.half_done()
        job.kill()
        gate.set()
        text, asked = self.record.read_bytes(), len(server.requests)
        here = ["--out", self.out]
        mine = self.folder / "mine.yaml"
        mine.write_text(LIMA.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
        for options, differs in ([["--judge", mine], "judge_sha256"], [["--keep-role"], "keep_role"], [["--request", '{"seed": 1}'], "settings"]):
            self.assert_one_message(self.judge(server, *here, *options, status=BAD_INPUT), "judgements.jsonl", f"what differs: {differs}", "--out")
        command = [word if word != "test-model" else "another" for word in self.command(server, *here)]
        self.assert_one_message(self.spt(*command, status=BAD_INPUT), "what differs: model")
        swapped = ["judge", self.b, self.a, *self.command(server, *here)[3:]]
        self.assert_one_message(self.spt(*swapped, status=BAD_INPUT), "what differs: a_evaluation, b_evaluation")
        self.assertEqual((self.record.read_bytes(), len(server.requests)), (text, asked))

    def test_samples_that_changed_under_a_record_and_lines_that_were_changed_are_refused(self):
        self.evaluations(["long answer", "x"], ["answer", "longer"])
        server = self.serve()
        self.judge(server)
        good, record, asked = read_samples(self.b, "talk"), self.record.read_text(), len(server.requests)
        for change, says in ({"answer": "changed"}, 'task "talk" give another prompt for "q001" now'), ({"answer": "x"}, 'the pair "q001"'):
            write_samples(self.b, "talk", [good[0], {**good[1], **change}])
            self.assert_one_message(self.judge(server, status=BAD_INPUT), "judgements.jsonl:", says, "they have changed", "--out")
        write_samples(self.b, "talk", good)
        lines = record.splitlines(keepends=True)
        call = json.loads(lines[1])
        for line, says in ((json.dumps({**call, "verdict": "tie"}), "has another verdict than its reply"), (json.dumps({**call, "attempt": 2}), "is attempt 2"),
                           (json.dumps({k: v for k, v in call.items() if k != "reply"}), "reply"), ("{", "damaged"), ("[1]", "damaged")):
            self.record.write_text("".join([lines[0], line + "\n", *lines[2:]]))
            self.assert_one_message(self.judge(server, status=BAD_INPUT), "judgements.jsonl:2: ", says)
        self.record.write_text("".join([*lines, lines[1]]))
        self.assert_one_message(self.judge(server, status=BAD_INPUT), "judgements.jsonl:6: ", "expected none")
        for text in "notes", "notes\n", '{"format": "other"}\n':
            self.record.write_text(text)
            self.assert_one_message(self.judge(server, status=BAD_INPUT), "judgements.jsonl:")
            self.assertEqual(self.record.read_text(), text)
        self.record.write_text(record)
        self.judge(server)
        self.assertEqual(len(server.requests), asked)

    def test_a_judgement_of_somebody_else_is_not_replaced(self):
        self.evaluations(["x"], ["y"])
        server = self.serve()
        self.out.mkdir(parents=True)
        for text in "mine", "{}", json.dumps({"format": "spt-judgement", "version": 1, "tasks": {}, "a_evaluation": "another"}):
            (self.out / "judgement.json").write_text(text)
            self.assert_one_message(self.judge(server, status=BAD_INPUT), "judgement.json", "another judging")
            self.assertEqual((server.requests, (self.out / "judgement.json").read_text()), ([], text))


class ReplayTest(JudgeTest):
    def setUp(self):
        super().setUp()
        self.evaluations(*([side[i] for i in range(9)] for side in AB))
        self.server = self.serve(lambda request: longer(request) if "8?" not in request.turns[0] else "Hm.")
        self.table = self.stdout(self.judge(self.server))
        self.files = self.contents()

    def stdout(self, output):
        return [line for line in output.splitlines() if line[2:3] != ":"]

    def contents(self):
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in self.out.iterdir()}

    def test_a_finished_judging_is_shown_again_without_endpoint_or_key(self):
        self.server.__exit__()
        del os.environ["OPENAI_API_KEY"]
        self.assertEqual(self.stdout(self.judge(self.server)), self.table)
        self.assertEqual(self.contents(), self.files)
        (self.out / "judgement.json").unlink()
        self.judge(self.server)
        self.assertEqual((self.out / "judgement.json").read_bytes(), self.files["judgement.json"][0])

    def test_a_record_alone_gives_the_tables_again(self):
        self.server.__exit__()
        moved = self.folder / "moved"
        moved.mkdir()
        shutil.copy(self.record, moved)
        self.assertEqual(self.stdout(self.spt("judge", self.a, self.b, "--tasks", "talk", "--replay", moved)), self.table)
        found = json.loads("\n".join(self.stdout(self.spt("judge", self.a, self.b, "--replay", moved, "--json"))))
        self.assertEqual(found, json.loads(self.files["judgement.json"][0]))
        wider = json.loads("\n".join(self.stdout(self.spt("judge", self.a, self.b, "--replay", moved, "--json", "--length-factor", 100))))
        self.assertEqual((wider["tasks"]["talk"]["length_matched"]["n"], wider["tasks"]["talk"]["n"]), (8, 8))
        self.assertEqual([path.name for path in moved.iterdir()], ["judgements.jsonl"])

    def test_a_record_that_lacks_replies_says_so(self):
        lines = self.record.read_text().splitlines(keepends=True)
        self.record.write_text("".join(lines[:8]))
        output = self.spt("judge", self.a, self.b, "--replay", self.out)
        self.assertRegex(output, r"the record lacks replies for \d pairs")
        self.assertRegex(output, r"talk: \d of 9 pairs are left out, because the record lacks a reply")

    def test_a_record_of_other_evaluations_or_none_is_refused(self):
        other = write_evaluation(self.folder / "other", talk=AB[0][:9])
        self.assert_one_message(self.spt("judge", self.a, other, "--replay", self.out, status=BAD_INPUT), "what differs: b_evaluation")
        self.assert_one_message(self.spt("judge", self.a, self.b, "--replay", self.folder, status=BAD_INPUT), "judgements.jsonl: no such file")
        self.record.write_text('{"format": "spt-judgements", "version": 1}\n')
        self.assert_one_message(self.spt("judge", self.a, self.b, "--replay", self.out, status=BAD_INPUT), "judgements.jsonl:1: ")
        self.record.write_text("")
        self.assert_one_message(self.spt("judge", self.a, self.b, "--replay", self.out, status=BAD_INPUT), "holds no judging")

    def test_answers_that_are_all_equal_need_no_judge(self):
        asked = len(self.server.requests)
        for name in "ab":
            shutil.rmtree(self.folder / name)
        self.evaluations(["same"] * 3, ["same"] * 3)
        for _ in range(2):
            self.judge(self.server)
            task = self.judgement()["tasks"]["talk"]
            self.assertEqual((task["n"], task["identical"], task["tie"]["count"], task["position_bias"]["first"]), (3, 3, 3, None))
        self.assertEqual(len(self.server.requests), asked)


if __name__ == "__main__":
    unittest.main(verbosity=2)
