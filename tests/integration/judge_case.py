"""What the judge tests share: evaluations of open questions written by hand, and `spt judge` against the scripted server."""
import json
import os
import re

from chat_server import ChatServer
from runs import DONE, JobTest

KEY = "sk-secret-5d20c8f1aa"
SHOWN = re.compile(r"(?s)<question (\w+)>\n(.*?)\n</question \1>.*<answer A \1>\n(.*?)\n</answer A \1>.*<answer B \1>\n(.*?)\n</answer B \1>")


def shown_in(request):
    """(question, first answer, second answer) of a request."""
    return SHOWN.search(request.turns[0]).groups()[1:]


def longer(request):
    """A judge that prefers longer answers."""
    _, first, second = shown_in(request)
    return "Let me think.\nVerdict: " + ("tie" if len(first) == len(second) else "A" if len(first) > len(second) else "B")


def write_evaluation(folder, evaluation=None, **tasks):
    """An evaluation folder; `tasks`: name → answers, or samples as eval writes them."""
    (folder / "samples").mkdir(parents=True)
    results = {}
    for name, answers in tasks.items():
        samples = [answer if isinstance(answer, dict) else
                   {"id": f"q{i:03}", "prompt": f"Question number {i}?", "output": answer, "role": None, "role_is_given": False, "answer": answer,
                    "tokens": 5, "cut": False} for i, answer in enumerate(answers)]
        has_scores = "score" in samples[0]
        results[name] = {"metric": "exact_match" if has_scores else "none", "value": 0.5 if has_scores else None, "n": len(samples)}
        write_samples(folder, name, samples)
    (folder / "results.json").write_text(json.dumps({"model": "m", "evaluation": evaluation or f"identity of {folder.name}", "tasks": results}))
    return folder


def write_samples(folder, name, samples):
    (folder / "samples" / f"{name}.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))


def read_samples(folder, name):
    return read_lines(folder / "samples" / f"{name}.jsonl")


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class JudgeTest(JobTest):
    def setUp(self):
        super().setUp()
        os.environ["OPENAI_API_KEY"] = KEY
        self.addCleanup(os.environ.pop, "OPENAI_API_KEY", None)
        self.out = self.folder / "a" / "judge" / "b-test-model"
        self.record = self.out / "judgements.jsonl"

    def serve(self, script=longer, **options):
        server = ChatServer(script, **options)
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def evaluations(self, a, b):
        """Folders a and b, whose task `talk` has these answers."""
        self.a, self.b = write_evaluation(self.folder / "a", talk=a), write_evaluation(self.folder / "b", talk=b)

    def command(self, server, *options):
        return ("judge", self.a, self.b, "--endpoint", server if isinstance(server, str) else server.url, "--model", "test-model", "--retry-delay", 0.02,
                *options)

    def judge(self, server, *options, status=DONE):
        output = self.spt(*self.command(server, *options), status=status)
        self.assertNotIn(KEY, output)
        for path in self.folder.rglob("*"):
            if path.is_file():
                self.assertNotIn(KEY.encode(), path.read_bytes(), path)
        return output

    def judgement(self, out=None):
        return json.loads(((out or self.out) / "judgement.json").read_text())

    def calls(self):
        """The record's lines but its header; those that are whole."""
        try:
            text = self.record.read_bytes()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text[:text.rfind(b"\n") + 1].splitlines()[1:]]
