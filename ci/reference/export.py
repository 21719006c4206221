#!/usr/bin/env python3
"""Reference numbers for the quantizer and for foreign artifacts, from PyTorch.

Usage: python3 ci/reference/export.py [OUT_DIR]     (default: fixtures/reference)
Needs torch, numpy, safetensors, zstandard.

Written from the description of PR #286's export (and, for int8 + zlib, of the challenge's baseline), not from
this crate. Files: export_weights.safetensors (in), export_quantised.safetensors (integers, scales, halves),
export_dequant_sample.safetensors, export_model.ptz (torch.save + zstd 22), export_baseline.ptz (int8 + zlib),
export.json (classes and SHA-256 of every decoded tensor as little-endian f32).
"""

import hashlib
import io
import json
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
import zstandard
from safetensors.torch import save_file

# Small enough for a repository; the real threshold of 65,536 is covered by the class map at full size.
KEEP_FLOAT_MAX_NUMEL = 511
FULL_KEEP_FLOAT_MAX_NUMEL = 65_536
INT8_CLIP_Q = 99.99984 / 100.0
CONTROLS = ("attn_scale", "attn_scales", "mlp_scale", "mlp_scales", "resid_mix", "resid_mixes",
            "q_gain", "skip_weight", "skip_weights", "smear", "bigram.scale")
CONFIG = dict(layers=3, dim=32, heads=4, kv=2, hidden=48, vocab=40, bg_vocab=50, bg_dim=256, untied=True)
FULL = dict(layers=10, dim=512, heads=8, kv=4, hidden=1536, vocab=1024, bg_vocab=4096, bg_dim=128, untied=False)


def shapes(c):
    d, kvd = c["dim"], c["kv"] * c["dim"] // c["heads"]
    out = {"skip_weights": (c["layers"] // 2, d), "tok_emb.weight": (c["vocab"], d), "bigram.scale": (),
           "bigram.embed.weight": (c["bg_vocab"], c["bg_dim"]), "bigram.proj.weight": (d, c["bg_dim"]), "smear.gate": (d,)}
    for i in range(c["layers"]):
        b = f"blocks.{i}."
        out |= {b + "attn_scale": (d,), b + "mlp_scale": (d,), b + "resid_mix": (2, d), b + "attn.q_gain": (c["heads"],),
                b + "attn.c_q.weight": (d, d), b + "attn.c_k.weight": (kvd, d), b + "attn.c_v.weight": (kvd, d),
                b + "attn.proj.weight": (d, d), b + "mlp.fc.weight": (c["hidden"], d), b + "mlp.proj.weight": (d, c["hidden"])}
    if c["untied"]:
        out["lm_head.weight"] = (c["vocab"], d)
    return out


def draw():
    """Normal weights, with rows at the edges of the arithmetic."""
    rng = np.random.default_rng(286)
    w = {n: torch.from_numpy(np.asarray(rng.standard_normal(s) * 0.05, dtype=np.float32)) for n, s in shapes(CONFIG).items()}
    for name, top in (("blocks.0.mlp.fc.weight", 15.0), ("blocks.0.attn.c_q.weight", 31.0)):
        t = w[name]
        t[0] = 0.0                                               # zero row
        t[1] = 1e-30                                             # far below any f16 scale
        t[2] *= 2.0 ** -20                                       # scale below the smallest normal f16
        t[3, 0], t[3, 1:] = top, torch.arange(31) / 2 - 7.75     # halves and quarters at scale 1: ties
        t[4, 5] = -9e5                                           # one huge value: int5 scale 60,000
        t[5] = -t[5].abs()                                       # one sign
        t[6] = t[6].abs().max()                                  # constant
        t[7] *= 3e-4 * top                                       # scales around the subnormal limit
        t[8, 0] = -t[8].abs().max() * 1.0003                     # largest magnitude negative
    e = w["bigram.embed.weight"]
    e[0] = 0.0
    e[1:20] *= 60.0                                              # rows above 1: the scale leaves its floor
    e[20, 3] = 5e4                                               # one huge value, just inside f16
    e[21] *= 1e-6
    e[22] = torch.linspace(-1, 1, 256)
    w["lm_head.weight"][:20] *= 100.0
    return w


def layer_count(names):
    return 1 + max(int(m.group(1)) for n in names if (m := re.match(r"blocks\.(\d+)\.", n)))


def classify(name, numel, layers, keep_last, max_numel):
    if numel <= max_numel:
        return "passthrough"
    if any(p in name for p in CONTROLS):
        return "passthrough_ctrl"
    block = re.match(r"blocks\.(\d+)\.", name)
    if "tok_emb" in name or (block and int(block.group(1)) >= max(layers - keep_last, 0) and name.endswith("attn.c_k.weight")):
        return "passthrough_fp16"
    if ".attn." in name or (".proj." in name and ".mlp." not in name):
        return "int6"
    return "int5" if ".mlp." in name else "int8"


def low_bits(t, c):
    s = (t.abs().amax(dim=1) / c).clamp_min(1e-12).to(torch.float16).clamp_min(torch.finfo(torch.float16).tiny)
    return torch.clamp(torch.round(t / s.float()[:, None]), -(c + 1), c).to(torch.int8), s


def eight_bits(t):
    a = torch.quantile(t.abs(), INT8_CLIP_Q, dim=1)
    s = (a / 127.0).clamp_min(1.0 / 127.0)
    clipped = torch.maximum(torch.minimum(t, a[:, None]), -a[:, None])
    return torch.clamp(torch.round(clipped / s[:, None]), -127, 127).to(torch.int8), s.to(torch.float16)


def export(weights, max_numel):
    layers = layer_count(weights)
    stored, meta = {}, {}
    for name, t in weights.items():
        t = t.float()
        kind = classify(name, t.numel(), layers, 1, max_numel)
        if kind.startswith("passthrough"):
            stored[name] = t if kind == "passthrough_ctrl" else t.to(torch.float16)
            meta[name] = kind
        else:
            q, s = eight_bits(t) if kind == "int8" else low_bits(t, 15 if kind == "int5" else 31)
            stored[name + ".q"], stored[name + ".scale"] = q, s
            meta[name] = {"type": kind}
    return stored, meta


def decode(stored, meta):
    return {n: stored[n].float() if isinstance(k, str) else stored[n + ".q"].float() * stored[n + ".scale"].float()[:, None]
            for n, k in meta.items()}


def prune(weights, fraction, max_numel):
    out = {}
    for name, t in weights.items():
        t = t.clone()
        if t.ndim == 2 and t.numel() > max_numel:
            t[t.abs() < torch.quantile(t.abs().flatten(), fraction)] = 0.0
        out[name] = t
    return out


def baseline(weights, max_numel):
    """The challenge's baseline: every large float tensor in int8, halves for the rest, controls in f32."""
    obj = {"__quant_format__": "int8_clean_per_row_v1", "quantized": {}, "scales": {}, "dtypes": {}, "passthrough": {},
           "qmeta": {}, "passthrough_orig_dtypes": {}}
    for name, t in weights.items():
        if t.numel() <= max_numel:
            if any(p in name for p in CONTROLS):
                obj["passthrough"][name] = t.float().contiguous()
            else:
                obj["passthrough_orig_dtypes"][name] = "float32"
                obj["passthrough"][name] = t.to(torch.float16).contiguous()
            continue
        q, s = eight_bits(t)
        obj["quantized"][name], obj["scales"][name], obj["dtypes"][name] = q, s, "float32"
        obj["qmeta"][name] = {"scheme": "per_row", "axis": 0}
    decoded = {n: t.float() for n, t in obj["passthrough"].items()}
    decoded |= {n: q.float() * obj["scales"][n].float()[:, None] for n, q in obj["quantized"].items()}
    return obj, decoded


def sha(tensors):
    return {n: hashlib.sha256(np.ascontiguousarray(t.float().numpy()).astype("<f4").tobytes()).hexdigest() for n, t in tensors.items()}


def saved(obj):
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    return buffer.getvalue()


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "fixtures/reference")
    weights = draw()
    stored, meta = export(weights, KEEP_FLOAT_MAX_NUMEL)
    decoded = decode(stored, meta)
    names, layers = list(weights), CONFIG["layers"]
    label = lambda n: meta[n] if isinstance(meta[n], str) else meta[n]["type"]
    keys = [n for n in names if n.endswith("c_k.weight")]
    full = {n: int(np.prod(s)) for n, s in shapes(FULL).items()}
    bf16 = {n: t.to(torch.bfloat16).float() if n in ("tok_emb.weight", "bigram.embed.weight") else t for n, t in weights.items()}
    pruned_stored, pruned_meta = export(prune(weights, 0.1, KEEP_FLOAT_MAX_NUMEL), KEEP_FLOAT_MAX_NUMEL)
    baseline_obj, baseline_decoded = baseline(weights, KEEP_FLOAT_MAX_NUMEL)

    save_file(weights, out / "export_weights.safetensors")
    save_file(stored, out / "export_quantised.safetensors")
    save_file({n: decoded[n][:4].contiguous() for n in ("blocks.0.mlp.fc.weight", "bigram.embed.weight")},
              out / "export_dequant_sample.safetensors")
    raw = saved({"w": stored, "m": meta})
    (out / "export_model.ptz").write_bytes(zstandard.ZstdCompressor(level=22).compress(raw))
    (out / "export_baseline.ptz").write_bytes(zlib.compress(saved(baseline_obj), 9))
    result = {
        "torch": torch.__version__,
        "config": CONFIG,
        "keep_float_max_numel": KEEP_FLOAT_MAX_NUMEL,
        "classes": {n: label(n) for n in names},
        "dequant_sha256_f32_le": sha(decoded),
        "classes_by_keep_last_k": {str(k): {n: classify(n, weights[n].numel(), layers, k, KEEP_FLOAT_MAX_NUMEL) for n in keys} for k in (0, 1, 2, 5)},
        "full_config_classes": {n: classify(n, e, FULL["layers"], 1, FULL_KEEP_FLOAT_MAX_NUMEL) for n, e in full.items()},
        "raw_torch_save_bytes": len(raw),
        "script_dtype_variant": {
            "note": "both tables rounded to bf16 before export and after decoding, as inside the real script",
            "dequant_sha256_after_cast_to_f32": sha({n: decode(*export(bf16, KEEP_FLOAT_MAX_NUMEL))[n].to(torch.bfloat16)
                                                     for n in ("tok_emb.weight", "bigram.embed.weight")}),
        },
        "prune_fraction": 0.1,
        "pruned_dequant_sha256_f32_le": sha(decode(pruned_stored, pruned_meta)),
        "baseline_dequant_sha256_f32_le": sha(baseline_decoded),
    }
    (out / "export.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
