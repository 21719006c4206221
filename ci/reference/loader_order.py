"""Windows that `data.loader: shuffled` reads, drawn by numpy: what `src/data/window_order.rs` expects.

    python ci/reference/loader_order.py
"""

import numpy


def rank_windows(seed, rank, ranks, tokens, seq_len):
    """Yields (shard, first token) of a rank's windows without end."""
    shards = [(i, n) for i, n in list(enumerate(tokens))[rank::ranks] if n > seq_len]
    draw = numpy.random.default_rng(seed + rank)
    while True:
        left = []
        for shard, count in shards:
            phase = int(draw.integers(min(seq_len, count - seq_len)))
            order = draw.permutation((count - 1 - phase) // seq_len)
            left.append([(shard, phase + int(i) * seq_len) for i in order])
        while any(left):
            counts = numpy.array([len(windows) for windows in left])
            yield left[draw.choice(len(left), p=counts / counts.sum())].pop()


def main():
    ranks, rows, pieces = 2, 3, 14
    streams = [rank_windows(0, rank, ranks, [41, 20, 33], 4) for rank in range(ranks)]
    print([next(streams[piece % ranks]) for piece in range(pieces) for _ in range(rows)])


if __name__ == "__main__":
    main()
