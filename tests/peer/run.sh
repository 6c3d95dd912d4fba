#!/usr/bin/env bash
# The commands behind one peer test of CTest (tests.cmake): our side first, then the comparison by transformers.
#
#   run.sh TEST PYTHON SPT BINARIES SOURCE      SPT: the program; BINARIES: folder with dump_logits and dump_rows
#
# `train` is the fixture that the others stand on: a few steps of the tiny model, in BINARIES/peer. A test whose files are
# not there prints SKIPPED with the reason.
set -euo pipefail
test=$1 python=$2 spt=$3 bin=$4 source=$5
work=$bin/peer
mpirun="mpirun -np 2 --oversubscribe --bind-to none"
hf=$work/run/checkpoints/step-000012/hf
smollm2=$source/models/SmolLM2-135M-Instruct
benchmarks=$source/../shared/data/bench # the authors' files; they cannot be part of the repository
items=${SPT_PEER_ITEMS:-16}             # of each benchmark of options

peer() {  # peer SCRIPT ARGUMENT…
  local script=$1
  shift
  "$python" "$source/tests/peer/$script" "$@"
}
want_smollm2() {
  [ -e "$smollm2/model.safetensors" ] || { echo "SKIPPED: $smollm2 is not there (launch/fetch_smollm2.py)"; exit 0; }
}
want_benchmarks() {
  [ -d "$benchmarks" ] || { echo "SKIPPED: $benchmarks with the benchmarks' files is not there"; exit 0; }
}
evaluate() {  # evaluate NAME KEY=VALUE…: $work/NAME, of SmolLM2 in fp32, prompts as they are
  rm -rf "${work:?}/$1"
  "$spt" eval /dev/null run.dir="$work/$1" model.path="$smollm2" model.dtype=fp32 eval.data.root="$benchmarks" eval.template=none "${@:2}"
}
# NAME.jsonl, the sample records without ids of their own (they are known by their line then), and NAME.h5 of them.
prepare_template_corpus() {  # prepare_template_corpus NAME TOKENIZER
  sed 's/^{"id": "[^"]*", /{/' "$source/configs/samples/records.jsonl" >"$1.jsonl"
  "$spt" prepare "$1.jsonl" --arm plain --tokenizer "$2" --out "$1.h5" --force
}

case $test in
  train)
    rm -rf "$work"
    mkdir -p "$work"
    peer random_model.py "$source/configs/tiny_model" "$work/start"
    "$spt" prepare "$source/configs/samples/records.jsonl" --tokenizer "$work/start" --out "$work/records.h5"
    "$spt" train "$source/configs/tiny_cpu.yaml" run.dir="$work/run" model.path="$work/start" model.init=pretrained \
      data.train="$work/records.h5" data.valid=null train.steps=12 train.batch_examples=8 model.dtype=fp32 schedule.warmup_steps=3
    ;;
  hf_folder)
    "$bin/dump_logits" "$hf" "$work/hf.safetensors"
    peer hf_folder_test.py "$hf" "$work/hf.safetensors"
    $mpirun "$bin/dump_logits" "$hf" "$work/hf-tp2.safetensors"
    peer hf_folder_test.py "$hf" "$work/hf-tp2.safetensors"
    ;;
  hf_folder_mistral) # a window shorter than the text
    "$bin/dump_logits" "$source/tests/golden/mistral" "$work/mistral.safetensors"
    peer hf_folder_test.py "$source/tests/golden/mistral" "$work/mistral.safetensors" --no-tokenizer
    ;;
  bf16_logits)
    "$bin/dump_logits" "$hf" "$work/bf16.safetensors" bf16
    peer bf16_logits_test.py "$hf" "$work/bf16.safetensors"
    $mpirun "$bin/dump_logits" "$hf" "$work/bf16-tp2.safetensors" bf16
    peer bf16_logits_test.py "$hf" "$work/bf16-tp2.safetensors"
    for model in llama_gqa mistral; do
      "$bin/dump_logits" "$source/tests/golden/$model" "$work/bf16-$model.safetensors" bf16
      peer bf16_logits_test.py "$source/tests/golden/$model" "$work/bf16-$model.safetensors"
    done
    ;;
  training_losses)
    examples=$("$python" -c 'import h5py, sys; print(len(h5py.File(sys.argv[1])["offsets"]) - 1)' "$work/records.h5")
    "$bin/dump_rows" "$examples" 8 1 10 >"$work/rows.json"
    peer training_losses_test.py --run "$work/run" --rows "$work/rows.json" --model "$work/start"
    ;;
  generate) peer generate_test.py --spt "$spt" --model "$hf" ;;
  generate_tp2) peer generate_test.py --spt "$spt" --model "$hf" --launcher "$mpirun" --set mesh.tp=2 ;;
  sample_lengths) # the sample records are short enough for the quickstart's minutes
    want_smollm2
    "$python" "$source/tests/lint/check_samples.py" --tokenizer "$smollm2"
    ;;
  generate_smollm2)
    want_smollm2
    peer generate_test.py --spt "$spt" --model "$smollm2" --max-new-tokens 16
    ;;
  choices) # by lm-evaluation-harness
    want_smollm2
    want_benchmarks
    "$python" -c 'import lm_eval' || { echo "SKIPPED: lm_eval is not beside $python (launch/setup.sh --peer)"; exit 0; }
    evaluate choices "eval.tasks=[$source/bench/eval_tasks/arc.yaml, $source/bench/eval_tasks/mmlu.yaml]" eval.limit="$items"
    peer choices_test.py --model "$smollm2" --evaluation "$work/choices"
    evaluate choices-5 "eval.tasks=[$source/bench/eval_tasks/mmlu.yaml]" eval.shots=5 eval.limit="$((items / 4))"
    peer choices_test.py --model "$smollm2" --evaluation "$work/choices-5" --shots 5 --dev "$benchmarks/mmlu/dev"
    ;;
  gsm8k)
    want_smollm2
    want_benchmarks
    evaluate gsm8k "eval.tasks=[$source/bench/eval_tasks/gsm8k.yaml]" eval.max_new_tokens=48 eval.limit=8
    peer gsm8k_test.py --model "$smollm2" --evaluation "$work/gsm8k" --max-new-tokens 48
    ;;
  chat_template) # the one that the checkpoint's folder holds
    prepare_template_corpus "$work/template" "$hf"
    peer chat_template_test.py "$hf" "$work/template.h5" "$work/template.jsonl"
    ;;
  chat_template_llama) # a tokenizer that puts "▁" in front and has a BOS
    peer llama_model.py "$source/configs/tiny_model" "$source/configs/samples/records.jsonl" "$work/llama"
    prepare_template_corpus "$work/llama-template" "$work/llama"
    rm -rf "$work/llama-run"
    "$spt" train /dev/null run.dir="$work/llama-run" model.path="$work/llama" data.train="$work/llama-template.h5" train.steps=1 train.batch_examples=4
    peer chat_template_test.py "$work/llama-run/checkpoints/step-000001/hf" "$work/llama-template.h5" "$work/llama-template.jsonl"
    ;;
  chat_template_smollm2) # the one that inspect prints
    want_smollm2
    prepare_template_corpus "$work/smollm2" "$smollm2"
    "$spt" inspect "$work/smollm2.h5" --tokenizer "$smollm2" --json >"$work/smollm2.json"
    peer chat_template_test.py "$smollm2" "$work/smollm2.h5" "$work/smollm2.jsonl" --inspect "$work/smollm2.json" \
      --tokenizer-class PreTrainedTokenizerFast
    ;;
  statistics) peer statistics_test.py --spt "$spt" ;; # with scipy
  *) echo "run.sh: unknown test $test" >&2; exit 1 ;;
esac
