"""Verdicts of Golf Harness as Python values.

    >>> import golf_harness
    >>> report = golf_harness.verify("records/track_10min_16mb/2026-04-01_Mine")
    >>> report.passed()
    False
    >>> [finding.rule for finding in report.findings if finding.severity is golf_harness.Severity.FAIL]
    ['over_budget']

The module starts the program ``golf-harness`` that was installed with it and reads its JSON report. It keeps no state,
and nothing of a submission is imported or executed.
"""

from ._program import GolfHarnessError, ProgramNotFound, UnexpectedReport, find_program
from ._report import (
    Assurance,
    Audit,
    Evidence,
    Fact,
    Finding,
    Level,
    Policy,
    Report,
    Severity,
    Skipped,
    Status,
    SubjectFile,
)
from ._verify import audit, audit_change, verify

__all__ = [
    "Assurance",
    "Audit",
    "Evidence",
    "Fact",
    "Finding",
    "GolfHarnessError",
    "Level",
    "Policy",
    "ProgramNotFound",
    "Report",
    "Severity",
    "Skipped",
    "Status",
    "SubjectFile",
    "UnexpectedReport",
    "audit",
    "audit_change",
    "find_program",
    "verify",
]
