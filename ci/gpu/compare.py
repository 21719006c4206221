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
# The challenge's validation text, its sliding evaluation, and a step of PR #286.
VALIDATION_TOKENS, WINDOW, STRIDE, STEP_TOKENS = 62_021_845, 2048, 64, 786_432


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
    ours = [args.benchmark, "gpu", "kernels"]
    contenders = {
        "ours (bf16)": lambda task: [*ours, task, "bf16", "json"],
        "ours (f32)": lambda task: [*ours, task, "json"],
    }
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
        first = statistics.median(results[task, "ours (bf16)"])
        for name in contenders:
            rate = statistics.median(results[task, name])
            print(f"{task:8} {name:24} {rate:12.0f} tokens/s   ours (bf16) is {first / rate:6.3f} x")
    scoring = statistics.median(results["scoring", "ours (bf16)"])
    print(f"all {VALIDATION_TOKENS:,} validation tokens at stride {STRIDE}: "
          f"{VALIDATION_TOKENS / STRIDE * WINDOW / scoring:.0f} s; "
          f"a step of {STEP_TOKENS:,} tokens: "
          f"{1e3 * STEP_TOKENS / statistics.median(results['training', 'ours (bf16)']):.0f} ms")


if __name__ == "__main__":
    main()
