"""Where the program is, how it is started, and the errors of both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_NAME = "golf-harness.exe" if sys.platform == "win32" else "golf-harness"

_COULD_NOT_CHECK = 2


class GolfHarnessError(Exception):
    """The program could not check: bad arguments, a missing file, damaged input, an interruption.

    A submission that fails its checks is no error but a :class:`Report`.
    """

    def __init__(self, message: str, exit_code: int = _COULD_NOT_CHECK) -> None:
        super().__init__(message)
        self.message = message
        """What was wrong, as the program said it."""
        self.exit_code = exit_code
        """2 could not check, 130 interrupted; negative: ended by that signal."""


class ProgramNotFound(GolfHarnessError):
    """There is no ``golf-harness`` in this environment or on PATH."""


class UnexpectedReport(GolfHarnessError):
    """The program's report has a schema that this module does not know, or is damaged."""


@dataclass(frozen=True)
class Answer:
    """What a run of the program came to."""

    exit_code: int
    stdout: bytes
    message: str
    """What it said on stderr, without the word ``error:``."""


def find_program() -> str:
    """The program installed beside this module, before any other on PATH.

    Raises :class:`ProgramNotFound` where there is none.
    """
    for folder in _script_folders():
        candidate = folder / _NAME
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    on_path = shutil.which(_NAME)
    if on_path is not None:
        return on_path
    raise ProgramNotFound(f"{_NAME} is neither in this environment nor on PATH: pip install golf-harness")


def _script_folders() -> Iterator[Path]:
    """Where installers put programs, the likeliest first."""
    # `pip install --target DIR` and `--prefix DIR` put them next to the packages, wherever that is.
    packages = Path(__file__).resolve().parent.parent
    own = packages / "bin"
    here = sysconfig.get_path("scripts")
    if here and Path(sysconfig.get_path("purelib")).resolve() == packages:
        yield Path(here)
    yield own
    if here:
        yield Path(here)
    user = sysconfig.get_path("scripts", scheme=sysconfig.get_preferred_scheme("user"))
    if user:
        yield Path(user)


def run(arguments: Sequence[str], timeout: float | None) -> Answer:
    """Starts the program without a shell and waits for it."""
    try:
        ended = subprocess.run(
            [find_program(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GolfHarnessError(f"no answer within {timeout} s: the check was stopped") from error
    message = ended.stderr.decode("utf-8", "replace").strip().removeprefix("error: ")
    return Answer(ended.returncode, ended.stdout, message)
