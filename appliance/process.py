"""The one way the management plane starts a process: an argv list, a fixed environment, bounded time and output."""

import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from typing import IO

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", "TZ": "UTC"}
SECONDS = 60.0  # the longest any of our commands takes: a service that drains its connections before it stops
OUTPUT_BYTES = 1_048_576  # `nft list ruleset` with a thousand rules is a tenth of this
SHOWN_CHARACTERS = 2_000  # how much of a failed command's output an error carries
NOT_STARTED = 127  # the shell's word for "there is no such program"
TIMED_OUT = 124  # timeout(1)'s word


@dataclass(frozen=True, slots=True)
class Finished:
    """How a process ended. `output` is its standard output, `errors` its standard error (both cut at `OUTPUT_BYTES`)."""

    status: int
    output: str
    errors: str


class CommandError(RuntimeError):
    """A command could not be started, failed or took too long. `argv`, `status` and `output` say which and how."""

    def __init__(self, argv: list[str], status: int, output: str) -> None:
        self.argv = argv
        self.status = status
        self.output = output.strip()[-SHOWN_CHARACTERS:]
        super().__init__(f"{' '.join(argv)}: exit status {status}: {self.output or 'no output'}")


def run(argv: list[str], *, stdin: str | None = None, seconds: float = SECONDS) -> str:
    """Run `argv` and return its standard output; raises `CommandError` when it cannot start, fails or takes too long."""
    finished = attempt(argv, stdin=stdin, seconds=seconds)
    if finished.status != 0:
        raise CommandError(argv, finished.status, f"{finished.errors}{finished.output}")
    return finished.output


def attempt(argv: list[str], *, stdin: str | None = None, seconds: float = SECONDS) -> Finished:
    """Run `argv` and return how it ended, whatever its exit status; raises `CommandError` only when it cannot start or
    takes longer than `seconds`."""
    try:
        with _standard_input(stdin) as source:
            process = subprocess.Popen(  # the one place in the management plane
                argv,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
            )
    except OSError as error:
        raise CommandError(argv, NOT_STARTED, error.strerror or str(error)) from error
    with process:
        try:
            output, errors = _drain(process, time.monotonic() + seconds)
            status = process.wait()
        except TimeoutError as error:
            process.kill()
            raise CommandError(argv, TIMED_OUT, f"not finished after {seconds:g} s") from error
    return Finished(status, output, errors)


def _standard_input(text: str | None) -> IO[bytes]:
    """A descriptor to read `text` from: in memory, so that a secret never reaches a disk and no writer can block."""
    source = os.fdopen(os.memfd_create("stdin", os.MFD_CLOEXEC), "w+b")
    source.write((text or "").encode())
    source.seek(0)
    return source


def _drain(process: subprocess.Popen[bytes], deadline: float) -> tuple[str, str]:
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - both are pipes, see above
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, errors)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _events in ready:
                chunk = os.read(key.fd, 65_536)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk[: OUTPUT_BYTES - len(key.data)])
    return output.decode(errors="replace"), errors.decode(errors="replace")
