"""The data plane's programs as the tests start them: each a process of its own, forked from one that has imported it.

To import the gateway takes a third of a second of computing and the gateway's start after that a tenth of it; the tests start
it a thousand times. So each session has one process per program (`tests.seedling`) that imports it once, opens nothing and
forks for every start: the child runs the program's `main` with arguments, environment and outputs of its own. `python -m` as
systemd uses it is what some tests of starting, and the appliance's, run.
"""

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.paths import REPO
from tests.seedling import HEAD_BYTES

START_SECONDS = 60.0  # until it has imported its program, on a busy machine


class Program:
    """A running program: what the tests use of `subprocess.Popen`, of a process that is another's child."""

    def __init__(self, report: socket.socket) -> None:
        self.returncode: int | None = None
        self._report = report
        weakref.finalize(self, report.close)  # a test need not wait for each program's end
        report.settimeout(START_SECONDS)
        self.pid = self._hear()

    def poll(self) -> int | None:
        """The exit code, or minus the signal's number; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code as soon as it has ended; raises `subprocess.TimeoutExpired`."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._report.settimeout(timeout)
            try:
                self.returncode = os.waitstatus_to_exitcode(self._hear())
            except (BlockingIOError, TimeoutError):
                return None
            self._report.close()
        return self.returncode

    def _hear(self) -> int:
        number = self._report.recv(HEAD_BYTES)
        assert number, "the process that starts the programs has ended; what it said stands above"
        return int(number)


def start(
    module: str,
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stderr: int | None = None,
) -> Program:
    """Start `python -m MODULE ARGUMENTS` with this environment, all of it; its outputs are ours unless said otherwise."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    said = {"arguments": [str(one) for one in arguments], "env": dict(env), "cwd": str(cwd or Path.cwd())}
    with theirs:
        descriptors = [theirs.fileno(), 1, 2 if stderr is None else stderr]
        socket.send_fds(_seedling(module), [json.dumps(said).encode()], descriptors)
    return Program(ours)


@functools.cache
def _seedling(module: str) -> socket.socket:
    """The way to the process that has imported the program; it ends with this session."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.seedling", module, str(theirs.fileno())],
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
