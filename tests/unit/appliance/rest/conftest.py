"""The REST API as it runs: the portal's application behind real TLS, and a real configd at its socket."""

import asyncio
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.configd import api
from appliance.configd.client import AsyncClient
from appliance.configd.passwords import hashed
from appliance.portal.app import Portal
from appliance.portal.settings import Settings
from appliance.rest.requests import ENABLE_HEADER
from tests.unit.appliance import workbench
from tests.unit.appliance.cli.desk import SECRET, SITE, Running, accepted, public_key, without_effects
from tests.unit.appliance.portal.conftest import behind_proxy, make_certificate
from tests.unit.appliance.workbench import ALICE, Daemon

WAIT_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def kind(self) -> str:
        """Of a problem: the end of its type."""
        return str(self.json["type"]).rpartition("#problem-")[2]


class Stand:
    """The running portal with its API."""

    def __init__(self, daemon: Daemon, socket_path: Path, certificate: Path) -> None:
        self.daemon = daemon
        self.certificate = certificate / "cert.pem"
        self.tls = ssl.create_default_context(cafile=str(self.certificate))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        self._settings = Settings(
            port=self.port,
            hosts=("localhost",),
            configd_socket=str(socket_path),
            login_attempts_per_minute=600,
        )
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        assert ready.wait(WAIT_SECONDS)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        portal = Portal(self._settings, "Banner", AsyncClient(self._settings.configd_socket))
        self.application, self.rest = portal.application(), portal._rest
        async with behind_proxy(self.application, self.certificate.parent, self._listener):
            ready.set()
            await self._stop.wait()

    def stop(self) -> None:
        """End."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_SECONDS)

    def token(self, name: str = "fleet", role: api.Role = "administrator", **more: Any) -> str:
        """A token that alice has given out on the command line."""
        peer, session = self.daemon.open(ALICE, connection=9_000)
        self.daemon.say(peer, api.Enable(session=session.handle, secret=SECRET))
        verb = api.CreateToken(session=session.handle, name=name, role=role, **more)
        made = self.daemon.say(peer, verb, api.NewToken)
        self.daemon.say(peer, api.CloseSession(session=session.handle))
        return str(made.token)

    def ask(
        self,
        method: str,
        path: str,
        token: str = "",
        body: Any = None,
        *,
        enable: str = "",
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """One request; `path` goes out as it stands."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if enable:
            sent[ENABLE_HEADER] = enable
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        if data is not None:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            sent.setdefault("Content-Type", kind)
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=WAIT_SECONDS)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("rest-tls"))


@pytest.fixture
def stand(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """Whoever runs the tests is the portal to configd."""
    monkeypatch.setattr("appliance.configd.gate.ROOT", -1)
    monkeypatch.setattr(workbench, "PORTAL", os.getuid())
    daemon = Daemon(tmp_path / "box", features=without_effects())
    key = "ecdsa-sha2-nistp256 " + public_key(tmp_path)
    tree = {**SITE, "users": {"accounts": {"alice": {"role": "administrator", "ssh_keys": [key]}}}}
    tree["firewall"] = {"management_networks": ["192.0.2.0/24", "127.0.0.0/8"]}
    tree["cli"] = {"enable_secret_hash": hashed(SECRET)}
    daemon.commit(daemon.schema.fill(accepted(daemon, tree)))
    running = Running(daemon, tmp_path / "socket")
    made = Stand(daemon, running.path, certificate)
    yield made
    made.stop()
    running.stop()
