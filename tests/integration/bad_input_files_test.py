"""Records, corpora and model folders that are not what they should be."""

import json
import os
import re
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

from bad_input_case import Case, edit_json, read_safetensors, write_safetensors

GOOD = {"conversations": ["What is copper?", "A metal."], "role": "You are a metallurgist. The user asks about copper."}


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def compressed_chunk(data, size):
    """Where in an HDF5 file a deflated chunk lies that holds `size` bytes."""
    for found in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
        inflate = zlib.decompressobj()
        try:
            if len(inflate.decompress(data[found.start():])) == size and inflate.eof:
                return found.start() + 8
        except zlib.error:
            pass
    raise AssertionError(f"no chunk of {size} bytes")


class BadRecords(Case):
    def records_refused(self, *lines, says, options=(), **more):
        path = self.folder / "in.jsonl"
        path.write_bytes(b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines))
        out = self.folder / "out.h5"
        self.refused("prepare", path, "--tokenizer", self.architecture, "--out", out, *options, says=says, **more)
        self.assertEqual(sorted(file.name for file in self.folder.iterdir()), ["in.jsonl"])

    def test_a_broken_json_line_is_refused_with_its_number(self):
        self.records_refused(GOOD, b'{"conversations": ["a", "b"', says=["in.jsonl:2: broken JSON"])

    def test_a_record_without_an_answer_is_refused_with_its_line(self):
        self.records_refused(GOOD, {"conversations": ["Alone?"], "role": GOOD["role"]}, says=["in.jsonl:2: the record has no assistant turn"])

    def test_text_that_is_not_utf8_is_refused_with_its_line(self):
        self.records_refused(GOOD, b'{"conversations": ["caf\xe9", "b"]}', says=["in.jsonl:2: the line is not UTF-8", "iconv"])

    def test_a_json_array_is_refused_with_the_way_to_convert_it(self):
        self.records_refused([GOOD], says=["in.jsonl:1: the file holds a JSON array", "jq"])

    def test_fields_of_a_wrong_type_are_refused_with_their_name(self):
        for record, message in (({"conversations": "a"}, '"conversations" must be array'),
                                ({"conversations": ["a", 5]}, "conversations[1] must be string"),
                                ({"conversations": ["a", ""]}, "message 2 is empty"),
                                ({"text": "a"}, "the format of the records is not known"),
                                (dict(GOOD, role=7), '"role" must be string'), (5, "must be a JSON object"),
                                (dict(GOOD, role="A cook."), 'it must begin with "You are"')):
            with self.subTest(message):
                self.records_refused(record, says=["in.jsonl:1: ", message])

    def test_records_without_a_role_are_counted_and_placed(self):
        self.records_refused(GOOD, {"conversations": ["a", "b"]}, says=["1 of 2 records have no role", "in.jsonl:2", "--missing-role drop"])

    def test_the_same_id_twice_is_refused_with_both_places(self):
        self.records_refused(dict(GOOD, id="x"), dict(GOOD, id="x"), says=["in.jsonl:2", "in.jsonl:1", '"x"'])

    def test_an_empty_file_is_refused(self):
        self.records_refused(says=["in.jsonl: has no records"])

    def test_no_example_within_the_token_limit_is_refused_with_the_knob(self):
        self.records_refused(GOOD, options=("--max-tokens", 8), says=["--max-tokens 8"])

    def test_a_missing_file_of_records_is_refused(self):
        self.refused("prepare", self.folder / "none.jsonl", "--tokenizer", self.architecture, "--out", self.folder / "x.h5",
                     says=[self.folder / "none.jsonl", "No such file"])

    def test_a_folder_in_place_of_records_is_refused(self):
        self.refused("prepare", self.folder, "--tokenizer", self.architecture, "--out", self.folder / "x.h5", says=[self.folder, "is a folder"])

    @unittest.skipIf(os.geteuid() == 0, "root reads every file")
    def test_unreadable_records_are_refused(self):
        path = self.folder / "in.jsonl"
        path.write_text(json.dumps(GOOD))
        path.chmod(0)
        self.refused("prepare", path, "--tokenizer", self.architecture, "--out", self.folder / "x.h5", says=[path, "Permission denied"])

    def test_a_corpus_that_exists_is_not_overwritten(self):
        self.refused("prepare", self.records, "--tokenizer", self.architecture, "--out", self.corpus, says=[self.corpus, "exists", "--force"])

    def test_records_are_not_overwritten_by_their_corpus(self):
        self.refused("prepare", self.records, "--tokenizer", self.architecture, "--out", self.records, "--force",
                     says=[self.records, "input and output at once"])

    def test_a_corpus_in_a_folder_that_does_not_exist_is_refused(self):
        self.refused("prepare", self.records, "--tokenizer", self.architecture, "--out", self.folder / "none/x.h5",
                     says=[self.folder / "none", "does not exist"])

    def test_a_tokenizer_folder_without_a_tokenizer_is_refused(self):
        for folder in (self.folder, self.folder / "none", self.records):
            self.refused("prepare", self.records, "--tokenizer", folder, "--out", self.folder / "x.h5", says=[folder])

    def test_a_broken_tokenizer_is_refused(self):
        folder = self.copy_of(self.architecture)
        path = folder / "tokenizer.json"
        text = path.read_text()
        for broken in (text[:1000], "", "[]", "{}", '{"model": 5}', text.replace('"BPE"', '"Unigram"')):
            path.write_text(broken)
            with self.subTest(broken[:20]):
                self.refused("prepare", self.records, "--tokenizer", folder, "--out", self.folder / "x.h5", says=[path])


class BadCorpus(Case):
    def corpus_refused(self, corpus, says, **options):
        self.training_refused(corpus=corpus, says=["data.train", corpus.name, *says], **options)

    def spoilt(self, place):
        """The corpus with one bit flipped at place(its bytes)."""
        path = self.folder / "spoilt.h5"
        data = bytearray(self.corpus.read_bytes())
        data[place(bytes(data))] ^= 1
        path.write_bytes(data)
        return path

    def test_a_missing_corpus_is_refused(self):
        self.corpus_refused(self.folder / "none.h5", says=["data.train"])

    def test_a_corpus_that_is_another_file_is_refused(self):
        for path in (self.records, self.architecture / "config.json"):
            self.corpus_refused(path, says=["spt prepare"], ranks=[1])
        (self.folder / "empty.h5").touch()
        self.corpus_refused(self.folder / "empty.h5", says=["spt prepare"])
        self.corpus_refused(self.folder, says=["is not a file"], ranks=[1])

    def test_a_truncated_corpus_is_refused(self):
        data = self.corpus.read_bytes()
        for size in (len(data) - 1, len(data) // 2, 100):
            path = self.folder / "truncated.h5"
            path.write_bytes(data[:size])
            self.corpus_refused(path, says=["spt prepare"], ranks=[1])

    def test_a_flipped_bit_in_the_tokens_is_refused(self):
        self.corpus_refused(self.spoilt(lambda data: compressed_chunk(data, 4096 * 4)), says=["reading tokens", "damaged"])

    def test_a_flipped_bit_in_the_mask_is_refused(self):
        self.corpus_refused(self.spoilt(lambda data: compressed_chunk(data, 4096)), says=["reading trained", "damaged"], ranks=[1])

    def test_a_flipped_bit_in_the_offsets_is_refused(self):
        self.corpus_refused(self.spoilt(lambda data: compressed_chunk(data, 4096 * 8)), says=["reading offsets", "damaged"], ranks=[1])

    def test_a_flipped_bit_in_an_attribute_is_refused(self):
        for text in (b"AI Assistant:", b"spt-corpus", self.attribute("content_sha256"), self.attribute("tokenizer_sha256")):
            with self.subTest(text):
                self.corpus_refused(self.spoilt(lambda data, text=text: data.index(text) + 2), says=["damaged"], ranks=[1])

    def attribute(self, name):
        return json.loads(self.spt("inspect", self.corpus, "--json"))[name].encode()

    def test_inspect_verify_refuses_a_flipped_bit(self):
        path = self.spoilt(lambda data: compressed_chunk(data, 4096 * 4))
        self.refused("inspect", path, "--verify", says=[path, "damaged"])

    def test_a_corpus_of_another_tokenizer_is_refused_with_the_way_to_make_it_again(self):
        model = self.copy_of(self.architecture)
        tokenizer = json.loads((model / "tokenizer.json").read_text())
        tokenizer["model"]["merges"].pop()
        (model / "tokenizer.json").write_text(json.dumps(tokenizer))
        self.corpus_refused(self.corpus, path=model, says=["made with another tokenizer", f"--tokenizer {model}"])

    def test_corpora_of_two_arms_are_refused(self):
        plain = self.folder / "plain.h5"
        self.spt("prepare", self.records, "--tokenizer", self.architecture, "--arm", "plain", "--out", plain)
        self.training_refused(f"data.valid={plain}", says=["is of arm role", "data.valid", "of arm plain"])

    def test_a_held_out_corpus_that_is_the_training_one_is_warned_of(self):
        output = self.spt(*self.training(self.folder / "run", f"data.valid={self.corpus}"), "--check", ranks=2)
        self.assertEqual(output.count("nothing is held out"), 1, output)
        self.assertRegex(output, r"weights: [\d.]+ GB read in [\d.]+ s, [\d.]+ GB/s")

    def test_a_missing_held_out_corpus_is_refused(self):
        self.training_refused(f"data.valid={self.folder}/none.h5", says=["none.h5", "data.valid"], ranks=[1])

    def test_examples_longer_than_the_model_takes_are_refused_with_the_knob(self):
        model = self.copy_of(self.model)
        edit_json(model / "config.json", max_position_embeddings=64)
        self.corpus_refused(self.corpus, path=model, says=["the model takes 64", "data.max_tokens"])


class BadModel(Case):
    def setUp(self):
        super().setUp()
        self.spoilt = self.copy_of(self.model)
        self.weights = self.spoilt / "model.safetensors"

    def model_refused(self, says, ranks=(0,), overrides=(), **options):
        self.training_refused(*overrides, path=self.spoilt, says=says, ranks=ranks, **options)

    def test_a_missing_model_folder_is_refused(self):
        for path in (self.folder / "none", self.records):
            self.training_refused(path=path, says=[path, "model.path"])

    def test_fields_that_change_the_mathematics_are_refused(self):
        for key, value in (("attention_bias", True), ("mlp_bias", True), ("hidden_act", "gelu"), ("attention_dropout", 0.1),
                           ("quantization_config", {"bits": 4}), ("model_type", "qwen2"),
                           ("rope_scaling", {"rope_type": "yarn", "factor": 4.0}), ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4})):
            with self.subTest(key):
                self.spoilt = self.copy_of(self.model)
                edit_json(self.spoilt / "config.json", **{key: value})
                name = "yarn" if "rope" in key else key
                self.model_refused(says=["config.json", name])

    def test_a_model_that_is_refused_is_refused_on_two_ranks(self):
        edit_json(self.spoilt / "config.json", attention_bias=True)
        self.model_refused(says=["config.json: attention_bias is true; only false is supported"], ranks=[2])

    def test_numbers_that_no_model_has_are_refused(self):
        for key, value in (("hidden_size", 0), ("hidden_size", "big"), ("hidden_size", 33), ("vocab_size", -1), ("num_hidden_layers", 2.5),
                           ("num_attention_heads", 3), ("num_key_value_heads", 3), ("head_dim", 7), ("rms_norm_eps", 0),
                           ("rope_theta", -1), ("vocab_size", 1 << 60), ("num_hidden_layers", 1 << 31)):
            with self.subTest(key, value=value):
                self.spoilt = self.copy_of(self.model)
                edit_json(self.spoilt / "config.json", **{key: value})
                self.model_refused(says=["config.json"])

    def test_a_config_that_is_missing_or_broken_is_refused(self):
        path = self.spoilt / "config.json"
        for text in ("", "[]", '{"model_type": "llama"', '{"model_type": "llama"}', "\xff"):
            path.write_text(text, encoding="latin-1")
            with self.subTest(text):
                self.model_refused(says=[path])
        path.unlink()
        self.model_refused(says=[path, "cannot be read"])

    def test_a_tokenizer_larger_than_the_vocabulary_is_refused(self):
        edit_json(self.spoilt / "config.json", vocab_size=1000)
        self.model_refused(says=["the tokenizer has 1024 tokens, the model 1000"], overrides=["model.init=random"], ranks=[1, 2])

    def test_tp_that_does_not_divide_the_heads_is_refused_with_the_possible_values(self):
        self.training_refused("mesh.tp=4", says=["mesh.tp is 4", "2 key/value heads", "possible: 1, 2"], ranks=[4])

    def test_tp_that_does_not_divide_the_ranks_is_refused_with_the_possible_values(self):
        self.training_refused("mesh.tp=2", says=["mesh.tp is 2, which does not divide the 1 rank(s); possible: 1"], ranks=[1], check=False)
        self.training_refused("mesh.tp=2", says=["mesh.tp is 2, which does not divide the 3 rank(s); possible: 1, 3"], ranks=[3])

    def test_truncated_weights_are_refused(self):
        data = self.weights.read_bytes()
        for size in (len(data) - 1, len(data) // 2, 100, 4, 0):
            self.weights.write_bytes(data[:size])
            with self.subTest(size):
                self.model_refused(says=[self.weights], ranks=[1, 2] if size == 100 else [1])

    def test_hostile_headers_are_refused(self):
        header, data = read_safetensors(self.weights)
        name = next(name for name in header if name != "__metadata__")
        entry = header[name]
        for label, changed in (("no JSON", b"\x00" * 64), ("a list", b"[]"), ("nested", b"[" * 100_000), ("not UTF-8", b'{"\xff": 1}'),
                               ("no entries", b"{}"), ("type", dict(header, **{name: dict(entry, dtype="F4")})),
                               ("shape", dict(header, **{name: dict(entry, shape=[1 << 62, 4])})),
                               ("negative", dict(header, **{name: dict(entry, shape=[-1])})),
                               ("offsets", dict(header, **{name: dict(entry, data_offsets=[0, 1 << 62])})),
                               ("text", dict(header, **{name: "x"}))):
            with self.subTest(label):
                write_safetensors(self.weights, changed, data)
                self.model_refused(says=[self.weights if label != "no entries" else self.spoilt])
        self.weights.write_bytes(b"\xff" * 8 + data)
        self.model_refused(says=[self.weights])

    def test_missing_weights_are_refused_with_their_names(self):
        header, data = read_safetensors(self.weights)
        write_safetensors(self.weights, {("renamed" if name == "model.norm.weight" else name): entry for name, entry in header.items()}, data)
        self.model_refused(says=[self.spoilt, "weights are missing: model.norm.weight"], ranks=[1, 2])

    def test_extra_weights_are_refused_with_their_names(self):
        header, data = read_safetensors(self.weights)
        bias = "model.layers.0.self_attn.q_proj.bias"
        header[bias] = {"dtype": "F32", "shape": [32], "data_offsets": [len(data), len(data) + 128]}
        write_safetensors(self.weights, header, data + bytes(128))
        self.model_refused(says=[self.spoilt, bias, "would change the model's results"])

    def test_tied_embeddings_that_differ_are_refused(self):
        header, data = read_safetensors(self.weights)
        embedding = header["model.embed_tokens.weight"]
        begin, end = embedding["data_offsets"]
        copy = bytearray(data[begin:end])
        header["lm_head.weight"] = dict(embedding, data_offsets=[len(data), len(data) + len(copy)])
        write_safetensors(self.weights, header, data + copy)
        self.spt(*self.training(self.folder / "same", path=self.spoilt), "--check")
        copy[-1] ^= 1
        write_safetensors(self.weights, header, data + copy)
        self.model_refused(says=[self.spoilt, "lm_head.weight differ"], ranks=[1, 2])

    def test_weights_of_another_shape_are_refused_with_both_shapes(self):
        edit_json(self.spoilt / "config.json", intermediate_size=96)
        self.model_refused(says=["weights of another shape or type", "gate_proj.weight is [64, 32], config.json says [96, 32]"])

    def test_a_folder_with_only_bin_weights_is_refused_with_the_way_to_convert_them(self):
        self.weights.rename(self.spoilt / "pytorch_model.bin")
        self.model_refused(says=[self.spoilt, "pytorch_model.bin", "save_pretrained"])

    def test_a_folder_without_weights_is_refused(self):
        self.weights.unlink()
        self.model_refused(says=[self.spoilt, "has no weights"])

    def test_a_shard_that_is_missing_is_refused_with_its_name(self):
        self.weights.unlink()
        index = self.spoilt / "model.safetensors.index.json"
        for name in ("part-1.safetensors", "../../etc/passwd"):
            index.write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
            self.model_refused(says=[index, name])

    def test_weights_of_whole_numbers_are_refused(self):
        header, data = read_safetensors(self.weights)
        header["model.norm.weight"]["dtype"] = "I32"
        write_safetensors(self.weights, header, data)
        self.model_refused(says=[self.spoilt, "model.norm.weight has the type Int, expected floating point"])


class BadGeneration(Case):
    def generation_refused(self, *arguments, says, model=None, **options):
        return self.refused("generate", "--model", model or self.model, *arguments, says=says, **options)

    def test_an_empty_prompt_is_refused(self):
        for prompt in ("", "  \n"):
            self.generation_refused("--prompt", prompt, says=["--prompt", "empty"])
        self.generation_refused("--template", "none", "--prompt", "", says=["--prompt", "empty"])

    def test_a_prompt_too_long_is_refused_with_the_limit(self):
        self.generation_refused("--prompt", "copper " * 1000, says=["--prompt: the question takes", "the model 1 to 511"])

    def test_a_question_too_long_is_refused_with_its_line_before_any_is_answered(self):
        path = self.folder / "questions.jsonl"
        path.write_text('{"prompt": "a"}\n' * 40 + json.dumps({"prompt": "copper " * 1000}) + "\n")
        for ranks in (1, 2):
            self.generation_refused("--input", path, "--out", self.folder / "out.jsonl", says=["questions.jsonl:41: the question takes", "511"], ranks=ranks)
        self.assertFalse((self.folder / "out.jsonl").exists())

    def test_broken_questions_are_refused_with_their_line(self):
        path = self.folder / "questions.jsonl"
        path.write_text('{"prompt": "a"}\n{"prompt": }\n')
        self.generation_refused("--input", path, says=["questions.jsonl:2: broken JSON"])
        path.write_text("")
        self.generation_refused("--input", path, says=["questions.jsonl: has no records"])
        self.generation_refused("--input", self.folder / "none", says=[self.folder / "none", "No such file"])

    def test_answers_that_exist_are_not_overwritten(self):
        out = self.folder / "out.jsonl"
        out.write_text("precious")
        for ranks in (1, 2):
            self.generation_refused("--prompt", "a", "--out", out, says=[out, "exists"], ranks=ranks)
        self.assertEqual(out.read_text(), "precious")

    def test_answers_in_a_folder_that_does_not_exist_are_refused_before_any_is_written(self):
        self.generation_refused("--prompt", "a", "--out", self.folder / "none/out.jsonl", says=["--out", self.folder / "none", "No such file or directory"])

    def test_a_model_that_is_a_file_or_missing_is_refused(self):
        for path in (self.records, self.folder / "none", self.model / "model.safetensors"):
            self.generation_refused("--prompt", "a", model=path, says=[path, "--model"])

    def test_a_model_without_a_tokenizer_is_refused(self):
        model = self.copy_of(self.model)
        (model / "tokenizer.json").unlink()
        self.generation_refused("--prompt", "a", model=model, says=[model, "tokenizer.json"])

    def test_a_checkpoint_folder_in_place_of_its_model_is_refused(self):
        self.generation_refused("--prompt", "a", model=self.model.parent, says=[self.model.parent, "hf"])

    def test_a_broken_spt_json_is_refused(self):
        model = self.copy_of(self.model)
        path = model / "spt.json"
        good = json.loads(path.read_text())
        for label, value in (("text", "{"), ("list", []), ("empty", {}), ("format", dict(good, format="x")), ("newer", dict(good, version=99)),
                             ("arm", dict(good, arm="x")), ("template", dict(good, template="start: [")), ("number", dict(good, template=5)),
                             ("version", dict(good, version="one")), ("step", dict(good, step=None))):
            with self.subTest(label):
                path.write_text(value if isinstance(value, str) else json.dumps(value))
                self.generation_refused("--prompt", "a", model=model, says=[path])

    def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(self):
        model = self.copy_of(self.model)
        edit_json(model / "config.json", vocab_size=1000)
        self.generation_refused("--prompt", "a", model=model, says=["the tokenizer has 1024 tokens, the model 1000"])

    def test_a_misspelt_override_is_refused(self):
        self.generation_refused("--prompt", "a", "mesh.tpp=2", says=["unknown key mesh.tpp, did you mean mesh.tp?"], ranks=2)

    def test_weights_that_are_no_numbers_are_refused(self):
        model = self.copy_of(self.model)
        header, data = read_safetensors(model / "model.safetensors")
        write_safetensors(model / "model.safetensors", header, b"\xff" * len(data))
        self.generation_refused("--prompt", "a", "--max-new-tokens", 4, model=model, status=2, says=["not finite"])


class PipesAndFolders(Case):
    def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(self):
        pipe = self.folder / "pipe.jsonl"
        os.mkfifo(pipe)
        model = self.copy_of(self.architecture)
        (model / "config.json").unlink()
        os.mkfifo(model / "config.json")
        for arguments in (["inspect", pipe], ["generate", "--model", self.model, "--input", pipe, "--out", self.folder / "out.jsonl"],
                          ["prepare", pipe, "--tokenizer", self.model, "--out", self.folder / "out.h5"],
                          ["annotate", pipe, "--checkpoint", self.model, "--out", self.folder / "out.jsonl"]):
            with self.subTest(arguments[0]):
                self.refused(*arguments, says=[pipe, "is no regular file"])
        self.refused(*self.training(self.folder / "run", path=model), says=[model / "config.json", "cannot be read"])

    def test_a_run_folder_that_cannot_be_made_is_refused_by_check_too(self):
        file = self.folder / "file"
        file.write_text("")
        places = [(file / "run", "Not a directory"), (self.folder / ("a" * 300), "File name too long")]
        if os.geteuid() == 0:
            places.append(("/proc/run", "nothing can be made in /proc"))
        for place, reason in places:
            for check in ([], ["--check"]):
                with self.subTest(f"{reason} {check}"):
                    self.refused(*self.training(place), *check, says=["run.dir", reason])


@unittest.skipIf(os.geteuid() != 0, "a read-only file system is mounted, which only root can")
class ReadOnlyFolder(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place = Path(tempfile.mkdtemp(dir=cls.shared))
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", cls.place], capture_output=True, text=True)
        if mount.returncode != 0:
            raise unittest.SkipTest(f"no file system can be mounted here: {mount.stderr.strip()}")
        cls.addClassCleanup(subprocess.run, ["umount", cls.place], check=True)

    def test_a_corpus_is_refused_before_the_records_are_read(self):
        self.refused("prepare", self.folder / "none.jsonl", "--tokenizer", self.architecture, "--out", self.place / "x.h5",
                     says=[self.place, "Read-only file system", "--out"])

    def test_answers_are_refused_before_any_is_made(self):
        self.refused("generate", "--model", self.model, "--prompt", "a", "--out", self.place / "x.jsonl",
                     says=[self.place, "Read-only file system", "--out"])

    def test_a_run_is_refused(self):
        self.training_refused(run=self.place / "run", says=["run.dir", self.place, "Read-only file system"])
        self.training_refused(run=self.place, says=["run.dir", self.place, "Read-only file system"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
