"""Devices that hold a connection, and devices that come anew for each request: what wrk and h2load do not do.

wrk resumes TLS sessions, which devices that come back after hours do not; neither holds thousands of Pings and can say when
each has ended.
"""

import re
import select
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench import pki
from tests.bench.phones import Phone
from tests.bench.stage import ADDRESS

PATIENCE = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
PER_SOURCE = 1_500  # connections from one address: below the gateway's limit of 2,000, as a carrier's NAT would have


class UnexpectedAnswerError(RuntimeError):
    """A device did not get what it had to get."""


def connect(port: int, context: ssl.SSLContext, source: str) -> ssl.SSLSocket:
    """A new connection from this address."""
    plain = socket.create_connection((ADDRESS, port), PATIENCE, (source, 0))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname=pki.HOST)


def source(number: int) -> str:
    """The address from which this device comes."""
    return f"127.0.1.{1 + number // PER_SOURCE}"


def status(answer: bytes) -> int:
    """The status of a response. Raises `UnexpectedAnswerError`."""
    if not answer.startswith(b"HTTP/1.1 "):
        raise UnexpectedAnswerError(f"an HTTP response is expected; found {answer[:80]!r}")
    return int(answer[9:12])


def response(peer: ssl.SSLSocket) -> bytes:
    """A whole response: what comes until its body has the length that its head says. Raises `UnexpectedAnswerError`."""
    got = b""
    while not complete(got):
        more = peer.recv(65_536)
        if not more:
            raise UnexpectedAnswerError(f"the connection has ended after {got[:80]!r}")
        got += more
    return got


def complete(got: bytes) -> bool:
    """Whether this is all of a response with a Content-Length."""
    head, end, body = got.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


def visit(port: int, context: ssl.SSLContext, phone: Phone, length: int) -> None:
    """Come anew, ask once, go. Raises `UnexpectedAnswerError`."""
    with connect(port, context, source(0)) as peer:
        peer.sendall(phone.head("Sync", length) + b"x" * length)
        answer = response(peer)
        if status(answer) != 200:
            raise UnexpectedAnswerError(f"200 is expected; found {answer[:80]!r}")


def visits(
    port: int, context: ssl.SSLContext, phones: Sequence[Phone], count: int, *, at_once: int, length: int
) -> None:
    """So many visits, `at_once` of them at a time."""
    with ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(lambda number: visit(port, context, phones[number % len(phones)], length), range(count)):
            pass


@dataclass(slots=True)
class Holding:
    """Devices that each hold a Ping, in the order of their numbers."""

    sockets: list[ssl.SSLSocket] = field(default_factory=list)

    def heard_at(self, count: int) -> list[float]:
        """The monotonic time at which something came for each of so many that hear something, of the answer or of the end; what
        it is is not looked at before all have, as that would hold the others up."""
        poll = select.epoll()
        waiting = {one.fileno() for one in self.sockets}
        for descriptor in waiting:
            poll.register(descriptor, select.EPOLLIN)
        times: list[float] = []
        end = time.monotonic() + PATIENCE
        while len(times) < count:
            events = poll.poll(max(0.0, end - time.monotonic()), 256)
            now = time.monotonic()
            if not events:
                raise UnexpectedAnswerError(
                    f"{count} devices had to hear something; {len(times)} have within {PATIENCE:g} s"
                )
            for descriptor, _ in events:
                poll.unregister(descriptor)
                times.append(now)
        poll.close()
        return times

    def answers(self) -> list[bytes]:
        """What each has got; nothing where its connection has just ended."""
        return [_received(one) for one in self.sockets]


def _received(one: ssl.SSLSocket) -> bytes:
    try:
        return one.recv(65_536)
    except (ConnectionError, ssl.SSLError):
        return b""


@contextmanager
def holding(port: int, context: ssl.SSLContext, phones: Sequence[Phone], length: int) -> Iterator[Holding]:
    """Each of these devices has sent a Ping and waits; they go at the end of the context."""
    held = Holding()
    try:
        for number, phone in enumerate(phones):
            peer = connect(port, context, source(number))
            held.sockets.append(peer)
            peer.sendall(phone.head("Ping", length) + b"x" * length)
        yield held
    finally:
        for one in held.sockets:
            one.close()
