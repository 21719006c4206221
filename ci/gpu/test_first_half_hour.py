"""`first_half_hour.py` with commands that pass, fail and hang; no GPU is needed."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "first_half_hour.py"

sys.path.insert(0, str(HERE))
import first_half_hour as runner  # noqa: E402


def step(name: str, code: str, limit: int = 20, **more) -> "runner.Step":
    return runner.Step(name, limit, [sys.executable, "-c", code], **more)


class Runs(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name) / "out"
        self.counts = Path(folder.name) / "counts"
        self.counts.mkdir()

    def call(self, steps, *arguments: str):
        """Exit code and output of a call."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = runner.main(["--out", str(self.out), *arguments], steps)
        return code, printed.getvalue()

    def state(self) -> dict:
        return json.loads((self.out / "state.json").read_text())

    def verdicts(self) -> dict:
        return {name: known["verdict"] for name, known in self.state()["steps"].items()}

    def counting(self, name: str, **more):
        """A step that leaves a trace of every time it is run."""
        return step(name, f"open({str(self.counts / name)!r}, 'a').write('x')", **more)

    def times(self, name: str) -> int:
        path = self.counts / name
        return len(path.read_text()) if path.exists() else 0

    def test_verdicts(self) -> None:
        steps = [
            step("good", "print('{\"rate\": 3}')", reads="json"),
            step("bad", "import sys; print('why'); sys.exit(4)", means="the card"),
            step("slow", "import time; time.sleep(60)", limit=1),
            step("absent", "", needs=("no-such-program-anywhere",)),
            step("silent", "print('no JSON')", reads="json"),
            runner.Step("missing", 5, ["/no/such/program"]),
        ]
        code, printed = self.call(steps)
        self.assertEqual(code, runner.SOME_FAILED)
        self.assertEqual(self.verdicts(), {"good": "passed", "bad": "failed", "slow": "timed out", "absent": "skipped",
                                           "silent": "failed", "missing": "failed"})
        known = self.state()["steps"]
        self.assertEqual(known["good"]["result"], {"rate": 3})
        self.assertEqual((known["bad"]["exit"], known["bad"]["reason"]), (4, "exit 4"))
        self.assertIn("no-such-program-anywhere", known["absent"]["reason"])
        self.assertEqual((self.out / "bad.log").read_text(), "why\n")
        self.assertIn("exit 4 -- the card", printed)
        self.assertEqual((self.out / "summary.txt").read_text(), printed[-len((self.out / "summary.txt").read_text()):])

    def test_tests_must_have_run(self) -> None:
        said = "test result: ok. {} passed; {} failed; 0 ignored"
        steps = [
            step("some", f"print({said.format(3, 0)!r})", reads="tests"),
            step("none", f"print({said.format(0, 0)!r})", reads="tests"),
            step("elsewhere", f"print('no GPU: skipped'); print({said.format(2, 0)!r})", reads="tests"),
        ]
        self.assertEqual(self.call(steps)[0], runner.SOME_FAILED)
        self.assertEqual(self.verdicts(), {"some": "passed", "none": "failed", "elsewhere": "failed"})
        self.assertEqual(self.state()["steps"]["some"]["result"], {"tests": 3, "failed": 0})

    def test_what_a_step_finds_wrong_is_left_out_of_later_ones(self) -> None:
        says = "import json, os; print(json.dumps({'set': os.environ.get('FAST_WAY')}))"
        other = step("other", "raise SystemExit(1)", failed_without={"OTHER_WAY": "0"})
        for code, expected in (("raise SystemExit(1)", "0"), ("", None)):
            steps = [step("before", says, reads="json"), step("fast", code, failed_without={"FAST_WAY": "0"}), other,
                     step("after", says, reads="json"), step("own", says, reads="json", environment={"FAST_WAY": "1"})]
            self.call(steps, "--again", "all")
            known = self.state()["steps"]
            self.assertEqual([known[name]["result"]["set"] for name in ("before", "after", "own")], [None, expected, "1"])
            # A later call leaves it out, too.
            self.call(steps, "--again", "after")
            self.assertEqual(self.state()["steps"]["after"]["result"]["set"], expected)

    def test_all_good_is_exit_0(self) -> None:
        self.assertEqual(self.call([step("one", ""), step("two", "")])[0], runner.ALL_DONE)

    def test_done_steps_are_not_repeated(self) -> None:
        steps = [self.counting("one"), self.counting("two")]
        for _ in range(2):
            self.assertEqual(self.call(steps)[0], runner.ALL_DONE)
        self.assertEqual((self.times("one"), self.times("two")), (1, 1))
        self.call(steps, "--again", "two")
        self.assertEqual((self.times("one"), self.times("two")), (1, 2))
        self.call(steps, "--again", "all")
        self.assertEqual((self.times("one"), self.times("two")), (2, 3))
        # Another command of that name is another step.
        self.call([step("one", "raise SystemExit(1)"), steps[1]])
        self.assertEqual(self.verdicts(), {"one": "failed", "two": "passed"})
        self.assertEqual(self.times("two"), 3)

    def test_a_call_ends_in_time_and_the_next_goes_on(self) -> None:
        steps = [self.counting("one", limit=8), self.counting("two", limit=300), self.counting("three", limit=8)]
        code, printed = self.call(steps, "--for", "20")
        self.assertEqual(code, runner.STEPS_LEFT)
        self.assertIn("stopped before two", printed)
        self.assertEqual(self.verdicts(), {"one": "passed"})
        # A step longer than any such call gets a call of its own.
        self.assertEqual(self.call(steps, "--for", "20")[0], runner.ALL_DONE)
        self.assertEqual([self.times(name) for name in ("one", "two", "three")], [1, 1, 1])

    def test_a_short_call_cuts_a_hanging_step(self) -> None:
        begin = time.monotonic()
        code, _ = self.call([step("slow", "import time; time.sleep(60)", limit=300)], "--for", str(runner.GRACE + 1))
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual((code, self.verdicts()), (runner.SOME_FAILED, {"slow": "timed out"}))

    def test_the_limit_of_all_calls_holds(self) -> None:
        steps = [self.counting("one", limit=5), self.counting("two", limit=50)]
        for _ in range(2):
            self.assertEqual(self.call(steps, "--limit-total", "20")[0], runner.STEPS_LEFT)
        self.assertEqual((self.times("one"), self.times("two")), (1, 0))

    def test_a_hanging_child_is_ended_with_its_parent(self) -> None:
        mark = self.counts / "child"
        child = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
        self.call([step("parent", code, limit=3)])
        self.assertEqual(self.verdicts(), {"parent": "timed out"})
        status = Path("/proc") / mark.read_text() / "stat"
        # Gone, or waiting for an init that collects it.
        self.assertTrue(not status.exists() or " Z " in status.read_text())

    def test_an_interrupted_step_is_tried_once_more(self) -> None:
        steps = [self.counting("one")]
        running = {"command": steps[0].command, "verdict": "running", "interruptions": 0}
        self.out.mkdir()
        (self.out / "state.json").write_text(json.dumps({"spent": 1.0, "steps": {"one": running}}))
        self.assertEqual(self.call(steps)[0], runner.ALL_DONE)
        running["interruptions"] = 1
        (self.out / "state.json").write_text(json.dumps({"spent": 1.0, "steps": {"one": running}}))
        self.assertEqual(self.call(steps)[0], runner.SOME_FAILED)
        self.assertEqual(self.times("one"), 1)

    def test_a_state_from_elsewhere_is_gone_on_with(self) -> None:
        steps = [self.counting("one"), self.counting("two")]
        self.call(steps, "--only", "one")
        earlier, self.out = self.out / "state.json", self.out.parent / "other"
        self.assertEqual(self.call(steps, "--resume", str(earlier))[0], runner.ALL_DONE)
        self.assertEqual((self.times("one"), self.times("two")), (1, 1))

    def test_a_state_that_is_none_is_refused(self) -> None:
        self.out.mkdir()
        for text in ("", "[]", '{"steps": []}', "\x00"):
            (self.out / "state.json").write_text(text)
            with self.assertRaises(SystemExit) as raised:
                self.call([step("one", "")])
            self.assertIn("no state of this script", str(raised.exception))

    def test_a_gate_that_fails_ends_everything_and_is_tried_again(self) -> None:
        gate = step("gate", "print('{\"missing\": [\"no driver\"]}'); raise SystemExit(1)", reads="json", is_gate=True)
        for _ in range(2):
            code, printed = self.call([gate, self.counting("rest")])
            self.assertEqual(code, runner.NO_GPU)
            self.assertIn("no usable GPU: no driver", printed)
        self.assertEqual(self.times("rest"), 0)
        self.assertEqual(self.call([step("gate", "", is_gate=True), self.counting("rest")])[0], runner.ALL_DONE)


class Itself(unittest.TestCase):
    def run_script(self, *arguments: str):
        environment = {**os.environ, "LD_LIBRARY_PATH": "", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run([sys.executable, SCRIPT, *arguments], stdout=subprocess.PIPE, text=True, check=False,
                              env=environment)

    def test_the_plan_fits_half_an_hour_and_calls_of_ten_minutes(self) -> None:
        done = self.run_script("--plan")
        self.assertEqual(done.returncode, 0)
        total = int(done.stdout.rsplit("at most ", 1)[1].split()[0])
        self.assertLessEqual(total, 1800)
        limits = [int(line.rsplit("(at most ", 1)[1].split()[0]) for line in done.stdout.splitlines() if "(at most " in line]
        self.assertEqual(sum(limits), total)
        self.assertLess(max(limits), 600 - runner.GRACE)
        self.assertIn("NOT-BUILT", self.run_script("--plan", "--target", "/nowhere").stdout)

    def test_every_test_it_names_is_there(self) -> None:
        """By the source: a filter that matches nothing would be found out on the card only."""
        source = "".join(path.read_text() for path in (SCRIPT.parents[2] / "src/engine/cuda").rglob("*.rs"))
        for word in self.run_script("--plan").stdout.split():
            if "::on_a_gpu::" in word or "::on_a_hopper_gpu::" in word:
                name = word.rsplit("::", 1)[1]
                self.assertTrue(f"fn {name}" in source, word)

    def test_without_a_gpu_the_first_step_is_the_last(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_script("--out", folder)
            self.assertEqual(done.returncode, runner.NO_GPU)
            self.assertIn("no usable GPU: ", done.stdout)
            self.assertEqual(list(json.loads((Path(folder) / "state.json").read_text())["steps"]), ["card"])

    def test_steps_are_named_rightly(self) -> None:
        self.assertEqual(self.run_script("--only", "no-such-step").returncode, 2)


if __name__ == "__main__":
    unittest.main()
