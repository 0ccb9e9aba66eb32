"""The portal as it runs: its application behind the TLS proxy, with a scripted configd in place of the root part."""

import contextlib
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from appliance.configd.api import CloseSession, DiffConfig, Facts, Login, Refusal, Session, Show, Table, Touch
from appliance.configd.client import Refused, Unreachable
from appliance.portal.app import Portal
from appliance.portal.serving import listening, serving
from appliance.portal.settings import Settings
from appliance.tls_proxy.service import Service
from appliance.tls_proxy.settings import Settings as ProxySettings
from appliance.tls_proxy.settings import Tls

BANNER = "I've read & consent to <terms>"
PASSWORD = "correct horse battery staple"


@dataclass
class ScriptedConfigd:
    """Answers like configd: one account, and whatever `topics` holds."""

    ended: bool = False
    down: bool = False
    logins: list[Login] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    topics: dict[str, Any] = field(default_factory=dict)
    opened: int = 0

    async def call(self, verb: Any, _result_type: Any = None) -> Any:
        if self.down:
            raise Unreachable("configd does not answer on /run/secret-place/configd.sock")
        match verb:
            case Login():
                return self._login(verb)
            case Touch() if self.ended:
                raise Refused(Refusal(kind="session", message="expired"))
            case Touch():
                return self._session()
            case CloseSession():
                self.closed.append(verb.session)
                return None
            case DiffConfig():
                return ()
            case Show():
                return self._show(verb.topic)
        raise AssertionError(f"the portal has no business sending {verb!r}")

    def _login(self, verb: Login) -> Session:
        self.logins.append(verb)
        if (verb.user, verb.password) != ("admin", PASSWORD):
            kind: Any = "locked" if verb.user == "locked" else "authentication"
            raise Refused(Refusal(kind=kind, message=f"{verb.user}: refused"))
        self.opened += 1
        return self._session()

    def _session(self) -> Session:
        return Session(
            handle=f"handle-{self.opened}",
            user="admin",
            role="administrator",
            privileged=False,
            idle_seconds=900,
            last_login="yesterday",
            notices=("a commit was rolled back",),
        )

    def _show(self, topic: str) -> Any:
        if topic == "backends":
            raise Refused(Refusal(kind="unavailable", message="the agent does not answer"))
        if topic == "devices":
            rows = (("PHONE1", "alice", "allowed"), ("PHONE2", "bob", "blocked"), ("PHONE3", "carol", "allowed"))
            return Table(title="devices", columns=("device", "user", "state"), rows=rows)
        return self.topics.get(topic, Facts(title=topic, facts=((topic, f"value of {topic}"),)))


@dataclass
class Stand:
    """The running portal: where it is, what configd saw, and a clock the test moves."""

    url: str
    configd: ScriptedConfigd
    application: web.Application
    tls: ssl.SSLContext
    seconds: float = 0.0

    def browser(self) -> aiohttp.ClientSession:
        """A new browser: its own cookies, the appliance's CA, nothing followed by itself."""
        connector = aiohttp.TCPConnector(ssl=self.tls)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost (cert.pem, key.pem in the folder)."""
    return make_certificate(tmp_path_factory.mktemp("portal-tls"))


def make_certificate(folder: Path) -> Path:
    """One in this folder."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
async def stand(certificate: Path, unused_tcp_port: int) -> AsyncIterator[Stand]:
    """The portal on a free port of loopback."""
    settings = Settings(port=unused_tcp_port, hosts=("localhost",), login_attempts_per_minute=5)
    configd = ScriptedConfigd()
    portal = Portal(settings, BANNER, configd, clock=lambda: held.seconds)  # type: ignore[arg-type]  # speaks the same verbs
    application = portal.application()
    trust = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    held = Stand(f"https://localhost:{unused_tcp_port}", configd, application, trust)
    async with behind_proxy(application, certificate, socket.create_server(("127.0.0.1", unused_tcp_port))):
        yield held


@contextlib.asynccontextmanager
async def behind_proxy(application: web.Application, certificate: Path, listener: socket.socket) -> AsyncIterator[None]:
    """Serve this portal on a port of loopback, through the TLS proxy that has the certificate in this folder."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "portal.sock"
        proxy = Service(proxy_settings(certificate, listener.getsockname()[1], place), NoTickets())
        with listening(place) as inner:
            async with serving(application, inner), proxy.serving([listener]):
                yield


def proxy_settings(certificate: Path, port: int, portal: Path, **more: Any) -> ProxySettings:
    """Of a proxy on loopback; `more` is TLS's."""
    pair = {"certificate": str(certificate / "cert.pem"), "key": str(certificate / "key.pem")}
    tls = Tls(**pair, maximum="1.2", **more)  # type: ignore[arg-type]  # mypy takes every value for a path
    return ProxySettings(addresses=("127.0.0.1",), port=port, tls=tls, portal_socket=str(portal))


class NoTickets:
    """Where no certificate is asked for, nobody asks for a ticket."""

    async def present(self, _certificate: bytes, _source: str) -> str:
        raise AssertionError("no certificate was asked for")

    async def withdraw(self, _ticket: str) -> None:
        raise AssertionError("there was no ticket")


@pytest.fixture
async def stage(
    tmp_path: Path, certificate: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """The portal over a real configd (`tests.unit.appliance.portal.stage.Stage`)."""
    from tests.unit.appliance.portal.stage import staged  # noqa: PLC0415 - which imports this file

    async with staged(tmp_path, certificate, unused_tcp_port, monkeypatch) as running:
        yield running
