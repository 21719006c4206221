"""Trains, packs and scores the recipe in manifest.yaml with golf-harness.

The program must be installed. DATA_PATH and TOKENIZER_PATH name the shards and the tokenizer, --out the run folder.
"""

import os
import subprocess
import sys

RECIPE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "manifest.yaml")

if __name__ == "__main__":
    sys.exit(subprocess.call(["reproduce", RECIPE] + sys.argv[1:]))
