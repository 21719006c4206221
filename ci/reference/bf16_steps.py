"""Adds a run under bfloat16 autocast to each of the 30-step runs, as the challenge's runs compute.

Usage: python ci/reference/bf16_steps.py fixtures/reference      (after training.py; PyTorch 2.x, safetensors)

Weights and moments are in single precision; what the network sees of them is rounded as in `bf16.py`, Newton-Schulz
is in bfloat16.
"""

import json
import pathlib
import sys

import torch

import training
from manifest import write_json


def main(folder):
    torch.set_num_threads(1)
    path = folder / "train_runs.json"
    reference = json.loads(path.read_text())
    stream, init = training.tokens(), training.initial()
    for name, run in reference["runs"].items():
        found, _, _ = training.run(init, stream, run["settings"], "autocast")
        for tag, other in run["variants"].items():
            distance = max(abs(a["train_loss"] - b["train_loss"]) for a, b in zip(found["steps"], other["steps"]))
            print(f"{name}: losses up to {distance:.2e} from {tag}")
        run["variants"]["autocast"] = found
    write_json(path, reference)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
