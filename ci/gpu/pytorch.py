"""Times the default model in PyTorch on a GPU, as the challenge's runs do: bfloat16 autocast, fused attention.

Usage: python ci/gpu/pytorch.py {eager|compiled} {scoring|training|ceilings|attention} [--repeats 5]

The model is that of `ci/speed/pytorch.py` with the embedding tables, and so the residual stream, in bfloat16, as in the
script of PR #286. Scoring is what its sliding evaluation does: the logits of every position of 32 windows of 2,048
tokens. Training is one whole step: eight micro-batches of 98,304 tokens, clipping, AdamW and Muon. Attention is that of
one block of a micro-batch, forward and backward, by each backend that takes it: flash, cuDNN and memory-efficient of
`scaled_dot_product_attention`, and FlashAttention 3 where it can be imported. One JSON line on stdout.
"""

import argparse
import importlib.util
import json
import pathlib
import statistics
import sys
import time

import torch

WINDOWS, MICRO_BATCHES, MICRO_BATCH_TOKENS = 32, 8, 98_304
# A rate that keeps the weights where they are.
RATE = 1e-9


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


def attention(repeats):
    """Milliseconds of forward, and of forward and backward, by backend; for one that refuses, why."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    rows, heads, kv_heads, tokens, width = 48, 8, 4, 2048, 64
    make = lambda count: torch.randn(rows, count, tokens, width, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    q, k, v = make(heads), make(kv_heads), make(kv_heads)

    def sdpa(backend):
        def call():
            with sdpa_kernel(backend):
                return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return call

    ways = {name: sdpa(getattr(SDPBackend, value)) for name, value in
            (("flash", "FLASH_ATTENTION"), ("cudnn", "CUDNN_ATTENTION"), ("efficient", "EFFICIENT_ATTENTION"))
            if hasattr(SDPBackend, value)}
    try:
        from flash_attn_interface import flash_attn_func

        # Tokens before heads.
        fa_q, fa_k, fa_v = (x.detach().transpose(1, 2).contiguous().requires_grad_() for x in (q, k, v))

        def fa3():
            out = flash_attn_func(fa_q, fa_k, fa_v, causal=True)
            return out[0] if isinstance(out, tuple) else out
        ways["fa3"] = fa3
    except ImportError:
        pass
    times = {}
    for name, forward in ways.items():
        try:
            grad = torch.randn_like(forward())
            both = median_seconds(lambda: forward().backward(grad), repeats)
            with torch.no_grad():
                alone = median_seconds(forward, repeats)
            times[name] = {"forward_ms": 1e3 * alone, "both_ms": 1e3 * both}
        except RuntimeError as error:
            times[name] = {"refused": str(error).splitlines()[0]}
    return {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "attention": times}


def newton_schulz(g):
    """Five iterations in bfloat16 (specification of PR #286, section 4)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    x = x / (x.norm() + 1e-7)
    x = x.T if g.size(0) > g.size(1) else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.size(0) > g.size(1) else x


class Optimizer:
    """AdamW for tables and vectors, Muon for the matrices."""

    def __init__(self, model, compiled):
        self.orthogonalize = torch.compile(newton_schulz) if compiled else newton_schulz
        tables = {id(model.embed), id(model.bigram)}
        controls = [p for name, p in model.named_parameters() if p.ndim < 2 or name.endswith(("mix", "skips"))]
        plain = tables | {id(p) for p in controls}
        self.matrices = [p for p in model.parameters() if id(p) not in plain]
        self.buffers = [torch.zeros_like(p) for p in self.matrices]
        adam = [p for p in model.parameters() if id(p) in plain]
        self.adamw = torch.optim.AdamW(adam, lr=RATE, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
        self.all = list(model.parameters())

    @torch.no_grad()
    def step(self):
        torch.nn.utils.clip_grad_norm_(self.all, 0.3)
        self.adamw.step()
        for p, buffer in zip(self.matrices, self.buffers):
            buffer.mul_(0.95).add_(p.grad)
            update = self.orthogonalize(p.grad.add(buffer, alpha=0.95))
            update = update * max(1, p.size(0) / p.size(1)) ** 0.5
            p.mul_(1 - RATE * 0.04).add_(update.to(p.dtype), alpha=-RATE)
        for p in self.all:
            p.grad = None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["eager", "compiled"])
    parser.add_argument("task", choices=["scoring", "training", "ceilings", "attention"])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    if args.task == "ceilings":
        return print(json.dumps(ceilings(args.repeats)))
    if args.task == "attention":
        return print(json.dumps(attention(args.repeats)))
    torch.manual_seed(1)
    speed = model_of_the_cpu_benchmark()
    model = speed.Model()
    model.embed = torch.nn.Parameter(model.embed.detach().bfloat16())
    model.bigram = torch.nn.Parameter(model.bigram.detach().bfloat16())
    model = model.cuda()
    call = torch.compile(model) if args.how == "compiled" else model
    rows = WINDOWS if args.task == "scoring" else MICRO_BATCH_TOKENS // speed.SEQ
    ids = torch.randint(0, speed.VOCAB, [rows, speed.SEQ + 1], device="cuda")
    optimizer = Optimizer(model, args.how == "compiled")

    def score():
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            return call(ids[:, :-1], ids[:, 1:]).view(rows, speed.SEQ)[:, -speed.STRIDE:].sum().item()

    def train():
        for _ in range(MICRO_BATCHES):
            with torch.autocast("cuda", torch.bfloat16):
                loss = call(ids[:, :-1], ids[:, 1:]).mean() / MICRO_BATCHES
            loss.backward()
        optimizer.step()
        return loss.item()

    is_scoring = args.task == "scoring"
    seconds = median_seconds(score if is_scoring else train, args.repeats)
    windows = rows * (1 if is_scoring else MICRO_BATCHES)
    print(json.dumps({"engine": f"PyTorch {torch.__version__} {args.how} bf16", "task": args.task, "seconds": seconds,
                      "windows_per_s": windows / seconds, "tokens_per_s": windows * speed.SEQ / seconds,
                      "peak_mib": torch.cuda.max_memory_allocated() / 2**20}))


if __name__ == "__main__":
    main()
