"""docs/ says what the program says: keys, formats, messages."""
import json
import re
import subprocess
import unittest

from runs import JobTest, PROGRAM, SOURCE, random_checkpoint, sample_records

FOLDERS = ("base", "dist", "data", "trainer", "launch")


def sources():
    """All string literals, those that stand behind each other joined."""
    text = "\n".join(path.read_text(encoding="utf-8") for folder in FOLDERS for path in sorted((SOURCE / folder).rglob("*.cpp")))
    return re.sub(r'"\s*\n\s*"', "", text)


def page(name):
    return (SOURCE / "docs" / name).read_text(encoding="utf-8")


def keys_of(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


class DocsTest(JobTest):
    def test_configuration_is_what_the_program_writes(self):
        written = subprocess.run([PROGRAM, "keys"], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual(page("configuration.md"), written, "spt keys > docs/configuration.md")

    def test_each_key_has_a_meaning(self):
        rows = [line.split(" | ") for line in page("configuration.md").splitlines() if line.startswith("| `")]
        self.assertGreater(len(rows), 100)
        self.assertEqual([row[0] for row in rows if not row[-1].strip(" |")], [])

    def test_each_message_stands_in_the_sources(self):
        text = sources()
        messages = re.findall(r"(?m)^### `(.+)`$", page("troubleshooting.md"))
        self.assertGreater(len(messages), 10)
        for message in messages:
            pattern = r"(?:\{[^{}]*\}|`)+".join(re.escape(part) for part in message.split("…"))
            self.assertTrue(re.search(pattern, text), message)

    def test_each_key_that_is_written_is_described(self):
        described = set(re.findall(r"[\w@]+", page("formats.md")))
        hf = random_checkpoint(self.folder, sample_records(self.folder / "r.jsonl", 8))
        run = self.folder / "run"
        answers = self.folder / "answers.jsonl"
        self.spt("generate", "--model", hf, "--prompt", "why?", "--max-new-tokens", 4, "--out", answers)
        (self.folder / "t.yaml").write_text('name: t\nkind: generate\ndata: {path: q.jsonl}\nprompt: "{q}"\ngold: "1"\nextract: number\n')
        (self.folder / "q.jsonl").write_text('{"q": "one?"}\n')
        self.spt("eval", "/dev/null", f"run.dir={self.folder / 'eval'}", f"model.path={hf}", f"eval.tasks=[{self.folder / 't.yaml'}]",
                 f"eval.data.root={self.folder}", "eval.max_new_tokens=4")

        def lines(path):
            return [json.loads(line) for line in path.read_text().splitlines()]
        manifest = json.loads((run / "manifest.json").read_text())
        results = json.loads((self.folder / "eval" / "results.json").read_text())
        progress = json.loads((hf.parent / "progress.json").read_text())
        for free, names in ((manifest, ("config",)), (manifest["program"], ("libraries",)), (results, ("depends_on",)), (progress, ("files",))):
            for name in names:
                self.assertIn(name, described)
                free.pop(name)  # names in there are not the format's
        results["tasks"] = list(results["tasks"].values())
        for written in (manifest, results, progress, lines(run / "metrics.jsonl"), lines(answers), json.loads((hf / "spt.json").read_text()),
                        lines(self.folder / "eval" / "samples" / "t.jsonl")):
            self.assertEqual(set(keys_of(written)) - described, set())


if __name__ == "__main__":
    unittest.main()
