"""``golf-harness verify`` as functions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal, Union

from ._program import GolfHarnessError, run
from ._report import Audit, Report

PathLike = Union[str, "os.PathLike[str]"]
Track = Literal["10min_16mb", "non_record_16mb"]

# What the program answers with a report: passed, failed, and not everything examined.
_REPORTING = (0, 1, 2)


def verify(
    path: PathLike,
    *,
    allow: Iterable[str] = (),
    against: PathLike | None = None,
    as_of: str | None = None,
    policy: PathLike | None = None,
    timeout: float | None = None,
    track: Track | None = None,
) -> Report:
    """Checks one record folder or one manifest.

    ``allow``: rules whose violations become notes. ``against``: a board file; is the claim a record? ``as_of``: apply
    the rules in force on this day, YYYY-MM-DD. ``policy``: a policy file instead of the built-in ones. ``track``: its
    rules instead of those of the subject's place. ``timeout``: seconds after which the check is stopped.

    Raises :class:`GolfHarnessError` where nothing could be checked, and where ``path`` holds several subjects: they
    are for :func:`audit`.
    """
    result = audit([path], allow=allow, against=against, as_of=as_of, policy=policy, timeout=timeout, track=track)
    if len(result.reports) == 1:
        return result.reports[0]
    if result.reports:
        raise GolfHarnessError(f"{os.fspath(path)} holds {len(result.reports)} subjects, not one: use audit()")
    reasons = "; ".join(skipped.reason for skipped in result.skipped) or "no record folder and no manifest"
    raise GolfHarnessError(f"{os.fspath(path)}: {reasons}")


def audit(
    paths: Iterable[PathLike],
    *,
    allow: Iterable[str] = (),
    against: PathLike | None = None,
    as_of: str | None = None,
    policy: PathLike | None = None,
    timeout: float | None = None,
    track: Track | None = None,
) -> Audit:
    """Checks record folders, manifests, and trees of them, with the options of :func:`verify`."""
    flags = _flags(allow, against, as_of, policy, track)
    return _audit([*flags, "--", *(os.fspath(path) for path in paths)], timeout)


def audit_change(
    base: str,
    head: str,
    *,
    repository: PathLike = ".",
    allow: Iterable[str] = (),
    against: PathLike | None = None,
    as_of: str | None = None,
    policy: PathLike | None = None,
    timeout: float | None = None,
    track: Track | None = None,
) -> Audit:
    """Checks what a git range adds, as the gate of a pull request does, with the options of :func:`verify`."""
    flags = _flags(allow, against, as_of, policy, track)
    where = [f"--base={base}", f"--head={head}", f"--repository={os.fspath(repository)}"]
    return _audit([*flags, *where], timeout)


def _flags(
    allow: Iterable[str],
    against: PathLike | None,
    as_of: str | None,
    policy: PathLike | None,
    track: str | None,
) -> list[str]:
    """``--name=value``: a value that starts with a dash is no flag."""
    options = {"against": against, "as-of": as_of, "policy": policy, "track": track}
    flags = [f"--{name}={os.fspath(value)}" for name, value in options.items() if value is not None]
    return [*flags, *(f"--allow={rule}" for rule in allow)]


def _audit(arguments: list[str], timeout: float | None) -> Audit:
    # A library's answer must not depend on a golf-harness.toml in whatever folder its caller stands.
    answer = run(["verify", "--json", "--no-config", *arguments], timeout)
    if answer.exit_code not in _REPORTING or not answer.stdout.strip():
        said = answer.message or f"it ended with exit code {answer.exit_code} and said nothing"
        raise GolfHarnessError(said, answer.exit_code)
    return Audit.from_json(answer.stdout)
