#!/usr/bin/env bash
# Loading weights of a 7B model's shape (random bf16, 13.5 GB, made first) by `spt train --check` on two ranks, tp 2, against reading the same file in
# order, and against two processes that read a half of it each into memory of their own, which is the least that loading is; each from a cold page
# cache: as root. Also the largest resident set of a rank, of which a slice of the weights is half.
#
#   bench/load_speed.sh FOLDER     # with 14 GB free; what is made there is removed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$(mktemp -d "${1:?usage: bench/load_speed.sh FOLDER}/spt-load-XXXXXX"); trap 'rm -rf "$folder"' EXIT
cp configs/tiny_model/tokenizer*.json "$folder"
python3 - "$folder" <<'PYTHON'
import json, os, struct, sys
folder, width, mlp, layers, vocab = sys.argv[1], 4096, 11008, 32, 32000
json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": width, "intermediate_size": mlp,
           "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": layers, "num_key_value_heads": 32, "rms_norm_eps": 1e-5,
           "tie_word_embeddings": False, "vocab_size": vocab, "torch_dtype": "bfloat16"}, open(f"{folder}/config.json", "w"))
shapes = {"model.embed_tokens.weight": [vocab, width], "model.norm.weight": [width], "lm_head.weight": [vocab, width]}
for i in range(layers):
    shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in {
        "input_layernorm": [width], "post_attention_layernorm": [width], **{f"self_attn.{x}_proj": [width, width] for x in "qkvo"},
        "mlp.gate_proj": [mlp, width], "mlp.up_proj": [mlp, width], "mlp.down_proj": [width, mlp]}.items()}
header, at = {}, 0
for name, shape in shapes.items():
    size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
    at += size
block = bytearray(64 << 20)  # numbers from 0.0078 to 0.0156
block[0::2], block[1::2] = os.urandom(32 << 20), b"\x3c" * (32 << 20)
with open(f"{folder}/model.safetensors", "wb") as file:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for done in range(0, at, len(block)):
        file.write(block[:min(len(block), at - done)])
PYTHON
cold() { sync; echo 3 > /proc/sys/vm/drop_caches; }
build/spt prepare configs/samples/records.jsonl --tokenizer "$folder" --out "$folder/corpus.h5" > "$folder/prepare.txt"
for turn in 1 2; do
  cold
  dd if="$folder/model.safetensors" of=/dev/null bs=16M 2>&1 | tail -n 1
  cold
  python3 - "$folder/model.safetensors" <<'PYTHON'
import mmap, multiprocessing, os, sys, time
path, piece = sys.argv[1], 8 << 20
size = os.path.getsize(path)
half = size // 2

def read(number):
    memory = mmap.mmap(-1, half, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    view, file = memoryview(memory), os.open(path, os.O_RDONLY)
    for at in range(0, half, piece):
        os.preadv(file, [view[at:min(at + piece, half)]], number * half + at)

begin = time.perf_counter()
processes = [multiprocessing.Process(target=read, args=(number,)) for number in range(2)]
for process in processes:
    process.start()
for process in processes:
    process.join()
seconds = time.perf_counter() - begin
print(f"two processes, a half each into memory: {size / 1e9:.2f} GB in {seconds:.1f} s, {size / 1e9 / seconds:.2f} GB/s")
PYTHON
  cold
  ./launch/local.sh 2 /usr/bin/time -f "largest resident set of a process: %M KiB" build/spt train configs/llama2_7b_spt.yaml model.path="$folder" \
    data.train="$folder/corpus.h5" run.dir="$folder/run" mesh.tp=2 model.dtype=bf16 --check 2>&1 | grep -E "^weights|resident"
done
