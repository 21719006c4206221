"""Reference batches of the token loader, from section 8 of the model specification, in NumPy.

Usage: python ci/reference/loader.py [OUT]        (default OUT: fixtures/reference)

Writes OUT/loader_shards/x_train_00000{0,1,2}.bin and OUT/loader_batches.safetensors. The stream is one array, and a
batch is an index expression into it: no reading position, no shard, nothing shared with the program under test.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SEQ_LEN, GLOBAL, ACCUM = 64, 512, 2
SHARD_LENGTHS = (530, 7, 300)  # a shard shorter than a row, and a total that no batch divides


def main(out: Path) -> None:
    random = np.random.Generator(np.random.PCG64(20240520))
    shards = [random.integers(0, 1024, size=n).astype("<u2") for n in SHARD_LENGTHS]
    folder = out / "loader_shards"
    folder.mkdir(parents=True, exist_ok=True)
    for i, tokens in enumerate(shards):
        header = np.zeros(256, dtype="<i4")
        header[:3] = 20240520, 1, len(tokens)
        (folder / f"x_train_{i:06}.bin").write_bytes(header.tobytes() + tokens.tobytes())

    stream = np.concatenate(shards).astype(np.int64)
    tensors = {}
    for world, prefix, count in ((1, "ws1", 10), (2, "ws2.rank{}", 4)):
        local = GLOBAL // (world * ACCUM)
        for batch in range(count):
            for rank in range(world):
                first = (batch * world + rank) * (local + 1)
                piece = stream[np.arange(first, first + local + 1) % len(stream)]
                name = f"{prefix.format(rank)}.batch{batch}"
                tensors[f"{name}.x"] = piece[:-1].reshape(-1, SEQ_LEN)
                tensors[f"{name}.y"] = piece[1:].reshape(-1, SEQ_LEN)
    save_file(tensors, out / "loader_batches.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "fixtures/reference"))
