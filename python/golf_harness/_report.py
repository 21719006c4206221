"""The report of ``verify``, read from its JSON document (manifests/audit.schema.json).

Keys that this module does not know are ignored: a later version of the same schema may have more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from ._program import UnexpectedReport

_SCHEMA = "golf-harness/audit/v1"

_E = TypeVar("_E", bound=Enum)
_T = TypeVar("_T")


class Severity(Enum):
    """How much a finding weighs. Compared by weight: ``Severity.WARNING < Severity.FAIL``."""

    PASS = "pass"
    NOTE = "note"
    UNKNOWN = "unknown"
    REVIEW = "review"
    WARNING = "warning"
    FAIL = "fail"

    def _weight(self) -> int:
        return list(Severity).index(self)

    def __lt__(self, other: Severity) -> bool:
        return self._weight() < other._weight()

    def __le__(self, other: Severity) -> bool:
        return self._weight() <= other._weight()

    def __gt__(self, other: Severity) -> bool:
        return self._weight() > other._weight()

    def __ge__(self, other: Severity) -> bool:
        return self._weight() >= other._weight()


class Status(Enum):
    """Whether everything was examined."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    """Something could not be read, or exceeded a limit."""
    BROKEN = "broken"
    """A rule of the program itself broke."""


class Level(Enum):
    """How far a claim was checked; ``UNREADABLE`` stands for no level."""

    UNREADABLE = "unreadable"
    DOCUMENTED = "documented"
    SEALED = "sealed"
    RESCORED = "rescored"
    RETRAINED = "retrained"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A place, what stands there, and what should."""

    path: str
    line: int | None
    found: str | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule came to."""

    rule: str
    severity: Severity
    message: str
    evidence: tuple[Evidence, ...]
    allowed: bool
    """Suppressed by ``allow`` or the policy, and a note for that reason."""
    incomplete: bool
    """Something was left unexamined."""
    broken: bool
    """The rule itself broke."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the report's head: a claim or a size, as text."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SubjectFile:
    """A file that was read, with its digests in hexadecimal."""

    path: str
    bytes: int
    sha256: str
    blake3: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that were applied, and since when they are in force."""

    name: str
    effective: str


@dataclass(frozen=True, slots=True)
class Assurance:
    """The level reached, and what the next one needs."""

    level: Level
    next_needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on one record folder, manifest, or git range."""

    subject: str
    kind: str
    """``record_folder``, ``manifest`` or ``change``."""
    policy: Policy
    status: Status
    assurance: Assurance
    facts: tuple[Fact, ...]
    findings: tuple[Finding, ...]
    not_applicable: tuple[str, ...]
    """Rules about something that this subject does not have."""
    files: tuple[SubjectFile, ...]

    @property
    def worst(self) -> Severity:
        """The gravest severity among the findings."""
        return max((finding.severity for finding in self.findings), default=Severity.PASS)

    def passed(self, fail_on: Severity = Severity.FAIL) -> bool:
        """Whether everything was examined and nothing was found at ``fail_on`` or above: exit code 0."""
        return self.status is Status.COMPLETE and self.worst < fail_on

    def __str__(self) -> str:
        fails = [finding.rule for finding in self.findings if finding.severity is Severity.FAIL]
        verdict = f"fails {', '.join(fails)}" if fails else f"level {self.assurance.level.value}"
        return f"{self.subject}: audit {self.status.value}, {verdict}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path that was not examined, and why."""

    path: str
    reason: str
    cause: str
    """``no_subject`` or ``out_of_reach``."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Reports on all subjects of one run."""

    schema: str
    harness: str
    """Version of the program."""
    status: Status
    reports: tuple[Report, ...]
    skipped: tuple[Skipped, ...]

    def passed(self, fail_on: Severity = Severity.FAIL) -> bool:
        """Whether everything was examined and nothing was found at ``fail_on`` or above: exit code 0."""
        return self.status is Status.COMPLETE and all(report.worst < fail_on for report in self.reports)

    @staticmethod
    def from_json(document: bytes | str) -> Audit:
        """Reads the document that ``golf-harness verify --json`` prints.

        Raises :class:`UnexpectedReport` for another schema, and where a key is missing or of another type.
        """
        try:
            value = json.loads(document)
        except ValueError as error:
            raise UnexpectedReport(f"the report is no JSON document: {error}") from error
        top = _Object(value, "report")
        schema = top.text("schema")
        if schema != _SCHEMA:
            raise UnexpectedReport(f"the report's schema is {schema!r}, this module reads {_SCHEMA!r}: upgrade it")
        return Audit(
            schema=schema,
            harness=top.text("harness"),
            status=top.member("status", Status),
            reports=top.each("reports", _report),
            skipped=top.each("skipped", lambda o: Skipped(o.text("path"), o.text("reason"), o.text("cause"))),
        )


class _Object:
    """A JSON object whose members are looked at before they are believed."""

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise UnexpectedReport(f"{place} is no object")
        self._members: dict[str, object] = value
        self._place = place

    def _get(self, key: str) -> object:
        if key not in self._members:
            raise UnexpectedReport(f"{self._place} has no {key!r}")
        return self._members[key]

    def _wrong(self, key: str, expected: str) -> UnexpectedReport:
        return UnexpectedReport(f"{self._place}.{key} is not {expected}")

    def text(self, key: str) -> str:
        value = self._get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def text_or_none(self, key: str) -> str | None:
        return None if self._members.get(key) is None else self.text(key)

    def count(self, key: str) -> int:
        value = self._get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "a whole number")
        return value

    def count_or_none(self, key: str) -> int | None:
        return None if self._members.get(key) is None else self.count(key)

    def flag(self, key: str) -> bool:
        """False where the key is absent: the program leaves false ones out."""
        value = self._members.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def member(self, key: str, kind: type[_E]) -> _E:
        try:
            return kind(self.text(key))
        except ValueError:
            raise self._wrong(key, f"one of {', '.join(str(each.value) for each in kind)}") from None

    def inner(self, key: str) -> _Object:
        return _Object(self._get(key), f"{self._place}.{key}")

    def _list(self, key: str, optional: bool = False) -> list[object]:
        value = self._members.get(key, []) if optional else self._get(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value

    def each(self, key: str, read: Callable[[_Object], _T], optional: bool = False) -> tuple[_T, ...]:
        values = enumerate(self._list(key, optional))
        return tuple(read(_Object(value, f"{self._place}.{key}[{i}]")) for i, value in values)

    def texts(self, key: str, optional: bool = False) -> tuple[str, ...]:
        texts = self._list(key, optional)
        if not all(isinstance(text, str) for text in texts):
            raise self._wrong(key, "a list of texts")
        return tuple(str(text) for text in texts)


def _report(value: _Object) -> Report:
    policy = value.inner("policy")
    assurance = value.inner("assurance")
    return Report(
        subject=value.text("subject"),
        kind=value.text("kind"),
        policy=Policy(policy.text("name"), policy.text("effective")),
        status=value.member("status", Status),
        assurance=Assurance(assurance.member("level", Level), assurance.texts("next_needs", optional=True)),
        facts=value.each("facts", lambda o: Fact(o.text("name"), o.text("value"))),
        findings=value.each("findings", _finding),
        not_applicable=value.texts("not_applicable"),
        files=value.each(
            "files", lambda o: SubjectFile(o.text("path"), o.count("bytes"), o.text("sha256"), o.text("blake3"))
        ),
    )


def _finding(value: _Object) -> Finding:
    return Finding(
        rule=value.text("rule"),
        severity=value.member("severity", Severity),
        message=value.text("message"),
        evidence=value.each("evidence", _evidence, optional=True),
        allowed=value.flag("allowed"),
        incomplete=value.flag("incomplete"),
        broken=value.flag("broken"),
    )


def _evidence(value: _Object) -> Evidence:
    return Evidence(
        path=value.text("path"),
        line=value.count_or_none("line"),
        found=value.text_or_none("found"),
        expected=value.text_or_none("expected"),
    )
