"""The one way the bench starts a process: an argv list, a core, a log, and an end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 60.0  # seconds until something that starts must be there: 1,000,000 devices are read in about 20
GRACE = 10.0  # seconds in which it must have ended when told to


class ProgramError(RuntimeError):
    """A program did not start, ended before its time, or did not end; the message says which, and what it printed."""


@dataclass(slots=True)
class Program:
    """A running process."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls,
        name: str,
        argv: Sequence[str | Path],
        cores: Collection[int],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start it on these cores; what it prints goes to `log`."""
        pinned = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *map(str, argv)]
        with log.open("ab") as file:
            process = subprocess.Popen(
                pinned, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env={**os.environ, **(environment or {})}
            )
        return cls(name, process, log)

    @classmethod
    def module(cls, module: str, arguments: Sequence[str | Path], cores: Collection[int], folder: Path) -> Self:
        """Start a module of the bench's own."""
        name = module.rpartition(".")[2]
        return cls.start(name, [sys.executable, "-m", module, *arguments], cores, folder / f"{name}.log")

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait until it holds. Raises `ProgramError` when the process ends first, or it takes too long."""
        end = time.monotonic() + PATIENCE
        while not true():
            if self.process.poll() is not None:
                raise ProgramError(f"{self.name} ended with {self.process.returncode} before {what}:\n{self.said()}")
            if time.monotonic() > end:
                raise ProgramError(f"{self.name}: {what}: not within {PATIENCE:g} s:\n{self.said()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, and wait until it has ended; with SIGKILL where SIGTERM does not do."""
        self.process.terminate()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-2_000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None and self.said():
            sys.stderr.write(f"{self.name} said at the end:\n{self.said()}\n")
