"""The machine: the only module of the engine that touches files of the system, units and the kernel's socket tables.

`Machine` is what the engine needs; `Appliance` is the real one. Tests give `Appliance` a root folder and a command
runner of their own, so that the file operations under test are the real ones.
"""

import contextlib
import glob
import grp
import os
import pwd
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from appliance import process
from appliance.disk import sync_folder
from appliance.features.base import File, System

PROBE_SECONDS = 10.0  # a service that starts takes one or two; slower than this is a failure to the person waiting
PROBE_PAUSE = 0.1
WORDS_LINES = 3  # a daemon says in its last line or two what it cannot read
NEW = ".sentry-new"
LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SOCKET_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


class MachineError(RuntimeError):
    """The machine could not be brought where it should be; the message says what and why."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at a path: a regular file (`text`, or `data` where it is not UTF-8) or a symbolic `link`."""

    text: str | None = None
    data: bytes | None = None
    link: str | None = None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of a unit."""

    active: str
    kind: str
    enabled: str
    unmet: bool = False
    """A condition of the unit did not hold when it was last started, e.g. chrony's in a container without CAP_SYS_TIME."""

    @property
    def idle(self) -> bool:
        """Whether it does not run, so that to restart it, or to have it take notice, is to start it."""
        return self.active in ("inactive", "failed")

    @property
    def failed(self) -> bool:
        """Whether the unit should be running and is not (a one-shot unit has done its work when it is inactive)."""
        if self.active == "inactive" and self.unmet:
            return False
        return self.active == "failed" or (self.kind != "oneshot" and self.active not in ("active", "reloading"))


class Machine(System, Protocol):
    """What the engine asks of the machine."""

    def held(self, path: str) -> Held | None:
        """What stands at `path`, or None."""

    def matches(self, path: str, file: File) -> bool:
        """Whether content, mode, owner and group of `path` are what `file` says."""

    def write(self, path: str, file: File) -> None:
        """Put `file` at `path` by rename; raises `MachineError` naming the path."""

    def restore(self, path: str, held: Held | None) -> None:
        """Put back what `held` returned; None removes the file."""

    def act(self, unit: str, action: str, *, wait: bool = True) -> None:
        """`reload`, `restart`, `start` or `stop` a unit; raises `CommandError`."""

    def start(self, units: Sequence[str]) -> None:
        """Start units side by side, as far as their ordering lets them, and wait for all, as long as for one after the other;
        raises `CommandError`."""

    def daemon_reload(self) -> None:
        """Tell systemd that unit files changed."""

    def unit(self, unit: str) -> UnitState:
        """The unit's state."""

    def units(self, units: Sequence[str]) -> tuple[UnitState, ...]:
        """The states of units, in their order."""

    def last_words(self, unit: str) -> str:
        """What a unit that failed wrote last; empty where nothing can be learnt."""

    def listening(self) -> frozenset[int]:
        """The TCP ports somebody listens on."""

    def await_ports(self, ports: Iterable[int]) -> frozenset[int]:
        """Wait until all `ports` are listened on; returns those that are still not when the time is up."""

    def await_silence(self, ask: Callable[[], str]) -> str:
        """Wait until `ask` has nothing more to say; returns what it still says when the time is up."""


class Ahead:
    """A machine as features will see it once `files` lie there, which they do not yet."""

    def __init__(self, system: System, files: Mapping[str, File]) -> None:
        self._system = system
        self._files = files

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """See `System.run`."""
        return self._system.run(argv, stdin=stdin)

    def read(self, path: str) -> str | None:
        """See `System.read`."""
        return self._files[path].text if path in self._files else self._system.read(path)

    def secret(self, reference: str) -> str:
        """See `System.secret`."""
        return self._system.secret(reference)


class Boot:
    """The time since the machine started, which nobody can set, and which start that was."""

    def seconds(self) -> float:
        """CLOCK_BOOTTIME: it goes on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def name(self) -> str:
        """This start's own name (random(4), boot_id)."""
        return BOOT_ID.read_text().strip()


class Appliance:
    """The machine we run on. `root` and the rest are for tests; the defaults are the appliance's own."""

    def __init__(
        self,
        reveal: Callable[[str], str],
        *,
        root: Path = Path("/"),
        run: Callable[..., str] = process.run,
        owners: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reveal = reveal
        self._root = root
        self._run = run
        self._owners = owners
        self._sleep = sleep
        self._clock = clock

    # --- what features see ---------------------------------------------------------------------------------------

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """Run a command; see `System.run`."""
        return self._run(argv, stdin=stdin)

    def read(self, path: str) -> str | None:
        """The text of a file, or None; see `System.read`."""
        try:
            return self.place(path).read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def secret(self, reference: str) -> str:
        """The value behind a reference; see `System.secret`."""
        return self._reveal(reference)

    # --- files ---------------------------------------------------------------------------------------------------

    def place(self, path: str) -> Path:
        """Where `path` lies (below `root`, which is `/` on the appliance)."""
        return self._root / path.lstrip("/")

    def held(self, path: str) -> Held | None:
        """What stands at `path`; see `Machine.held`."""
        place = self.place(path)
        try:
            state = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(state.st_mode):
            return Held(link=str(place.readlink()))
        if not stat.S_ISREG(state.st_mode):
            raise MachineError(f"{path}: is neither a file nor a symbolic link; it is not ours to replace")
        data = place.read_bytes()
        mode, uid, gid = stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid
        try:
            return Held(text=data.decode(), mode=mode, uid=uid, gid=gid)
        except UnicodeDecodeError:
            return Held(data=data, mode=mode, uid=uid, gid=gid)

    def matches(self, path: str, file: File) -> bool:
        """Whether nothing has to be done for `path`; see `Machine.matches`."""
        held = self.held(path)
        if held is None or held.text != file.text or held.mode != file.mode:
            return False
        return not self._owners or (held.uid, held.gid) == self._ids(path, file)

    def write(self, path: str, file: File) -> None:
        """Write by rename; see `Machine.write`."""
        uid, gid = self._ids(path, file) if self._owners else (0, 0)
        self.restore(path, Held(text=file.text, mode=file.mode, uid=uid, gid=gid))

    def restore(self, path: str, held: Held | None) -> None:
        """Put `held` at `path` by rename; see `Machine.restore`."""
        place = self.place(path)
        try:
            self._sweep(place)
            if held is None:
                place.unlink(missing_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                self._replace(place, held)
            if place.parent.is_dir():
                sync_folder(place.parent)
        except OSError as error:
            raise MachineError(f"{path}: cannot be written: {error.strerror or error}") from error

    @staticmethod
    def _sweep(place: Path) -> None:
        """Remove what a crash left beside `place` of a file that was being written."""
        for left in place.parent.glob(f".{glob.escape(place.name)}.*{NEW}"):
            left.unlink()

    def _replace(self, place: Path, held: Held) -> None:
        # The dot keeps half-written files out of the *.d folders daemons read.
        new = place.parent / f".{place.name}.{secrets.token_hex(4)}{NEW}"
        try:
            if held.link is not None:
                new.symlink_to(held.link)
            else:
                self._fill(new, held)
            new.rename(place)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise

    def _fill(self, new: Path, held: Held) -> None:
        data = held.data if held.data is not None else (held.text or "").encode()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(data)
            if self._owners:
                os.fchown(descriptor, held.uid, held.gid)
            os.fchmod(descriptor, held.mode)
            target.flush()
            os.fsync(descriptor)

    @staticmethod
    def _ids(path: str, file: File) -> tuple[int, int]:
        try:
            return pwd.getpwnam(file.owner).pw_uid, grp.getgrnam(file.group).gr_gid
        except KeyError as error:
            raise MachineError(
                f"{path}: should belong to {file.owner}:{file.group}, which is not an account and a group of this machine"
            ) from error

    # --- units ---------------------------------------------------------------------------------------------------

    def act(self, unit: str, action: str, *, wait: bool = True) -> None:
        """Let systemd act on a unit; see `Machine.act`. While the machine boots, waiting for a unit that waits for us
        would never end."""
        # A unit that is to take notice but does not run yet (the first commit) is started.
        verb = "reload-or-restart" if action == "reload" else action
        self._run(["systemctl", *([] if wait else ["--no-block"]), verb, "--", unit])

    def start(self, units: Sequence[str]) -> None:
        """See `Machine.start`."""
        self._run(["systemctl", "start", "--", *units], seconds=process.SECONDS * len(units))

    def daemon_reload(self) -> None:
        """See `Machine.daemon_reload`."""
        self._run(["systemctl", "daemon-reload"])

    def unit(self, unit: str) -> UnitState:
        """See `Machine.unit`."""
        return self.units((unit,))[0]

    def units(self, units: Sequence[str]) -> tuple[UnitState, ...]:
        """See `Machine.units`."""
        output = self._run(
            ["systemctl", "show", "--property=ActiveState,Type,UnitFileState,ConditionResult", "--", *units]
        )
        return tuple(_state(block) for block in output.split("\n\n"))

    def last_words(self, unit: str) -> str:
        """See `Machine.last_words`. What systemd itself says of the unit is left out: it names no reason."""
        argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(WORDS_LINES), f"_SYSTEMD_UNIT={unit}"]
        try:
            return self._run(argv).strip()
        except process.CommandError:
            return ""

    # --- sockets -------------------------------------------------------------------------------------------------

    def listening(self) -> frozenset[int]:
        """See `Machine.listening`."""
        return frozenset(port for table in SOCKET_TABLES for port in listening_ports(self.read(table) or ""))

    def await_ports(self, ports: Iterable[int]) -> frozenset[int]:
        """See `Machine.await_ports`."""
        wanted = frozenset(ports)
        deadline = self._clock() + PROBE_SECONDS
        while missing := wanted - self.listening():
            if self._clock() >= deadline:
                return missing
            self._sleep(PROBE_PAUSE)
        return frozenset()

    def await_silence(self, ask: Callable[[], str]) -> str:
        """See `Machine.await_silence`."""
        deadline = self._clock() + PROBE_SECONDS
        while said := ask():
            if self._clock() >= deadline:
                return said
            self._sleep(PROBE_PAUSE)
        return ""


def _state(block: str) -> UnitState:
    fields = dict(line.partition("=")[::2] for line in block.splitlines())
    return UnitState(
        active=fields.get("ActiveState", "unknown"),
        kind=fields.get("Type", ""),
        enabled=fields.get("UnitFileState", ""),
        unmet=fields.get("ConditionResult") == "no",
    )


def listening_ports(table: str) -> list[int]:
    """The listening ports of a /proc/net/tcp or tcp6 table."""
    rows = (line.split() for line in table.splitlines()[1:])
    return [int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == LISTENING]
