"""Log-in by certificate as it runs: TLS proxy, portal and configd at their sockets, and an authority that issues cards."""

import asyncio
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.configd.client import AsyncClient
from appliance.configd.gate import Doors
from appliance.configd.server import Server
from appliance.portal.app import Portal
from appliance.portal.serving import listening, serving
from appliance.portal.settings import Settings
from appliance.tls_proxy.service import Service
from appliance.tls_proxy.tickets import Desk
from tests.device_pki import UPN, DevicePki
from tests.unit.appliance.configd.people import TREE
from tests.unit.appliance.portal.conftest import make_certificate, proxy_settings
from tests.unit.appliance.workbench import FEATURES, PORTAL_FEATURE, Daemon

BANNER = "Read this."
ENDED = ("200101000000Z", "200201000000Z")
LONG = 30.0


@pytest.fixture(scope="session")
def cards(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """A root, the authority below it that issues cards, and cards of all kinds; and an authority nobody knows."""
    pki = DevicePki(tmp_path_factory.mktemp("cards"))
    pki.authority("Root")
    pki.authority("Cards", above="Root")
    pki.authority("Strangers")
    pki.bundle("authorities", "Root", "Cards")
    pki.issue("alice", by="Cards", subject="/CN=DOE.ALICE.Q.1111111111", names=f"{UPN}1111111111@mil")
    pki.issue("olga", by="Cards", subject="/CN=ROE.OLGA.2222222222")
    pki.issue("ended", by="Cards", subject="/CN=DOE.ALICE.Q.1111111111", dates=ENDED)
    pki.issue("revoked", by="Cards", subject="/CN=DOE.ALICE.Q.1111111111")
    pki.issue("for-servers", by="Cards", subject="/CN=DOE.ALICE.Q.1111111111", usage="serverAuth")
    pki.issue("nobody", by="Cards", subject="/CN=POE.NOBODY.9999999999")
    pki.issue("stranger", by="Strangers", subject="/CN=DOE.ALICE.Q.1111111111", names=f"{UPN}1111111111@mil")
    pki.revoke("revoked", by="Cards")
    pki.crl("Root")
    pki.crl("Cards")
    return pki


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The proxy's own (cert.pem, key.pem in the folder)."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def crls(pki: DevicePki, *names: str) -> str:
    """The lists of these authorities, in one text."""
    return "".join((pki.folder / f"{name}.crl.pem").read_text() for name in names)


def certificate_tree(pki: DevicePki, **change: Any) -> dict[str, Any]:
    """A configuration with log-in by the cards' certificates; `change` is of these settings."""
    held = {
        "mode": "optional",
        "authorities": Path(pki.path("authorities")).read_text(),
        "revocation": {"crls": crls(pki, "Root", "Cards")},
        **change,
    }
    accounts = {name: dict(account) for name, account in TREE["users"]["accounts"].items()}
    accounts["alice"]["edipi"], accounts["olga"]["edipi"] = "1111111111", "2222222222"
    return {**TREE, "users": {"accounts": accounts}, "portal": {"certificate_login": held}}


@dataclass
class Site:
    """The three of them, running."""

    url: str
    daemon: Daemon
    proxy: Service
    cards: DevicePki
    certificate: Path
    configd_socket: Path

    @property
    def port(self) -> int:
        """Where the proxy listens."""
        return int(self.url.rpartition(":")[2])

    def context(self, card: str = "") -> ssl.SSLContext:
        """A browser's TLS, with this card."""
        context = ssl.create_default_context(cafile=str(self.certificate / "cert.pem"))
        if card:
            context.load_cert_chain(*self.cards.pair(card))
        return context

    def browser(self, card: str = "") -> aiohttp.ClientSession:
        """A new browser with this card."""
        connector = aiohttp.TCPConnector(ssl=self.context(card))
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True))

    def audited(self, event: str = "session.login_certificate") -> list[tuple[str, str, str]]:
        """User, source and result of each entry."""
        entries = [one for one in self.daemon.ledger.entries if one.event == event]
        return [(one.user, one.source.partition(" ")[0], one.result) for one in entries]


def same_account(daemon: Daemon) -> None:
    """The portal and the proxy run in this process here, so that for configd both are this account."""
    doors = daemon.gate._doors
    own = Doors(
        name_of=doors.name_of,
        portal_uid=os.getuid,
        login=doors.login,
        proxy_uid=os.getuid,
        examine=doors.examine,
        standing=doors.standing,
    )
    daemon.gate._doors = own


@pytest.fixture
async def site(cards: DevicePki, certificate: Path, unused_tcp_port: int) -> AsyncIterator[Site]:
    """All of it on loopback; certificates are optional."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - openssl looks at the authorities as nobody
        daemon = Daemon(folder / "box", features=(*FEATURES, PORTAL_FEATURE))
        daemon.commit(certificate_tree(cards))
        same_account(daemon)
        stop, ready = asyncio.Event(), asyncio.Event()
        configd = folder / "configd.sock"
        running = asyncio.create_task(Server(daemon.gate, daemon.watch, configd).serve(stop, ready=ready))
        await ready.wait()
        settings = Settings(port=unused_tcp_port, hosts=("localhost",), certificate_login="optional")
        portal = Portal(settings, BANNER, AsyncClient(configd))
        place = folder / "portal.sock"
        held = proxy_settings(certificate, unused_tcp_port, place, client_authorities=cards.path("authorities"))
        proxy = Service(held, Desk(AsyncClient(configd)))
        with listening(place) as inner:
            outer = socket.create_server(("127.0.0.1", unused_tcp_port))
            async with serving(portal.application(), inner), proxy.serving([outer]):
                yield Site(f"https://localhost:{unused_tcp_port}", daemon, proxy, cards, certificate, configd)
        stop.set()
        await running
