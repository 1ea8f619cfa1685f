#!/usr/bin/env python3
"""How far PyTorch's own bfloat16 is from float32 on the golden cases: relative norm of the logits' difference, on a GPU.

    python3 bench/peers/bf16_distance.py FOLDER_OF_CASES

The yardstick for a bf16 backend: its distance should be no more than 1.5 times this one.
"""
import pathlib
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if not (case / "adapter_trained").is_dir() or "roberta" in case.name:
        continue
    e = load_file(case / "expected.safetensors")
    mask = e["step0.attention_mask"].bool()
    model = AutoModelForCausalLM.from_pretrained(case, dtype=torch.bfloat16, attn_implementation="sdpa" if "gemma2" not in case.name else "eager").eval().cuda()

    def distance(m, what):
        with torch.no_grad():
            logits = m(input_ids=e["step0.input_ids"].cuda(), attention_mask=mask.long().cuda()).logits.float().cpu()
        d = (logits - e[what + ".logits"])[mask].double().norm() / e[what + ".logits"][mask].double().norm()
        return float(d)

    before = distance(model, "base")
    print(f"{case.name:36} base {before:.1e}  trained {distance(PeftModel.from_pretrained(model, case / 'adapter_trained').eval(), 'trained'):.1e}", flush=True)
