"""A proxy that runs: its port, and all of its processes."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import procfs
from tests.bench.program import Program
from tests.bench.stage import ADDRESS, NUMBERS, Stage


@dataclass(slots=True)
class Proxy:
    """`programs` are those whose cost is this proxy's: with nginx its decision service, too."""

    name: str
    port: int
    folder: Path
    programs: list[Program] = field(default_factory=list)
    pools: bool = False
    """Whether devices share its connections to the backend."""
    agent: Path | None = None
    """Where our agent is spoken to; it is not on the way of a known device, and no part of the cost."""

    def pids(self) -> list[int]:
        """All processes, those too that they have started."""
        parents = procfs.parents()
        return [pid for one in self.programs for pid in procfs.family(one.process.pid, parents)]

    def cpu_seconds(self) -> float:
        """The CPU time of all of them so far."""
        return sum(map(procfs.cpu_seconds, self.pids()))

    def pss_bytes(self) -> int:
        """The memory of all of them."""
        return procfs.pss_bytes(self.pids())


def takes_connections(port: int) -> bool:
    """Whether anybody listens on this port."""
    with socket.socket() as peer:
        return peer.connect_ex((ADDRESS, port)) == 0


def new_folder(stage: Stage, name: str) -> Path:
    """A folder of its own for one start."""
    folder = stage.folder / f"{name}-{next(NUMBERS)}"
    folder.mkdir()
    return folder


def client_context(stage: Stage) -> ssl.SSLContext:
    """How the bench's own clients speak TLS: one version and one cipher, never resuming a session."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(stage.ca))
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(stage.cipher)
    context.options |= ssl.OP_NO_TICKET
    return context
