"""Whether a start went well: configd answers and has its configuration, what should run runs, and the ports answer.

A machine without a configuration is well when configd says so: its ports are closed then.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.configd import api
from appliance.configd.client import Client, Refused, Unreachable

HEALTHY_SECONDS = 600.0  # until then all must be well; an emulated machine on a busy host needs three minutes
LOOK_SECONDS = 3.0  # between two looks
ANSWER_SECONDS = 10.0  # for a port of this machine
RUNNING = ("active", "reloading", "refreshing")
SSH_BANNER = b"SSH-"
PORTS: dict[int, str] = {443: "sentry-gateway.service", 8443: "sentry-tls-proxy.service", 22: "ssh.service"}
"""Which unit answers on a port, if it should run."""
LISTENING = "0A"  # of /proc/net/tcp (proc_net_tcp.rst)
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class Asks(Protocol):
    """What configd says of the machine."""

    def __call__(self) -> api.Metrics:
        """The numbers; raises `Unreachable` or `Refused`."""


Listeners = Callable[[], dict[int, str]]
Answers = Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class Looks:
    """How one looks: configd's word, who listens where (port -> address), and what a port answers (empty: as it should)."""

    metrics: Asks
    listeners: Listeners
    answers: Answers


def ask_configd() -> api.Metrics:
    """configd's word, as root."""
    with Client() as client:
        session = client.call(api.OpenSession(source="health", interactive=False), api.Session)
        found: api.Metrics = client.call(api.ReadMetrics(session=session.handle), api.Metrics)
        return found


def problems(looks: Looks) -> Iterator[str]:
    """What is not well now."""
    try:
        said = looks.metrics()
    except (Unreachable, Refused) as error:
        yield f"configd: {error}"
        return
    if not said.revision:
        return
    wanted = {unit.name for unit in said.health.units if unit.wanted}
    for unit in said.health.units:
        if unit.wanted and unit.active not in RUNNING:
            yield f"{unit.name} is {unit.active}"
    listening = looks.listeners()
    for port, name in PORTS.items():
        if name not in wanted:
            continue
        if port not in listening:
            yield f"nobody listens on port {port}"
        elif problem := looks.answers(listening[port], port):
            yield f"port {port}: {problem}"


def until_well(
    looks: Looks,
    *,
    seconds: float = HEALTHY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[str, ...]:
    """Look until all is well (nothing is returned) or `seconds` are over (what is wrong then)."""
    deadline = clock() + seconds
    while found := tuple(problems(looks)):
        if clock() >= deadline:
            return found
        sleep(LOOK_SECONDS)
    return ()


def listeners(tables: tuple[Path, ...] = TABLES) -> dict[int, str]:
    """Each TCP port that somebody listens on, with an address at which this machine reaches it."""
    found: dict[int, str] = {}
    for table in tables:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            _number, local, _remote, state, *_rest = line.split()
            address, _, port = local.partition(":")
            if state == LISTENING:
                found.setdefault(int(port, 16), _address(address))
    return found


def _address(text: str) -> str:
    """An address as the kernel prints it: words of 32 bits in the machine's order. Who listens everywhere is reached on
    loopback."""
    words = [bytes.fromhex(text[place : place + 8])[::-1] for place in range(0, len(text), 8)]
    packed = b"".join(words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    if not any(packed):
        return "127.0.0.1" if family == socket.AF_INET else "::1"
    return socket.inet_ntop(family, packed)


def answers(address: str, port: int) -> str:
    """What is wrong with what a port answers; empty when SSH's banner comes, or TLS is spoken. Whether the certificate is a good
    one is not the question: an alert is an answer, too."""
    try:
        with socket.create_connection((address, port), timeout=ANSWER_SECONDS) as connected:
            if port == 22:
                return "" if connected.recv(len(SSH_BANNER)) == SSH_BANNER else "this is not SSH"
            return _tls(connected)
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__


def _tls(connected: socket.socket) -> str:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # we ask whether it answers, and send nothing
    try:
        with context.wrap_socket(connected):
            return ""
    except ssl.SSLError as error:
        return "" if "ALERT" in (error.reason or "") else f"no TLS ({error.reason})"
