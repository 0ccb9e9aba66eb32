"""What is the same for all proxies of a run: certificates, the backend, the trail's reader, the devices."""

import itertools
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import phones, pki, remote
from tests.bench.cores import LOAD
from tests.bench.program import Program

BLOCKED = 64  # devices that are known as blocked: one for each connection of the load
ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Plan:
    """What may differ between two runs: the key, how many devices are known, and whether the backend speaks TLS."""

    key: pki.Key = "rsa2048"
    devices: int = 100_000
    backend_tls: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything but the proxies, running."""

    folder: Path
    plan: Plan
    pair: pki.Pair
    ca: Path
    backend_port: int

    @property
    def backend(self) -> Path:
        """Where the backend is spoken to."""
        return self.folder / "backend.control"

    @property
    def reader(self) -> Path:
        """Where the trail's reader is spoken to."""
        return self.folder / "trail.control"

    @property
    def trail(self) -> Path:
        """Where audit lines go."""
        return self.folder / "trail.sock"

    @property
    def entries(self) -> Path:
        """HAProxy's map of devices."""
        return self.folder / "devices.map"

    @property
    def nginx_entries(self) -> Path:
        """nginx's."""
        return self.folder / "devices.nginx"

    @property
    def cipher(self) -> str:
        """The one cipher of every connection of a device."""
        return pki.CIPHERS[self.plan.key]

    def served(self) -> int:
        """How many requests the backend has answered."""
        return remote.ask(self.backend, "served")

    def held(self) -> int:
        """How many Pings it holds."""
        return remote.ask(self.backend, "held")

    def lines(self) -> int:
        """How many audit lines have come."""
        return remote.ask(self.reader, "lines")

    def last_line(self) -> str:
        """The last of them."""
        time.sleep(0.1)  # the gateway sends them in batches
        remote.ask(self.reader, "keep")
        return self.trail.with_suffix(".last").read_text(errors="replace")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as one:
        one.bind((ADDRESS, 0))
        return int(one.getsockname()[1])


@contextmanager
def stage(plan: Plan) -> Iterator[Stage]:
    """Set it up, and take it down."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        own = pki.Pki(folder)
        own.make_authority()
        made = Stage(folder, plan, own.issue(plan.key, pki.HOST), own.ca, free_port())
        _write_entries(made)
        pair = own.issue("p256", pki.BACKEND)
        tls = [pair.certificate, pair.key] if plan.backend_tls else []
        backend = Program.module("tests.bench.backend", [str(made.backend_port), made.backend, *tls], LOAD, folder)
        stack.enter_context(backend)
        backend.until(lambda: remote.is_there(made.backend), "it answers")
        reader = Program.module("tests.bench.trail", [made.trail, made.reader], LOAD, folder)
        stack.enter_context(reader)
        reader.until(lambda: remote.is_there(made.reader), "it answers")
        yield made


def _write_entries(made: Stage) -> None:
    with made.entries.open("w") as haproxy, made.nginx_entries.open("w") as nginx:
        for phone in phones.all_known(made.plan.devices):
            haproxy.write(f"{phone.entry} allow\n")
            nginx.write(f'"{phone.entry}" allow;\n')


NUMBERS = itertools.count()  # each proxy that is started has a folder of its own
