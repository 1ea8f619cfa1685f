#!/usr/bin/env python3
"""Loads adapters that LoraNet wrote with real PEFT and compares logits.

    python3 bench/peers/peft_load.py FOLDER

Each sub-folder of FOLDER has base/ (a model), adapter/ (written by LoraNet) and logits.safetensors with input_ids,
attention_mask and LoraNet's logits [rows, length, vocabulary].
"""
import pathlib
import sys
import warnings

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

worst = 0.0
for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    data = load_file(case / "logits.safetensors")
    base = AutoModelForCausalLM.from_pretrained(case / "base", dtype=torch.float32, attn_implementation="eager").eval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base, case / "adapter").eval()
    missing = [str(w.message)[:200] for w in caught if "missing adapter keys" in str(w.message)]
    mask = data["attention_mask"].long()
    with torch.no_grad():
        logits = model(input_ids=data["input_ids"].long(), attention_mask=mask).logits
    difference = (logits - data["logits"]).abs()[mask.bool()].max().item()
    worst = max(worst, difference)
    print(f"{case.name:40} {difference:.2e} {missing or ''}")
print("largest difference", worst)
sys.exit(worst > 1e-4)
