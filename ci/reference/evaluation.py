"""Reference windows and scores: losses, bits per byte, tokens and bytes on prefixes of the smoke validation shard.

Usage: python ci/reference/evaluation.py [OUT]      (default OUT: fixtures/reference; needs torch, numpy,
       safetensors, sentencepiece)

Writes OUT/eval_windows.json, OUT/eval_results.json and OUT/eval_weights.safetensors. Windows follow section 9 of the
model specification prediction by prediction: for each prediction, which window scores it. Bytes are
held against the text that the SentencePiece library decodes.
"""

import json
import math
import pathlib
import sys

import numpy as np
import sentencepiece
import torch
from safetensors.torch import save_file

import manifest
import model
import network

ROOT = pathlib.Path(__file__).parents[2] / "fixtures/smoke"
CONFIG = dict(vocab=1024, mlp_mult=2.0, softcap=30.0, rope_base=10000.0, layers=2, dim=16, heads=2, kv=1, seq=64,
              bg_vocab=64, bg_dim=8, tied=True, rope="f32", B=1, seed=21)
# (predictions, window length, stride): below, at and above a window, at and above a stride, stride 1, stride = length.
WINDOWS = [(1, 64, 16), (10, 64, 16), (63, 64, 16), (64, 64, 16), (65, 64, 16), (79, 64, 16), (80, 64, 16),
           (81, 64, 16), (100, 64, 1), (128, 64, 64), (129, 64, 64), (200, 64, 64), (200, 64, 63), (7, 1, 1),
           (2048, 2048, 64), (2049, 2048, 64), (2113, 2048, 64), (5000, 2048, 2048)]
# (tokens, window length, stride)
PREFIXES = [(31, 64, 16), (65, 64, 16), (66, 64, 16), (81, 64, 16), (82, 64, 16), (2001, 64, 16), (2000, 64, 64),
            (500, 24, 7)]


def windows(predictions, length, stride):
    """[start, length, first scored, number scored] of every window, from who scores each prediction."""
    out = []
    for p in range(predictions):
        # The first window scores its whole length; after that, prediction p waits for the first window reaching it.
        w = 0 if p < length else -(-(p - length + 1) // stride) * stride
        if not out or out[-1][0] != w:
            out.append([w, min(length, predictions - w), p, 0])
        out[-1][3] += 1
    return out


def text_bytes(sp, tokens):
    """Bytes each target adds to the text. Documents must add up to what the library decodes them to."""
    counts, document = [], []

    def check():
        text = sp.decode(document)
        assert sum(counts[len(counts) - len(document) :]) == len(text.encode()) or "\ufffd" in text

    for token in tokens:
        if sp.is_control(token):
            check()
            document = []
            counts.append(0)
            continue
        document.append(token)
        piece = sp.id_to_piece(token)
        marker = piece.startswith("\u2581")
        size = 1 if sp.is_byte(token) else len(piece.encode()) - 3 * marker
        # There is no space before the first piece of a document.
        counts.append(size + (marker and len(document) > 1))
        assert "\u2581" not in piece[1:]
    check()
    return counts[1:]


def losses(weights, tokens, spans, dtype):
    """Loss of every scored prediction, each window run on its own."""
    params = {name: w.to(dtype) for name, w in weights.items()}
    out = []
    for start, length, first, scored in spans:
        ids = torch.tensor(tokens[start : start + length + 1].astype(np.int64))[None]
        with torch.no_grad():
            nll = network.nll(network.forward(params, ids[:, :-1], CONFIG), ids[:, 1:])[0]
        out += nll[first - start : first - start + scored].double().tolist()
    return out


def score(values, counts):
    if not values:
        return None, None
    loss = math.fsum(values) / len(values)
    return loss, loss / math.log(2) * len(values) / sum(counts)


def main(out):
    torch.set_num_threads(1)
    weights, _ = model.draw(CONFIG)
    save_file(weights, out / "eval_weights.safetensors")
    sp = sentencepiece.SentencePieceProcessor(model_file=str(ROOT / "tokenizer.model"))
    split = np.fromfile(ROOT / "smoke_val_000000.bin", dtype="<u2")[512:]
    counts = text_bytes(sp, split.tolist())

    cases = {}
    for predictions, length, stride in WINDOWS:
        spans = windows(predictions, length, stride)
        cases[f"total={predictions},seq={length},stride={stride}"] = {
            "n_windows": len(spans),
            "scored": sum(span[3] for span in spans),
            "full_length_windows": sum(span[1] == length for span in spans),
            "windows_start_len_firstscored_nscored": spans,
        }
    (out / "eval_windows.json").write_text(json.dumps(cases) + "\n")

    results = {}
    for n, length, stride in PREFIXES:
        tokens = split[:n]
        sliding = windows(n - 1, length, stride)
        plain = [[w * length, length, w * length, length] for w in range((n - 1) // length)]
        entry = {"sliding_tokens": n - 1, "sliding_bytes": sum(counts[: n - 1]),
                 "plain_tokens": len(plain) * length, "plain_bytes": sum(counts[: len(plain) * length])}
        for name, dtype in (("f32", torch.float32), ("f64", torch.float64)):
            loss, bpb = score(losses(weights, tokens, sliding, dtype), counts[: n - 1])
            plain_loss, plain_bpb = score(losses(weights, tokens, plain, dtype), counts[: len(plain) * length])
            entry[name] = {"sliding_val_loss": loss, "sliding_val_bpb": bpb,
                           "plain_val_loss": plain_loss, "plain_val_bpb": plain_bpb}
        results[f"first {n} val tokens, seq {length}, stride {stride}"] = entry
    results["whole_sample_val_counts"] = {"tokens_scored": len(split) - 1, "bytes": sum(counts)}
    manifest.write_json(out / "eval_results.json", {"weights": "eval_weights.safetensors", "results": results})
    manifest.merge(out, {"eval_weights.safetensors": {"config": CONFIG},
                         "eval_windows.json": {"description": "windows of an evaluation, case by case"},
                         "eval_results.json": {"description": "losses and bits per byte on prefixes of the smoke split"}})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "fixtures/reference"))
