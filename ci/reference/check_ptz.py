#!/usr/bin/env python3
"""Checks that PyTorch loads what this crate writes for it, to identical tensors.

Usage: python3 ci/reference/check_ptz.py [WRITTEN.ptz] [REFERENCE.ptz]
       (default: fixtures/reference/torch_written.ptz against fixtures/reference/export_model.ptz)
Needs torch and zstandard. The written file is loaded with weights_only=True, then compared key by key.
"""

import io
import sys

import torch
import zstandard


def load(path):
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(open(path, "rb").read())
    return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)


def main():
    written, reference = (sys.argv[1:] + ["fixtures/reference/torch_written.ptz", "fixtures/reference/export_model.ptz"])[:2]
    ours, theirs = load(written), load(reference)
    assert ours["m"] == theirs["m"], "m differs"
    assert set(ours["w"]) == set(theirs["w"]), set(ours["w"]) ^ set(theirs["w"])
    for name, tensor in theirs["w"].items():
        mine = ours["w"][name]
        assert mine.dtype == tensor.dtype and mine.shape == tensor.shape and torch.equal(mine, tensor), name
    print(f"{written}: {len(theirs['w'])} tensors identical to {reference}")


if __name__ == "__main__":
    main()
