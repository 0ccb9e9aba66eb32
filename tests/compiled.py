"""Tests of compiled modules: with `COMPILED=1` in the environment (`make test COMPILED=1`) the data plane that the tests import,
and that of the processes they start, has its hot modules compiled, as the appliance has; otherwise all of it is plain Python."""

import os
import sys
from pathlib import Path

from images.native.host import compiled_here
from images.paths import REPO, Layout

WANTED = os.environ.get("COMPILED", "") not in ("", "0")


def use() -> None:
    """Have this process and those it starts import the compiled room. Must come before the first import of it."""
    if "sentry_runtime" in sys.modules:
        raise RuntimeError(
            "sentry_runtime has been imported already, as plain Python: nothing compiled would be tested"
        )
    folder = compiled_here(REPO, Layout())
    sys.path.insert(0, str(folder))
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), str(REPO), before)))
    os.environ["PYTHONSAFEPATH"] = (
        "1"  # or `python -m` would look into the working directory first, which is the checkout
    )


def mapped(pid: int | str) -> frozenset[str]:
    """The names of the compiled files of the room that a process has loaded, without folder and suffix."""
    return names(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8"))


def names(maps: str) -> frozenset[str]:
    """The same of the text of a `maps` file (proc_pid_maps(5)): dotted, from the room on."""
    files = {line.split()[-1] for line in maps.splitlines() if ".so" in line and "/sentry_runtime" in line}
    return frozenset(_dotted(file) for file in files)


def _dotted(file: str) -> str:
    parts = file.split(".cpython-", maxsplit=1)[0].split("/")
    return ".".join(parts[parts.index(next(part for part in parts if part.startswith("sentry_runtime"))) :])
