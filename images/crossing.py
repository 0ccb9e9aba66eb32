"""A stranger in one zone who calls the guest by its address in another zone.

A host answers on any of its addresses wherever the packet came in (RFC 1122 3.3.4.2, the weak model), so a port that only
administrators may see must be closed to devices under the administrators' address too. nmap follows the routing table and
cannot ask that; a socket bound to an interface can, once it knows the guest's hardware address there.
"""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from images.run import run

ANSWER_SECONDS = 1.0  # an answer from the same machine takes under a millisecond; silence is the ordinary case
# Everything the appliance listens on anywhere: SSH, the gateway, the portal, the UEM's two ports.
PORTS = (22, 443, 8443, 9090, 9443)


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to call and from where: the interface, the guest's hardware address behind it, an address of another zone."""

    zone: str
    interface: str
    mac: str
    address: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The TCP ports that accepted a call."""

    call: Call
    tcp: frozenset[int]


def listen(calls: tuple[Call, ...], ports: tuple[int, ...] = PORTS) -> tuple[Heard, ...]:
    """Make every call; needs root to bind to an interface and to say where an address is."""
    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        return tuple(pool.map(lambda call: Heard(call, _ports(call, ports)), calls))


def _ports(call: Call, ports: tuple[int, ...]) -> frozenset[int]:
    with _neighbour(call):
        return frozenset(port for port in ports if _accepts(call, port))


@contextmanager
def _neighbour(call: Call) -> Iterator[None]:
    entry = [call.address, "lladdr", call.mac, "dev", call.interface]
    run(["ip", "neighbour", "replace", *entry, "nud", "permanent"])
    try:
        yield
    finally:
        run(["ip", "neighbour", "delete", *entry])


def _accepts(call: Call, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, call.interface.encode())
        caller.settimeout(ANSWER_SECONDS)
        try:
            caller.connect((call.address, port))
        except OSError:
            return False
        return True
