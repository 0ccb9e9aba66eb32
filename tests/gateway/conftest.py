"""Certificates, and stands on which the real gateway runs."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from sentry_runtime import settings
from tests.gateway.stand import AuditSink, Backend, Certificates, ScriptedAgent, Stand
from tests.ports import free_port

MakeStand = Callable[..., Awaitable[Stand]]

UNCHECKED = settings.Routing(active=None)  # a backend sees nothing that no device has caused
LIMITS = settings.Limits(drain_seconds=3.0, decision_seconds=5.0, backend_connect_seconds=5.0)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, the gateway's certificate, the backend's, and one of an authority nobody trusts."""
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.authority("ca")
    made.authority("strangers")
    made.issue("gateway", "mail.lab.test")
    made.issue("backend", "backend.lab.test")
    made.issue("stranger", "backend.lab.test", signer="strangers")
    return made


@pytest.fixture
async def make_stand(tmp_path: Path, certificates: Certificates) -> AsyncIterator[MakeStand]:
    """Make a running stand: limits, number of backends and workers, the backends' certificate (None: plain HTTP), and any
    other setting of the gateway."""
    made: list[Stand] = []

    async def make(
        *,
        limits: settings.Limits = LIMITS,
        backends: int = 1,
        workers: int = 1,
        certificate: str | None = "backend",
        started: bool = True,
        external_host: str = "",
        **gateway_settings: object,
    ) -> Stand:
        folder = tmp_path / str(len(made))
        for name in ("", "devices"):
            (folder / name).mkdir()
        paths = settings.Paths(
            devices=str(folder / "devices"),
            agent_socket=str(folder / "agent.sock"),
            gateway_control=str(folder / "control.sock"),
            audit_socket=str(folder / "audit.sock"),
        )
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificates.pair(certificate))
        servers = [Backend(f"mail{number}", context) for number in range(backends)]
        for server in servers:
            await server.start()
        own, key = certificates.pair("gateway")
        trust = settings.ClientTls(trust=certificates.ca)
        gateway = settings.Gateway(
            listeners=(settings.Listener(address="127.0.0.1", port=free_port()),),
            tls=settings.ServerTls(certificate=own, key=key),
            backends=tuple(
                settings.Backend(
                    name=server.name,
                    host="127.0.0.1",
                    port=server.port,
                    server_name="backend.lab.test",
                    tls=None if certificate is None else trust,
                )
                for server in servers
            ),
            workers=workers,
            external_host=external_host,
            limits=limits,
        )
        gateway = msgspec.structs.replace(gateway, **{"routing": UNCHECKED, **gateway_settings})
        link = settings.UemLink(mode="embedded", url="https://127.0.0.1:9443", tls=trust)
        whole = settings.Settings(gateway=gateway, agent=settings.Agent(uem=link), paths=paths)
        agent = ScriptedAgent(paths)
        await agent.start()
        made.append(Stand(folder, certificates, servers, agent, AuditSink(paths.audit_socket), whole))
        if started:
            await made[-1].start()
        return made[-1]

    yield make
    for stand in made:
        await stand.stop()


@pytest.fixture
async def stand(make_stand: MakeStand) -> Stand:
    """A running gateway with one worker and one backend, and nobody in the device list."""
    return await make_stand()


def with_limits(**changes: float) -> settings.Limits:
    """The stand's limits but for these."""
    return msgspec.structs.replace(LIMITS, **changes)
