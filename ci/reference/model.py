"""Reference numbers of the network: likelihoods, gradients, fake quantization, tables.

Usage: python ci/reference/model.py fixtures/reference      (PyTorch 2.x, NumPy, safetensors)
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file

import network

BASE = dict(vocab=48, mlp_mult=3.0, softcap=30.0, rope_base=10000.0, layers=4, dim=32, heads=4, kv=2, seq=24,
            bg_vocab=40, bg_dim=12, tied=True, rope="f32", B=3)
SETS = {
    # Sizes apart, each differs from the first in what its name says.
    "4L": dict(BASE, seed=11),
    "oddlayers": dict(BASE, layers=5, B=2, seed=12),
    "onelayer": dict(BASE, layers=1, heads=2, kv=2, B=1, seed=13),
    "untied": dict(BASE, layers=2, tied=False, mlp_mult=2.3, seed=14),
    "noprojection": dict(BASE, layers=2, bg_dim=32, softcap=15.0, seed=15),
    "nobigram": dict(BASE, layers=2, bg_vocab=0, kv=1, rope_base=500.0, seed=16),
    # Long enough that positions above 256 lose bits.
    "bf16rope": dict(BASE, layers=2, dim=16, heads=2, kv=1, seq=600, rope="bf16", B=1, seed=17),
}


def draw(c):
    """Weights where every tensor matters: matrices near their usual scale, controls around their start."""
    rng = np.random.Generator(np.random.PCG64(c["seed"]))
    weights = {}
    for name, shape in network.layout(c).items():
        z = rng.standard_normal(shape)
        if name.endswith("resid_mix"):
            z = np.stack([1 + 0.2 * z[0], 0.3 * z[1]])
        elif name.endswith(("scale", "skip_weights")) and name != "bigram.scale":
            z = 1 + 0.2 * z
        elif name.endswith("q_gain"):
            z = 1.5 + 0.3 * z
        elif name == "bigram.scale":
            z = 0.3 + 0.1 * z
        elif name != "smear.gate":
            z = z * (0.5 if "emb" in name else 1.3 / np.sqrt(shape[1]))
        weights[name] = torch.tensor(np.asarray(z), dtype=torch.float32)
    tokens = torch.tensor(rng.integers(0, c["vocab"], [c["B"], c["seq"] + 1]))
    return weights, tokens


def losses(weights, tokens, c, dtype, quantize=False, probes=None):
    """Leaves, likelihoods and logits; ready for backward."""
    leaves = {name: w.detach().to(dtype, copy=True).requires_grad_() for name, w in weights.items()}
    logits = network.forward(leaves, tokens[:, :-1], c, quantize, probes)
    return leaves, network.nll(logits, tokens[:, 1:]), logits


def gradients(leaves, nll):
    nll.mean().backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in leaves.items()}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    files, summary = {}, {}

    def save(name, tensors):
        save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, folder / f"{name}.safetensors")

    for tag, c in SETS.items():
        weights, tokens = draw(c)
        probes = {}
        leaves, nll, logits = losses(weights, tokens, c, torch.float64, probes=probes)
        _, nll32, _ = losses(weights, tokens, c, torch.float32)
        save(f"{tag}_weights", weights)
        files[f"{tag}_weights.safetensors"] = {"config": c}
        io = {"tokens": tokens, "nll_f64": nll, "nll_f32": nll32, "loss_f64": nll.mean(), "loss_f32": nll32.mean()}
        save(f"{tag}_io", io | ({"logits_f64": logits} if tag == "4L" else {}))
        save(f"{tag}_grads_f64", gradients(leaves, nll))
        if tag not in ("4L", "bf16rope"):
            continue
        tables_only = ("rope_cos", "rope_sin", "bigram_hash_ids")
        keep = probes if tag == "4L" else tables_only
        save(f"{tag}_probes_f64", {k: v for k, v in probes.items() if k in keep})
        leaves, qat, _ = losses(weights, tokens, c, torch.float64, quantize=True)
        summary[tag] = {"loss_f64": nll.mean().item(), "qat_loss_f64": qat.mean().item()}
        save(f"{tag}_qat_grads", gradients(leaves, qat))
        samples = {"blocks.0.attn.c_q.weight": 31, "blocks.1.mlp.fc.weight": 15}
        save(f"{tag}_qat_weights", {n: network.StraightThrough.apply(weights[n], limit) for n, limit in samples.items()})
    (folder / "models.json").write_text(json.dumps({"torch": torch.__version__, "files": files}, indent=1) + "\n")
    (folder / "model_summary.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
