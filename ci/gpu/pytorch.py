"""Times the default model in PyTorch on a GPU, as the challenge's runs do: bfloat16 autocast, fused attention.

Usage: python ci/gpu/pytorch.py {eager|compiled} {scoring|training|ceilings} [--repeats 10]

The model is that of `ci/speed/pytorch.py`. Scoring is what the challenge's sliding evaluation does: the logits of every
position of 32 windows of 2,048 tokens. Training is the forward and backward pass of one micro-batch of 98,304 tokens,
an eighth of a step, without the optimiser. One JSON line on stdout.
"""

import argparse
import importlib.util
import json
import pathlib
import statistics
import sys
import time

import torch

WINDOWS, MICRO_BATCH_TOKENS = 32, 98_304


def model_of_the_cpu_benchmark():
    path = pathlib.Path(__file__).resolve().parents[1] / "speed" / "pytorch.py"
    spec = importlib.util.spec_from_file_location("speed_pytorch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def median_seconds(run, repeats):
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def ceilings(repeats):
    side, bytes_copied = 8192, 1 << 30
    source = torch.empty(bytes_copied, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = median_seconds(lambda: target.copy_(source), repeats)
    rates = {}
    for name, dtype in (("bf16", torch.bfloat16), ("f32", torch.float32)):
        a = torch.randn(side, side, device="cuda").to(dtype)
        rates[f"{name}_tflops"] = 2 * side**3 / median_seconds(lambda: a @ a, repeats) / 1e12
    return {"device": torch.cuda.get_device_name(), "copy_gb_per_s": 2 * bytes_copied / copy / 1e9, **rates}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["eager", "compiled"])
    parser.add_argument("task", choices=["scoring", "training", "ceilings"])
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    if args.task == "ceilings":
        return print(json.dumps(ceilings(args.repeats)))
    torch.manual_seed(1)
    speed = model_of_the_cpu_benchmark()
    model = speed.Model().cuda()
    call = torch.compile(model) if args.how == "compiled" else model
    rows = WINDOWS if args.task == "scoring" else MICRO_BATCH_TOKENS // speed.SEQ
    ids = torch.randint(0, speed.VOCAB, [rows, speed.SEQ + 1], device="cuda")

    def score():
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            return call(ids[:, :-1], ids[:, 1:]).view(rows, speed.SEQ)[:, -speed.STRIDE:].sum().item()

    def train():
        for p in model.parameters():
            p.grad = None
        with torch.autocast("cuda", torch.bfloat16):
            loss = call(ids[:, :-1], ids[:, 1:]).mean()
        loss.backward()
        return loss.item()

    seconds = median_seconds(score if args.task == "scoring" else train, args.repeats)
    print(json.dumps({"engine": f"PyTorch {torch.__version__} {args.how} bf16", "task": args.task, "seconds": seconds,
                      "windows_per_s": rows / seconds, "tokens_per_s": rows * speed.SEQ / seconds,
                      "peak_mib": torch.cuda.max_memory_allocated() / 2**20}))


if __name__ == "__main__":
    main()
