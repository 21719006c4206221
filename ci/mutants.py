#!/usr/bin/env python3
"""Mutation testing: of code that is changed on purpose, does a test notice?

    cargo install cargo-mutants --locked        once; only its list of mutants is used
    ci/mutants.py                               160 viable mutants, sampled with seed 1
    ci/mutants.py --seed 2 --sample 400         more of them, others
    ci/mutants.py --only 'src/stats/.*Board'    those whose names match, sampled as well
    ci/mutants.py --missed                      once more what the last run missed, after mending

A mutant is the code with one operator or one function body replaced. It is unviable if it does not compile, caught if a
test fails or hangs, and missed otherwise: an assertion is lacking, or the mutant is equivalent, which means that no
caller can tell it from the original. Equivalent ones are listed with the reason in ci/mutants-equivalent.txt and not
tested. The last line gives the share of viable mutants that survived; the exit status is 1 above 5 %.

Everything happens in a copy below target/mutants/, without the engines. The library's tests that stand near the mutant
(NEAR) run first, all tests only if those pass: about 10 s for a caught mutant and a minute for a missed one on two
cores. Outcomes are in target/mutants/results.jsonl, one a line.
"""
import argparse
import collections
import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target/mutants"
TREE, RESULTS = WORK / "tree", WORK / "results.jsonl"
EQUIVALENT = ROOT / "ci/mutants-equivalent.txt"

# What is mutated, and the beginnings of the names of the tests near it.
NEAR = {
    "src/quant/*.rs": ["quant::"],
    "src/artifact/quantize.rs": ["artifact::quantize::"],
    "src/artifact/container/*.rs": ["artifact::container::"],
    "src/eval/exact_sum.rs": ["eval::"],
    "src/stats/*.rs": ["stats::"],
    "src/rules/folder/*.rs": ["rules::"],
    "src/submission/log/*.rs": ["submission::"],
}
# Tests that take long and see nothing of what is mutated.
SKIP_FAR = ["--skip=data::", "--skip=model::", "--skip=tokenizer::"]
SURVIVING_SHARE = 0.05
BUILD = ["--profile", "quick", "--no-default-features"]
TIMEOUT_S = 600


def mirror() -> None:
    """Brings the copy of the working tree up to date; files that are equal keep their times."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for old in TREE.rglob("*") if TREE.exists() else []:
        if old.is_file() and str(old.relative_to(TREE)) not in names:
            old.unlink()
    for name in names:
        source, copy = ROOT / name, TREE / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            shutil.copymode(source, copy)


def mutants() -> list[dict]:
    """All mutants with `key`, a name without line numbers: alike ones in one function are counted through."""
    command = ["cargo", "mutants", "--list", "--json", "--dir", str(TREE)]
    for pattern in NEAR:
        if not list(TREE.glob(pattern)):
            sys.exit(f"NEAR names {pattern}, which matches no file")
        command += ["--file", pattern]
    seen = collections.Counter()
    found = json.loads(subprocess.check_output(command, text=True))
    for mutant in found:
        name = re.sub(r":\d+:\d+:", ":", mutant["name"], count=1)
        seen[name] += 1
        mutant["key"] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return found


def mutated(text: str, mutant: dict) -> str:
    """The file with one span replaced; lines and columns count from 1, columns in characters."""
    lines = text.split("\n")
    start, end = mutant["span"]["start"], mutant["span"]["end"]
    before = "\n".join(lines[: start["line"] - 1] + [lines[start["line"] - 1][: start["column"] - 1]])
    after = "\n".join([lines[end["line"] - 1][end["column"] - 1 :]] + lines[end["line"] :])
    return before + mutant["replacement"] + after


def cargo(*arguments: str) -> str:
    """`passed`, `failed` or `timeout` of a cargo command in the copy."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GOLF_")},
        "CARGO_TARGET_DIR": str(WORK / "build"),
        "INSTA_UPDATE": "no",
        "INSTA_FORCE_PASS": "0",
        "RUSTFLAGS": "--cap-lints=allow",
        # Random tests draw the same every time, and leave no files behind that would then catch other mutants.
        "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "true",
        "PROPTEST_RNG_SEED": "0",
    }
    with open(WORK / "last.log", "w") as log:
        child = subprocess.Popen(
            ["cargo", *arguments], cwd=TREE, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            return "failed" if child.wait(TIMEOUT_S) else "passed"
        except subprocess.TimeoutExpired:
            return "timeout"
        finally:
            # Whoever interrupts this must not leave a build behind that holds the lock.
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def near(file: str) -> list[str]:
    return next(tests for pattern, tests in NEAR.items() if pathlib.PurePath(file).match(pattern))


def outcome(mutant: dict) -> str:
    """`unviable`, `caught`, `caught by all` (not by the tests near it), `timeout` or `missed`."""
    path = TREE / mutant["file"]
    original = path.read_bytes()
    try:
        path.write_text(mutated(original.decode(), mutant))
        if cargo("test", *BUILD, "--lib", "--no-run") != "passed":
            return "unviable"
        stages = [(["--lib", "--", *near(mutant["file"])], "caught"), (["--tests", "--", *SKIP_FAR], "caught by all")]
        for tests, word in stages:
            result = cargo("test", *BUILD, *tests)
            if result != "passed":
                return word if result == "failed" else result
        return "missed"
    finally:
        path.write_bytes(original)


def equivalent() -> set[str]:
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.exists() else []
    return {line for line in lines if line.startswith("src/")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--sample", type=int, default=160, help="number of viable mutants")
    parser.add_argument("--only", default="", help="regular expression that names must match")
    parser.add_argument("--missed", action="store_true", help="what the last run missed, and nothing else")
    parser.add_argument("--list", action="store_true", help="name the mutants in the order of the sample and stop")
    options = parser.parse_args()

    # A run in the background, too, ends in order: the file it changed is restored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    WORK.mkdir(parents=True, exist_ok=True)
    lock = open(WORK / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another run is at work here", file=sys.stderr)
        return 2
    mirror()
    every = mutants()
    known = equivalent()
    unknown = known - {mutant["key"] for mutant in every}
    if unknown:
        print("no such mutants, but listed as equivalent:", *sorted(unknown), sep="\n  ", file=sys.stderr)
        return 2
    chosen = [m for m in every if m["key"] not in known and re.search(options.only, m["key"])]
    random.Random(options.seed).shuffle(chosen)
    if options.missed:
        missed = [json.loads(line) for line in RESULTS.read_text().splitlines()]
        missed = {row["mutant"] for row in missed if row["outcome"] == "missed"}
        chosen = [mutant for mutant in chosen if mutant["key"] in missed]
    print(f"{len(every)} mutants, {len(known)} of them equivalent, {len(chosen)} to choose from", flush=True)
    if options.list:
        print(*(mutant["key"] for mutant in chosen), sep="\n")
        return 0
    if cargo("test", *BUILD, "--tests", "--", *SKIP_FAR) != "passed":
        print(f"the tests fail without any change: {WORK / 'last.log'}", file=sys.stderr)
        return 2

    count = collections.Counter()
    with open(RESULTS, "w") as results:
        for mutant in chosen:
            if sum(count.values()) - count["unviable"] == options.sample:
                break
            start = time.monotonic()
            result = outcome(mutant)
            count[result] += 1
            seconds = round(time.monotonic() - start, 1)
            row = {"mutant": mutant["key"], "outcome": result, "line": mutant["span"]["start"]["line"]}
            print(json.dumps({**row, "seconds": seconds}), file=results, flush=True)
            print(f"{result:13} {seconds:6.1f} s  {mutant['name']}", flush=True)
    viable = sum(count.values()) - count["unviable"]
    share = count["missed"] / max(viable, 1)
    print(
        f"{viable} viable: {count['caught']} caught near by, {count['caught by all']} by other tests, "
        f"{count['timeout']} by hanging, {count['missed']} missed; {count['unviable']} unviable; "
        f"{share:.1%} survive"
    )
    return int(share > SURVIVING_SHARE)


if __name__ == "__main__":
    sys.exit(main())
