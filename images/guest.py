"""A guest: a root tree booted with systemd-nspawn, with real systemd, real nftables and real sshd inside.

What runs is written down with the process's start time, so that a stale file or a reused process id never makes us touch
a process that is not ours.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from images import cgroup, network
from images.network import Link
from images.paths import Layout, write_json
from images.rootfs import extract
from images.run import Done, run

BOOT_SECONDS = 60.0  # a guest boots in 2 to 4 s; a busy two-core machine needs several times that
STOP_SECONDS = 30.0  # services drain for at most 20 s
POLL_SECONDS = 0.1

T = TypeVar("T")

# The guests that this very process has booted: theirs are our children, whose end we must take notice of.
_children: dict[int, subprocess.Popen[bytes]] = {}


class GuestError(RuntimeError):
    """A guest does not boot, stop or answer as it should."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a guest is made of. `prepare` is called with the extracted root before the boot; without a tar file the root is an
    empty folder, and it is what `prepare` makes of it. One that `dies_with_us` is shut down when the process ends that booted it,
    however it ends. `options` are systemd-nspawn's; one that is `left_alone` gives its interfaces their addresses itself."""

    name: str
    tar: Path | None
    tree: str
    links: tuple[Link, ...]
    prepare: Callable[[Path], None]
    dies_with_us: bool = False
    options: tuple[str, ...] = ()
    left_alone: bool = False


@dataclass(frozen=True, slots=True)
class Guest:
    """A running guest: its nspawn process, the process that is its PID 1, its tree, the digest of what it was made of, and
    the host's interfaces that were made for it."""

    name: str
    pid: int
    started: int
    leader: int
    leader_started: int
    root: Path
    tree: str
    interfaces: tuple[str, ...] = ()

    def execute(self, argv: list[str], *, stdin: str | None = None, check: bool = True) -> Done:
        """Run a command inside, as root, in all its namespaces."""
        return run(
            ["nsenter", "-t", str(self.leader), "-a", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
             "LC_ALL=C.UTF-8", *argv],
            stdin=stdin, check=check,
        )  # fmt: skip


def find(name: str, layout: Layout) -> Guest | None:
    """The guest of this name if it runs; a file left behind by one that no longer runs is removed."""
    path = layout.run / f"{name}.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        guest = Guest(
            said["name"], said["pid"], said["started"], said["leader"], said["leader_started"], Path(said["root"]),
            said["tree"], tuple(said["interfaces"]),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise GuestError(f"{path}: not a guest's description ({error}); remove it once no guest runs") from error
    if start_time(guest.pid) == guest.started:
        return guest
    path.unlink()
    return None


def running(layout: Layout) -> tuple[Guest, ...]:
    """Every guest of this checkout that runs."""
    found = (find(path.stem, layout) for path in sorted(layout.run.glob("*.json")))
    return tuple(guest for guest in found if guest is not None)


def boot(spec: Spec, layout: Layout) -> Guest:
    """Extract the tree, boot it and connect its networks.

    Raises `GuestError` when interfaces of these names are taken (by another lab on this machine) or the guest does not
    come up in time; nothing of it runs then.
    """
    for link in spec.links:
        if network.exists(link.host_interface):
            raise GuestError(
                f"the interface {link.host_interface} exists already: another lab runs on this machine; "
                "end it with `make down` in its folder"
            )
    home = layout.guests / spec.name
    shutil.rmtree(home, ignore_errors=True)
    root = home / "root"
    with _ordinary_umask():
        if spec.tar is None:
            root.mkdir(parents=True)
        else:
            extract(spec.tar, root)
        spec.prepare(root)
    log = home / "boot.log"
    process = _start(spec, root, log)
    try:
        leader = wait_for(lambda: _leader(process, spec.links, log), f"{spec.name} to start (its console: {log})")
        interfaces = tuple(link.host_interface for link in spec.links)
        started, leader_started = start_time(process.pid) or 0, start_time(leader) or 0
        guest = Guest(spec.name, process.pid, started, leader, leader_started, root, spec.tree, interfaces)
        write_json(layout.run / f"{spec.name}.json", _described(guest))
        for link in spec.links:
            network.reach(link)
            if not spec.left_alone:
                network.connect(link, leader)
    except BaseException:
        process.kill()
        process.wait()
        (layout.run / f"{spec.name}.json").unlink(missing_ok=True)
        raise
    _children[process.pid] = process
    return guest


def stop(guest: Guest, layout: Layout) -> None:
    """Shut the guest down in order; one that does not end in time is killed. Its tree stays for whoever wants to look."""
    if not _gone(guest):
        if start_time(guest.pid) == guest.started:
            os.kill(guest.pid, signal.SIGTERM)
        try:
            wait_for(lambda: _gone(guest), f"{guest.name} to shut down", STOP_SECONDS)
        except GuestError:
            # The guest ends with its PID 1; that outlives nspawn, so killing nspawn alone would leave it.
            for pid, started in ((guest.leader, guest.leader_started), (guest.pid, guest.started)):
                if start_time(pid) == started:
                    os.kill(pid, signal.SIGKILL)
            wait_for(lambda: _gone(guest), f"{guest.name} to be killed")
    if guest.pid in _children:
        _children.pop(guest.pid).wait()
    for interface in guest.interfaces:
        network.remove(interface)
    cgroup.remove(_group(guest.root))
    (layout.run / f"{guest.name}.json").unlink(missing_ok=True)


def wait_for(look: Callable[[], T | None], what: str, seconds: float = BOOT_SECONDS) -> T:
    """Look again and again until there is something true; a `GuestError` says what was waited for in vain."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise GuestError(f"waited {seconds:g} s for {what}")
        time.sleep(POLL_SECONDS)
    return found


def answers(address: str, port: int) -> bool:
    """Whether a TCP connection to this port is accepted right now."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def _group(root: Path) -> str:
    """The guest's control group: two checkouts may run guests of one name, each in a network namespace of its own."""
    return str(root).strip("/").replace("/", "-")


@contextmanager
def _ordinary_umask() -> Iterator[None]:
    """What is made inside has the modes that it says: a guest whose / is 0700, its maker's umask being 077, lets nobody in."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _described(guest: Guest) -> dict[str, str | int | list[str]]:
    return {
        "name": guest.name,
        "pid": guest.pid,
        "started": guest.started,
        "leader": guest.leader,
        "leader_started": guest.leader_started,
        "root": str(guest.root),
        "tree": guest.tree,
        "interfaces": list(guest.interfaces),
    }


def _start(spec: Spec, root: Path, log: Path) -> subprocess.Popen[bytes]:
    argv = [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        "--boot",
        "--register=no",
        f"--machine={spec.name}",
        *(link.nspawn_option for link in spec.links),
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
        *spec.options,
    ]
    if not cgroup.has_systemd():
        # Without systemd on this machine there is nobody who could make a unit for the guest.
        argv.insert(1, "--keep-unit")
    if spec.dies_with_us:
        argv = ["setpriv", "--pdeathsig", "TERM", "--", *argv]
    with log.open("wb") as file, cgroup.apart(_group(root)):
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # The guest's systemd knows only the unified hierarchy, whatever this machine's own systemd uses; and it mounts its
            # /tmp itself, as its own unit says.
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                "SYSTEMD_NSPAWN_TMPFS_TMP": "0",
            },
        )


def _leader(process: subprocess.Popen[bytes], links: tuple[Link, ...], log: Path) -> int | None:
    if process.poll() is not None:
        said = log.read_text(encoding="utf-8", errors="replace").strip() or "nothing"
        raise GuestError(f"systemd-nspawn ended with code {process.returncode} and said: {said}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    for child in map(int, children):
        if all(network.guest_has(child, link.guest_interface) for link in links):
            return child
    return None


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _gone(guest: Guest) -> bool:
    return start_time(guest.pid) != guest.started and start_time(guest.leader) != guest.leader_started
