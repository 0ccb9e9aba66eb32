"""The gateway's modules are compiled while the steps before provisioning run: it takes a minute, and needs nothing of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.paths import REPO, Layout
from images.run import CommandError

ARGV = (sys.executable, "-m", "images.native")


@dataclass(frozen=True, slots=True)
class Compiling:
    """The compiler at work, and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> str:
        """What it said, once it has ended well; raises `CommandError` when it has not."""
        code = self.process.wait()
        said = self.log.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            raise CommandError(ARGV, f"ended with code {code}", said)
        return said


@contextmanager
def begun(layout: Layout) -> Iterator[Compiling]:
    """Compile from here on; what still runs at the end of the context is ended with everything that it has started."""
    layout.native.mkdir(parents=True, exist_ok=True)
    log = layout.native / "compile.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ARGV, cwd=REPO, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield Compiling(process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
