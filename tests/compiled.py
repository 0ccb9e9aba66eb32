"""Tests of compiled modules: with `COMPILED=1` in the environment (`make test COMPILED=1`) the data plane that the tests import,
and that of the processes they start, has its hot modules compiled, as the appliance has; otherwise all of it is plain Python."""

import os
import sys

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


def runs_compiled(maps: str) -> bool:
    """Whether a process with these maps (proc_pid_maps(5)) has loaded the library that all compiled modules share. The modules'
    own files, which only lead there, are loaded as far as modules that are not compiled import them."""
    return "/sentry_runtime__mypyc.cpython-" in maps
