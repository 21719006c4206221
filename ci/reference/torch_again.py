#!/usr/bin/env python3
"""Loads what this crate writes for PyTorch, and writes it again.

Usage: python3 ci/reference/torch_again.py FILE...
Needs torch; zstandard and brotli for files compressed with them. One JSON line a file: whether torch.save gives the same
bytes of what torch.load read, `m`, and the SHA-256 of every tensor of `w`.
"""

import hashlib
import io
import json
import lzma
import sys
import zlib

import torch


def unshuffle(data):
    if data[:4] != b"BSHF":
        return data
    stride, shuffled = data[4], data[5:]
    out, start = bytearray(len(shuffled)), 0
    for first in range(stride):
        part = out[first::stride]
        out[first::stride] = shuffled[start : start + len(part)]
        start += len(part)
    return bytes(out)


def unwrap(data, codec):
    if codec == "zlib":
        return zlib.decompress(data)
    if codec == "xz":
        return lzma.decompress(data)
    if codec == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if codec == "brotli":
        import brotli

        return unshuffle(brotli.decompress(data))
    return data


def main():
    for path in sys.argv[1:]:
        codec = path.rsplit(".", 1)[1]
        raw = unwrap(open(path, "rb").read(), codec)
        loaded = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
        again = io.BytesIO()
        torch.save(loaded, again)
        digest = lambda tensor: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
        tensors = {name: [str(t.dtype), list(t.shape), digest(t)] for name, t in loaded["w"].items()}
        print(json.dumps({"same_bytes": again.getvalue() == raw, "m": loaded["m"], "w": tensors}))


if __name__ == "__main__":
    main()
