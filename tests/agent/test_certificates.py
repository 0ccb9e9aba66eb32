"""Revocation from end to end: OpenSSL's authority and responder, the agent, the gateway's workers and devices' connections."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.settings import DeviceAuthentication
from tests.agent.conftest import MakeStage
from tests.agent.stage import ME, ROOT, Stage
from tests.device_pki import UPN, DevicePki
from tests.gateway.stand import PATIENCE, Backend, Device, Turn, post, say_yes

PHONE = DeviceKey("PHONE1", "anna@lab.test")
REGISTER = control.Register(device_id=PHONE.device_id, principal=PHONE.principal)


class ListServer:
    """An HTTP server with the authority's list; `missing` while it has none."""

    def __init__(self) -> None:
        self.data = b""
        self.missing = False
        self.fetched = asyncio.Event()
        self.url = ""

    async def serve(self, _request: web.Request) -> web.Response:
        """The list."""
        self.fetched.set()
        return web.Response(status=404) if self.missing else web.Response(body=self.data)


@pytest.fixture
async def lists() -> AsyncIterator[ListServer]:
    """Where the lists lie."""
    made = ListServer()
    app = web.Application()
    app.add_routes([web.get("/devices.crl", made.serve)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/devices.crl"
    yield made
    await runner.cleanup()


@pytest.fixture
def devices(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """An authority with two certificates of Anna's."""
    made = DevicePki(tmp_path_factory.mktemp("devices"))
    made.authority("devices")
    for name in ("anna", "other"):
        made.issue(name, by="devices", names=f"{UPN}anna@lab.test")
    return made


Start = Callable[..., Stage]


@pytest.fixture
def start(make_stage: MakeStage, backend: Backend, devices: DevicePki) -> Start:
    """Start UEM, agent and gateway with these rules of revocation; Anna's phone is registered."""

    def made(**rules: Any) -> Stage:
        stage = make_stage()
        folder = stage.folder / "revocation"
        folder.mkdir()
        auth = {"mode": "identity_certificate", "authorities": devices.path("devices"), "revocation": rules}
        stage.front(backend.port, device_authentication=msgspec.convert(auth, DeviceAuthentication))
        paths = msgspec.structs.replace(stage.settings.paths, revocation=str(folder))
        stage.settings = msgspec.structs.replace(stage.settings, paths=paths)
        stage.uem()
        stage.agent()
        stage.start("gateway")
        control.call(stage.paths.uem_admin, REGISTER)
        return stage

    return made


def context(stage: Stage, devices: DevicePki, name: str) -> ssl.SSLContext:
    """What a device with this certificate dials with."""
    made = ssl.create_default_context(cafile=str(stage.pki.folder / "ca.pem"))
    made.load_cert_chain(*devices.pair(name))
    return made


async def device(stage: Stage, devices: DevicePki, name: str = "anna") -> Device:
    """A phone's connection."""
    port = stage.settings.gateway.listeners[0].port
    secure = context(stage, devices, name)
    return Device(*await asyncio.open_connection("127.0.0.1", port, ssl=secure))


async def passes(stage: Stage, devices: DevicePki, name: str = "anna") -> bool:
    """Whether a device with this certificate is answered."""
    phone = await device(stage, devices, name)
    try:
        return (await phone.ask(post(authorization=None))).status == 200
    except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
        return False
    finally:
        await phone.close()


async def comes_to(stage: Stage, devices: DevicePki, *, passing: bool, name: str = "anna") -> None:
    """Until a device with this certificate is, or is not, answered."""
    async with asyncio.timeout(PATIENCE):
        while await passes(stage, devices, name) != passing:
            pass


def purge(stage: Stage) -> None:
    """An administrator's `clear revocation`."""
    control.call(stage.paths.agent_socket, control.PurgeRevocation(by="admin"))


async def purged(stage: Stage) -> None:
    """The same, beside our own servers."""
    await asyncio.to_thread(purge, stage)


async def hold(turn: Turn) -> None:
    """A Ping that hangs."""
    await turn.body()
    await turn.reader.read()


async def test_a_revoked_certificate_is_refused_and_what_it_holds_is_cut(
    start: Start, lists: ListServer, devices: DevicePki, backend: Backend
) -> None:
    """Row 72: with the next list its held Ping ends, its next handshakes are turned out, its resumed session too, and the other
    certificate goes on."""
    lists.data = devices.crl("devices")
    stage = await asyncio.to_thread(start, crl_urls=[lists.url])
    await comes_to(stage, devices, passing=True)
    secure = context(stage, devices, "anna")
    session = await asyncio.to_thread(resumable, stage, secure)
    backend.script = hold
    phone, other = await device(stage, devices), await device(stage, devices, "other")
    for one in (phone, other):
        await one.send(post("Ping", authorization=None))
    await backend.wait_seen(4)
    devices.revoke("anna", by="devices")
    lists.data = devices.crl("devices")
    await purged(stage)
    assert (await phone.response()).status == 403
    assert await phone.ended() == b""
    assert not await passes(stage, devices)
    assert await asyncio.to_thread(resumed, stage, secure, session) == (b"", True)
    assert not other.reader.at_eof()
    for one in (phone, other):
        await one.close()


async def test_a_new_list_is_fetched_and_acted_on_by_itself(
    start: Start, lists: ListServer, devices: DevicePki, backend: Backend
) -> None:
    """Nobody has to purge: the next round is enough."""
    lists.data = devices.crl("devices")
    stage = await asyncio.to_thread(lambda: start(crl_urls=[lists.url], refresh_seconds=0.5))
    await comes_to(stage, devices, passing=True)
    backend.script = hold
    phone = await device(stage, devices)
    await phone.send(post("Ping", authorization=None))
    await backend.wait_seen(2)
    devices.revoke("anna", by="devices")
    lists.data = devices.crl("devices")
    assert (await phone.response()).status == 403
    await phone.close()


def dial(stage: Stage, secure: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSocket:
    """A connection with a session from before."""
    one = socket.create_connection(("127.0.0.1", stage.settings.gateway.listeners[0].port), PATIENCE)
    return secure.wrap_socket(one, server_hostname="127.0.0.1", session=session)


def resumable(stage: Stage, secure: ssl.SSLContext) -> ssl.SSLSession:
    """A session that the gateway resumes, as a second connection has shown."""
    session = None
    for _ in range(2):
        with dial(stage, secure, session) as one:
            one.sendall(post(authorization=None))
            assert one.recv(15) == b"HTTP/1.1 200 OK"
            session, reused = one.session, one.session_reused
    assert reused
    assert session is not None
    return session


def resumed(stage: Stage, secure: ssl.SSLContext, session: ssl.SSLSession) -> tuple[bytes, bool]:
    """What a resumed session is answered, and whether it was resumed."""
    with dial(stage, secure, session) as one:
        reused = bool(one.session_reused)
        with contextlib.suppress(ConnectionError):
            one.sendall(post(authorization=None))
            return one.recv(15), reused
        return b"", reused


@pytest.mark.parametrize(("policy", "passing"), [("strict", False), ("lenient", True)])
async def test_without_proof_the_policy_decides(
    start: Start, lists: ListServer, devices: DevicePki, policy: str, *, passing: bool
) -> None:
    """Row 72, both ways: a list that ended years ago; and that a certificate passed without proof is on record."""
    lists.data = devices.crl("devices", dates=("20200101000000Z", "20200102000000Z"))
    rules = {"policy": policy, "lenient_seconds": 1e9}
    stage = await asyncio.to_thread(lambda: start(crl_urls=[lists.url], **rules))
    with stage.audit() as trail:
        await lists.fetched.wait()
        await purged(stage)
        assert await passes(stage, devices) is passing
        event = "certificate_lenient" if passing else "certificate_refused"
        lines = await asyncio.to_thread(trail.until, event)
    assert lines[-1]["reasons"] == ["revocation_stale"]


async def test_the_responder_is_asked_and_its_cache_is_purged(start: Start, devices: DevicePki) -> None:
    """OCSP: good, then revoked; noticed after the purge (or in `refresh_seconds`), and what runs is cut."""
    with devices.responder("devices", "-ndays", "1") as responder:
        port = responder.port
        stage = await asyncio.to_thread(start, ocsp_url=responder.url)
        assert await passes(stage, devices)
        (row,) = await asyncio.to_thread(sources, stage)
        assert (row.kind, row.state, row.entries) == ("ocsp", "answers", 1)
        idle = await device(stage, devices)
        assert (await idle.ask(post(authorization=None))).status == 200
    devices.revoke("anna", by="devices")
    assert await passes(stage, devices)  # nobody answers, and the last answer holds
    with devices.responder("devices", "-ndays", "1", port=port):
        await purged(stage)
        assert not await passes(stage, devices)
        assert await idle.ended() == b""
        await idle.close()


def sources(stage: Stage) -> list[control.RevocationSource]:
    """What `show revocation` is made of."""
    rows = control.call(stage.paths.agent_socket, control.ShowRevocation(), list[control.RevocationSource])
    assert isinstance(rows, list)
    return rows


async def test_a_killed_agent_cuts_nobody(
    start: Start, lists: ListServer, devices: DevicePki, backend: Backend
) -> None:
    """What was known stands while it is away; back, it knows its lists from the disk, though the server has none any more."""
    lists.data = devices.crl("devices")
    stage = await asyncio.to_thread(start, crl_urls=[lists.url])
    await comes_to(stage, devices, passing=True)
    release = asyncio.Event()

    async def wait(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok(b"news")

    backend.script = wait
    phone = await device(stage, devices)
    await phone.send(post("Ping", authorization=None))
    await backend.wait_seen(2)
    lists.missing = True
    stage.running[1].kill()
    await asyncio.to_thread(stage.agent)
    backend.script = say_yes
    await comes_to(stage, devices, passing=True, name="other")
    assert await passes(stage, devices)
    release.set()
    assert (await phone.response()).body == b"news"
    await phone.close()


def test_settings_that_name_no_authority_stop_the_agent_with_78(make_stage: MakeStage) -> None:
    """As all settings that cannot be used."""
    stage = make_stage()
    rules = {"mode": "identity_certificate", "authorities": "/nowhere.pem", "revocation": {"ocsp_url": "http://a/"}}
    auth = msgspec.convert(rules, DeviceAuthentication)
    gateway = msgspec.structs.replace(stage.settings.gateway, device_authentication=auth)
    path = stage.write(msgspec.structs.replace(stage.settings, gateway=gateway))
    command = [sys.executable, "-m", "sentry_runtime.agent", "--settings", str(path)]
    users = ["--gateway-user", ME, "--management-user", ME]
    done = subprocess.run([*command, *users], cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, "/nowhere.pem: cannot be read" in done.stderr) == (78, True)
