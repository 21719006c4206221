"""Likelihoods of the small reference network under bfloat16 autocast, as the challenge's runs compute.

Usage: python ci/reference/bf16.py fixtures/reference      (after model.py; PyTorch 2.x, safetensors)

Linears keep single-precision weights that autocast rounds, everything else is bfloat16 as in the real run (controls
are converted where they are used); attention is PyTorch's own. Many tokens, so that a mean means something.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import model
import network

ROWS, SEQ, SEED = 32, 256, 21


def attention(q, k, v, group):
    return F.scaled_dot_product_attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), is_causal=True)


def nll(weights, inputs, targets, c, quantize=False):
    """Of each target, under autocast."""
    linear = ("c_q.weight", "c_k.weight", "c_v.weight", "proj.weight", "fc.weight")
    real = {name: w if name.endswith(linear) else w.bfloat16() for name, w in weights.items()}
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.forward(real, inputs, c, quantize, attention=attention)
    assert logits.dtype == torch.bfloat16
    return network.nll(logits.float(), targets)


def likelihoods(weights, inputs, targets, c):
    """Of each target, in double precision and under autocast."""
    exact = {name: w.double() for name, w in weights.items()}
    with torch.inference_mode():
        nll_f64 = network.nll(network.forward(exact, inputs, c), targets)
        return nll_f64, nll(weights, inputs, targets, c).double()


def main(folder):
    c = model.SETS["4L"]
    tokens = torch.randint(0, c["vocab"], [ROWS, SEQ + 1], generator=torch.Generator().manual_seed(SEED))
    files = {"tokens": tokens}
    # As drawn, a token costs 7 nats, far more than chance; with smaller logits it costs about that, as in training.
    for prefix, factor in (("", 0.25), ("drawn_", 1.0)):
        weights = load_file(folder / "4L_weights.safetensors")
        weights["tok_emb.weight"] *= factor
        nll_f64, nll_bf16 = likelihoods(weights, tokens[:, :-1], tokens[:, 1:], c)
        distance = nll_bf16 - nll_f64
        print(f"embeddings x {factor}: mean {nll_f64.mean():.6f} in f64, {nll_bf16.mean():.6f} in bf16; "
              f"distance of a token: mean {distance.mean():.2e}, rms {distance.square().mean().sqrt():.2e}")
        files |= {prefix + "nll_bf16": nll_bf16.float(), prefix + "nll_f64": nll_f64}
    save_file(files, folder / "bf16_autocast.safetensors")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
