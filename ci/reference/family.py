"""Reference numbers of the leaderboard's other networks, written from their description.

Usage: python ci/reference/family.py fixtures/reference/family      (PyTorch 2.x, NumPy, safetensors)
       python ci/reference/family.py --check FOLDER                 holds this file against numbers of others, in the same
                                                                    form (GOLF_FAMILY_DIR)

A network is described by the entry `effective` of MANIFEST.json; a state of it by the list of blocks that it visits.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from network import bigram_ids, nll, rms_norm, rotate

BASE = dict(vocab=48, layers=4, dim=16, heads=2, kv_heads=1, mlp_hidden=32, tied=True, softcap=30.0, rope_base=10000.0,
            rope_dims=8, rope_train_length=2048, smear=False, bigram=None, xsa_blocks=[], ln_scale=False,
            activation="leaky_relu(0.5) squared", value_embedding=None, skip_gates=True, parallel=None,
            attention_gate=None, smear_stops_at=None)
ROWS, SEQ = 2, 24


def once(layers):
    return {"only": list(range(layers))}


# As many features a network as some submission has together; `pr` decides how `tests/reference/family.rs` reads states.
NETWORKS = [
    ("first_week", 414, dict(BASE, smear=True, bigram=[32, 8], xsa_blocks=[2, 3], rope_dims=4, rope_train_length=16,
                             ln_scale=True, activation="relu squared", skip_gates=False,
                             value_embedding=dict(width=12, blocks=[3, 1], projection=True)), once(4), 2),
    ("loop", 1412, dict(BASE, xsa_blocks=[0, 1, 2, 3], rope_dims=4, ln_scale=True,
                        parallel=dict(kind="one lane", start=3)),
     {"phase0": [0, 1, 2, 3], "phase1": [0, 1, 2, 1, 2, 3], "phase2": [0, 1, 2, 1, 2, 1, 2, 3]}, 4),
    ("insert", 1334, dict(BASE, layers=6, value_embedding=dict(width=8, blocks=[4, 2], projection=False),
                          parallel=dict(kind="two lanes", start=4, skips_after_split="lost")),
     {"off": list(range(6)), "on": [0, 1, 2, 1, 2, 3, 4, 5]}, 3),
    ("two_lanes", 1477, dict(BASE, layers=6, tied=False, ln_scale=True, xsa_blocks=[4, 5],
                             parallel=dict(kind="two lanes", start=4, skips_after_split="lane 0")), once(6), 3),
    # The gate of 1667, as its README has it in Python; the smear's mask of 1797.
    ("gated", 1667, dict(BASE, smear=True, smear_stops_at=1, xsa_blocks=[2, 3], ln_scale=True,
                         attention_gate=dict(width=5, factor=2.0, slope=1.0)), once(4), 2),
    ("gated_wide", 1787, dict(BASE, smear=True, smear_stops_at=1, parallel=dict(kind="one lane", start=2),
                              attention_gate=dict(width=16, factor=1.0, slope=0.5)), once(4), 2),
]


def layout(g, skip_rows):
    """Names and shapes."""
    dim, kv = g["dim"], g["kv_heads"] * (g["dim"] // g["heads"])
    names = {"tok_emb.weight": [g["vocab"], dim], "skip_weights": [skip_rows, dim]}
    if g["skip_gates"]:
        names["skip_gates"] = [skip_rows, dim]
    if g["bigram"]:
        names |= {"bigram.scale": [], "bigram.embed.weight": g["bigram"], "bigram.proj.weight": [dim, g["bigram"][1]]}
    if g["smear"]:
        names["smear.gate"] = [dim]
    if g["value_embedding"]:
        width, blocks = g["value_embedding"]["width"], g["value_embedding"]["blocks"]
        names |= {"ve_shared.scale": [], "ve_shared.embed.weight": [g["vocab"], width]}
        if g["value_embedding"]["projection"]:
            names["ve_shared.proj.weight"] = [kv, width]
        names |= {f"ve_layer_scales.{j}": [1] for j in range(len(blocks))}
    for i in range(g["layers"]):
        b = f"blocks.{i}."
        names |= {
            b + "attn_scale": [dim], b + "mlp_scale": [dim], b + "resid_mix": [2, dim], b + "attn.q_gain": [g["heads"]],
            b + "attn.c_q.weight": [dim, dim], b + "attn.c_k.weight": [kv, dim], b + "attn.c_v.weight": [kv, dim],
            b + "attn.proj.weight": [dim, dim], b + "mlp.fc.weight": [g["mlp_hidden"], dim],
            b + "mlp.proj.weight": [dim, g["mlp_hidden"]],
        }
        if g.get("attention_gate"):
            names[b + "attn.attn_gate_w"] = [g["heads"], g["attention_gate"]["width"]]
    if g["parallel"] and g["parallel"]["kind"] == "two lanes":
        names["lane_merge"] = []
    if not g["tied"]:
        names["lm_head.weight"] = [g["vocab"], dim]
    return names


def draw(rng, names):
    """Weights of which each matters."""
    weights = {}
    for name, shape in names.items():
        z = rng.standard_normal(shape)
        if name.endswith("resid_mix"):
            z = np.stack([1 + 0.2 * z[0], 0.3 * z[1]])
        elif name in ("bigram.scale", "ve_shared.scale", "lane_merge"):
            z = 0.4 + 0.1 * z
        elif name.endswith("q_gain"):
            z = 1.5 + 0.3 * z
        elif "scale" in name or name == "skip_weights":
            z = 1 + 0.2 * z
        elif name not in ("smear.gate", "skip_gates"):
            z = z * (0.5 if "emb" in name else 1.3 / np.sqrt(shape[1]))
        weights[name] = torch.tensor(np.asarray(z), dtype=torch.float32)
    return weights


def rotation(g, seq, dtype):
    """Cosines and sines [seq, r / 2]; beyond the training length the base grows. Frequencies in single precision."""
    r, base, length = g["rope_dims"], g["rope_base"], g["rope_train_length"]
    if length is not None and seq > length:
        base = base * (seq / length) ** (r / (r - 2))
    frequencies = 1.0 / (base ** (torch.arange(0, r, 2, dtype=torch.float32) / r))
    angles = torch.outer(torch.arange(seq, dtype=dtype), frequencies.to(dtype))
    return angles.cos(), angles.sin()


def forward(p, ids, g, order):
    """Softcapped logits [B, T, V] of the state that visits the blocks in this order."""
    batch, seq = ids.shape
    width, group = g["dim"] // g["heads"], g["heads"] // g["kv_heads"]
    tables = rotation(g, seq, p["tok_emb.weight"].dtype)
    causal = torch.full((seq, seq), -math.inf, dtype=p["tok_emb.weight"].dtype).triu(1)
    parallel = g["parallel"] or {"kind": None, "start": len(order) + g["layers"]}

    def heads(x, n):
        return x.view(batch, seq, n, width).transpose(1, 2)

    def rotated(x):
        return torch.cat([rotate(x[..., : g["rope_dims"]], tables), x[..., g["rope_dims"] :]], dim=-1)

    def attention(i, x):
        b = f"blocks.{i}.attn."
        q = rotated(rms_norm(heads(x @ p[b + "c_q.weight"].T, g["heads"]))) * p[b + "q_gain"][:, None, None]
        k = rotated(rms_norm(heads(x @ p[b + "c_k.weight"].T, g["kv_heads"])))
        v = x @ p[b + "c_v.weight"].T
        if g["value_embedding"] and i in g["value_embedding"]["blocks"]:
            e = p["ve_shared.embed.weight"][ids]
            if "ve_shared.proj.weight" in p:
                e = e @ p["ve_shared.proj.weight"].T
            v = v + p[f"ve_layer_scales.{g['value_embedding']['blocks'].index(i)}"] * (p["ve_shared.scale"] * e)
        v = heads(v, g["kv_heads"]).repeat_interleave(group, 1)
        scores = q @ k.repeat_interleave(group, 1).transpose(2, 3) / math.sqrt(width) + causal
        y = scores.softmax(-1) @ v
        if i in g["xsa_blocks"]:
            u = v / v.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            y = y - (y * u).sum(-1, keepdim=True) * u
        y = y.transpose(1, 2)
        if g.get("attention_gate"):
            gate = g["attention_gate"]
            argument = F.linear(x[:, :, : gate["width"]], p[b + "attn_gate_w"])
            y = y * (gate["factor"] * torch.sigmoid(gate["slope"] * argument)).unsqueeze(-1)
        y = y.reshape(batch, seq, -1) @ p[b + "proj.weight"].T
        return p[f"blocks.{i}.attn_scale"] * y

    def mlp(i, x):
        b = f"blocks.{i}.mlp."
        u = x @ p[b + "fc.weight"].T
        u = F.relu(u) if g["activation"] == "relu squared" else F.leaky_relu(u, 0.5)
        return p[f"blocks.{i}.mlp_scale"] * (u.square() @ p[b + "proj.weight"].T)

    def normed(i, x):
        return rms_norm(x) / math.sqrt(i + 1) if g["ln_scale"] else rms_norm(x)

    x = p["tok_emb.weight"][ids]
    if g["bigram"]:
        h = p["bigram.embed.weight"][bigram_ids(ids, g["bigram"][0])]
        if "bigram.proj.weight" in p:
            h = h @ p["bigram.proj.weight"].T
        x = x + p["bigram.scale"] * h
    x = rms_norm(x)
    if g["smear"]:
        gate = torch.sigmoid(p["smear.gate"])
        before = F.pad(x, (0, 0, 1, 0))[:, :-1]
        if g.get("smear_stops_at") is not None:
            before = before * (ids != g["smear_stops_at"]).to(x.dtype).unsqueeze(-1)
        x = (1 - gate) * x + gate * before
    x0 = x

    def mixed(i, x):
        mix = p[f"blocks.{i}.resid_mix"]
        return mix[0] * x + mix[1] * x0

    def skipped(j, x, skip):
        skip = p["skip_weights"][j] * skip
        if not g["skip_gates"]:
            return x + skip
        gate = torch.sigmoid(p["skip_gates"][j])
        return gate * x + (1 - gate) * skip

    encoder, outputs, lanes = len(order) // 2, [], None
    for position, i in enumerate(order):
        j = position - encoder
        skip = outputs.pop() if 0 <= j < len(p["skip_weights"]) and outputs else None
        if lanes is None:
            x = x if skip is None else skipped(j, x, skip)
            if parallel["kind"] == "two lanes" and j >= 0 and i >= parallel["start"]:
                lanes = [x, x]
        elif skip is not None and parallel["skips_after_split"] == "lane 0":
            lanes[0] = skipped(j, lanes[0], skip)
        if lanes is not None:
            z = mixed(i, lanes[0])
            lanes = [z + attention(i, normed(i, z)), lanes[1] + mlp(i, normed(i, lanes[1]))]
            continue
        z = mixed(i, x)
        if parallel["kind"] == "one lane" and i >= parallel["start"]:
            n = normed(i, z)
            x = z + attention(i, n) + mlp(i, n)
        else:
            x = z + attention(i, normed(i, z))
            x = x + mlp(i, normed(i, x))
        if j < 0:
            outputs.append(x)
    if lanes is not None:
        x = p["lane_merge"] * lanes[0] + (1 - p["lane_merge"]) * lanes[1]
    head = p.get("lm_head.weight", p["tok_emb.weight"])
    return g["softcap"] * torch.tanh(rms_norm(x) @ head.T / g["softcap"])


def evaluated(weights, tokens, g, order):
    """Likelihoods and gradients in double precision."""
    leaves = {name: w.double().requires_grad_() for name, w in weights.items()}
    losses = nll(forward(leaves, tokens[:, :-1], g, order), tokens[:, 1:])
    losses.mean().backward()
    return losses.detach(), {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in leaves.items()}


def suffix(state):
    return "" if state == "only" else f".{state}"


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for seed, (name, pr, g, states, skip_rows) in enumerate(NETWORKS, 21):
        rng = np.random.Generator(np.random.PCG64(seed))
        weights = draw(rng, layout(g, skip_rows))
        tokens = torch.tensor(rng.integers(0, g["vocab"], [ROWS, SEQ + 1]))
        if g["smear_stops_at"] is not None:
            tokens[:, ::7] = g["smear_stops_at"]
        io, gradients = {"tokens": tokens}, {}
        for state, order in states.items():
            losses, found = evaluated(weights, tokens, g, order)
            io["nll_f64" + suffix(state)] = losses
            # Half the bytes; what is lost is a thousandth of what the test allows.
            gradients |= {n + suffix(state): v.float() for n, v in found.items()}
        orders = {state: {"virtual_order": order} for state, order in states.items()}
        entries.append({"name": name, "pr": pr, "effective": dict(g, states=orders)})
        for what, tensors in [("weights", weights), ("io", io), ("grads_f64", gradients)]:
            save_file({n: t.contiguous() for n, t in tensors.items()}, folder / f"{name}_{what}.safetensors")
    manifest = {"torch": torch.__version__, "networks": entries}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=1) + "\n")


def check(folder):
    for entry in json.loads((folder / "MANIFEST.json").read_text())["networks"]:
        name, g = entry["name"], entry["effective"]
        weights, io, expected = (load_file(folder / f"{name}_{what}.safetensors") for what in ("weights", "io", "grads_f64"))
        for state, about in g["states"].items():
            losses, gradients = evaluated(weights, io["tokens"].long(), g, about["virtual_order"])
            off = (losses - io["nll_f64" + suffix(state)]).abs().max().item()
            worst = max(
                ((v - expected[n + suffix(state)].double()).norm() / expected[n + suffix(state)].double().norm().clamp_min(1e-9)).item()
                for n, v in gradients.items()
            )
            print(f"{name}{suffix(state)}: likelihoods off by {off:.1e}, gradients by {worst:.1e}")
            assert off < 1e-6 and worst < 1e-5, name


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[0] == "--check":
        check(pathlib.Path(arguments[1]))
    else:
        write(pathlib.Path(arguments[0]))
