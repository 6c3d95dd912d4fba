"""What the peer tests share: models and logits by transformers, files of ours, and how a comparison is reported.

Needs torch, transformers, safetensors and h5py (launch/setup.sh --peer).
"""
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_model(folder, dtype="fp32"):
    """The folder's model in eval mode. Weights that are missing, left over or of another shape end the test."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[dtype], output_loading_info=True)
    wrong = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if wrong:
        sys.exit(f"FAILED {folder}: transformers does not load all weights as they are: {wrong}")
    return model.eval()


def examples(starts):
    """(begin, end) of each example of a ragged batch."""
    bounds = starts.tolist()
    return list(zip(bounds[:-1], bounds[1:]))


@torch.no_grad()
def ragged_logits(model, ids, starts):
    """fp32 [T, V], example by example."""
    ids = ids.long()
    return torch.cat([model(input_ids=ids[None, a:b], use_cache=False).logits[0].float() for a, b in examples(starts)])


def load_dump(path):
    """Our logits: tensors ids int64 [T], starts int32 or int64 [n+1], logits fp32 [T, V]."""
    dump = load_file(path)
    ids, starts, logits = dump["ids"], dump["starts"], dump["logits"].float()
    if starts[0] != 0 or starts[-1] != len(ids) or logits.shape[0] != len(ids):
        sys.exit(f"FAILED {path}: ids {tuple(ids.shape)}, starts up to {starts[-1].item()} and logits {tuple(logits.shape)} do not fit")
    return ids, starts, logits


class Report:
    """Prints each comparison; `finish` ends the program, with 1 when one failed."""

    def __init__(self):
        self.failed = 0

    def check(self, good, text):
        print(("ok     " if good else "FAILED ") + text, flush=True)
        self.failed += not good

    def finish(self):
        print(f"torch {torch.__version__}, transformers {transformers.__version__}: " + (f"{self.failed} failed" if self.failed else "all equal"))
        sys.exit(1 if self.failed else 0)
