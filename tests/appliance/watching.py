"""Which programs start in the guest: strace on the host follows a process of the guest and all that come of it."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from images import guest as guests
from images.guest import Guest, wait_for
from images.lab.zones import GUEST
from images.paths import Layout
from tests.lab import Lab

_STARTED = re.compile(r'execve(?:at)?\((?:\d+, |AT_FDCWD, )?"([^"]*)", \[(.*?)\]')


@dataclass(slots=True)
class Programs:
    """What was started: path, and the words it got, as strace prints them."""

    started: list[tuple[str, str]] = field(default_factory=list)

    @property
    def paths(self) -> set[str]:
        """The programs, each once."""
        return {path for path, _words in self.started}


def main_pid(lab: Lab, unit: str) -> int:
    """The host's number of a unit's main process."""
    guest = guests.find(GUEST, Layout())
    assert guest is not None
    inside = lab.root("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()
    return _on_host(guest, inside)


def _on_host(guest: Guest, inside: str) -> int:
    room = Path(f"/proc/{guest.leader}/ns/pid").readlink()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            numbers = re.search(r"^NSpid:\s+(\d+).*\s(\d+)$", status.read_text(), re.MULTILINE)
            if numbers and numbers[2] == inside and (status.parent / "ns/pid").readlink() == room:
                return int(numbers[1])
        except OSError:  # it has ended
            continue
    raise AssertionError(f"no process {inside} in the guest")


def _traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()


def _is_free(pid: int) -> bool:
    return not _traced(pid)


@contextmanager
def watched(pids: list[int], trace: Path) -> Iterator[Programs]:
    """Watch these processes of the host and their children; what they started stands in the result at the end."""
    seen = Programs()
    argv = ["strace", "-f", "-qq", "-s", "512", "-e", "trace=execve,execveat", "-o", str(trace)]
    tracer = subprocess.Popen([*argv, *(f"--attach={pid}" for pid in pids)], stderr=subprocess.PIPE)
    try:
        for pid in pids:
            wait_for(partial(_traced, pid), f"strace to attach to {pid}")
        yield seen
    finally:
        tracer.terminate()
        tracer.communicate()
        for pid in pids:
            wait_for(partial(_is_free, pid), f"strace to let go of {pid}")
    seen.started = _STARTED.findall(trace.read_text(errors="replace"))
