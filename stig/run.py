"""The one place where this room starts a local process."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from stig.errors import FactError

SECONDS = 20.0  # the slowest look takes about two; a hung one must not eat the scan's minute


@dataclass(frozen=True, slots=True)
class Finished:
    """What a process left: its exit status and what it printed."""

    status: int
    output: str
    errors: str


def run(argv: Sequence[str], *, stdin: str = "", seconds: float = SECONDS) -> Finished:
    """Run `argv` with `stdin` on its standard input; `FactError` when it cannot start or does not end in time."""
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise FactError(f"{argv[0]} is not installed here") from error
    except subprocess.TimeoutExpired as error:
        raise FactError(f"{' '.join(argv)}: no answer within {seconds:g} s") from error
    return Finished(done.returncode, done.stdout, done.stderr)


def start(argv: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start `argv` with a pipe at each of its standard streams; `FactError` when it cannot start."""
    try:
        pipe = subprocess.PIPE
        return subprocess.Popen(list(argv), stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
    except OSError as error:
        raise FactError(f"{argv[0]} cannot be started: {error.strerror}") from error
