"""What a person sees while the lab works: a line per step when it begins, and one with its seconds when it ends."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


def say(line: str = "") -> None:
    """Print one line at once, also when the output is a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Steps:
    """The steps taken so far with the seconds each took."""

    taken: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, about: str) -> Iterator[None]:
        """Announce a step, run its body, and note its time; a failing body is named before its error goes on."""
        say(f"==> {name}: {about}")
        began = time.monotonic()
        try:
            yield
        except BaseException:
            say(f"==> {name}: FAILED after {time.monotonic() - began:.1f} s")
            raise
        spent = time.monotonic() - began
        self.taken.append((name, spent))
        say(f"==> {name}: done in {spent:.1f} s")
