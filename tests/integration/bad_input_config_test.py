"""A clumsy user's configurations and command lines."""

import os
import unittest

from bad_input_case import Case


class BadConfiguration(Case):
    def config(self, text):
        path = self.folder / "config.yaml"
        path.write_text(text)
        return path

    def config_refused(self, text, says, ranks=(1, 2)):
        path = self.config(text)
        for count in ranks:
            with self.subTest(ranks=count):
                self.refused("train", path, says=says, ranks=count)

    def test_a_misspelt_key_is_refused_with_its_line_and_the_key_that_was_meant(self):
        self.config_refused("run:\n  dir: x\noptimizer:\n  learnig_rate: 1\n  weight_decai: 1\n",
                            says=["config.yaml:5: unknown key optimizer.weight_decai, did you mean optimizer.weight_decay?"])

    def test_a_key_nobody_reads_is_refused_with_its_line(self):
        self.config_refused("run:\n  dir: x\nlora:\n  rank: 8\n", says=["config.yaml:4: unknown key lora.rank"], ranks=[1])

    def test_a_text_where_a_number_is_expected_is_refused_with_its_line(self):
        self.config_refused("run: {dir: x}\noptimizer:\n  lr: fast\n", says=["config.yaml:3: optimizer.lr is 'fast', expected a number"])

    def test_other_wrong_types_are_refused(self):
        for text, message in (("train: {steps: 1.5}", "train.steps is '1.5', expected a whole number"),
                              ("data: {packing: maybe}", "data.packing is 'maybe', expected true or false"),
                              ("optimizer: {lr: [1, 2]}", "optimizer.lr takes one value, not a list"),
                              ("optimizer: {betas: [a, b]}", "optimizer.betas is 'a'"),
                              ("model: {init: zero}", "model.init is 'zero', expected one of pretrained, random"),
                              ("train: 5", "train is a section"),
                              ("train: {steps: {a: 1}}", "unknown key train.steps.a"),
                              ("train: {steps: 99999999999999999999}", "train.steps is '99999999999999999999'")):
            with self.subTest(text):
                self.config_refused(text + "\n", says=["config.yaml:1: ", message], ranks=[1])

    def test_several_errors_are_reported_at_once(self):
        self.config_refused("run: {dir: x}\noptimizer:\n  lr: fast\ntrain:\n  setps: 3\n  epochs: many\n",
                            says=["config.yaml:3: optimizer.lr", "config.yaml:5: unknown key train.setps, did you mean train.steps?",
                                  "config.yaml:6: train.epochs"])

    def test_several_values_out_of_range_are_reported_at_once_with_their_limits(self):
        self.config_refused("run: {dir: x}\nmodel: {path: m}\ndata: {train: t}\noptimizer:\n  lr: -1\ntrain:\n  batch_examples: 0\n",
                            says=["config.yaml:5: optimizer.lr is -1, must be above 0",
                                  "config.yaml:7: train.batch_examples is 0, must be at least 1"], ranks=[1])

    def test_keys_that_must_be_given_are_named_all_at_once(self):
        self.config_refused("", says=["run.dir is missing", "model.path is missing", "data.train is missing"])

    def test_steps_and_epochs_together_are_refused(self):
        self.config_refused("run: {dir: x}\nmodel: {path: m}\ndata: {train: t}\ntrain: {steps: 1, epochs: 1}\n",
                            says=["train.epochs and train.steps are both given: keep one"], ranks=[1])

    def test_infinite_and_absurd_numbers_are_refused(self):
        for value in ("optimizer.lr=nan", "optimizer.lr=.inf", "optimizer.lr=1e999", "optimizer.clip_norm=nan",
                      "schedule.final_lr=-1", "run.collective_timeout_s=nan", "checkpoint.keep=0", "mesh.tp=0",
                      "data.max_tokens=0", "train.steps=-3", "train.micro_batch_tokens=0"):
            with self.subTest(value):
                self.training_refused(value, says=["command line: " + value.split("=")[0]], ranks=[1])

    def test_a_missing_configuration_is_refused(self):
        for ranks in (1, 2):
            self.refused("train", self.folder / "none.yaml", says=[self.folder / "none.yaml", "No such file"], ranks=ranks)

    def test_a_folder_in_place_of_the_configuration_is_refused(self):
        self.refused("train", self.folder, says=[self.folder, "is a folder"])

    def test_a_configuration_that_is_no_yaml_is_refused_with_its_line(self):
        self.config_refused("run: {dir: x}\noptimizer: [1, 2\n", says=["config.yaml:3: not valid YAML"], ranks=[1])

    def test_a_configuration_that_is_not_utf8_is_refused_with_its_line(self):
        path = self.folder / "config.yaml"
        path.write_bytes(b"run:\n  dir: \xff\xfe\n")
        self.refused("train", path, says=["config.yaml:2: not UTF-8"])

    def test_a_binary_file_in_place_of_the_configuration_is_refused(self):
        self.refused("train", self.corpus, says=[self.corpus])

    @unittest.skipIf(os.geteuid() == 0, "root reads every file")
    def test_an_unreadable_configuration_is_refused(self):
        path = self.config("run: {dir: x}\n")
        path.chmod(0)
        self.refused("train", path, says=[path, "Permission denied"])

    def test_an_override_without_an_equals_sign_is_refused(self):
        self.training_refused("optimizer.lr", says=["command line: 'optimizer.lr': expected key=value"])

    def test_a_misspelt_override_is_refused_with_the_key_that_was_meant(self):
        self.training_refused("optimizer.lrr=1", says=["command line: unknown key optimizer.lrr, did you mean optimizer.lr?"])

    def test_more_tokens_than_the_corpus_has_or_fewer_than_a_question_are_refused(self):
        self.training_refused("data.max_tokens=100000", says=["data.max_tokens is 100000, but the corpus was cut at", "--max-tokens 100000"])
        self.training_refused("data.max_tokens=3", says=["data.max_tokens 3 leaves", "without a trained token", "the first has id"])

    def test_one_rank_checks_what_needs_more(self):
        # A login node has one; the number of ranks is mpirun's affair.
        output = self.spt(*self.training(self.folder / "run", "mesh.tp=2", "model.init=random", path=self.architecture), "--check")
        self.assertIn("nothing is wrong", output)

    def test_warm_up_longer_than_the_run_is_refused(self):
        self.training_refused("schedule.warmup_steps=2", says=["schedule.warmup_steps is 2, must be below the run's 2 steps"])


class BadCommandLine(Case):
    def command_refused(self, *arguments, says, **options):
        return self.refused(*arguments, says=says, in_one_message=False, **options)

    def test_no_subcommand_is_refused(self):
        self.command_refused(says=["subcommand is required", "--help"])

    def test_an_unknown_subcommand_is_refused(self):
        self.command_refused("trian", says=["trian", "--help"])

    def test_an_unknown_option_is_refused(self):
        self.command_refused("prepare", self.records, "--tokenizer", self.architecture, "--outt", "x", says=["--outt"])
        self.command_refused("generate", "--model", self.model, "--promt", "x", says=["--promt"])

    def test_an_unknown_option_of_train_is_refused_on_any_number_of_ranks(self):
        for ranks in (1, 2):
            self.command_refused(*self.training(self.folder / "run"), "--chek", says=["--chek"], ranks=ranks)

    def test_a_missing_option_is_named(self):
        self.command_refused("prepare", self.records, "--out", self.folder / "x.h5", says=["--tokenizer is required"])
        self.command_refused("generate", "--prompt", "x", says=["--model is required"])

    def test_train_without_a_configuration_is_refused(self):
        for ranks in (1, 2):
            self.command_refused("train", says=["CONFIG is required"], ranks=ranks)

    def test_a_number_that_is_none_is_refused_with_its_option(self):
        self.command_refused("generate", "--model", self.model, "--prompt", "x", "--max-new-tokens", "many",
                             says=["--max-new-tokens", "many"])
        self.command_refused("prepare", self.records, "--tokenizer", self.architecture, "--out", self.folder / "x.h5",
                             "--max-tokens", "1e3x", says=["--max-tokens", "1e3x"])

    def test_numbers_out_of_range_are_refused_with_their_limit(self):
        for option, value, limit in (("--max-new-tokens", "0", "at least 1"), ("--temperature", "-1", "at least 0"),
                                     ("--temperature", "nan", "at least 0"), ("--top-p", "0", "above 0"), ("--batch", "0", "at least 1")):
            with self.subTest(option, value=value):
                self.refused("generate", "--model", self.model, "--prompt", "x", option, value, says=[option, limit])

    def test_a_choice_that_does_not_exist_is_refused_with_the_choices(self):
        arguments = ("prepare", self.records, "--tokenizer", self.architecture, "--out", self.folder / "x.h5")
        self.refused(*arguments, "--arm", "rol", says=["--arm is 'rol', expected one of role, plain"])
        self.refused(*arguments, "--template", "nonesuch", says=["nonesuch"])

    def test_prompt_and_input_together_or_neither_are_refused(self):
        self.refused("generate", "--model", self.model, says=["--prompt", "--input"])
        self.refused("generate", "--model", self.model, "--prompt", "x", "--input", self.records, says=["--prompt", "--input"])

    def test_rows_that_do_not_exist_are_refused_with_the_limit(self):
        for rows in ("20:30", "5:5", "-1", "a:b", "3:2", ":"):
            with self.subTest(rows):
                self.refused("inspect", self.corpus, f"--rows={rows}", says=[f"--rows is '{rows}'", "24"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
