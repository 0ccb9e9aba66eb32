"""A program of a tree, run to its end by systemd-nspawn: no network, and no process or file but its own."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from images import cgroup
from images.run import Done, run


def run_isolated(
    root: Path,
    argv: Sequence[str],
    *,
    seconds: float,
    options: Sequence[str] = (),
    environment: Mapping[str, str],
    scratch: bool = False,
    before: Sequence[str] = (),
    stdin: str | None = None,
) -> Done:
    """Run `argv` in the tree at `root`, which stays as it is.

    `options` are systemd-nspawn's (what is bound where); with `scratch` what is written beside those places goes to memory and
    is forgotten. `before` are the words that start systemd-nspawn itself. Raises what `images.run.run` raises.
    """
    nspawn = [
        *before,
        "systemd-nspawn",
        *(() if cgroup.has_systemd() else ("--keep-unit",)),
        "--quiet",
        f"--directory={root}",
        "--volatile=overlay" if scratch else "--read-only",
        "--tmpfs=/tmp",
        *options,
        "--private-network",
        "--no-new-privileges=yes",
        "--register=no",
        "--as-pid2",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
        *(f"--setenv={name}={value}" for name, value in environment.items()),
        "--",
    ]
    group = f"{root.name}-{os.getpid()}"
    try:
        with cgroup.apart(group):
            return run([*nspawn, *argv], stdin=stdin, seconds=seconds)
    finally:
        cgroup.remove(group)
