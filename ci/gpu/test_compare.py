"""The contenders of `compare.py`, and what it says of their rates; nothing is measured."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import compare  # noqa: E402


class Contenders(unittest.TestCase):
    def test_only_and_without(self) -> None:
        everything = ["bf16", "f32", "compiled", "eager", "attention"]
        self.assertEqual(compare.contenders_of([], []), everything)
        self.assertEqual(compare.contenders_of([], ["f32", "eager"]), ["bf16", "compiled", "attention"])
        self.assertEqual(compare.contenders_of(["compiled", "bf16"], ["bf16"]), ["compiled"])
        with self.assertRaises(SystemExit) as raised:
            compare.contenders_of([], ["fp32"])
        self.assertIn("no contender is called fp32", str(raised.exception))

    def test_commands(self) -> None:
        torch = ["python", "pytorch.py"]
        self.assertEqual(compare.command_of("bf16", "scoring", "bench", torch),
                         ["bench", "gpu", "kernels", "scoring", "bf16", "json"])
        self.assertEqual(compare.command_of("f32", "training", "bench", torch), ["bench", "gpu", "kernels", "training", "json"])
        self.assertEqual(compare.command_of("eager", "training", "bench", torch), [*torch, "eager", "training"])

    def test_what_is_said(self) -> None:
        found = {
            "ceilings": {"device": "Card", "copy_gb_per_s": 3000.4, "bf16_tflops": 700.0, "f32_tflops": 50.0},
            "attention": {"flash": {"forward_ms": 0.5, "both_ms": 1.75}, "cudnn": {"refused": "not built"}},
            "tokens_per_s": {"scoring": {"bf16": 4e6, "compiled": 2e6}, "training": {"bf16": 1e6, "compiled": 2e6}},
            "scoring_s": 496.2, "step_ms": 786.4,
        }
        said = compare.text_of(found)
        self.assertIn("Card: copies 3000 GB/s", said)
        self.assertRegex(said, r"scoring  PyTorch compiled \(bf16\) +2000000 tokens/s   ours \(bf16\) is  2.000 x")
        self.assertRegex(said, r"training PyTorch compiled \(bf16\) .* is  0.500 x")
        self.assertRegex(said, r"flash +0.500 ms forward, 1.750 ms with backward")
        self.assertRegex(said, r"cudnn +not built")
        self.assertIn("stride 64: 496 s; a step of 786,432 tokens: 786 ms", said)
        # Without ours there is nothing to compare with.
        del found["scoring_s"], found["step_ms"]
        found["tokens_per_s"] = {task: {"eager": 1e6} for task in compare.TASKS}
        self.assertNotIn("ours", compare.text_of(found))


if __name__ == "__main__":
    unittest.main()
