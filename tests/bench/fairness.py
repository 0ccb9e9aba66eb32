"""What must be the same for all, looked at before anything is measured: a proxy that differs makes every figure worthless."""

import ssl
import time

from tests.bench import clients, phones, remote
from tests.bench.measures.requests import UnfairError
from tests.bench.proxy import Proxy, client_context
from tests.bench.stage import Stage

LINE_SECONDS = 5.0
VISITS = 4
CHECKS = 1  # the gateway's own look at its backend may fall in between


def check(stage: Stage, proxy: Proxy) -> None:
    """The proxy's TLS, its decision and its audit line. Raises `UnfairError`."""
    _check_tls(stage, proxy)
    _check_upstreams(stage, proxy)
    lines = stage.lines()
    _expect(stage, proxy, phones.known(1), 200)
    _expect(stage, proxy, phones.blocked(1), 403)
    end = time.monotonic() + LINE_SECONDS
    while stage.lines() < lines + 2:
        if time.monotonic() > end:
            raise UnfairError(f"{proxy.name}: two requests had to be in the trail; found {stage.lines() - lines} lines")
        time.sleep(0.02)


def _check_tls(stage: Stage, proxy: Proxy) -> None:
    with clients.connect(proxy.port, client_context(stage), clients.source(0)) as peer:
        found = peer.cipher()
        if found is None or (found[0], peer.version()) != (stage.cipher, "TLSv1.2"):
            raise UnfairError(f"{proxy.name}: TLSv1.2 with {stage.cipher} is the same for all; found {found}")
    newer = client_context(stage)
    newer.maximum_version = ssl.TLSVersion.TLSv1_3
    with clients.connect(proxy.port, newer, clients.source(0)) as peer:
        if peer.version() != "TLSv1.2":
            raise UnfairError(f"{proxy.name}: TLS 1.2 is the newest for all; found {peer.version()}")


def _check_upstreams(stage: Stage, proxy: Proxy) -> None:
    """Each device's connection has one of its own to the backend, for all of its requests."""
    before = remote.ask(stage.backend, "connections")
    for _ in range(VISITS):
        with clients.connect(proxy.port, client_context(stage), clients.source(0)) as peer:
            for _ in range(2):
                peer.sendall(phones.known(1).head("Sync", 0))
                clients.response(peer)
    made = remote.ask(stage.backend, "connections") - before
    fewest = 1 if proxy.pools else VISITS
    if not fewest <= made <= VISITS + CHECKS:
        raise UnfairError(
            f"{proxy.name}: {VISITS} device connections had to have as many to the backend; it has seen {made}"
        )


def _expect(stage: Stage, proxy: Proxy, phone: phones.Phone, status: int) -> None:
    with clients.connect(proxy.port, client_context(stage), clients.source(0)) as peer:
        peer.sendall(phone.head("Sync", phones.BODY_BYTES) + b"x" * phones.BODY_BYTES)
        found = clients.status(clients.response(peer))
        if found != status:
            raise UnfairError(
                f"{proxy.name}: {status} is the answer to {phone.device}; found {found}: {stage.last_line()}"
            )
