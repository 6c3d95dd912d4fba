"""Answers do not depend on ranks, tensor parallelism or batch; roles are told apart from answers; templates are found."""
import json
import shutil
import unittest

from runs import BAD_INPUT, RECORDS, JobTest, checkpoints, make_corpus, make_model

LEARNT = [  # what the models know by heart: question, role, answer
    ("Why is the sky blue?", "You are a physicist. The user asks about light.", "Air scatters blue light most of all."),
    ("How do I cook rice?", "You are a patient cook. The user wants a recipe.", "Rinse it, add water, and let it rest."),
    ("My bike squeaks. Why?", "You are a mechanic. The user has a bicycle.", "The chain is dry: clean and oil it."),
    ("Name a large planet.", "You are an astronomer. The user asks a fact.", "Jupiter is the largest one."),
]
OTHERS = 5  # sample records, which they do not


class GenerateTest(JobTest):
    """Models that learnt a few records by heart, so that greedy answers are clear and the role arm's begin with a role."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_model = make_model(cls.shared / "model")
        cls.records = cls.shared / "records.jsonl"
        text = "".join(json.dumps({"id": f"q{i}", "conversations": [question, answer], "role": role}) + "\n"
                       for i, (question, role, answer) in enumerate(LEARNT))
        cls.records.write_text(text)
        cls.questions = cls.shared / "questions.jsonl"
        cls.questions.write_text(text + "".join(RECORDS.read_text(encoding="utf-8").splitlines(keepends=True)[:OTHERS]), encoding="utf-8")
        cls.tuned = {}

    def tune(self, arm):
        """The hf/ folder of a model of this arm, trained once."""
        if arm not in self.tuned:
            corpus = make_corpus(self.shared / f"{arm}.h5", self.start_model, self.records, arm=arm)
            run = self.shared / f"run-{arm}"
            self.spt("train", "/dev/null", f"run.dir={run}", f"model.path={self.start_model}", "model.init=random", f"data.train={corpus}",
                     "train.steps=60", f"train.batch_examples={len(LEARNT)}", "optimizer.lr=3e-3", "schedule.warmup_steps=5", "run.log_every=100",
                     "checkpoint.every_steps=60", "checkpoint.final_optimizer=false", ranks=2)
            self.tuned[arm] = run / "checkpoints" / checkpoints(run)[-1] / "hf"
        return self.tuned[arm]

    def generate(self, model, *options, ranks=1, questions=None, limit=80):
        out = self.folder / f"answers-{len(list(self.folder.iterdir()))}.jsonl"
        self.spt("generate", "--model", model, "--input", questions or self.questions, "--out", out, "--max-new-tokens", limit, *options,
                 ranks=ranks)
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    def test_greedy_answers_do_not_depend_on_ranks_tensor_parallelism_or_batch(self):
        model = self.tune("role")
        expected = self.generate(model)
        self.assertEqual(len(expected), len(LEARNT) + OTHERS)
        self.assertGreater(len({row["output"] for row in expected}), len(LEARNT))
        for ranks, options in (1, ["--batch", 1]), (2, ["mesh.tp=2"]), (3, ["--batch", 2]), (4, ["mesh.tp=2", "--batch", 3]):
            with self.subTest(ranks=ranks, options=options):
                self.assertEqual(self.generate(model, *options, ranks=ranks), expected)

    def test_rows_keep_the_order_and_the_ids_of_the_questions(self):
        wanted = [json.loads(line)["id"] for line in self.questions.read_text(encoding="utf-8").splitlines()]
        self.assertEqual([row["id"] for row in self.generate(self.tune("role"), limit=1, ranks=3)], wanted)

    def test_samples_repeat_with_their_seed_and_do_not_depend_on_ranks_or_batch(self):
        model = self.tune("role")
        options = ["--temperature", 1.5, "--top-p", 0.95]
        expected = self.generate(model, *options, "--seed", 3)
        self.assertEqual(self.generate(model, *options, "--seed", 3), expected)
        self.assertEqual(self.generate(model, *options, "--seed", 3, "--batch", 2), expected)
        self.assertEqual(self.generate(model, *options, "--seed", 3, ranks=3), expected)
        self.assertEqual(self.generate(model, *options, "--seed", 3, "mesh.tp=2", ranks=2), expected)
        other = self.generate(model, *options, "--seed", 4)
        self.assertNotEqual([row["output"] for row in other], [row["output"] for row in expected])

    def test_the_role_arm_writes_role_and_answer_apart(self):
        for row, learnt in zip(self.generate(self.tune("role")), LEARNT):
            self.assertEqual((row["prompt"], row["role"], row["answer"], row["finish"]), (*learnt, "stop"))
            self.assertEqual(row["output"], f"{row['role']}\n\n{row['answer']}")

    def test_without_a_blank_line_there_is_no_role(self):
        for row in self.generate(self.tune("role"), limit=6)[:len(LEARNT)]:
            self.assertTrue(row["output"].startswith("You are"), row)
            self.assertEqual((row["role"], row["answer"], row["finish"], len(row["output_ids"])), (None, row["output"], "length", 6))

    def test_the_plain_arm_writes_answers_without_a_role(self):
        for row, (question, _, answer) in zip(self.generate(self.tune("plain")), LEARNT):
            self.assertEqual((row["prompt"], row["role"], row["answer"], row["output"]), (question, None, answer, answer))

    def question(self, text):
        path = self.folder / "question.jsonl"
        path.write_text(json.dumps({"prompt": text}) + "\n", encoding="utf-8")
        return path

    def test_a_checkpoint_brings_its_template_and_a_model_without_one_gets_the_default(self):
        tuned, bare = self.tune("role"), self.folder / "bare"
        shutil.copytree(tuned, bare)
        (bare / "spt.json").unlink()
        expected = self.generate(tuned)
        self.assertEqual(self.generate(bare), expected)
        # A template of its own is used, and one given by hand comes before it.
        described = json.loads((tuned / "spt.json").read_text(encoding="utf-8"))
        described["template"] = described["template"].replace("AI Assistant:", "Helper:")
        (bare / "spt.json").write_text(json.dumps(described), encoding="utf-8")
        self.assertNotEqual(self.generate(bare)[0]["prompt_ids"], expected[0]["prompt_ids"])
        self.assertEqual(self.generate(bare, "--template", "spt"), expected)

    def test_template_none_feeds_the_text_as_it_is_and_knows_special_tokens(self):
        row = self.generate(self.tune("role"), "--template", "none", limit=4,
                            questions=self.question("<|im_start|>user"))[0]
        self.assertEqual(row["prompt_ids"][0], 0, "the token <|im_start|>; this tokenizer has no BOS")
        self.assertNotIn(0, row["prompt_ids"][1:])
        self.assertLess(len(row["prompt_ids"]), 6)
        self.assertEqual((row["prompt"], row["role"], row["answer"]), ("<|im_start|>user", None, row["output"]))

    def test_with_the_template_special_tokens_in_a_question_stay_text(self):
        row = self.generate(self.tune("role"), limit=1, questions=self.question("what is <|im_end|>?"))[0]
        self.assertNotIn(1, row["prompt_ids"])

    def test_an_answer_file_that_exists_is_not_overwritten(self):
        out = self.folder / "there.jsonl"
        out.write_text("mine\n")
        for ranks in 1, 2:
            output = self.spt("generate", "--model", self.tune("role"), "--prompt", "Why?", "--out", out, ranks=ranks, status=BAD_INPUT)
            self.assert_one_message(output, str(out), "exists")
        self.assertEqual(out.read_text(), "mine\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
