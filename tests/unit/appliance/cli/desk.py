"""What the CLI's tests stand on: a real configd with the appliance's schema and none of its effects, and a pseudo-terminal."""

import asyncio
import fcntl
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from appliance.configd import api
from appliance.configd.server import Server
from appliance.configd.sessions import Bounds
from appliance.features import FEATURES
from appliance.plan import accept
from tests.screen import COLUMNS, ROWS, Screen, receive_within
from tests.unit.appliance.workbench import Daemon

PROGRAM = Path(__file__).with_name("cli_program.py")
REPO = Path(__file__).parents[4]
SECRET = "Enable-Secret-1234"  # what `enable` asks for
SITE: dict[str, Any] = {
    "hostname": "gw1.example.test",
    "interfaces": {"mgmt0": {"zones": ["management", "device", "backend"], "addresses": ["192.0.2.2/24"]}},
    "ntp": {"servers": ["192.0.2.1", "192.0.2.3"]},
    "firewall": {"management_networks": ["192.0.2.0/24"]},
    "users": {"accounts": {"alice": {"role": "administrator", "ssh_keys": []}}},
    "backends": {"servers": {"mail": {"host": "192.0.2.10"}}},
    "uem": {"mode": "embedded"},
}
WAIT_SECONDS = 20.0
ENVIRONMENT = {
    "PYTHONPATH": str(REPO),
    "TERM": "xterm",
    "PROMPT_TOOLKIT_NO_CPR": "1",
    "SSH_CONNECTION": "198.51.100.7 50000 192.0.2.2 22",
}
HOST = re.escape(socket.gethostname().partition(".")[0])


@dataclass
class Configd:
    """The configd of the test and what it was asked."""

    daemon: Daemon
    path: Path
    topics: dict[str, api.Shown] = field(default_factory=dict)
    busy: threading.Event = field(default_factory=threading.Event)
    """Set: a `show` has come. It is answered when `free` is set."""
    free: threading.Event = field(default_factory=threading.Event)

    @property
    def asked(self) -> list[str]:
        """The verbs served, in their order."""
        return [entry.event for entry in self.daemon.ledger.entries if entry.result == "ok"]

    def idle_seconds(self, seconds: int) -> None:
        """From now on sessions may be idle for so long."""
        bounds = Bounds(seconds, seconds, 5)
        self.daemon.gate.bounds = lambda: bounds  # type: ignore[method-assign]


class Running:
    """A server in a thread of its own, which can be stopped and started again."""

    def __init__(self, daemon: Daemon, path: Path) -> None:
        self.daemon, self.path = daemon, path
        self.start()

    def start(self) -> None:
        """Serve; returns once the socket answers."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        assert ready.wait(WAIT_SECONDS)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop, up = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(
            Server(self.daemon.gate, self.daemon.watch, self.path).serve(self._stop, ready=up)
        )
        await up.wait()
        ready.set()
        await serving

    def stop(self) -> None:
        """End, as configd does when it is told to."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(WAIT_SECONDS)


def without_effects() -> tuple[Any, ...]:
    """The appliance's features: their schemas and rules, and nothing that would touch a machine."""
    nothing: dict[str, Any] = {"render": lambda _tree: {}, "flows": lambda _tree: (), "checks": (), "units": ()}
    nothing |= {"on_machine": lambda _tree, _system: (), "unsettled": None}
    return tuple(replace(feature, reconcile=None, **nothing) for feature in FEATURES)


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def accepted(daemon: Daemon, tree: dict[str, Any]) -> dict[str, Any]:
    return accept(daemon.schema, tree, {}, daemon.vault)


def public_key(folder: Path) -> str:
    argv = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(folder / "key")]
    subprocess.run(argv, check=True)
    return (folder / "key.pub").read_text().split()[1]


class Dialogue(Screen):
    """sentry-cli at a pseudo-terminal."""

    def __init__(self, path: Path, program: Path = PROGRAM) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, str(program), str(path)], ENVIRONMENT)  # noqa: S606
        # The size, and no pixels: struct winsize (tty_ioctl(4))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        super().__init__(lambda data: os.write(self._fd, data), partial(receive_within, self._fd), WAIT_SECONDS)

    def end(self) -> int:
        """Wait for the end; returns the exit status."""
        self.drained()
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
