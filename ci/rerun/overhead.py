#!/usr/bin/env python3
"""What supervision costs: a script that computes for about a millisecond, prints a line, and does so again.

    ci/rerun/overhead.py target/release/rerun [LINES] [ROUNDS]

Runs it by itself, its output going to a file, and under `rerun` in its sandbox, in turn. Prints the shortest wall-clock
time of each, their ratio, and the most memory that the supervisor's own process had.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = """\
import os, time
lines, work = int(os.environ["LINES"]), int(os.environ["WORK"])
print("step:0/1 train_loss:3.0000 train_time:0ms step_avg:0.00ms", flush=True)
begun = time.perf_counter()
for line in range(lines):
    x = 0
    for i in range(work):
        x += i * i
    print(f"line {line}: {x}", flush=True)
spent = time.perf_counter() - begun
print(f"step:1/1 train_loss:2.0000 train_time:{1000 * spent:.0f}ms step_avg:1.00ms")
print(f"spent:{spent:.4f}")
print("final val_loss:2.0 val_bpb:1.2")
"""


def calibrated():
    """Rounds of the inner loop that take a millisecond, by the fastest of some tries."""
    code = "import time\nb=time.perf_counter()\nx=0\nfor i in range(1000000):\n    x += i*i\nprint(time.perf_counter()-b)"
    seconds = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5))
    return max(1, int(1000000 * 0.001 / seconds))


def spent(text):
    """Seconds that the script itself says its loop took."""
    return float(next(line for line in text.splitlines() if line.startswith("spent:"))[6:])


def peak_memory(process):
    """The most memory of a process, KiB, until it ends."""
    most = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                most = max(most, int(line.split()[1]))
        time.sleep(0.05)
    return most


def main():
    rerun = os.path.abspath(sys.argv[1])
    lines = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    variables = {"LINES": str(lines), "WORK": str(calibrated())}
    bare, supervised, memory = [], [], []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "submission")
        folder.mkdir()
        (folder / "train_gpt.py").write_text(SCRIPT)
        (folder / "README.md").write_text("```bash\npython3 train_gpt.py\n```\n")
        for number in range(rounds):
            log = Path(root, "bare.log")
            with open(log, "w") as file:
                subprocess.run([sys.executable, folder / "train_gpt.py"], stdout=file, env={**os.environ, **variables}, check=True)
            bare.append(spent(log.read_text()))
            out = Path(root, f"out{number}")
            command = [rerun, str(folder), "--seeds", "1", "-q", "--out", str(out), "--python", sys.executable]
            command += [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            memory.append(peak_memory(process))
            process.wait()
            supervised.append(spent((out / "seed-1/output.log").read_text()))
            record = json.loads((out / "seed-1/record.json").read_text())
            assert record["log"]["lines"] == lines + 4, record["log"]
    print(f"{lines} lines, {lines / min(bare):.0f} a second, {rounds} rounds")
    print(f"alone        {min(bare):8.3f} s (median {statistics.median(bare):.3f})")
    print(f"supervised   {min(supervised):8.3f} s (median {statistics.median(supervised):.3f})")
    print(f"ratio        {min(supervised) / min(bare):8.4f}")
    print(f"supervisor   {max(memory) / 1024:8.1f} MiB at most")


main()
