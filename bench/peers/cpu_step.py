"""LoRA steps and decoding on a CPU: LoraNet beside libtorch, in interleaved rounds on one machine.

    python3 bench/peers/cpu_step.py PEER [--rounds 3] [--steps 8] [--threads 2] [--loranet "dotnet .../LoraNet.Cli.dll"] [--bench "dotnet .../LoraNet.Bench.dll"]

PEER is a folder with an executable run.sh that runs the same step with libtorch (SmolLM-135M's shape, LoRA r 8 on q, k, v, o, one row of
256 tokens, forward, backward and AdamW): flags --dtype fp32|bf16, --steps N, --threads N, --decode; environment MALLOC=1 (glibc keeps large blocks) and
MKL512=1 (MKL takes its AVX-512 kernels on processors of other makers). Its last line is "RESULT name=value ...": tok_per_s,
best_tok_per_s and peak_rss_mb of steps, products_ms and best_products_ms of --decode (one token through all matrices).

Rounds are interleaved because other work on the machine changes speeds by more than the differences; ratios are taken within a round.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536,
    "max_position_embeddings": 2048, "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": 49152,
}
PEERS = {
    "libtorch fp32 as installed": (["--dtype", "fp32"], {}),
    "libtorch fp32, MKL's AVX-512": (["--dtype", "fp32"], {"MALLOC": "1", "MKL512": "1"}),
    "libtorch bf16": (["--dtype", "bf16"], {"MALLOC": "1"}),
}


def built(project, assembly):
    return f"dotnet {ROOT / project / 'bin/Release/net10.0' / (assembly + '.dll')}"


def run(command, environment=None):
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def values(text):
    line = [l for l in text.splitlines() if l.startswith("RESULT ")][-1]
    return {k: float(v) for k, v in (p.split("=") for p in line.split()[1:]) if v.replace(".", "", 1).isdigit()}


def ours(command, config, steps, threads, *more):
    out = run([*command.split(), "bench", "train", "--config", config, "--rank", "8", "--target-modules", "q_proj,k_proj,v_proj,o_proj",
               "--batch-size", "1", "--sequence-length", "256", "--device", "cpu", "--steps", str(steps), "--threads", str(threads), "--json", *more])
    result = json.loads(out)
    best = 256e3 / result["milliseconds_best_step"]
    return {"tok_per_s": result["tokens_per_second"], "best_tok_per_s": best, "peak_rss_mb": result["peak_memory_bytes"] / 1e6}


def table(title, unit, rounds, base, better):
    """Rows of medians, the best of all rounds, and the median of the ratios within the rounds."""
    print(f"\n| {title} | {unit}: each round | median | best | {base} is better by |\n|---|---|---|---|---|")
    for name in rounds[0]:
        numbers = [r[name][0] for r in rounds]
        best = better(r[name][1] for r in rounds)
        ratio = statistics.median([r[base][0] / r[name][0] if better is max else r[name][0] / r[base][0] for r in rounds])
        print(f"| {name} | {', '.join(f'{n:.4g}' for n in numbers)} | {statistics.median(numbers):.4g} | {best:.4g} | {'' if name == base else f'{ratio:.2f}'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--loranet", default=built("src/LoraNet.Cli", "LoraNet.Cli"))
    parser.add_argument("--bench", default=built("bench/LoraNet.Bench", "LoraNet.Bench"))
    parser.add_argument("--no-decode", action="store_true")
    parser.add_argument("--no-gemm", action="store_true")
    args = parser.parse_args()
    script = str(args.peer.resolve() / "run.sh")
    steps, memory, decoding = [], {}, []
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "config.json")
        pathlib.Path(config).write_text(json.dumps(CONFIG))
        for number in range(args.rounds):
            this = {}
            for name, more in (("LoraNet", []), ("LoraNet, 60 % masked", ["--masked", "0.6"])):
                r = ours(args.loranet, config, args.steps, args.threads, *more)
                this[name] = (r["tok_per_s"], r["best_tok_per_s"])
                memory[name] = max(memory.get(name, 0), r["peak_rss_mb"])
            for name, (flags, environment) in PEERS.items():
                r = values(run([script, *flags, "--steps", str(args.steps), "--threads", str(args.threads)], environment))
                this[name] = (r["tok_per_s"], r["best_tok_per_s"])
                memory[name] = max(memory.get(name, 0), r["peak_rss_mb"] * 1.048576)
            steps.append(this)
            if args.no_decode:
                continue
            r = values(run([*args.bench.split(), "decode", "60", str(args.threads)]))
            this = {"LoraNet": (r["products_ms"], r["best_products_ms"]), "LoraNet, whole token": (r["token_ms"], r["best_token_ms"])}
            for name, (flags, environment) in PEERS.items():
                r = values(run([script, *flags, "--decode", "--threads", str(args.threads)], environment))
                this[name] = (r["products_ms"], r["best_products_ms"])
            decoding.append(this)
    table("LoRA step, 1 x 256", "tokens/s", steps, "LoraNet", max)
    print("\n| peak resident memory | MB |\n|---|---|")
    for name, megabytes in memory.items():
        print(f"| {name} | {megabytes:.0f} |")
    if decoding:
        table("one token through all matrices", "ms", decoding, "LoraNet", min)
    if not args.no_gemm:
        print("\n" + run([*args.bench.split(), "gemm", str(args.threads), "5"]))


if __name__ == "__main__":
    main()
