"""Reference ids for SentencePiece settings that the challenge's tokenizers do not use, and for all of Unicode.

Usage: python ci/reference/tokenizer_variants.py [OUT]     (default fixtures/reference; needs sentencepiece)

Writes OUT/tokenizers/*.model, small BPE models trained on the smoke text, one a setting;
OUT/tokenizer_variants.json with texts, their normalized forms and ids, and ids with their texts, per model;
OUT/tokenizer_unicode.json with digests of every code point's normalized form and ids in the smoke tokenizer;
OUT/token_counts.json with the predicted tokens and their bytes of the smoke shards.
"""

import hashlib
import io
import json
import random
import struct
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import sentencepiece

from manifest import merge
from tokenizer import TEXTS, luts, random_text

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "fixtures/smoke"
CODE_POINTS_A_BLOCK = 4096
RANDOM_TEXTS = 60
RANDOM_IDS = 40

# Source and target code points: longest match first, a deletion, an expansion with a space, a space to a space.
RULES = [("ﬁ", "fi"), ("oﬃ", "OFFI"), ("ﬃ", "ffi"), ("½", " 1/2 "), ("\u00ad", ""), ("\u3000", " "), ("\n", " "), ("T", "t"),
         ("The", "THE"), ("Th", "þ"), ("▁", "_"), ("…", "...")]

# Texts aimed at one of the variants each.
AIMED = ["The Tom and Th The T", "oﬃce ofﬁce o½½ o", "½", "½ ½a½", "\u00ad \u00ad", "\u00ad\u00ad", "The<sep>Tom", "<sep><sep> <sep>",
         "  two  spaces   three ", "end ", "<sep", "Tom <sep>", "New York New Yorkers", "▁", "▁▁ ▁", "_▁_", "漢字漢字 a漢", "x漢y漢漢z"]


def variants():
    common = dict(model_type="bpe", vocab_size=420, hard_vocab_limit=False, num_threads=1, minloglevel=2, split_digits=True,
                  pad_id=0, bos_id=1, eos_id=2, unk_id=3, normalization_rule_name="identity", character_coverage=0.98)
    yield "unknown", common
    yield "bytes", dict(common, byte_fallback=True, vocab_size=600)
    yield "user_defined", dict(common, byte_fallback=True, vocab_size=600,
                               user_defined_symbols=["<sep>", "<sep", "Tom ", "New York", "oﬃ", "漢"])
    yield "suffix", dict(common, treat_whitespace_as_suffix=True)
    yield "bare", dict(common, add_dummy_prefix=False, remove_extra_whitespaces=False, byte_fallback=True, vocab_size=600)
    yield "no_prefix", dict(common, add_dummy_prefix=False)
    yield "across_spaces", dict(common, split_by_whitespace=False, byte_fallback=True, vocab_size=700)
    yield "rules", dict(common, normalization_rule_name=None)


def train(settings, lines):
    model = io.BytesIO()
    settings = dict(settings)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        if settings["normalization_rule_name"] is None:
            del settings["normalization_rule_name"]
            for source, target in RULES:
                hexadecimal = [" ".join(f"{ord(c):X}" for c in text) for text in (source, target)]
                rules.write("\t".join(hexadecimal) + "\n")
            rules.flush()
            settings["normalization_rule_tsv"] = rules.name
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **settings)
    return without_path(model.getvalue())


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def to_varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def fields(data):
    """Top-level fields of a protobuf message, each as (number, payload or None, raw bytes)."""
    at = 0
    while at < len(data):
        start = at
        key, at = varint(data, at)
        payload = None
        if key & 7 == 2:
            size, at = varint(data, at)
            payload, at = data[at:at + size], at + size
        elif key & 7 == 0:
            _, at = varint(data, at)
        else:
            at += {1: 8, 5: 4}[key & 7]
        yield key >> 3, payload, data[start:at]


def message(number, payload):
    return to_varint(number << 3 | 2) + to_varint(len(payload)) + payload


def without_path(model):
    """Drops the name of the temporary rule file, so that the same bytes come out every time."""
    out = b""
    for number, payload, raw in fields(model):
        if number == 3:
            raw = message(3, b"".join(inner for n, _, inner in fields(payload) if n != 6))
        out += raw
    return out


def with_unused(model, every):
    """Marks every n-th merged piece as unused (type 5)."""
    out, seen = b"", 0
    for number, payload, raw in fields(model):
        if number == 1:
            text = next(p for n, p, _ in fields(payload) if n == 1).decode()
            kept = b"".join(inner for n, _, inner in fields(payload) if n != 3)
            if len(text) > 1 and not text.startswith("<"):
                seen += 1
                if seen % every == 0:
                    raw = message(1, kept + b"\x18\x05")
        out += raw
    return out


def cases(model, seed):
    # The stand-alone normalizer does not know about spaces behind the text; the processor does.
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    r = random.Random(seed)
    texts = TEXTS[:30] + AIMED + [random_text(r) for _ in range(RANDOM_TEXTS)]
    sequences = [[r.randrange(sp.vocab_size()) for _ in range(r.randrange(1, 16))] for _ in range(RANDOM_IDS)]
    return {
        "luts": luts(sp),
        "encode": [{"text": t, "normalized": sp.normalize(t), "ids": sp.encode(t)} for t in texts],
        "decode": [{"ids": ids, "text": sp.decode(ids)} for ids in sequences],
    }


def digest(parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def unicode_digests(model):
    """Per block of code points: all of "a" + c + "b" normalized, each with a newline; and their ids as little-endian u16."""
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    normalizer = sentencepiece.SentencePieceNormalizer(model_proto=model)

    def both(texts):
        return {"normalized": digest(normalizer.normalize(t).encode() + b"\n" for t in texts),
                "ids": digest(struct.pack(f"<{len(ids)}H", *ids) for ids in (sp.encode(t) for t in texts))}

    blocks = []
    for first in range(0, 0x110000, CODE_POINTS_A_BLOCK):
        points = [c for c in range(first, first + CODE_POINTS_A_BLOCK) if not 0xD800 <= c < 0xE000]
        blocks.append(both([f"a{chr(c)}b" for c in points]))
    pairs = []
    for c in range(0x110000):
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pairs.append("".join(chr(int(p, 16)) for p in parts))
    return {"code_points_a_block": CODE_POINTS_A_BLOCK, "blocks": blocks, "pairs": {"texts": pairs, **both(pairs)}}


def token_counts(model):
    """Specification, section 9, in NumPy: bytes of the targets of each shard."""
    table = luts(sentencepiece.SentencePieceProcessor(model_proto=model))
    base, leading, boundary = (np.array(table[name], dtype=np.int64) for name in ("base_bytes", "has_leading_space", "is_boundary"))
    counts = {}
    for path in sorted(SMOKE.glob("*.bin")):
        tokens = np.fromfile(path, dtype="<u2", offset=1024)
        previous, target = tokens[:-1], tokens[1:]
        size = base[target] + leading[target] * (1 - boundary[previous])
        counts[path.name] = {"tokens_scored": len(target), "bytes": int(size.sum())}
    return counts


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "fixtures/reference"
    (out / "tokenizers").mkdir(parents=True, exist_ok=True)
    lines = (SMOKE / "text/train.txt").read_text(encoding="utf-8").split("\n")[:4000]
    models = {name: train(settings, lines) for name, settings in variants()}
    models["unused"] = with_unused(models["unknown"], 3)
    results = {}
    for seed, (name, model) in enumerate(models.items()):
        (out / f"tokenizers/{name}.model").write_bytes(model)
        results[name] = cases(model, seed)
    (out / "tokenizer_variants.json").write_text(json.dumps(results, ensure_ascii=False, separators=(",", ":")) + "\n")
    smoke = (SMOKE / "tokenizer.model").read_bytes()
    (out / "tokenizer_unicode.json").write_text(json.dumps(unicode_digests(smoke), separators=(",", ":")) + "\n")
    (out / "token_counts.json").write_text(json.dumps(token_counts(smoke), indent=1) + "\n")
    merge(out, {
        "tokenizer_variants.json": {"description": "encode, decode and byte table of each model in tokenizers/"},
        "tokenizer_unicode.json": {"description": "truncated SHA-256 of normalized forms and ids, fixtures/smoke/tokenizer.model"},
        "token_counts.json": {"description": "predicted tokens and bytes of fixtures/smoke/*.bin"},
    })


if __name__ == "__main__":
    main()
