"""Ours beside dfdx, PyTorch and the ceiling of matrix products, at full size, in one table.

Usage: python ci/speed/compare.py [--rounds 3] [--threads 2] [--without dfdx,compiled] [--precision bf16]

Run it with a Python that has PyTorch. Every measurement is a process of its own, taken in turn so that whatever
else the machine does falls on all of them; figures are medians over the rounds of medians within a process. In bfloat16 only scoring is timed, beside PyTorch under autocast;
`emulated` is ours held to AVX2, without AMX.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def bench_binary():
    build = ["cargo", "bench", "--locked", "--bench", "engines", "--no-run", "--message-format=json"]
    lines = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [m["executable"] for m in map(json.loads, lines) if m.get("target", {}).get("name") == "engines"]
    return next(path for path in found if path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without", default="", help="contenders to leave out, separated by commas")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    args = parser.parse_args()
    binary = bench_binary()
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    torch = [sys.executable, str(ROOT / "ci/speed/pytorch.py")]
    threads = ["--threads", str(args.threads)]
    contenders = {
        "kernels": lambda task: [binary, "full", "kernels", task, "json"],
        "eager": lambda task: [*torch, "eager", task, *threads],
        "compiled": lambda task: [*torch, "compiled", task, *threads],
        "dfdx": lambda task: [binary, "full", "dfdx", task, "json"],
    }
    tasks = ("scoring", "training")
    if args.precision == "bf16":
        tasks = ("scoring",)
        contenders = {
            "kernels": lambda task: [binary, "full", "kernels", task, "bf16", "json"],
            "eager": lambda task: [*torch, "eager", task, *threads, "--bf16"],
            "compiled": lambda task: [*torch, "compiled", task, *threads, "--bf16"],
            "f32": lambda task: [binary, "full", "kernels", task, "json"],
            "emulated": lambda task: [binary, "full", "kernels", task, "bf16", "avx2", "json"],
        }
    for name in filter(None, args.without.split(",")):
        del contenders[name]
    results = {}
    for turn in range(args.rounds):
        for task in tasks:
            for name, command in contenders.items():
                if name == "dfdx" and turn > 0:
                    continue  # Slow, and far from the others: once is enough.
                out = subprocess.run(command(task), env=environment, stdout=subprocess.PIPE, text=True, check=True)
                result = json.loads(out.stdout.splitlines()[-1])
                results.setdefault((task, name), []).append(result)
                load = os.getloadavg()[0]
                print(f"round {turn + 1} {task} {name}: {result['tokens_per_s']:.0f} tokens/s, load {load:.1f}",
                      file=sys.stderr, flush=True)

    ceilings = [r["gemm_gflops"] for rs in results.values() for r in rs if "gemm_gflops" in r]
    ceiling = statistics.median(ceilings)
    print(f"{args.threads} threads, {args.precision}; matrix products alone in single precision {ceiling:.0f} GFLOP/s "
          f"({min(ceilings):.0f} to {max(ceilings):.0f})")
    for task, unit, key in (("scoring", "windows/s", "windows_per_s"), ("training", "tokens/s", "tokens_per_s")):
        if task not in tasks:
            continue
        ours = statistics.median(r[key] for r in results[task, "kernels"])
        our_cpu = statistics.median(r["cpu_seconds"] for r in results[task, "kernels"])
        for name in contenders:
            found = results[task, name]
            value, peak = statistics.median(r[key] for r in found), statistics.median(r["peak_mib"] for r in found)
            flops = operations(task) * statistics.median(r["tokens_per_s"] for r in found) / 1e9
            cpu = statistics.median(r["cpu_seconds"] for r in found)
            print(f"{task:8} {name:8} {value:8.2f} {unit:9} ours is {ours / value:5.2f} x (per CPU second "
                  f"{cpu / our_cpu:5.2f} x)   peak {peak:5.0f} MiB   "
                  f"{flops:4.0f} GFLOP/s of the model's products")


def operations(task, seq=2048, dim=512, kv=256, hidden=1536, layers=10, vocab=1024, bigram=128):
    """Operations a token in products of the whole model, causal attention counted at half its square.

    For scoring, too, every position is counted, although the kernels engine leaves most of the last block out.
    """
    per_layer = 2 * dim * (2 * dim + 2 * kv + 2 * hidden) + 2 * 2 * dim * seq / 2
    forward = layers * per_layer + 2 * dim * (vocab + bigram)
    return forward if task == "scoring" else 3 * forward


if __name__ == "__main__":
    main()
