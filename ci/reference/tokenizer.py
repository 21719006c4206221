"""Reference byte table and encodings of a SentencePiece model, by the SentencePiece library.

Usage: python ci/reference/tokenizer.py [MODEL] [OUT]
       (defaults: fixtures/smoke/tokenizer.model, fixtures/reference; needs sentencepiece)

Writes OUT/tokenizer_luts.json (bytes, leading marker and boundary of every id) and OUT/tokenizer_encodings.json
(texts with their normalized form and ids, and id sequences with the text they decode to).
"""

import json
import random
import sys
from pathlib import Path

import sentencepiece

MARKER = "\u2581"

# One a line: what the line is after.
TEXTS = [
    "", " ", "   ", "\n", "a", " a", "a ", "  a  b  ",                  # spaces at the ends and doubled
    "a\tb\nc\r\nd", "a\u00a0b\u2003c\u3000d", "\ufeffa\u200bb\u00adc",   # other spaces, zero-width characters
    "Once there was a baker called Zoé.", "“What luck,” cried André — and she ran…",
    "ﬁne ﬂour ½ ² ™ № ㎏ ①", "Ａｂｃ１２３ ｶﾞ", "e\u0301 = é, A\u030a = Å",   # compatibility forms, composition
    "\u1100\u1161\u11a8 = 각", "小明 さくら 출구", "مرحبا", "नमस्ते", "🙂 🌧️ ❤️ 👨‍👩‍👧 🇫🇷",
    "▁a▁▁b ▁", "<s> </s> <unk> <pad> <0x41> <|endoftext|>",              # pieces' own spellings as text
    "\x00\x01\x1f\x7f\x85", "a\x00b", "\ufffd", "\U0010ffff \ue000", "1234567890 12 3.14 7x8=56",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "thethethethethe", "\u0345\u0300\u0301 combining first", "\u2028\u2029\u180e",
    "".join(chr(c) for c in range(0x20, 0x180)), "".join(chr(c) for c in range(0xfb00, 0xfb50)),
    "".join(chr(c) for c in range(0xff00, 0xfff0)), "".join(chr(c) for c in range(0x2000, 0x2070)),
    "".join(chr(c) for c in range(0x3300, 0x3360)), "".join(chr(c) for c in range(0x1f100, 0x1f170)),
]
RANDOM_TEXTS = 160
RANDOM_IDS = 120


def random_text(r):
    """Words of the vocabulary mixed with characters from everywhere except surrogates."""
    parts = []
    for _ in range(r.randrange(1, 24)):
        kind = r.randrange(6)
        if kind < 3:
            parts.append(r.choice(["the ", "baker", " lamp", "he said", "\n", "  ", "coins", "No", "é", "“"]))
        elif kind == 3:
            parts.append(chr(r.randrange(0x20, 0x250)))
        elif kind == 4:
            parts.append(chr(r.randrange(0x250, 0xd800)))
        else:
            parts.append(chr(r.randrange(0xe000, 0x2ffff)))
    return "".join(parts)


def luts(sp):
    table = {"base_bytes": [], "has_leading_space": [], "is_boundary": []}
    for i in range(sp.vocab_size()):
        base, leading, boundary = 0, False, True
        if not (sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i)):
            boundary = False
            if sp.is_byte(i):
                base = 1
            else:
                piece = sp.id_to_piece(i)
                leading = piece.startswith(MARKER)
                base = len(piece[leading:].encode("utf-8"))
        table["base_bytes"].append(base)
        table["has_leading_space"].append(int(leading))
        table["is_boundary"].append(int(boundary))
    return table


def main(model, out):
    sp = sentencepiece.SentencePieceProcessor(model_file=str(model))
    normalizer = sentencepiece.SentencePieceNormalizer(model_file=str(model))
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokenizer_luts.json").write_text(json.dumps(luts(sp)) + "\n")
    r = random.Random(1024)
    texts = TEXTS + [random_text(r) for _ in range(RANDOM_TEXTS)]
    marks, size = [0, 1, 2, 3], sp.vocab_size()
    sequences = [[r.choice(marks) if r.randrange(8) == 0 else r.randrange(4, 260) if r.randrange(3) == 0
                  else r.randrange(260, size) for _ in range(r.randrange(0, 20))] for _ in range(RANDOM_IDS)]
    spaces = [sp.piece_to_id(MARKER), sp.piece_to_id(MARKER + "the")]
    sequences += [[spaces[0]], [spaces[0], spaces[1]], [1, spaces[1]], [spaces[1], spaces[0]], [0x41 + 4, spaces[1]]]
    result = {
        "encode": [{"text": t, "normalized": normalizer.normalize(t), "ids": sp.encode(t)} for t in texts],
        "decode": [{"ids": ids, "text": sp.decode(ids)} for ids in sequences],
    }
    (out / "tokenizer_encodings.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "fixtures/smoke/tokenizer.model"),
         Path(sys.argv[2] if len(sys.argv) > 2 else "fixtures/reference"))
