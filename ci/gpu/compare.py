"""Ours and PyTorch's on one GPU, in turn, with the ceilings of copies and matrix products; called by `bench.sh`.

Usage: python ci/gpu/compare.py ENGINES_BENCHMARK [--rounds 3] [--without eager]

Every measurement is a process of its own; figures are medians over the rounds of medians within a process.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def measure(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", default="", help="PyTorch variants to leave out: eager or compiled")
    args = parser.parse_args()
    torch = [sys.executable, str(HERE / "pytorch.py")]
    variants = [name for name in ("compiled", "eager") if name not in args.without.split(",")]
    contenders = {"ours (f32)": lambda task: [args.benchmark, "gpu", "kernels", task, "json"]}
    for name in variants:
        contenders[f"PyTorch {name} (bf16)"] = lambda task, name=name: [*torch, name, task]
    ceilings = measure([*torch, "compiled", "ceilings"])
    print(f"{ceilings['device']}: copies {ceilings['copy_gb_per_s']:.0f} GB/s, matrix products "
          f"{ceilings['bf16_tflops']:.0f} TFLOP/s in bf16, {ceilings['f32_tflops']:.0f} in f32")
    results = {}
    for _ in range(args.rounds):
        for task in ("scoring", "training"):
            for name, command in contenders.items():
                results.setdefault((task, name), []).append(measure(command(task))["tokens_per_s"])
    for task in ("scoring", "training"):
        ours = statistics.median(results[task, "ours (f32)"])
        for name in contenders:
            rate = statistics.median(results[task, name])
            print(f"{task:8} {name:24} {rate:12.0f} tokens/s   ours is {ours / rate:6.3f} x")


if __name__ == "__main__":
    main()
