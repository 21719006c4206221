"""``python -m golf_harness ARGUMENTS``: the program of this environment, where ``golf-harness`` is not on PATH."""

import os
import subprocess
import sys

from ._program import ProgramNotFound, find_program


def main() -> int:
    """Hands arguments, streams and exit code through."""
    try:
        program = find_program()
    except ProgramNotFound as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    command = [program, *sys.argv[1:]]
    if os.name == "posix":
        # Signals must reach the program, which ends cleanly on its own.
        os.execv(program, command)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
