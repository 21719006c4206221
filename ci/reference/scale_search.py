#!/usr/bin/env python3
"""Reference choices for the scale searches and the low-bit clip, by trying every candidate in PyTorch.

Usage: python3 ci/reference/scale_search.py [OUT_DIR]     (default: fixtures/reference)
Needs torch, numpy, safetensors. Reads export_weights.safetensors, writes scale_search.json.

Per matrix, class and setting: SHA-256 of the integers (int8) and of the f16 scales, and the sum of squared errors per
row. Candidates are tried one by one over whole matrices; the least error wins, of equals the larger scale. Weights
that f16 cannot scale are left out by name.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

PERCENTILES = (1.0, 0.99999, 0.9999, 0.9995, 0.999)
RATIOS = tuple(range(100, 49, -1))
TINY = torch.finfo(torch.float16).tiny
NAMES = ("blocks.0.mlp.fc.weight", "blocks.0.attn.c_q.weight", "blocks.1.mlp.proj.weight", "bigram.embed.weight",
         "lm_head.weight", "blocks.0.resid_mix")
LIMITS = {"int5": (-16, 15), "int6": (-32, 31), "int8": (-127, 127)}


def symmetric(t, clip, low, high):
    scale = (clip / high).clamp_min(1e-12).to(torch.float16).clamp_min(TINY)
    return torch.clamp(torch.round(t / scale.float()[:, None]), low, high), scale


def own(t, kind, quantile):
    """PR #286's choice, without search."""
    low, high = LIMITS[kind]
    if kind != "int8":
        return symmetric(t, torch.quantile(t.abs(), quantile, dim=1), low, high)
    clip = torch.quantile(t.abs(), 99.99984 / 100.0, dim=1)
    scale = (clip / 127.0).clamp_min(1.0 / 127.0)
    clipped = torch.maximum(torch.minimum(t, clip[:, None]), -clip[:, None])
    return torch.clamp(torch.round(clipped / scale[:, None]), low, high), scale.to(torch.float16)


def errors(t, q, scale):
    """Sums in double precision, in the order of the row."""
    difference = t.double() - (q * scale.float()[:, None]).double()
    return np.cumsum((difference * difference).numpy(), axis=1)[:, -1]


def clips(t, search):
    top = t.abs().amax(dim=1)
    percentiles = [torch.quantile(t.abs(), q, dim=1) for q in PERCENTILES]
    ratios = [top * (torch.tensor(float(r)) / torch.tensor(100.0)) for r in RATIOS]
    return {"max": [], "percentiles": percentiles, "mse": percentiles + ratios}[search]


def choose(t, kind, search, quantile):
    low, high = LIMITS[kind]
    q, scale = own(t, kind, quantile)
    error = errors(t, q, scale)
    for clip in clips(t, search):
        q2, scale2 = symmetric(t, clip, low, high)
        error2 = errors(t, q2, scale2)
        better = (error2 < error) | ((error2 == error) & (scale2 > scale).numpy())
        mask = torch.from_numpy(better)
        q, scale = torch.where(mask[:, None], q2, q), torch.where(mask, scale2, scale)
        error = np.where(better, error2, error)
    return q.to(torch.int8), scale, error


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "fixtures/reference")
    weights = load_file(out / "export_weights.safetensors")
    cases = []
    for name in NAMES:
        for kind in LIMITS:
            settings = [("max", 1.0), ("percentiles", 1.0), ("mse", 1.0)] + ([("max", 0.97)] if kind != "int8" else [])
            for search, quantile in settings:
                q, scale, error = choose(weights[name], kind, search, quantile)
                if not torch.isfinite(scale).all():
                    continue
                cases.append({"tensor": name, "class": kind, "scale_search": search, "low_bit_clip_quantile": quantile,
                              "symbols_sha256": sha(q.numpy()), "scales_sha256": sha(scale.numpy().astype("<f2")),
                              "squared_error": float(np.sum(error))})
    (out / "scale_search.json").write_text(json.dumps({"torch": torch.__version__, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
