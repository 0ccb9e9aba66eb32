"""Control groups for guests on a machine without systemd.

With systemd, each guest gets a scope of its own. Without it, systemd-nspawn puts every guest into the same group: their
systemds then share one tree, and a unit stopped in one guest waits for the unit of that name in another to end.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def has_systemd() -> bool:
    """Whether systemd manages this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


@contextmanager
def apart(name: str) -> Iterator[None]:
    """What is started inside begins in the control group `name`; nothing happens where systemd sees to it, or without cgroup2."""
    root = None if has_systemd() else _root()
    if root is None:
        yield
        return
    before = root / _own().lstrip("/")
    group = root / name
    group.mkdir(exist_ok=True)
    _enter(group)
    try:
        yield
    finally:
        _enter(before)


def remove(name: str) -> None:
    """Remove the group and those the guest made in it, once no process is left there."""
    root = None if has_systemd() else _root()
    if root is None or not (root / name).is_dir():
        return
    for folder, _, _ in os.walk(root / name, topdown=False):
        Path(folder).rmdir()


def _root() -> Path | None:
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind = line.split()[:3]
        if kind == "cgroup2":
            return Path(place)
    return None


def _own() -> str:
    """Our group's path in the unified hierarchy (cgroups(7), the line that begins with 0::)."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


def _enter(group: Path) -> None:
    (group / "cgroup.procs").write_text("0", encoding="ascii")
