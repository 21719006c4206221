#!/usr/bin/env python3
"""How far `verify` agrees with labels of real submissions, rule by rule.

Usage: ci/corpus_agreement.py CORPUS [--verify PATH] [--disagreements] [--rule ID]

CORPUS holds `labels.jsonl` (one submission a line: `dir`, `folder`, `findings`) and the folders it names. Every folder
is laid out at its path in the challenge's repository below a temporary folder, with files that the corpus leaves out
(tokenizers, artifacts; listed in `files.tsv`) as empty stand-ins, and the whole is checked in one run.

Labels shown to be wrong by reading the folder stand in `ci/corpus_labels_disputed.tsv`: `missing` is a label that is none,
`unlabeled` a finding that lacks its label. Neither counts, their number is printed.

Recall: of the labels of high confidence that can be decided from the folder, how many `verify` finds.
Precision: of the findings of `verify` under a labeled rule, how many carry a label of any confidence; once for all such
rules, once for those that have labels of high confidence (the others are hints by their makers' own word).
"""
import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def lay_out(corpus: pathlib.Path, root: pathlib.Path, label: dict) -> pathlib.Path:
    """Copies one folder to ROOT/pr-N/<path in the repository>."""
    clone = root / label["dir"].split("/")[0]
    (clone / ".git").mkdir(parents=True, exist_ok=True)
    (clone / "records").mkdir(exist_ok=True)
    place = clone / label["folder"]
    shutil.copytree(corpus / label["dir"], place, ignore=shutil.ignore_patterns("files.tsv"), dirs_exist_ok=True)
    listing = corpus / label["dir"] / "files.tsv"
    for line in listing.read_text(errors="replace").splitlines()[1:]:
        path = place / line.split("\t")[0]
        if path.exists() or not path.resolve().is_relative_to(place.resolve()):
            continue
        # A log that the corpus leaves out was not empty.
        if path.suffix in (".log", ".txt", ".out") and line.split("\t")[1] != "0":
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return place


def disputed_labels() -> dict[tuple[str, str], str]:
    """Folder and finding, and whether the label is wrong (`missing` from our findings) or lacking (`unlabeled`)."""
    rows = pathlib.Path(__file__).with_name("corpus_labels_disputed.tsv").read_text().splitlines()
    cells = [row.split("\t") for row in rows if row and not row.startswith("#")]
    return {(folder, finding): what for folder, finding, what, _reason in cells}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--verify", default="target/release/verify", help="the binary")
    parser.add_argument("--disagreements", action="store_true", help="list every one, with the evidence of both sides")
    parser.add_argument("--rule", help="look at this rule only")
    parser.add_argument("--write", action="store_true", help="write the counts that docs/rules.md shows")
    args = parser.parse_args()

    labels = [json.loads(line) for line in (args.corpus / "labels.jsonl").read_text().splitlines()]
    ours = collections.defaultdict(dict)
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        places = {}
        for label in labels:
            places[str(lay_out(args.corpus, root, label))] = label["dir"]
        command = [args.verify, *places, "--format", "jsonl", "--fail-on", "unknown"]
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
        if run.returncode not in (0, 1):
            sys.exit(run.stderr)
        for line in run.stdout.splitlines():
            finding = json.loads(line)
            if finding["severity"] != "unknown":
                ours[places[finding["path"]]].setdefault(finding["rule"], finding)

    disputed = disputed_labels()
    used = set()
    rules = collections.defaultdict(collections.Counter)
    wrong = []
    for label in labels:
        labeled = collections.defaultdict(list)
        for finding in label["findings"]:
            labeled[finding["finding"]].append(finding)
        found = ours[label["dir"]]
        for name, findings in labeled.items():
            if disputed.get((label["dir"], name)) == "missing" and name not in found:
                used.add((label["dir"], name))
                continue
            decidable = [f for f in findings if f["decidable_here"]]
            for finding in decidable:
                strength = finding["confidence"]
                rules[name][strength] += 1
                rules[name][f"{strength} found"] += name in found
                if strength != "low" and name not in found:
                    wrong.append((name, "missed", label["dir"], strength, finding))
        for name, finding in found.items():
            if disputed.get((label["dir"], name)) == "unlabeled" and name not in labeled:
                used.add((label["dir"], name))
                continue
            rules[name]["ours"] += 1
            rules[name]["confirmed"] += name in labeled
            if name not in labeled:
                wrong.append((name, "extra", label["dir"], finding["severity"], finding))

    known = {f["finding"] for label in labels for f in label["findings"]}
    # Rules whose labels need more than the folder are no measure of precision either.
    decidable = {f["finding"] for label in labels for f in label["findings"] if f["decidable_here"]}
    names = sorted(n for n in rules if args.rule in (None, n))
    print(f"{'rule':44} {'high':>11} {'medium':>11} {'low':>9} {'ours':>5} {'confirmed':>9}")
    total = collections.Counter()
    same_kind = collections.Counter()
    for name in names:
        c = rules[name]
        if name not in known:
            continue
        cells = [f"{c[s + ' found']}/{c[s]}" if c[s] else "-" for s in ("high", "medium", "low")]
        print(f"{name:44} {cells[0]:>11} {cells[1]:>11} {cells[2]:>9} {c['ours']:>5} {c['confirmed']:>9}")
        if name in decidable:
            total.update(c)
        if c["high"]:
            same_kind.update(c)
    unlabeled = [f"{n} ({rules[n]['ours']})" for n in names if n not in known and rules[n]["ours"]]
    print("without labels:", ", ".join(unlabeled) or "none")
    for what, got, of in (("high-confidence labels found", "high found", "high"),
                          ("medium-confidence labels found", "medium found", "medium"),
                          ("our findings confirmed", "confirmed", "ours")):
        if total[of]:
            print(f"{what}: {total[got]} of {total[of]} ({100 * total[got] / total[of]:.2f} %)")
    if same_kind["ours"]:
        share = 100 * same_kind["confirmed"] / same_kind["ours"]
        print(f"our findings confirmed, rules with high-confidence labels: "
              f"{same_kind['confirmed']} of {same_kind['ours']} ({share:.2f} %)")
    print(f"disputed labels left out: {len(used)}")
    for folder, finding in sorted(set(disputed) - used):
        print(f"disputed, but both sides agree: {folder} {finding}")
    if args.write:
        table = pathlib.Path(__file__).parent.parent / "src/rules/corpus_agreement.tsv"
        # Rules that verify has; labels that need more than the folder are no measure.
        ids = {line.split("\t")[0] for line in table.with_name("false_alarms.tsv").read_text().splitlines()}
        rows = [(n, c["high"], c["high found"], c["ours"], c["confirmed"])
                for n, c in sorted(rules.items()) if n in known and n in ids and (c["high"] or c["ours"])]
        table.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    if args.disagreements:
        for name, kind, folder, strength, finding in sorted(wrong, key=lambda w: (w[0], w[1], w[2])):
            if args.rule in (None, name) and name in known:
                text = finding.get("message") or {k: v for k, v in finding.items() if k not in ("finding", "decidable_here")}
                print(f"{name} | {kind} | {folder[:60]} | {strength} | {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
