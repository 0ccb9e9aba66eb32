"""What the kernel says of processes: their CPU time, and the memory that is theirs. See proc(5)."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stat:
    """Of `/proc/PID/stat`: the parent, and the CPU time in ticks, of all threads, in user and kernel mode."""

    parent: int
    ticks: int


def parse_stat(text: str) -> Stat:
    """Read `/proc/PID/stat`. The program's name stands in brackets and may hold anything, brackets too."""
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[1]), int(fields[11]) + int(fields[12]))


def parse_pss(text: str) -> int:
    """Bytes of the proportional set size in `/proc/PID/smaps_rollup`: a page that several processes share counts in parts."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            number, unit = value.split()
            if unit != "kB":
                raise ValueError(f"a size in kB is expected in smaps_rollup; found {line!r}")
            return int(number) * 1_024
    raise ValueError("smaps_rollup has no line Pss")


def family(root: int, parents: dict[int, int]) -> list[int]:
    """The process `root` and all that descend from it, by each process's parent."""
    found = [root]
    for one in found:
        found += sorted(pid for pid, parent in parents.items() if parent == one)
    return found


def parents() -> dict[int, int]:
    """Each process's parent, now."""
    known = {}
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            try:
                known[int(folder.name)] = parse_stat((folder / "stat").read_text()).parent
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
    return known


def cpu_seconds(pid: int) -> float:
    """The CPU time of one process so far, in steps of a tick (10 ms)."""
    return parse_stat((PROC / str(pid) / "stat").read_text()).ticks / TICKS_PER_SECOND


def descriptors(pid: int) -> int:
    """How many files, sockets among them, a process has open."""
    return sum(1 for _ in (PROC / str(pid) / "fd").iterdir())


def pss_bytes(pids: Iterable[int]) -> int:
    """The memory of these processes."""
    return sum(parse_pss((PROC / str(pid) / "smaps_rollup").read_text()) for pid in pids)
