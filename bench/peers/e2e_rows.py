#!/usr/bin/env python3
"""Makes pre-tokenised rows from E2E NLG pairs (`meaning || text`), prompt masked, EOS trained.

    python3 bench/peers/e2e_rows.py TOKENIZER_FOLDER e2e/valid.txt OUTPUT_FOLDER

Writes train.jsonl (1,200 rows) and eval.jsonl (128 rows); no meaning is in both.
"""
import json
import pathlib
import random
import sys

from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
out = pathlib.Path(sys.argv[3])
out.mkdir(parents=True, exist_ok=True)
pairs = [tuple(x.strip() for x in line.split("||")) for line in open(sys.argv[2], encoding="utf-8") if "||" in line]
meanings = sorted({m for m, _ in pairs})
random.Random(7).shuffle(meanings)
held_out = set(meanings[: len(meanings) // 10])


def row(meaning, text):
    prompt = [tokenizer.bos_token_id] + tokenizer.encode(meaning + " =>", add_special_tokens=False)
    completion = tokenizer.encode(" " + text, add_special_tokens=False) + [tokenizer.eos_token_id]
    return dict(input_ids=prompt + completion, labels=[-100] * len(prompt) + completion)


order = random.Random(8)
for name, count, wanted in (("train", 1200, lambda m: m not in held_out), ("eval", 128, lambda m: m in held_out)):
    chosen = [p for p in pairs if wanted(p[0])]
    order.shuffle(chosen)
    with open(out / f"{name}.jsonl", "w", encoding="utf-8") as f:
        for meaning, text in chosen[:count]:
            f.write(json.dumps(row(meaning, text)) + "\n")
