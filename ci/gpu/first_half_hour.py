#!/usr/bin/env python3
"""The first half hour on a GPU, step by step: what is there, whether kernels are right, how fast they are.

Usage: ci/gpu/first_half_hour.py [--plan] [--for SECONDS] [--limit-total SECONDS] [--out FOLDER] [--resume FILE]
                                 [--only STEP,...] [--again STEP,...|all] [--python PYTHON] [--lib FOLDER]

Builds nothing and downloads nothing; first, on a machine with a toolchain:

    cargo build --locked --release && cargo test --locked --release --no-run && cargo bench --locked --bench engines --no-run

Each step has a time limit and ends as passed, failed, timed out or skipped, with the reason. FOLDER/state.json has them
all, written whole after every step; a log of each step lies beside it, and summary.txt for people. A later call goes
on where the last one ended: steps with a verdict are not repeated unless their command has changed or --again names
them; --resume begins with the state.json of another folder. A call with --for ends before so many seconds are over.

Exit codes: 0 every step passed or was skipped; 1 some failed or timed out; 2 there is no usable GPU, nothing else was
tried; 3 steps are left, call again.
"""
import argparse
import ctypes
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSED, FAILED, TIMED_OUT, SKIPPED = "passed", "failed", "timed out", "skipped"
ALL_DONE, SOME_FAILED, NO_GPU, STEPS_LEFT = 0, 1, 2, 3
# Seconds that a step which does not end when asked to may still take, and that writing the state takes.
GRACE = 5
# Oldest CUDA version of a driver, as libcuda gives it (src/engine/cuda/open.rs).
OLDEST_DRIVER = 13_000
# Hopper's own kernels are not used with this set.
NO_WGMMA = {"GOLF_HARNESS_WGMMA": "0"}
# A step whose machine went away twice is not tried again.
MOST_INTERRUPTIONS = 2


@dataclasses.dataclass(frozen=True)
class Step:
    """One command with its limit."""

    name: str
    # Most seconds it may take.
    limit: int
    command: list
    # What a failure points to.
    means: str = ""
    # Programs without which it is skipped: names on the path, or files.
    needs: tuple = ()
    # Without it nothing else can work.
    is_gate: bool = False
    # "json": the last line of the output is kept as the result. "tests": numbers of tests are, and none is a failure.
    reads: str = ""
    environment: dict = dataclasses.field(default_factory=dict)
    # What later steps are given besides, where this one fails: they leave out what it has found wrong.
    failed_without: dict = dataclasses.field(default_factory=dict)


def newest(folder: pathlib.Path, name: str) -> str:
    """The newest program of that name that cargo has built, or a path that is not there."""
    found = [path for path in folder.glob(f"{name}-*") if path.suffix == "" and os.access(path, os.X_OK)]
    return str(max(found, key=lambda path: path.stat().st_mtime, default=folder / f"{name}-NOT-BUILT"))


def plan(args) -> list:
    """The steps in their order."""
    release = args.target / "release"
    tests = newest(release / "deps", "golf_harness")
    bench = newest(release / "deps", "engines")
    program = str(release / "golf-harness")
    own, python = sys.executable, args.python
    compare = [python, str(ROOT / "ci/gpu/compare.py"), bench, "--rounds", "1", "--json"]

    def on_card(name, limit, *filters, means="", environment=None, wrap=(), failed_without=None):
        command = [*wrap, tests, *filters, "--include-ignored", "--skip", "nccl_", "--nocapture", "--test-threads=1"]
        needs = (tests, *wrap[:1])
        return Step(name, limit, command, means, needs, reads="tests", environment=environment or {},
                    failed_without=failed_without or {})

    def by_wgmma(name, limit, *filters, means):
        return on_card(f"wgmma: {name}", limit, *filters, environment={"GOLF_HARNESS_WGMMA": "1"}, failed_without=NO_WGMMA,
                       means=f"{means}; what follows runs without wgmma (a card before Hopper has none)")

    def timed(name, limit, *words, means="", environment=None):
        command = [bench, "gpu", "kernels", *words, "bf16", "json"]
        return Step(name, limit, command, means, (bench,), reads="json", environment=environment or {})

    library = [] if args.lib is None else ["--lib", str(args.lib)]
    sanitizer = ("compute-sanitizer", "--error-exitcode", "1", "--tool")
    return [
        Step("card", 20, [own, __file__, "--look", *library], reads="json", is_gate=True,
             means="no driver 580, no device, or a library of CUDA 13 that is not on LD_LIBRARY_PATH"),
        Step("doctor", 15, [program, "doctor", "--json"], needs=(program,), means="a library that the program misses"),
        Step("registers", 60, [own, str(ROOT / "ci/gpu/registers.py"), *library],
             means="a bfloat16 kernel keeps values in local memory, or one of wgmma is serialized: another NVRTC"),
        on_card("copies", 100, "operations::on_a_gpu::copies",
                means="'does not take': machine code or driver; 'Missing symbol': cudarc against the library"),
        on_card("operations", 80, "operations::on_a_gpu", "bounds::on_a_gpu", environment=NO_WGMMA,
                means="products alone: cuBLASLt's layout; last bits only: rounding of division, root or logarithm"),
        on_card("products", 45, "gemm_bf16::on_a_gpu", environment=NO_WGMMA,
                means="all layouts: fragments or waits for copies; only `any`: scalar path; only strips: reuse of stages"),
        on_card("attention", 45, "attention_bf16::on_a_gpu", "qkv::on_a_gpu", environment=NO_WGMMA,
                means="widths 64 and 128 but not 32: swizzle; only over 64 keys: stages; a moving error: a race"),
        by_wgmma("products", 40, "gemm_bf16::on_a_gpu", "gemm_bf16::on_a_hopper_gpu",
                 means="all: descriptors; only `nn`: the columns' offsets; a moving error: a fence between copies and products"),
        by_wgmma("attention", 40, "attention_bf16::on_a_gpu", "attention_bf16::on_a_hopper_gpu",
                 means="widths 40 to 64 alone are made by it; only over 64 keys: stages; a moving error: a fence"),
        by_wgmma("beside mma.sync", 40, "full_size::on_a_hopper_gpu::either_instruction_at_full_size",
                 means="full grids, or strips: small tests have neither; the log has times of both and of other tiles"),
        on_card("network", 90, "graph_runner::on_a_gpu", "tests::network::on_a_gpu", "optimizer::tests::kernels::on_a_gpu",
                "optimizer::tests::steps::on_a_gpu",
                means="graph_runner: recording or reuse of memory; likelihoods by neighbors: cuBLASLt's rows"),
        on_card("suspicion: split sums", 30, "full_size::on_a_gpu::sums_are_split_only_in_single_precision",
                means="cuBLASLt splits a sum whose parts it rounds to bfloat16"),
        on_card("suspicion: rows", 85, "full_size::on_a_gpu::windows_score_alike_wherever_they_lie",
                means="cuBLASLt sums a row by where it lies: make those products with the engine's own kernels"),
        on_card("suspicion: alignment", 30, "full_size::on_a_gpu::logits_come_in_aligned_pieces",
                means="a piece of the logits does not begin where cuBLASLt's algorithm needs it to"),
        on_card("suspicion: first algorithm", 40, "full_size::on_a_gpu::the_first_algorithm_is_timed_beside_others",
                means="the library's other algorithms could not be run; the log has their times"),
        on_card("full size: attention", 60, "full_size::on_a_gpu::attention_of_whole_rows",
                means="a fault of full grids, or of indices, that small tests miss"),
        on_card("full size: products", 40, "full_size::on_a_gpu::products_of_whole_groups",
                means="strips or wide tiles at their real sizes"),
        timed("bench: scoring", 60, "scoring", means="far over 17 ms a group of 65,536 tokens: profile first"),
        timed("bench: scoring, no wgmma", 50, "scoring", environment=NO_WGMMA,
              means="faster than with it: GOLF_HARNESS_WGMMA=0 is the better setting, and ncu says where the kernels wait"),
        timed("bench: scoring, no graphs", 50, "scoring", environment={"GOLF_HARNESS_GRAPHS": "0"},
              means="as fast as with graphs and `recorded` is 0 there: the driver refuses to record"),
        timed("bench: training", 90, "training", means="out of memory: the pool; far over 820 ms a step: profile first"),
        timed("bench: training, even ids", 50, "training", "skew=1",
              means="far faster than with ids as in text: gradients of the tables wait for the most frequent id"),
        *(timed(f"bench: groups of {tokens}", 40, "scoring", f"group={tokens}") for tokens in args.groups),
        Step("smoke", 75,
             [program, "reproduce", str(ROOT / "manifests/smoke.yaml"), "--device", "cuda", "--out", str(args.out / "smoke")],
             needs=(program,), means="training or scoring as a whole: the table says which number differs"),
        Step("peers", 210, [*compare, "--without", args.without], needs=(bench, "torch"), reads="json",
             means="PyTorch is faster: where, ncu says"),
        on_card("memcheck", 95, "gemm_bf16::on_a_gpu", "attention_bf16::on_a_gpu", wrap=(*sanitizer, "memcheck"),
                means="an access out of bounds"),
        on_card("racecheck", 100, "gemm_bf16::on_a_gpu", "attention_bf16::on_a_gpu", wrap=(*sanitizer, "racecheck"),
                means="a missing barrier that timing hid"),
        on_card("steps", 80, "steps::on_a_gpu::thirty", means="training as a whole, beside PyTorch's thirty steps"),
    ]


def look(library_folder) -> int:
    """Prints what driver, devices and libraries there are as one line of JSON; 0 where they can be used."""
    found, missing = {}, []

    def load(*names):
        for name in names:
            for path in ([str(library_folder / name)] if library_folder else []) + [name]:
                try:
                    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
                except OSError:
                    continue
        missing.append(f"no {names[0]}")
        return None

    if driver := load("libcuda.so.1", "libcuda.so"):
        version, count = ctypes.c_int(), ctypes.c_int()
        status = driver.cuInit(0)
        driver.cuDriverGetVersion(ctypes.byref(version))
        found["driver_cuda"] = version.value
        if status != 0:
            missing.append(f"the driver does not start: error {status}")
        elif driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
            missing.append("the driver finds no device")
        if version.value < OLDEST_DRIVER:
            missing.append(f"the driver is of CUDA {version.value / 1000:.1f}, and 13.0 is needed (driver 580)")
        found["devices"] = count.value
    if nvrtc := load("libnvrtc.so.13", "libnvrtc.so"):
        major, minor = ctypes.c_int(), ctypes.c_int()
        nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        found["nvrtc"] = f"{major.value}.{minor.value}"
    if cublaslt := load("libcublasLt.so.13", "libcublasLt.so"):
        cublaslt.cublasLtGetVersion.restype = ctypes.c_size_t
        found["cublaslt"] = cublaslt.cublasLtGetVersion()
    if shutil.which("nvidia-smi"):
        asked = "name,driver_version,memory.total,clocks.max.sm,pcie.link.gen.max"
        done = subprocess.run(["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=20)
        found["nvidia_smi"] = done.stdout.strip().splitlines()
    found["missing"] = missing
    print(json.dumps(found))
    return 1 if missing else 0


def write_whole(path: pathlib.Path, text: str):
    """By a temporary file, on disk before it takes the other's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_there(need: str) -> bool:
    if "/" in need:
        return pathlib.Path(need).exists()
    return shutil.which(need) is not None


def result_of(step: Step, output: str):
    """What the output says: the result, and why it is none."""
    if step.reads == "json":
        lines = [line for line in output.splitlines() if line.startswith("{")]
        try:
            return json.loads(lines[-1]), None
        except (IndexError, ValueError):
            return None, "its output ends in no line of JSON"
    if step.reads == "tests":
        counts = [tuple(map(int, found)) for found in re.findall(r"(\d+) passed; (\d+) failed", output)]
        passed, failed = (sum(count[i] for count in counts) for i in (0, 1))
        if "no GPU: skipped" in output:
            return {"tests": passed}, "no GPU was used"
        return {"tests": passed, "failed": failed}, None if passed + failed > 0 else "no test has that name"
    return None, None


def stop(process: subprocess.Popen):
    """Ends the step's own group of processes: asked first, then killed."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            pass
        try:
            process.wait(GRACE)
            return
        except subprocess.TimeoutExpired:
            continue


def run(step: Step, limit: float, log: pathlib.Path) -> dict:
    """Verdict, reason, seconds, exit code and result of a step that is run now."""
    begin = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as output:
        try:
            process = subprocess.Popen(step.command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       cwd=ROOT, env={**os.environ, **step.environment}, start_new_session=True)
        except OSError as error:
            return {"verdict": FAILED, "reason": f"does not start: {error}", "seconds": 0.0, "exit": None, "result": None}
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                stop(process)
    seconds = round(time.monotonic() - begin, 2)
    result, missing = result_of(step, log.read_text(errors="replace"))
    if code is None:
        verdict, reason = TIMED_OUT, f"over its limit of {limit:.0f} s"
    elif code != 0:
        verdict, reason = FAILED, f"exit {code}" if code >= 0 else f"signal {-code}"
    elif missing:
        verdict, reason = FAILED, missing
    else:
        verdict, reason = PASSED, ""
    return {"verdict": verdict, "reason": reason, "seconds": seconds, "exit": code, "result": result}


def read_state(*paths) -> dict:
    """The first state that is there; an empty one without."""
    for path in filter(None, paths):
        if path.exists():
            try:
                state = json.loads(path.read_text())
                if isinstance(state.get("steps"), dict) and isinstance(state.get("spent"), (int, float)):
                    return state
            except (ValueError, AttributeError):
                pass
            sys.exit(f"{path} is no state of this script; remove it, or name another --out")
    return {"spent": 0.0, "steps": {}}


def is_done(step: Step, known: dict) -> bool:
    return known.get("command") == step.command and known.get("verdict") in (PASSED, FAILED, TIMED_OUT, SKIPPED)


def summary(steps: list, state: dict) -> str:
    lines = []
    for step in steps:
        known = state["steps"].get(step.name, {})
        verdict = known.get("verdict", "left")
        tail = known.get("reason", "")
        if verdict in (FAILED, TIMED_OUT) and step.means:
            tail += f" -- {step.means}"
        result = known.get("result")
        if verdict == PASSED and result:
            tail = json.dumps(result)
        lines.append(f"{step.name:32} {verdict:10} {known.get('seconds', 0):7.1f} s  {tail}".rstrip())
    lines.append(f"{state['spent']:.0f} s in all")
    return "\n".join(lines) + "\n"


def text_of_plan(steps: list) -> str:
    lines = []
    for step in steps:
        settings = "".join(f"{name}={value} " for name, value in step.environment.items())
        lines.append(f"{step.name} (at most {step.limit} s)")
        lines.append(f"    {settings}{' '.join(map(str, step.command))}")
        lines += [f"    a failure: {step.means}"] if step.means else []
    lines.append(f"{len(steps)} steps, at most {sum(step.limit for step in steps)} s")
    return "\n".join(lines) + "\n"


def go(steps: list, args) -> int:
    """Runs what is left, as far as time allows."""
    begin = time.monotonic()
    path = args.out / "state.json"
    state = read_state(path, args.resume)
    known = state["steps"]
    for name in list(known):
        if "all" in args.again or name in args.again:
            del known[name]

    def save():
        write_whole(path, json.dumps(state, indent=1) + "\n")
        write_whole(args.out / "summary.txt", summary(steps, state))

    def record(step, found):
        known[step.name] = {"command": step.command, "limit": step.limit, **found}
        save()
        reason = f" ({found['reason']})" if found["reason"] else ""
        print(f"{step.name}: {found['verdict']}{reason}, {found['seconds']:.1f} s", flush=True)

    def skip(step, reason):
        record(step, {"verdict": SKIPPED, "reason": reason, "seconds": 0.0, "exit": None, "result": None})

    has_run, without = False, {}
    for step in steps:
        step = dataclasses.replace(step, environment={**without, **step.environment})
        before = known.get(step.name, {})
        if before.get("verdict") in (FAILED, TIMED_OUT):
            without = {**without, **step.failed_without}
        if is_done(step, before) and not (step.is_gate and before["verdict"] != PASSED):
            continue
        missing = [need for need in step.needs if need != "torch" and not is_there(need)]
        if "torch" in step.needs and not has_torch(args.python):
            missing.append(f"PyTorch in {args.python}")
        if missing:
            skip(step, f"not here: {', '.join(missing)}")
            continue
        interruptions = before.get("interruptions", 0) + (before.get("verdict") == "running")
        if interruptions >= MOST_INTERRUPTIONS:
            reason = f"the machine or this script ended {interruptions} times during it"
            record(step, {"verdict": FAILED, "reason": reason, "seconds": 0.0, "exit": None, "result": None})
            continue
        left_now = float("inf") if args.for_seconds is None else args.for_seconds - GRACE - (time.monotonic() - begin)
        left_in_all = float("inf") if args.limit_total is None else args.limit_total - state["spent"]
        # A call too short for a step gives it all its time; otherwise the next call does.
        is_too_long = step.limit > left_in_all or (step.limit > left_now and (has_run or left_now <= 0))
        if is_too_long:
            left = max(0.0, min(left_now, left_in_all))
            print(f"stopped before {step.name}: {left:.0f} s are left and it may take {step.limit} s")
            break
        limit = min(step.limit, left_now)
        known[step.name] = {"command": step.command, "verdict": "running", "interruptions": interruptions}
        save()
        found = run(step, limit, args.out / f"{re.sub(r'[^a-z0-9]+', '-', step.name)}.log")
        state["spent"] = round(state["spent"] + found["seconds"], 2)
        has_run = True
        record(step, found)
        if found["verdict"] in (FAILED, TIMED_OUT):
            without = {**without, **step.failed_without}
        if step.is_gate and found["verdict"] != PASSED:
            reasons = (found["result"] or {}).get("missing") or [found["reason"]]
            print(f"no usable GPU: {'; '.join(reasons)}. Nothing else was tried.")
            return NO_GPU
    save()
    verdicts = [known.get(step.name, {}).get("verdict") for step in steps]
    print(summary(steps, state), end="")
    if any(verdict in (None, "running") for verdict in verdicts):
        return STEPS_LEFT
    return SOME_FAILED if FAILED in verdicts or TIMED_OUT in verdicts else ALL_DONE


def has_torch(python: str) -> bool:
    try:
        done = subprocess.run([python, "-c", "import importlib.util, sys; sys.exit(not importlib.util.find_spec('torch'))"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return done.returncode == 0


def names(text: str) -> list:
    return [name for name in text.split(",") if name]


def main(arguments=None, steps=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", action="store_true", help="print the steps, run nothing")
    parser.add_argument("--for", dest="for_seconds", type=float, help="end before so many seconds are over")
    parser.add_argument("--limit-total", type=float, help="most seconds of all calls together")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "runs/gpu", help="folder of state and logs")
    parser.add_argument("--resume", type=pathlib.Path, help="a state.json to begin with, where --out has none")
    parser.add_argument("--only", type=names, default=[], help="steps by name, separated by commas")
    parser.add_argument("--again", type=names, default=[], help="steps to repeat, or all")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with PyTorch")
    parser.add_argument("--lib", type=pathlib.Path, help="folder of libnvrtc.so.13 and libcublasLt.so.13")
    parser.add_argument("--target", type=pathlib.Path, default=ROOT / "target", help="cargo's target folder")
    parser.add_argument("--groups", type=names, default=["16384", "32768"], help="sizes of groups to try, in tokens")
    parser.add_argument("--without", default="f32,eager", help="contenders that compare.py leaves out")
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.look:
        return look(args.lib)
    args.out = args.out.resolve()
    if args.lib is not None:
        args.lib = args.lib.resolve()
        os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(args.lib), os.environ.get("LD_LIBRARY_PATH")]))
    steps = plan(args) if steps is None else steps
    unknown = [name for name in [*args.only, *args.again] if name != "all" and name not in {step.name for step in steps}]
    if unknown:
        parser.error(f"no step is called {', '.join(unknown)}; --plan lists them")
    if args.only:
        steps = [step for step in steps if step.is_gate or step.name in args.only]
    if args.plan:
        print(text_of_plan(steps), end="")
        return ALL_DONE
    return go(steps, args)


if __name__ == "__main__":
    sys.exit(main())
