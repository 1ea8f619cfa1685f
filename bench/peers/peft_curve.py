#!/usr/bin/env python3
"""Trains with PEFT on pre-tokenised rows, in file order, and writes the loss of every step: the peer of `loranet train --no-shuffle`.

    python3 bench/peers/peft_curve.py MODEL_FOLDER TRAIN.jsonl EVAL.jsonl OUTPUT_FOLDER [ADAPTER_INIT_FOLDER]

Settings: float32, r 8, alpha 16, all linear layers, AdamW 2e-3 without decay, batch 8, 150 steps, linear schedule with 15
warm-up steps, clipping at 1. Starts from ADAPTER_INIT_FOLDER when given, so that both sides start from the same numbers.
"""
import json
import pathlib
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, get_scheduler

model_folder, train_file, eval_file, out = sys.argv[1:5]
out = pathlib.Path(out)
out.mkdir(parents=True, exist_ok=True)
STEPS, BATCH = 150, 8


def rows(path):
    return [json.loads(line) for line in open(path)]


def collate(part):
    longest = max(len(r["input_ids"]) for r in part)
    pad = lambda r, key, fill: r[key] + [fill] * (longest - len(r[key]))
    mask = [[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in part]
    return dict(input_ids=torch.tensor([pad(r, "input_ids", 0) for r in part]), attention_mask=torch.tensor(mask),
                labels=torch.tensor([pad(r, "labels", -100) for r in part]))


def evaluate(model, data):
    total = count = 0
    with torch.no_grad():
        for i in range(0, len(data), BATCH):
            b = collate(data[i:i + BATCH])
            n = int((b["labels"][:, 1:] != -100).sum())
            total += float(model(**b).loss.double()) * n
            count += n
    return total / count


torch.manual_seed(0)
train, held_out = rows(train_file), rows(eval_file)
base = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32, attn_implementation="eager").eval()
before = evaluate(base, held_out)
if len(sys.argv) > 5:
    model = PeftModel.from_pretrained(base, sys.argv[5], is_trainable=True)
else:
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.save_pretrained(out / "adapter_init")
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.0)
schedule = get_scheduler("linear", optimizer, num_warmup_steps=15, num_training_steps=STEPS)
losses, norms, rates = [], [], []
for step in range(STEPS):
    start = step * BATCH % len(train)
    loss = model(**collate(train[start:start + BATCH])).loss
    loss.backward()
    norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, 1.0)))
    rates.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    losses.append(loss.item())
after = evaluate(model, held_out)
model.save_pretrained(out / "adapter")
prompt = held_out[0]["input_ids"][: sum(1 for x in held_out[0]["labels"] if x == -100)]
greedy = model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=32, do_sample=False, pad_token_id=0)[0][len(prompt):].tolist()
json.dump(dict(eval_before=before, eval_after=after, losses=losses, grad_norms=norms, learning_rates=rates, prompt=prompt, greedy=greedy), open(out / "curve.json", "w"))
print("held-out loss", before, "->", after)
