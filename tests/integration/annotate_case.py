"""What the annotate tests share: records, a role for each question, and `spt annotate` against the scripted server."""
import json
import os

from chat_server import ChatServer
from runs import DONE, JobTest

KEY = "sk-secret-7b1f0c9e4d"


def role_of(question):
    """A role that passes the checks of configs/annotators/role_prompt.yaml, another for each question."""
    return ("You are an expert who has worked for many years in the field that this question belongs to and who explains it in plain words, "
            f"step by step, to people new to it. The user wants help with this: {question}")


def write_records(path, count, **fields):
    lines = [json.dumps({"id": f"r{i}", "conversations": [f"what is thing number {i}?", f"it is the answer {i}"], "source": "made", **fields})
             for i in range(count)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class AnnotateTest(JobTest):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out.jsonl"
        self.journal = self.folder / "out.jsonl.journal"
        self.report = self.folder / "report.jsonl"
        os.environ["OPENAI_API_KEY"] = KEY
        self.addCleanup(os.environ.pop, "OPENAI_API_KEY", None)

    def serve(self, script=lambda request: role_of(request.question), **options):
        server = ChatServer(script, **options)
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def command(self, server, records, *options):
        return ("annotate", records, "--out", self.out, "--endpoint", server if isinstance(server, str) else server.url, "--model", "test-model",
                "--retry-delay", 0.02, *options)

    def annotate(self, server, records, *options, status=DONE):
        output = self.spt(*self.command(server, records, *options), status=status)
        self.assert_key_is_nowhere(output)
        return output

    def assert_key_is_nowhere(self, output):
        self.assertNotIn(KEY, output)
        for path in self.folder.rglob("*"):
            if path.is_file() and path.name != "key.txt":
                self.assertNotIn(KEY.encode(), path.read_bytes(), path)

    def roles(self):
        return [record.get("role") for record in read_lines(self.out)]
