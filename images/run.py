"""The one way this room starts a process: an argv list, no shell, and an error that can be copied and run again."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

TAIL_LINES = 30  # of a failed command's output: enough for a stack trace, few enough to read


class CommandError(RuntimeError):
    """A command could not be started or ended with a non-zero code; the message shows it ready to be run again."""

    def __init__(self, argv: Sequence[str], why: str, output: str = "") -> None:
        self.argv = tuple(argv)
        self.output = output
        tail = "\n".join(f"    {line}" for line in output.strip().splitlines()[-TAIL_LINES:])
        super().__init__(f"{why}:\n  {shlex.join(argv)}" + (f"\n  it printed:\n{tail}" if tail else ""))


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed on standard output, on standard error, and its exit code."""

    stdout: str
    stderr: str
    code: int


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    check: bool = True,
    seconds: float | None = None,
) -> Done:
    """Run to the end and return what it printed. `env` is added to ours; standard input is empty unless `stdin` is given.

    Raises `CommandError` when it cannot be started, does not end within `seconds`, or (with `check`) ends with a non-zero code.
    """
    words = [str(word) for word in argv]
    source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    try:
        ended = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
            **source,
        )
    except OSError as error:
        raise CommandError(words, f"cannot be started ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(words, f"did not end within {seconds:g} s") from error
    if check and ended.returncode != 0:
        raise CommandError(words, f"ended with code {ended.returncode}", ended.stdout + ended.stderr)
    return Done(ended.stdout, ended.stderr, ended.returncode)


def stream(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run with its output going straight to ours, so that a long step shows its progress; a `CommandError` on failure."""
    words = [str(word) for word in argv]
    try:
        code = subprocess.run(
            words, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, check=False
        ).returncode
    except OSError as error:
        raise CommandError(words, f"cannot be started ({error.strerror})") from error
    if code != 0:
        raise CommandError(words, f"ended with code {code} (its output stands above)")


@contextmanager
def reading(argv: Sequence[str | Path], stdin: BinaryIO) -> Iterator[IO[bytes]]:
    """What a command makes of `stdin`, to be read while it runs; who leaves the block before its end ends the command.

    Raises `CommandError` at the end when the command failed, so only what was read to the end of the block is all of it.
    """
    words = [str(word) for word in argv]
    with tempfile.TemporaryFile() as said:
        try:
            command = subprocess.Popen(words, stdin=stdin, stdout=subprocess.PIPE, stderr=said)
        except OSError as error:
            raise CommandError(words, f"cannot be started ({error.strerror})") from error
        with command:
            assert command.stdout is not None  # noqa: S101 - a pipe was asked for
            try:
                yield command.stdout
            except BaseException:
                command.kill()
                raise
            command.stdout.close()  # a command that has more to say fails then, and does not wait for a reader
            code = command.wait()
        if code != 0:
            said.seek(0)
            raise CommandError(words, f"ended with code {code}", said.read().decode(errors="replace"))
