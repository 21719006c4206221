import glob
import io
import math
import os
import time
import zlib

import numpy as np
import sentencepiece as spm
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn


class Hyperparameters:
    data_path = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
    tokenizer_path = os.environ.get("TOKENIZER_PATH", "./data/tokenizers/fineweb_1024_bpe.model")
    seed = int(os.environ.get("SEED", 1337))
    iterations = int(os.environ.get("ITERATIONS", 20000))
    max_wallclock_seconds = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600.0))
    seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 1024))
    stride = int(os.environ.get("EVAL_STRIDE", 64))


def build_sentencepiece_luts(sp, vocab_size, device):
    base_bytes = np.zeros((vocab_size,), dtype=np.int16)
    has_leading_space = np.zeros((vocab_size,), dtype=np.bool_)
    is_boundary = np.ones((vocab_size,), dtype=np.bool_)
    for token_id in range(sp.vocab_size()):
        if sp.is_control(token_id) or sp.is_unknown(token_id) or sp.is_unused(token_id):
            continue
        is_boundary[token_id] = False
        if sp.is_byte(token_id):
            base_bytes[token_id] = 1
            continue
        piece = sp.id_to_piece(token_id)
        if piece.startswith("\u2581"):
            has_leading_space[token_id] = True
            piece = piece[1:]
        base_bytes[token_id] = len(piece.encode("utf-8"))
    return (torch.tensor(table, device=device) for table in (base_bytes, has_leading_space, is_boundary))


def load_tokens(pattern):
    files = sorted(glob.glob(pattern))
    return torch.cat([torch.from_numpy(np.fromfile(file, dtype="<u2", offset=1024).astype(np.int64)) for file in files])


class Model(nn.Module):
    def __init__(self, vocab_size, dim):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, dim)

    def forward(self, tokens):
        return F.linear(self.embed(tokens), self.embed.weight)


def train(args, model, optimizer, tokens, log):
    start = time.perf_counter()
    for step in range(args.iterations):
        elapsed = time.perf_counter() - start
        if elapsed > args.max_wallclock_seconds:
            log(f"stopping_early: wallclock_cap train_time:{1000 * elapsed:.0f}ms step:{step}/{args.iterations}")
            break
        at = torch.randint(len(tokens) - args.seq_len - 1, (8,))
        batch = torch.stack([tokens[i : i + args.seq_len + 1] for i in at])
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def evaluate(args, model, tokens, luts):
    base_bytes, has_leading_space, is_boundary = luts
    total, count, byte_count = 0.0, 0, 0.0
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(tokens) - args.seq_len, args.stride):
            window = tokens[start : start + args.seq_len + 1]
            first = 0 if start == 0 else args.seq_len - args.stride
            losses = F.cross_entropy(model(window[:-1]), window[1:], reduction="none")[first:]
            previous, target = window[:-1][first:], window[1:][first:]
            total += losses.sum().item()
            count += len(losses)
            byte_count += (base_bytes[target] + (has_leading_space[target] & ~is_boundary[previous])).sum().item()
    return total / count, total / math.log(2.0) / byte_count


def main():
    args = Hyperparameters()
    dist.init_process_group("nccl")
    torch.manual_seed(args.seed)
    sp = spm.SentencePieceProcessor(model_file=args.tokenizer_path)
    luts = tuple(build_sentencepiece_luts(sp, sp.vocab_size(), "cuda"))
    model = Model(sp.vocab_size(), 64)
    optimizer = torch.optim.Adam(model.parameters())
    train(args, model, optimizer, load_tokens(args.data_path + "/fineweb_train_*.bin"), print)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    with open("final_model.int8.ptz", "wb") as file:
        file.write(zlib.compress(buffer.getvalue(), 9))
    val_loss, val_bpb = evaluate(args, model, load_tokens(args.data_path + "/fineweb_val_*.bin"), luts)
    print(f"final_int8_zlib_roundtrip_exact val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")


if __name__ == "__main__":
    main()
