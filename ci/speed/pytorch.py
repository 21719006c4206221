"""Times the default model in PyTorch on the CPU, single precision: the other side of `compare.py`.

Usage: python ci/speed/pytorch.py {eager|compiled} {scoring|training} [--threads 2] [--repeats 3] [--bf16]

Written from the specification, with PyTorch's fused operations where it has them (`rms_norm`,
`scaled_dot_product_attention`, `cross_entropy`). Scoring is what the challenge's sliding evaluation does: the
logits of every position of a window, of which the last 64 are used. One JSON line on stdout.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F

VOCAB, LAYERS, DIM, HEADS, KV, HIDDEN, SEQ, STRIDE = 1024, 10, 512, 8, 4, 1536, 2048, 64
BUCKETS, BIGRAM, ROWS, CAP = 4096, 128, 2, 30.0
WIDTH = DIM // HEADS


def draw(shape, std):
    return torch.nn.Parameter(torch.randn(shape) * std)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = draw([DIM, DIM], 0.04), draw([KV * WIDTH, DIM], 0.04), draw([KV * WIDTH, DIM], 0.04)
        self.out, self.fc, self.proj = draw([DIM, DIM], 0.04), draw([HIDDEN, DIM], 0.04), draw([DIM, HIDDEN], 0.02)
        self.attn_scale, self.mlp_scale = draw([DIM], 1.0), draw([DIM], 1.0)
        self.mix, self.gain = draw([2, DIM], 1.0), draw([HEADS], 1.0)

    def forward(self, x, x0, cos, sin):
        batch, seq, _ = x.shape
        # Scales and gates take the activations' type at use, as in the challenge's scripts.
        mix, gain, attn_scale, mlp_scale, cos, sin = (
            w.to(x.dtype) for w in (self.mix, self.gain, self.attn_scale, self.mlp_scale, cos, sin))
        x = mix[0] * x + mix[1] * x0
        n = F.rms_norm(x, (DIM,))

        def heads(weight, count):
            return F.linear(n, weight).view(batch, seq, count, WIDTH).transpose(1, 2)

        def rotate(h):
            a, b = F.rms_norm(h, (WIDTH,)).chunk(2, -1)
            return torch.cat([a * cos + b * sin, b * cos - a * sin], -1)

        q = rotate(heads(self.q, HEADS)) * gain[:, None, None]
        k, v = rotate(heads(self.k, KV)), heads(self.v, KV)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + attn_scale * F.linear(mixed.transpose(1, 2).reshape(batch, seq, DIM), self.out)
        hidden = F.linear(F.rms_norm(x, (DIM,)), self.fc).relu().square()
        return x + mlp_scale * F.linear(hidden, self.proj)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.bigram = draw([VOCAB, DIM], 0.1), draw([BUCKETS, BIGRAM], 0.1)
        self.bigram_proj, self.bigram_scale = draw([DIM, BIGRAM], 0.1), draw([], 1.0)
        self.gate, self.skips = draw([DIM], 1.0), draw([LAYERS // 2, DIM], 1.0)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(LAYERS))
        angles = torch.outer(torch.arange(SEQ).float(), 10000.0 ** (-torch.arange(0, WIDTH, 2).float() / WIDTH))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids, targets):
        pairs = torch.bitwise_xor(36313 * ids[:, 1:], 27191 * ids[:, :-1]) % (BUCKETS - 1)
        pairs = F.pad(pairs, (1, 0), value=BUCKETS - 1)
        x = self.embed[ids]
        x = x + F.linear(self.bigram[pairs], self.bigram_proj) * self.bigram_scale.to(x.dtype)
        x = F.rms_norm(x, (DIM,))
        g = torch.sigmoid(self.gate).to(x.dtype)
        x0 = x = (1 - g) * x + g * F.pad(x, (0, 0, 1, 0))[:, :-1]
        outputs = []
        for i, block in enumerate(self.blocks):
            if i >= LAYERS // 2:
                x = x + self.skips[i - LAYERS // 2].to(x.dtype) * outputs.pop()
            x = block(x, x0, self.cos, self.sin)
            if i < LAYERS // 2:
                outputs.append(x)
        z = CAP * torch.tanh(F.linear(F.rms_norm(x, (DIM,)), self.embed) / CAP)
        return F.cross_entropy(z.flatten(0, 1).float(), targets.flatten(), reduction="none")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["eager", "compiled"])
    parser.add_argument("task", choices=["scoring", "training"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="under bfloat16 autocast")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = Model()
    call = torch.compile(model) if args.how == "compiled" else model
    ids = torch.randint(0, VOCAB, [ROWS, SEQ + 1])

    def score():
        with torch.inference_mode():
            return call(ids[:, :-1], ids[:, 1:]).view(ROWS, SEQ)[:, -STRIDE:].sum().item()

    def train():
        for p in model.parameters():
            p.grad = None
        loss = call(ids[:, :-1], ids[:, 1:]).mean()
        loss.backward()
        return loss.item()

    run = score if args.task == "scoring" else train
    with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
        run()
        times, cpu = [], time.process_time()
        for _ in range(args.repeats):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        cpu = (time.process_time() - cpu) / args.repeats
    seconds = statistics.median(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"engine": f"PyTorch {torch.__version__} {args.how}{' bf16' if args.bf16 else ''}",
                      "task": args.task, "seconds": seconds, "cpu_seconds": cpu,
                      "windows_per_s": ROWS / seconds,
                      "tokens_per_s": ROWS * SEQ / seconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()
