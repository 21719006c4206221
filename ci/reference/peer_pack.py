#!/usr/bin/env python3
"""The size and time that PR #286's own export takes: int8-held symbols, torch.save, zstd level 22.

Usage: python3 ci/reference/peer_pack.py CHECKPOINT.safetensors [OUT.ptz]
Needs torch, safetensors, zstandard.
"""

import sys
import time
from pathlib import Path

import zstandard
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from export import FULL_KEEP_FLOAT_MAX_NUMEL, export, saved  # noqa: E402


def main():
    start = time.perf_counter()
    weights = load_file(sys.argv[1])
    loaded = time.perf_counter()
    stored, meta = export(weights, FULL_KEEP_FLOAT_MAX_NUMEL)
    raw = saved({"w": stored, "m": meta})
    quantized = time.perf_counter()
    packed = zstandard.ZstdCompressor(level=22).compress(raw)
    done = time.perf_counter()
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_bytes(packed)
    print(f"raw {len(raw)} packed {len(packed)} bytes; load {loaded - start:.2f} s, quantize and torch.save "
          f"{quantized - loaded:.2f} s, zstd {done - quantized:.2f} s, all {done - start:.2f} s")


if __name__ == "__main__":
    main()
