"""The module against the program that is installed with it, on the folders in fixtures/submissions."""

import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import golf_harness
from golf_harness import GolfHarnessError, Level, ProgramNotFound, Severity, Status, _program

SUBMISSIONS = Path(__file__).resolve().parents[2] / "fixtures" / "submissions"


def exit_code(*arguments: str) -> int:
    """What the program itself answers: the judge of what the module makes of it."""
    command = [golf_harness.find_program(), "verify", "--quiet", *arguments]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


class Verdicts(unittest.TestCase):
    def test_a_good_folder_passes_and_is_documented(self) -> None:
        report = golf_harness.verify(SUBMISSIONS / "good")
        self.assertTrue(report.passed())
        self.assertIs(report.assurance.level, Level.DOCUMENTED)
        self.assertIs(report.status, Status.COMPLETE)
        readme = next(file for file in report.files if file.path == "README.md")
        self.assertEqual(readme.bytes, (SUBMISSIONS / "good" / "README.md").stat().st_size)

    def test_a_wrong_denominator_is_found_with_its_line(self) -> None:
        report = golf_harness.verify(str(SUBMISSIONS / "wrong-denominator"))
        self.assertFalse(report.passed())
        fails = [finding for finding in report.findings if finding.severity is Severity.FAIL]
        self.assertEqual([finding.rule for finding in fails], ["implied_val_bytes_wrong"])
        self.assertEqual((fails[0].evidence[0].path, fails[0].evidence[0].line), ("train_seed1337.log", 16))
        self.assertIn("implied_val_bytes_wrong", str(report))

    def test_passed_says_what_the_exit_code_says(self) -> None:
        for folder in sorted(SUBMISSIONS.iterdir()):
            report = golf_harness.verify(folder)
            for severity in (Severity.FAIL, Severity.WARNING, Severity.REVIEW, Severity.UNKNOWN):
                code = exit_code(str(folder), f"--fail-on={severity.value}")
                with self.subTest(folder=folder.name, severity=severity):
                    self.assertEqual(report.passed(severity), code == 0, code)

    def test_an_allowed_rule_is_a_note(self) -> None:
        report = golf_harness.verify(SUBMISSIONS / "wrong-denominator", allow=["implied_val_bytes_wrong"])
        self.assertTrue(report.passed())
        finding = next(finding for finding in report.findings if finding.rule == "implied_val_bytes_wrong")
        self.assertEqual((finding.severity, finding.allowed), (Severity.NOTE, True))

    def test_a_configuration_file_of_the_current_folder_is_not_read(self) -> None:
        here = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "golf-harness.toml").write_text('[verify]\nallow = ["implied_val_bytes_wrong"]\n')
            os.chdir(folder)
            try:
                self.assertFalse(golf_harness.verify(SUBMISSIONS / "wrong-denominator").passed())
                self.assertEqual(exit_code(str(SUBMISSIONS / "wrong-denominator")), 0)
            finally:
                os.chdir(here)

    def test_a_tree_has_a_report_for_each_folder(self) -> None:
        audit = golf_harness.audit([SUBMISSIONS / "good", SUBMISSIONS / "damaged"])
        self.assertEqual([Path(report.subject).name for report in audit.reports], ["damaged", "good"])
        self.assertEqual(audit.passed(), exit_code(str(SUBMISSIONS / "good"), str(SUBMISSIONS / "damaged")) == 0)
        with self.assertRaisesRegex(GolfHarnessError, "use audit"):
            golf_harness.verify(SUBMISSIONS)

    def test_a_git_range_is_checked_without_a_checkout(self) -> None:
        with tempfile.TemporaryDirectory() as repository:
            name = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
            git = ["git", "-C", repository, *name]
            for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "base"], ["tag", "base"]):
                subprocess.run([*git, *arguments], check=True)
            (Path(repository) / "submission.json").write_text("{}")
            subprocess.run([*git, "add", "-A"], check=True)
            subprocess.run([*git, "commit", "-q", "-m", "head"], check=True)
            audit = golf_harness.audit_change("base", "HEAD", repository=repository)
        self.assertEqual(audit.reports[0].kind, "change")
        self.assertIn("no_submission_in_pr", [finding.rule for finding in audit.reports[0].findings])


class Errors(unittest.TestCase):
    def test_what_could_not_be_checked_is_raised_with_code_and_message(self) -> None:
        for path, words in ((SUBMISSIONS / "none", "No such file|cannot find"), ("--json", "--json")):
            with self.subTest(path=path), self.assertRaisesRegex(GolfHarnessError, words) as caught:
                golf_harness.verify(path)
            self.assertEqual(caught.exception.exit_code, 2)
            self.assertFalse(caught.exception.message.startswith("error"))

    def test_a_flag_cannot_be_smuggled_in_a_value(self) -> None:
        with self.assertRaisesRegex(GolfHarnessError, "--output=x"):
            golf_harness.audit_change("--output=x", "HEAD", repository=SUBMISSIONS)

    def test_an_unknown_rule_is_named(self) -> None:
        with self.assertRaisesRegex(GolfHarnessError, "no_such_rule"):
            golf_harness.verify(SUBMISSIONS / "good", allow=["no_such_rule"])

    @unittest.skipUnless(os.name == "posix", "the stand-in is a shell script")
    def test_a_program_that_dies_hangs_or_babbles_is_an_error(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "golf-harness"
            for body, words, timeout in (
                ("kill -SEGV $$", "said nothing", None),
                ("exit 130", "said nothing", None),
                ("echo babble", "no JSON", None),
                ("exec sleep 60", "no answer within", 0.2),
            ):
                program.write_text(f"#!/bin/sh\n{body}\n")
                program.chmod(program.stat().st_mode | stat.S_IXUSR)
                with (
                    self.subTest(body=body),
                    mock.patch.object(_program, "find_program", return_value=str(program)),
                    self.assertRaisesRegex(GolfHarnessError, words),
                ):
                    golf_harness.verify(SUBMISSIONS / "good", timeout=timeout)


class Program(unittest.TestCase):
    @unittest.skipUnless(Path(golf_harness.__file__).is_relative_to(sys.prefix), "run from the source tree")
    def test_it_is_the_one_of_this_environment(self) -> None:
        self.assertTrue(Path(golf_harness.find_program()).is_relative_to(sys.prefix))

    @unittest.skipUnless(os.name == "posix", "the stand-in is a shell script")
    def test_beside_the_packages_comes_before_path(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            beside = Path(folder).resolve() / "bin" / "golf-harness"
            beside.parent.mkdir()
            beside.write_text("#!/bin/sh\n")
            beside.chmod(0o755)
            with mock.patch.object(_program, "__file__", f"{folder}/golf_harness/_program.py"):
                self.assertEqual(golf_harness.find_program(), str(beside))

    def test_none_at_all_is_an_error_that_names_the_remedy(self) -> None:
        with mock.patch.object(_program, "_NAME", "golf-harness-none"):
            with self.assertRaisesRegex(ProgramNotFound, "pip install golf-harness"):
                golf_harness.find_program()

    def test_the_module_runs_it_with_arguments_and_exit_code(self) -> None:
        for folder, code in (("good", 0), ("wrong-denominator", 1), ("none", 2)):
            command = [sys.executable, "-m", "golf_harness", "verify", "--quiet", str(SUBMISSIONS / folder)]
            ended = subprocess.run(command, capture_output=True, check=False)
            self.assertEqual(ended.returncode, code, ended.stderr)


if __name__ == "__main__":
    unittest.main()
