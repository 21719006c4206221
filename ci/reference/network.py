"""The network of PR #286 in PyTorch, written from its specification for reference numbers.

Functional style: `forward(params, ids, config)` on a dict of tensors named as in the state dict. The dtype of
the parameters is the dtype of the computation; the rotary frequencies are single precision in every case.
"""

import math

import torch
import torch.nn.functional as F

RMS_EPSILON = 2.0**-23


def layout(c):
    """Names and shapes in state-dict order."""
    d, kv, hidden = c["dim"], c["kv"] * (c["dim"] // c["heads"]), int(c["mlp_mult"] * c["dim"])
    names = {"skip_weights": [c["layers"] // 2, d], "tok_emb.weight": [c["vocab"], d]}
    if c["bg_vocab"]:
        names["bigram.scale"] = []
        names["bigram.embed.weight"] = [c["bg_vocab"], c["bg_dim"]]
        if c["bg_dim"] != d:
            names["bigram.proj.weight"] = [d, c["bg_dim"]]
    names["smear.gate"] = [d]
    for i in range(c["layers"]):
        b = f"blocks.{i}."
        names |= {
            b + "attn_scale": [d], b + "mlp_scale": [d], b + "resid_mix": [2, d], b + "attn.q_gain": [c["heads"]],
            b + "attn.c_q.weight": [d, d], b + "attn.c_k.weight": [kv, d], b + "attn.c_v.weight": [kv, d],
            b + "attn.proj.weight": [d, d], b + "mlp.fc.weight": [hidden, d], b + "mlp.proj.weight": [d, hidden],
        }
    if not c.get("tied", True):
        names["lm_head.weight"] = [c["vocab"], d]
    return names


def rms_norm(x):
    if x.dtype == torch.bfloat16:
        return F.rms_norm(x, (x.shape[-1],), eps=RMS_EPSILON)  # Single precision inside.
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + RMS_EPSILON)


def rope_tables(c, seq, dtype):
    """Cosines and sines [seq, d / 2]; with `rope: bf16`, every step in bfloat16 as eager PyTorch rounds it."""
    d = c["dim"] // c["heads"]
    inv_freq = 1.0 / (c["rope_base"] ** (torch.arange(0, d, 2, dtype=torch.float32) / d))
    if c.get("rope", "f32") == "bf16":
        inv_freq = inv_freq.to(torch.bfloat16)
        angles = torch.outer(torch.arange(seq, dtype=torch.bfloat16), inv_freq)
        return angles.cos().to(dtype), angles.sin().to(dtype)
    angles = torch.outer(torch.arange(seq, dtype=dtype), inv_freq.to(dtype))
    return angles.cos(), angles.sin()


def rotate(x, tables):
    cos, sin = tables
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat([x1 * cos + x2 * sin, x2 * cos - x1 * sin], dim=-1)


def bigram_ids(ids, buckets):
    ids = ids.to(torch.int32)
    out = torch.empty_like(ids)
    out[:, 0] = buckets - 1
    out[:, 1:] = torch.bitwise_xor(36313 * ids[:, 1:], 27191 * ids[:, :-1]) % (buckets - 1)
    return out.long()


class StraightThrough(torch.autograd.Function):
    """Rows on their own grid of `limit` steps; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx, w, limit):
        scale = (w.abs().amax(dim=1, keepdim=True) / limit).clamp_min(1e-12)
        return torch.clamp(torch.round(w / scale), -(limit + 1), limit) * scale

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def forward(p, ids, c, quantize=False, probes=None, attention=None):
    """Softcapped logits [B, T, V]. `probes`, a dict, receives intermediate values.

    `attention(q, k, v, group)` replaces the attention written out here.
    """
    probes = {} if probes is None else probes
    batch, seq = ids.shape
    d, group = c["dim"] // c["heads"], c["heads"] // c["kv"]
    tables = rope_tables(c, seq, p["tok_emb.weight"].dtype)
    probes["rope_cos"], probes["rope_sin"] = tables
    causal = torch.full((seq, seq), -math.inf, dtype=p["tok_emb.weight"].dtype).triu(1)

    def linear(x, name):
        w = p[name]
        if quantize and name.startswith("blocks."):
            w = StraightThrough.apply(w, 31 if ".attn." in name else 15)
        return x @ w.T

    def heads(x, n):
        return x.view(batch, seq, n, d).transpose(1, 2)

    x = probes["tok_emb_out"] = p["tok_emb.weight"][ids]
    if c["bg_vocab"]:
        probes["bigram_hash_ids"] = bigram_ids(ids, c["bg_vocab"])
        h = p["bigram.embed.weight"][probes["bigram_hash_ids"]]
        if "bigram.proj.weight" in p:
            h = linear(h, "bigram.proj.weight")
        probes["bigram_out"] = h * p["bigram.scale"]
        x = x + probes["bigram_out"]
    x = probes["after_input_rmsnorm"] = rms_norm(x)
    g = torch.sigmoid(p["smear.gate"])
    x0 = x = (1 - g) * x + g * F.pad(x, (0, 0, 1, 0))[:, :-1]
    probes["x0_after_smear"] = x0

    encoder, outputs = c["layers"] // 2, []
    for i in range(c["layers"]):
        b = f"blocks.{i}."
        if i >= encoder and outputs:
            x = x + p["skip_weights"][i - encoder] * outputs.pop()
        probes[f"block{i}.in"] = x
        mix = p[b + "resid_mix"]
        x = mix[0] * x + mix[1] * x0
        n = rms_norm(x)
        q = rotate(rms_norm(heads(linear(n, b + "attn.c_q.weight"), c["heads"])), tables)
        q = q * p[b + "attn.q_gain"][:, None, None]
        k = rotate(rms_norm(heads(linear(n, b + "attn.c_k.weight"), c["kv"])), tables)
        v = heads(linear(n, b + "attn.c_v.weight"), c["kv"])
        probes |= {f"block{i}.q_roped_gained": q, f"block{i}.k_roped": k, f"block{i}.v": v}
        if attention:
            mixed = attention(q, k, v, group)
        else:
            scores = q @ k.repeat_interleave(group, 1).transpose(2, 3) / math.sqrt(d) + causal
            mixed = scores.softmax(-1) @ v.repeat_interleave(group, 1)
        probes[f"block{i}.sdpa_out"] = mixed
        mixed = mixed.transpose(1, 2).reshape(batch, seq, -1)
        attended = probes[f"block{i}.attn_out"] = linear(mixed, b + "attn.proj.weight")
        x = x + p[b + "attn_scale"] * attended
        hidden = linear(rms_norm(x), b + "mlp.fc.weight").relu().square()
        output = probes[f"block{i}.mlp_out"] = linear(hidden, b + "mlp.proj.weight")
        x = x + p[b + "mlp_scale"] * output
        probes[f"block{i}.out"] = x
        if i < encoder:
            outputs.append(x)
    head = p.get("lm_head.weight", p["tok_emb.weight"])
    x = probes["final_norm_out"] = rms_norm(x)
    return c["softcap"] * torch.tanh(x @ head.T / c["softcap"])


def nll(logits, targets):
    """Natural-log loss of each target, [B, T]."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
