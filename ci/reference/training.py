#!/usr/bin/env python3
"""Two 30-step training runs in PyTorch: constant rate, and warm-down with late QAT and SWA.

usage: python ci/reference/training.py fixtures/reference

Writes train_tokens_000000.bin, train_init.safetensors, train_runs.json and weights after the first and last steps.
Each run is done in f32 with bfloat16 Newton-Schulz (bf16), in f32 (f32) and in double precision (f64).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import bf16
import network
from manifest import merge, write_json
from optimizers import Muon, multiplier, normals, optimizer_of

CONFIG = dict(vocab=48, mlp_mult=2.0, softcap=30.0, rope_base=10000.0, layers=3, dim=24, heads=2, kv=1, seq=16,
              bg_vocab=40, bg_dim=12, tied=True, rope="f32", seed=404)
STEPS, MICRO, LOCAL, VAL = 30, 8, 32, 321
LRS = {"adamw_tok": 0.03, "muon": 0.025, "adamw_scalar": 0.02}
CLIP = 0.3
RUNS = {
    "plain": dict(iterations=20000, warmdown=3000, swa=False, swa_every=50, qat=False, mw=1500),
    "scheduled": dict(iterations=30, warmdown=12, swa=True, swa_every=2, qat=True, mw=10),
}


def tokens():
    """A random walk over the vocabulary: every token allows seven others, some likelier."""
    rng = np.random.Generator(np.random.PCG64(7))
    after = rng.integers(0, CONFIG["vocab"], (CONFIG["vocab"], 7))
    walk = [1]
    for draw in rng.geometric(0.4, 6999):
        walk.append(after[walk[-1], min(draw, 7) - 1])
    return np.array(walk, dtype="<u2")


def initial():
    """Orthogonal matrices, zero output projections, small embedding; a live bigram path."""
    torch.manual_seed(CONFIG["seed"])
    out = {}
    for i, (name, shape) in enumerate(network.layout(CONFIG).items()):
        w = torch.ones(shape)
        if name.endswith("resid_mix"):
            w[1] = 0
        elif name == "tok_emb.weight":
            w = normals(500 + i, shape, 0.005)
        elif name == "bigram.scale":
            w = torch.tensor(0.05)
        elif name.endswith("q_gain"):
            w = torch.full(shape, 1.5)
        elif name == "bigram.proj.weight":
            w = torch.nn.init.orthogonal_(torch.empty(shape)) / (2 * CONFIG["layers"]) ** 0.5
        elif name in ("bigram.embed.weight", "smear.gate") or name.endswith("proj.weight"):
            w = torch.zeros(shape)
        elif name.endswith(".weight"):
            w = torch.nn.init.orthogonal_(torch.empty(shape))
        out[name] = w
    return out


def pieces(stream):
    position = 0
    while True:
        at = np.arange(position, position + LOCAL + 1) % len(stream)
        piece = torch.from_numpy(stream[at].astype(np.int64))
        yield piece[:-1].view(-1, CONFIG["seq"]), piece[1:].view(-1, CONFIG["seq"])
        position += LOCAL + 1


def mean_loss(weights, x, y, quantize=False, tag="f32"):
    if tag == "autocast":
        return bf16.nll(weights, x, y, CONFIG, quantize).mean()
    return network.nll(network.forward(weights, x, CONFIG, quantize), y).mean()


def validate(weights, stream, tag):
    """Whole non-overlapping sequences of the first VAL tokens."""
    seq = CONFIG["seq"]
    rows = (VAL - 1) // seq
    ids = torch.from_numpy(stream[: rows * seq + 1].astype(np.int64))
    with torch.no_grad():
        return mean_loss(weights, ids[:-1].view(rows, seq), ids[1:].view(rows, seq), tag=tag).item()


def run(init, stream, settings, tag):
    """`tag`: f64, f32, bf16 (Newton-Schulz alone) or autocast (the network, too)."""
    dtype = torch.float64 if tag == "f64" else torch.float32
    leaves = {name: torch.nn.Parameter(w.to(dtype).clone()) for name, w in init.items()}
    kind = {name: optimizer_of(name, list(w.shape)) for name, w in init.items()}
    muon = {name: Muon(p.data, tag in ("bf16", "autocast")) for name, p in leaves.items() if kind[name] == "muon"}
    adam = torch.optim.AdamW([{"params": [p], "name": name} for name, p in leaves.items() if kind[name] != "muon"],
                             betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01)
    batches, rows, snapshots, after1 = pieces(stream), [], [], None
    for step in range(STEPS):
        scale = multiplier(step, 0.0, None, settings["iterations"], settings["warmdown"])
        f = min(step / settings["mw"], 1)
        momentum = (1 - f) * 0.92 + f * 0.99
        qat = settings["qat"] and step / settings["iterations"] >= 0.85
        micro = []
        for p in leaves.values():
            p.grad = None
        for _ in range(MICRO):
            loss = mean_loss(leaves, *next(batches), quantize=qat, tag=tag)
            (loss / MICRO).backward()
            micro.append(loss.item())
        for p in leaves.values():
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        norm = torch.nn.utils.clip_grad_norm_(leaves.values(), CLIP).item()
        for group in adam.param_groups:
            group["lr"] = scale * LRS[kind[group["name"]]]
        adam.step()
        with torch.no_grad():
            for name, opt in muon.items():
                opt.step(leaves[name].grad, scale * LRS["muon"], momentum, 0.04)
        now = {name: p.detach().clone() for name, p in leaves.items()}
        after1 = now if step == 0 else after1
        if settings["swa"] and scale < 0.5 and (step + 1) % settings["swa_every"] == 0:
            snapshots.append(now)
        rows.append({"step": step + 1, "train_loss": sum(micro) / MICRO, "micro_losses": micro,
                     "grad_norm_preclip": norm, "lr_mul": scale, "muon_momentum": momentum, "qat": qat,
                     "swa_count": len(snapshots)})
    final = {"before_swa": {"plain_val_loss": validate(leaves, stream, tag)}}
    weights = now
    if len(snapshots) > 1:
        weights = {name: torch.stack([s[name] for s in snapshots]).mean(0) for name in now}
        final |= {"after_swa": {"plain_val_loss": validate(weights, stream, tag)}, "swa_count": len(snapshots)}
    return {"steps": rows, "final": final}, after1, weights


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    stream, init = tokens(), initial()
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, len(stream)
    (folder / "train_tokens_000000.bin").write_bytes(header.tobytes() + stream.tobytes())
    save_file(init, folder / "train_init.safetensors")
    runs = {}
    for name, settings in RUNS.items():
        variants = {}
        for tag in ("bf16", "f32", "f64"):
            variants[tag], after1, final = run(init, stream, settings, tag)
            if tag != "f64" and (name, tag) != ("scheduled", "f32"):
                save_file(after1, folder / f"train_{name}_{tag}_after1.safetensors")
            if tag == "f32":
                save_file({k: v.contiguous() for k, v in final.items()}, folder / f"train_{name}_f32_final.safetensors")
        runs[name] = {"settings": settings, "variants": variants}
    write_json(folder / "train_runs.json", {
        "config": CONFIG, "grad_accum": MICRO, "train_batch_tokens": MICRO * LOCAL, "seq": CONFIG["seq"],
        "tokens_per_microbatch": LOCAL, "train_shard": "train_tokens_000000.bin", "val_tokens": VAL, "runs": runs})
    merge(folder, {"train_init.safetensors": {"description": "initial weights of the runs", "config": CONFIG},
                   "train_runs.json": {"description": "30-step runs, step by step"}})


if __name__ == "__main__":
    main()
