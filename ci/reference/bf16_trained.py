"""Likelihoods of a trained network under bfloat16 autocast beside those `score --precision bf16` wrote.

Usage: reproduce manifests/smoke.yaml --out OUT
       score OUT/manifest.yaml --no-artifact --checkpoint CHECKPOINT --non-overlapping --precision bf16 --nll-out nll.f32
       python ci/reference/bf16_trained.py CHECKPOINT manifests/smoke.yaml nll.f32      (PyTorch 2.x, safetensors, NumPy, PyYAML)

Non-overlapping windows: side by side, every position scored, the tail dropped.
"""

import pathlib
import sys

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

import bf16
import network

HEADER_BYTES = 1024


def main(checkpoint, manifest, found):
    text = yaml.safe_load(manifest.read_text())
    sizes, seq = text["model"], text["eval"]["seq_len"]
    c = dict(vocab=sizes["vocab_size"], layers=sizes["num_layers"], dim=sizes["model_dim"], heads=sizes["num_heads"],
             kv=sizes["num_kv_heads"], bg_vocab=sizes["bigram_vocab_size"], bg_dim=sizes["bigram_dim"],
             mlp_mult=sizes.get("mlp_mult", 3.0), softcap=sizes.get("logit_softcap", 30.0),
             rope_base=sizes.get("rope_base", 10000.0), tied=True, rope="f32")
    shards = sorted((manifest.parent / text["data"]["path"]).glob(text["data"]["val_pattern"]))
    stream = np.concatenate([np.frombuffer(shard.read_bytes()[HEADER_BYTES:], "<u2") for shard in shards])
    rows = (len(stream) - 1) // seq
    tokens = torch.tensor(stream[: rows * seq + 1].astype(np.int64))
    inputs, targets = tokens[:-1].view(rows, seq), tokens[1:].view(rows, seq)
    weights = {name: w.float() for name, w in load_file(checkpoint).items()}
    nll_f64, nll_bf16 = bf16.likelihoods(weights, inputs, targets, c)
    ours = torch.tensor(np.fromfile(found, "<f4")).double().view(rows, seq)
    for name, values in (("PyTorch in f64", nll_f64), ("ours in bf16", ours)):
        distance = values - nll_bf16
        print(f"{name}: mean {values.mean():.6f}, {distance.mean():+.2e} from PyTorch in bf16; "
              f"rms of a token {distance.square().mean().sqrt():.2e}")


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
