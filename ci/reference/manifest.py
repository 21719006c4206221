"""MANIFEST.json of the reference folder: one entry a file, merged so that each script owns its own."""

import json
from pathlib import Path


def write_json(path, value):
    Path(path).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def merge(folder, entries):
    """Adds or replaces the entries of some files."""
    path = Path(folder) / "MANIFEST.json"
    manifest = json.loads(path.read_text()) if path.exists() else {"files": {}}
    manifest["files"].update(entries)
    write_json(path, manifest)
