#!/usr/bin/env python3
"""Reference numbers for Muon, AdamW and the schedules, from PyTorch on the CPU.

usage: python ci/reference/optimizers.py fixtures/reference

Writes muon.safetensors, adamw.safetensors and schedules.json, and their entries in MANIFEST.json.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from manifest import merge, write_json

LR_MULTIPLIERS = [1.0, 1.0, 0.8, 0.4, 0.2]
MOMENTA = [0.92, 0.934, 0.955, 0.98, 0.99]
MUON_LR, MUON_DECAY, NS_STEPS = 0.025, 0.04, 5
ADAM_LR, BETAS, EPS, ADAM_DECAY = 0.03, (0.9, 0.95), 1e-8, 0.01
SHAPES = {"tall": (24, 8), "wide": (8, 24), "square": (16, 16), "row": (1, 8)}


def newton_schulz(g, dtype):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(dtype)
    x = x / (x.norm() + 1e-7)
    tall = g.size(0) > g.size(1)
    x = x.T if tall else x
    for _ in range(NS_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon:
    """One matrix; `half` rounds as the script does, otherwise the parameter's own precision is kept."""

    def __init__(self, p, half):
        self.p, self.half, self.buf = p, half, torch.zeros_like(p)

    def step(self, g, lr, momentum, decay):
        p = self.p
        update = torch.zeros_like(p)
        if g is not None:
            self.buf.mul_(momentum).add_(g)
            update = newton_schulz(g.add(self.buf, alpha=momentum), torch.bfloat16 if self.half else p.dtype)
            update = update * max(1, p.size(0) / p.size(1)) ** 0.5
        p.mul_(1 - lr * decay).add_(update.to(p.dtype), alpha=-lr)


def normals(seed, shape, scale):
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal(shape) * scale).float()


def muon(folder):
    out = {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        init = normals(100 + number, shape, 0.1)
        grads = [normals(200 + 10 * number + i, shape, 0.05) for i in range(5)]
        out[f"{name}.init"] = init
        for i, g in enumerate(grads):
            out[f"{name}.grad{i}"] = g
        for tag, dtype in (("bf16", torch.float32), ("f32", torch.float32), ("f64", torch.float64)):
            opt = Muon(init.to(dtype).clone(), tag == "bf16")
            ns_dtype = torch.bfloat16 if tag == "bf16" else dtype
            out[f"{name}.ns_of_grad0.{tag}"] = newton_schulz(grads[0].to(dtype), ns_dtype).to(dtype).contiguous()
            for i, g in enumerate(grads):
                opt.step(g.to(dtype), MUON_LR * LR_MULTIPLIERS[i], MOMENTA[i], MUON_DECAY)
                out[f"{name}.param_after{i + 1}.{tag}"] = opt.p.clone()
            out[f"{name}.momentum_after5.{tag}"] = opt.buf
    save_file(out, folder / "muon.safetensors")
    return {
        "description": "Muon, 5 steps; bf16 = Newton-Schulz and the update rounded to bfloat16, f32 and f64 = no bf16",
        "lr": [MUON_LR * m for m in LR_MULTIPLIERS],
        "momentum": MOMENTA,
        "weight_decay": MUON_DECAY,
        "nesterov": True,
        "ns_steps": NS_STEPS,
    }


def adamw(folder):
    shape = (3, 7)
    init, grads = normals(300, shape, 0.5), [normals(310 + i, shape, 10.0 ** (i - 3)) for i in range(5)]
    out = {"init": init, **{f"grad{i}": g for i, g in enumerate(grads)}}
    for dtype in (torch.float32, torch.float64):
        p = torch.nn.Parameter(init.to(dtype).clone())
        opt = torch.optim.AdamW([p], lr=ADAM_LR, betas=BETAS, eps=EPS, weight_decay=ADAM_DECAY, fused=True)
        for i, g in enumerate(grads):
            opt.param_groups[0]["lr"] = ADAM_LR * LR_MULTIPLIERS[i]
            p.grad = g.to(dtype).clone()
            opt.step()
            out[f"param_after{i + 1}.{str(dtype).split('.')[1]}"] = p.detach().clone()
    save_file(out, folder / "adamw.safetensors")
    return {
        "description": "torch.optim.AdamW, 5 steps",
        "lr": [ADAM_LR * m for m in LR_MULTIPLIERS],
        "betas": list(BETAS),
        "eps": EPS,
        "weight_decay": ADAM_DECAY,
    }


def multiplier(step, elapsed, cap, iterations, warmdown):
    """Learning-rate multiplier; `cap` in milliseconds or None."""
    if warmdown <= 0:
        return 1.0
    if cap is None:
        start = max(iterations - warmdown, 0)
        return max((iterations - step) / max(warmdown, 1), 0.0) if start <= step < iterations else 1.0
    pace = elapsed / max(step, 1)
    left = max(cap - elapsed, 0.0)
    ramp = warmdown * pace
    return left / max(ramp, 1e-9) if left <= ramp else 1.0


CONTROL_NAMES = ("attn_scale", "mlp_scale", "resid_mix", "q_gain", "skip_weight", "smear", "bigram.scale")


def optimizer_of(name, shape):
    """Two embedding tables, controls by name or rank, Muon for every other matrix."""
    if name in ("tok_emb.weight", "bigram.embed.weight"):
        return "adamw_tok"
    return "adamw_scalar" if len(shape) < 2 or any(part in name for part in CONTROL_NAMES) else "muon"


def default_parameters():
    d, kv, hidden, heads, layers = 512, 256, 1536, 8, 10
    yield from [("skip_weights", [5, d]), ("tok_emb.weight", [1024, d]), ("bigram.scale", []),
                ("bigram.embed.weight", [4096, 128]), ("bigram.proj.weight", [d, 128]), ("smear.gate", [d])]
    for i in range(layers):
        for name, shape in [("attn_scale", [d]), ("mlp_scale", [d]), ("resid_mix", [2, d]), ("attn.q_gain", [heads]),
                            ("attn.c_q.weight", [d, d]), ("attn.c_k.weight", [kv, d]), ("attn.c_v.weight", [kv, d]),
                            ("attn.proj.weight", [d, d]), ("mlp.fc.weight", [hidden, d]),
                            ("mlp.proj.weight", [d, hidden])]:
            yield f"blocks.{i}.{name}", shape


def schedules(folder):
    cap = 600_000.0
    wallclock = []
    for step, elapsed in [(0, 0.0), (0, 5.0), (0, 700_000.0), (1, 10_000.0), (2, 321.0), (77, 7777.7), (1000, 100_000.0),
                          (3333, 333_333.0), (3999, 400_100.0), (4000, 400_000.0), (5000, 510_000.0),
                          (5001, 509_999.0), (5999, 599_999.9), (6000, 600_000.0), (6001, 600_100.0)]:
        for warmdown in (3000, 1, 0):
            wallclock.append({"step": step, "elapsed_ms": elapsed, "cap_ms": cap, "warmdown_iters": warmdown,
                              "lr_mul": multiplier(step, elapsed, cap, 20000, warmdown),
                              "qat_active": elapsed / cap >= 0.85})
    stepped = []
    for iterations, warmdown in [(20000, 3000), (30, 12), (10, 50), (10, 10), (10, 0), (7, 3), (1, 1)]:
        for step in sorted({0, 1, iterations // 2, iterations - warmdown - 1, iterations - warmdown,
                            iterations - warmdown + 1, iterations - 1, iterations, iterations + 1}):
            if step >= 0:
                stepped.append({"step": step, "iterations": iterations, "warmdown_iters": warmdown,
                                "lr_mul": multiplier(step, 0.0, None, iterations, warmdown),
                                "qat_active": step / iterations >= 0.85})
    momentum = []
    for step in (0, 1, 7, 749, 1499, 1500, 1501, 99999):
        f = min(step / 1500, 1)
        momentum.append({"step": step, "momentum": (1 - f) * 0.92 + f * 0.99})
    assignment = {name: [optimizer_of(name, shape), shape] for name, shape in default_parameters()}
    write_json(folder / "schedules.json", {"assignment_full_config": assignment, "lr_mul_wallclock": wallclock,
                                           "lr_mul_step_based": stepped, "muon_momentum": momentum})
    return {"description": "learning-rate multiplier, QAT switch and Muon momentum, default recipe unless stated"}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    merge(folder, {"muon.safetensors": muon(folder), "adamw.safetensors": adamw(folder),
                   "schedules.json": schedules(folder)})


if __name__ == "__main__":
    main()
