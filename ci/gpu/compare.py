"""Ours and PyTorch's on one GPU, in turn, with the ceilings of copies and matrix products; called by `bench.sh`.

Usage: python ci/gpu/compare.py ENGINES_BENCHMARK [--rounds 3] [--without f32,eager] [--only bf16,compiled] [--json]

Contenders are `bf16` and `f32` (ours), `compiled` and `eager` (PyTorch's, in bfloat16), and `attention`, which times
one block's attention by each of PyTorch's backends and by FlashAttention 3 where that can be imported.

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
TASKS = ("scoring", "training")
TITLES = {"bf16": "ours (bf16)", "f32": "ours (f32)", "compiled": "PyTorch compiled (bf16)", "eager": "PyTorch eager (bf16)"}
ATTENTION = "attention"


def measure(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def contenders_of(only, without):
    """The contenders asked for, in their order; exits where one is not known."""
    known = [*TITLES, ATTENTION]
    if unknown := [name for name in [*only, *without] if name not in known]:
        sys.exit(f"no contender is called {', '.join(unknown)}; known are {', '.join(known)}")
    return [name for name in known if (not only or name in only) and name not in without]


def command_of(name, task, benchmark, torch):
    if name in ("compiled", "eager"):
        return [*torch, name, task]
    return [benchmark, "gpu", "kernels", task, *(["bf16"] if name == "bf16" else []), "json"]


def text_of(found):
    """The results for people."""
    ceilings, rates = found["ceilings"], found["tokens_per_s"]
    lines = [f"{ceilings['device']}: copies {ceilings['copy_gb_per_s']:.0f} GB/s, matrix products "
             f"{ceilings['bf16_tflops']:.0f} TFLOP/s in bf16, {ceilings['f32_tflops']:.0f} in f32"]
    for task in TASKS:
        ours = rates[task].get("bf16")
        for name, rate in rates[task].items():
            beside = f"   ours (bf16) is {ours / rate:6.3f} x" if ours else ""
            lines.append(f"{task:8} {TITLES[name]:24} {rate:12.0f} tokens/s{beside}")
    for name, times in found.get(ATTENTION, {}).items():
        said = times.get("refused") or f"{times['forward_ms']:.3f} ms forward, {times['both_ms']:.3f} ms with backward"
        lines.append(f"attention of a block, {name:10} {said}")
    if "scoring_s" in found:
        lines.append(f"all {VALIDATION_TOKENS:,} validation tokens at stride {STRIDE}: {found['scoring_s']:.0f} s; "
                     f"a step of {STEP_TOKENS:,} tokens: {found['step_ms']:.0f} ms")
    return "\n".join(lines)


def main():
    names = lambda text: [name for name in text.split(",") if name]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=names, default=[], help="contenders, separated by commas")
    parser.add_argument("--without", type=names, default=[], help="contenders to leave out")
    parser.add_argument("--json", action="store_true", help="one line of JSON, last")
    args = parser.parse_args()
    torch = [sys.executable, str(HERE / "pytorch.py")]
    contenders = contenders_of(args.only, args.without)
    found = {"ceilings": measure([*torch, "compiled", "ceilings"])}
    if ATTENTION in contenders:
        found[ATTENTION] = measure([*torch, "compiled", ATTENTION])[ATTENTION]
    results = {task: {name: [] for name in contenders if name != ATTENTION} for task in TASKS}
    for _ in range(args.rounds):
        for task, of_task in results.items():
            for name, rates in of_task.items():
                rates.append(measure(command_of(name, task, args.benchmark, torch))["tokens_per_s"])
    rates = {task: {name: statistics.median(rates) for name, rates in of_task.items()} for task, of_task in results.items()}
    found["tokens_per_s"] = rates
    if "bf16" in contenders:
        found["scoring_s"] = VALIDATION_TOKENS / STRIDE * WINDOW / rates["scoring"]["bf16"]
        found["step_ms"] = 1e3 * STEP_TOKENS / rates["training"]["bf16"]
    print(text_of(found))
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
