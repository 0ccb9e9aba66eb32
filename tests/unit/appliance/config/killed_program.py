"""A configd that is killed in the middle of a commit: `killed_program.py FOLDER [--command NUMBER before|after]`.

Commits `SECOND` over the small appliance in FOLDER, where `FIRST` runs; strace kills it at a system call, or it kills itself
around the command with that number (what it asks of systemd and of the machine)."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.unit.appliance.workbench import Bench, Commands

FIRST: dict[str, Any] = {"name": "box", "web": {"token": "token-1", "sites": {"old": {"root": "/srv"}}}}
SECOND: dict[str, Any] = {
    "name": "other",
    "web": {"port": 9443, "token": "token-2", "words": ["a"], "sites": {"new": {"root": "/srv"}}},
}
MARK = "begin"
"""The folder that is made right before the commit: what strace counts is counted from there."""


class Mortal(Commands):
    """Dies around one of its commands."""

    dies_at: tuple[int, str] = (0, "")

    def __call__(self, argv: list[str], *, stdin: str | None = None, **seconds: float) -> str:
        number, when = self.dies_at
        if len(self.log) + 1 == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = super().__call__(argv, stdin=stdin, **seconds)
        if len(self.log) == number and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def main(folder: Path, dies_at: tuple[int, str]) -> None:
    """Commit; how many commands that took is printed at the end."""
    bench = Bench(folder)
    bench.commands = Mortal(bench.root)
    bench.commands.dies_at = dies_at
    bench.restart()
    bench.commands.log.clear()
    os.mkdir(folder / MARK)  # noqa: PTH102 - one system call
    bench.commit(SECOND, confirm_minutes=5)
    sys.stdout.write(f"{len(bench.commands.log)}\n")


if __name__ == "__main__":
    rest = sys.argv[2:]
    main(Path(sys.argv[1]), (int(rest[1]), rest[2]) if rest else (0, ""))
