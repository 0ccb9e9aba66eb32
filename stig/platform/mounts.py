"""Where programs, devices and borrowed rights do not belong."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from stig.facts import Facts
from stig.platform.proof import Proof, needs_a_kernel
from stig.verdict import Point, Verdict

OF_ITS_OWN = ("/home", "/tmp", "/var", "/var/log", "/var/log/audit", "/var/tmp")  # noqa: S108 - looked at, not written to


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a file system must be mounted with; `everywhere`: in a container too, which has it for itself."""

    rule: str
    path: str
    options: tuple[str, ...]
    everywhere: bool = False


NOTHING = ("nodev", "nosuid", "noexec")
MOUNTED = (
    Mounted("SENTRY-OS-0641", "/tmp", NOTHING, everywhere=True),  # noqa: S108 - looked at
    Mounted("SENTRY-OS-0642", "/dev/shm", NOTHING),  # noqa: S108
    Mounted("SENTRY-OS-0643", "/var/tmp", NOTHING),  # noqa: S108
    Mounted("SENTRY-OS-0644", "/var/log", NOTHING),
    Mounted("SENTRY-OS-0645", "/var/log/audit", NOTHING),
    Mounted("SENTRY-OS-0646", "/home", ("nodev", "nosuid")),
    Mounted("SENTRY-OS-0647", "/boot", ("nodev", "nosuid")),
)


def options(lines: Iterable[str]) -> dict[str, frozenset[str]]:
    """The file systems in /proc/1/mounts; of several on one place the last is the one that is seen."""
    rows = [line.split() for line in lines]
    return {row[1]: frozenset(row[3].split(",")) for row in rows if len(row) >= 4}


def mounted(row: Mounted, known: dict[str, frozenset[str]]) -> Verdict:
    """It is a file system of its own, with these options."""
    found = known.get(row.path)
    missing = [one for one in row.options if found is not None and one not in found]
    told = "not a file system of its own" if found is None else ",".join(sorted(found))
    return Verdict(
        (Point(f"cat /proc/1/mounts: {row.path}", told, ",".join(row.options), found is not None and not missing),)
    )


def of_its_own(paths: Iterable[str], known: dict[str, frozenset[str]]) -> Verdict:
    """What grows has a place of its own, and can fill no other."""
    return Verdict(
        tuple(
            Point(
                f"cat /proc/1/mounts: {path}",
                "there" if path in known else "a folder among others",
                "a file system of its own",
                path in known,
            )
            for path in paths
        )
    )


def _mounted(row: Mounted, facts: Facts) -> Verdict:
    if not row.everywhere:
        needs_a_kernel(facts, "its file systems are")
    return mounted(row, options(facts.lines("mounts")))


def _of_its_own(facts: Facts) -> Verdict:
    needs_a_kernel(facts, "its file systems are")
    return of_its_own(OF_ITS_OWN, options(facts.lines("mounts")))


PROOFS = (
    *(Proof(row.rule, partial(_mounted, row)) for row in MOUNTED),
    Proof("SENTRY-OS-0648", _of_its_own),
)
