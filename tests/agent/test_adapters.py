"""Agent and gateway as real processes, with an EPMM-shaped and a Graph-shaped server in the UEM's place."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import pytest

from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.devices.store import Writer
from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import Epmm, Intune, Settings, SettingsError, load
from sentry_runtime.tls import client_context, server_context
from sentry_runtime.uem.adapters import build
from tests.agent import vendors
from tests.agent.conftest import MakeStage
from tests.agent.stage import ROOT, Stage
from tests.agent.vendors import EpmmServer, GraphServer, passed, rubbish, status
from tests.gateway.stand import PATIENCE, PHONE, Backend, Device, Turn, post
from tests.gateway.test_canaries import forms

FOLDER_SYNC_NEEDED = "03 01 6a 00 00 0d 45 47 03 37 00 01 01"  # Ping, Status 7
RESYNC_SECONDS = 0.2


@dataclass
class Site:
    """A stage whose UEM is one of the two, and what its administrator does there."""

    stage: Stage
    server: EpmmServer | GraphServer

    def admit(self, key: DeviceKey = PHONE) -> None:
        """The phone is registered, and nothing is wrong with it."""
        if isinstance(self.server, EpmmServer):
            self.server.put(key.device_id, key.principal, "registeredAllowedDevices")
        else:
            self.server.put(key.device_id, key.principal)

    def block(self, key: DeviceKey = PHONE) -> None:
        """It was found to be compromised."""
        if isinstance(self.server, EpmmServer):
            bad = {"blocked": True, "blocked_reasons": ["COMPROMISED"]}
            self.server.put(key.device_id, key.principal, "registeredBlockedDevices", **bad)
        else:
            self.server.put(key.device_id, key.principal, jailBroken="True")

    async def until(self, state: State, *reasons: Reason, key: DeviceKey = PHONE) -> None:
        """The device list says so."""
        wanted = (state, tuple(reasons))

        def holds() -> bool:
            return any(one.key == key and (one.state, one.reasons) == wanted for one in self.stage.listed())

        await asyncio.to_thread(self.stage.wait, holds)

    async def ask(self, key: DeviceKey = PHONE) -> Record:
        """A first contact at the agent."""
        return await asyncio.to_thread(self.stage.ask, key)

    async def phone(self) -> Device:
        """A phone's connection to the gateway."""
        port = self.stage.settings.gateway.listeners[0].port
        context = client_context(self.stage.pki.client(None))
        return Device(*await asyncio.open_connection("127.0.0.1", port, ssl=context))

    async def status_of(self, request: bytes) -> int:
        """What one request on its own connection is answered."""
        phone = await self.phone()
        answer = await phone.ask(request)
        await phone.close()
        return answer.status


def adapted(stage: Stage, server: EpmmServer | GraphServer) -> Settings:
    """The stage's settings with this UEM."""
    secret = stage.folder / "uem.secret"
    adapter: Epmm | Intune
    if isinstance(server, EpmmServer):
        secret.write_text(f"{vendors.PASSWORD}\n")
        adapter = Epmm(account=vendors.ACCOUNT, password=str(secret))
    else:
        secret.write_text(f"{vendors.SECRET}\n")
        adapter = Intune(login_url=server.url, tenant=vendors.TENANT, client=vendors.CLIENT, secret=str(secret))
    link = msgspec.structs.replace(
        stage.settings.agent.uem,
        mode="epmm" if isinstance(adapter, Epmm) else "intune",
        url=server.url,
        tls=stage.pki.client(None),
        adapter=adapter,
        push_tls=None,
        resync_seconds=RESYNC_SECONDS,
    )
    return msgspec.structs.replace(
        stage.settings,
        agent=msgspec.structs.replace(stage.settings.agent, uem=link),
        uem_server=None,
    )


@pytest.fixture(params=[EpmmServer, GraphServer])
async def site(request: pytest.FixtureRequest, make_stage: MakeStage, backend: Backend) -> AsyncIterator[Site]:
    """The UEM answers and knows nobody; neither agent nor gateway runs."""
    stage, server = make_stage(), request.param()
    await server.start(server_context(stage.pki.plain_server("uem")))
    stage.front(backend.port)
    stage.settings = adapted(stage, server)
    yield Site(stage, server)
    await asyncio.to_thread(stage.end)  # or the server would end in the middle of their handshakes
    await server.stop()


@pytest.fixture
async def running(site: Site) -> Site:
    """With agent and gateway."""
    await asyncio.to_thread(site.stage.agent)
    await asyncio.to_thread(site.stage.start, "gateway")
    return site


async def test_a_gateways_decision_is_the_uems(running: Site, backend: Backend) -> None:
    """A stranger is refused, a registered phone passes, and what the UEM says later cuts the Ping that hangs."""

    async def hold(turn: Turn) -> None:
        await turn.body()
        await turn.reader.read()

    assert await running.status_of(post(version="12.1")) == 403
    assert backend.seen == []
    await running.until(State.BLOCKED, Reason.UNREGISTERED)
    running.admit()
    await running.until(State.ALLOWED)
    assert await running.status_of(post(version="12.1")) == 200
    backend.script = hold
    phone = await running.phone()
    await phone.send(post("Ping", version="12.1"))
    await backend.wait_seen()
    running.block()
    assert (await phone.response()).body.hex(" ") == FOLDER_SYNC_NEEDED
    async with asyncio.timeout(PATIENCE):
        await backend.lost.wait()
    await phone.close()
    assert await running.status_of(post(version="12.1")) == 403
    await running.until(State.BLOCKED, Reason.COMPROMISED)


@pytest.mark.parametrize("site", [GraphServer], indirect=True)
async def test_a_phone_that_the_uem_knows_passes_at_its_first_contact(site: Site) -> None:
    """Registered after the agent's last look, and with a long time until the next. EPMM has no call for one device; its list is
    asked for again at the earliest after `epmm.FRESH_SECONDS`."""
    stage = site.stage
    slow = msgspec.structs.replace(stage.settings.agent.uem, resync_seconds=3_600.0)
    agent = msgspec.structs.replace(stage.settings.agent, uem=slow)
    stage.settings = msgspec.structs.replace(stage.settings, agent=agent)
    await asyncio.to_thread(stage.agent)
    await asyncio.to_thread(stage.start, "gateway")
    await asyncio.to_thread(stage.wait, lambda: stage.status()["link"] == "up")
    site.admit()
    assert await site.status_of(post(version="12.1")) == 200
    assert [one.registered for one in stage.listed()] == [True]


async def test_decisions_stand_over_a_crash_while_the_uem_is_away(running: Site) -> None:
    """The known go on as they were, a stranger gets what the fail mode says; back, the UEM is heard again."""
    other = DeviceKey("PHONE2", "bert@lab.test")
    running.admit()
    running.block(other)
    await running.until(State.ALLOWED)
    await running.until(State.BLOCKED, Reason.COMPROMISED, key=other)
    before = running.stage.listed()
    await asyncio.to_thread(running.stage.running[0].kill)
    await running.server.stop()
    await asyncio.to_thread(running.stage.agent)
    await asyncio.to_thread(running.stage.wait, lambda: running.stage.status()["link"] == "down")
    assert running.stage.listed() == before
    assert await running.status_of(post(version="12.1")) == 200
    stranger = await running.ask(DeviceKey("PHONE3", "carl@lab.test"))
    assert (stranger.state, stranger.reasons) == (State.BLOCKED, (Reason.UEM_UNREACHABLE,))


@pytest.mark.parametrize("site", [EpmmServer], indirect=True)
async def test_another_uem_inherits_nothing(running: Site) -> None:
    """What the one let in is a stranger to the other, also where that one cannot be asked just now."""
    running.admit()
    await running.until(State.ALLOWED)
    stage = running.stage
    await asyncio.to_thread(stage.running[0].kill)
    await running.server.stop()
    uem = stage.settings.agent.uem
    assert isinstance(uem.adapter, Epmm)
    other = msgspec.structs.replace(uem, adapter=msgspec.structs.replace(uem.adapter, device_space=2))
    agent = msgspec.structs.replace(stage.settings.agent, uem=other)
    stage.settings = msgspec.structs.replace(stage.settings, agent=agent)
    await asyncio.to_thread(stage.agent)
    assert stage.listed() == []
    stranger = await running.ask()
    assert (stranger.state, stranger.reasons) == (State.BLOCKED, (Reason.UEM_UNREACHABLE,))


async def test_rubbish_changes_nothing_and_is_written_down_with_its_place(running: Site) -> None:
    """The old state stands, and the next good answer counts."""
    running.admit()
    await running.until(State.ALLOWED)
    with running.stage.audit() as trail:
        bad = b'{"value": [{"complianceState": 5}], "results": 5, "registeredAllowedDevices": [{"deviceId": {}}]}'
        running.server.faults += [rubbish(bad)] * 2
        running.block()
        line = (await asyncio.to_thread(trail.until, "uem_resync_failed"))[-1]
    assert any(place in line["detail"] for place in ("$.value[0].complianceState", "deviceId", "$.results"))
    await running.until(State.BLOCKED, Reason.COMPROMISED)


async def test_throttled_the_agent_goes_on_with_what_it_knows(running: Site) -> None:
    """Shown in its status; a stranger is to come back later."""
    running.admit()
    await running.until(State.ALLOWED)
    running.server.faults += [status(429, retry_after="600")]
    stage = running.stage
    await asyncio.to_thread(stage.wait, lambda: stage.status()["uem_throttled"] == 1)
    assert await running.status_of(post(version="12.1")) == 200
    with pytest.raises(Exception, match="is not to be asked") as caught:
        await running.ask(DeviceKey("PHONE3", "carl@lab.test"))
    assert "unavailable" in str(caught.value)


async def test_no_secret_and_no_token_is_in_any_log(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    """Not where they are refused, not where the host fails or sends us elsewhere, and not in the status."""
    with site.stage.audit() as trail, trail.kept(asyncio.get_running_loop()) as kept:
        first = [passed] if isinstance(site.server, GraphServer) else []  # the token
        site.server.faults += [*first, status(400), *[status(500)] * 2, status(302, location="https://evil.test/")]
        agent = await asyncio.to_thread(site.stage.agent)
        site.admit()
        await site.until(State.ALLOWED)
        if isinstance(site.server, EpmmServer):
            site.server.password = "another"
        else:
            site.server.secret = "another"
            site.server.tokens.clear()
        stage = site.stage
        await asyncio.to_thread(stage.wait, lambda: "401" in str(stage.status()["link_problem"]))
        shown = msgspec.json.encode(stage.status())
        await asyncio.to_thread(agent.terminate)
    written = b"\n".join(kept) + shown + "".join(capfd.readouterr()).encode()
    assert b"uem_resync_failed" in written
    secrets = (vendors.PASSWORD, vendors.SECRET, "canary-token-1", f"{vendors.ACCOUNT}:{vendors.PASSWORD}")
    assert [one for one in secrets for form in forms(one.encode()) if form in written] == []
    assert b"canary" not in written


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ("", "one line"), ("a\nb", "one line"), ("x" * 5_000, "one line")]
)
def test_without_its_secret_the_agent_does_not_start(make_stage: MakeStage, content: str | None, words: str) -> None:
    """It says which file, and shows nothing of it."""
    stage = make_stage()
    settings = adapted(stage, EpmmServer())
    secret = stage.folder / "uem.secret"
    secret.unlink()
    if content is not None:
        secret.write_text(content)
    command = [sys.executable, "-m", "sentry_runtime.agent", "--settings", str(stage.write(settings))]
    users = ["--gateway-user", "root", "--management-user", "root"]
    done = subprocess.run([*command, *users], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78
    assert f"{secret}: {words}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", [EpmmServer, GraphServer])
def test_no_secret_is_sent_in_the_clear(make_stage: MakeStage, kind: type[EpmmServer | GraphServer]) -> None:
    """A UEM, or a place for tokens, without TLS is none."""
    stage = make_stage()
    uem = adapted(stage, kind()).agent.uem
    plain = msgspec.structs.replace(uem, url=uem.url.replace("https", "http"))
    wrong = [plain]
    if isinstance(uem.adapter, Intune):
        login = msgspec.structs.replace(uem.adapter, login_url="http://login.lab.test")
        wrong.append(msgspec.structs.replace(uem, adapter=login))
    store = Writer(stage.paths.devices)
    devices = DeviceList(store, lambda _keys: None)
    for one in wrong:
        with pytest.raises(SettingsError, match="asked by https, found 'http://"):
            build.link(one, devices, Names())
    store.close()


async def test_nobody_pushes_to_a_sentry_with_an_adapter(running: Site) -> None:
    """The port is closed."""
    with socket.socket() as peer:
        assert peer.connect_ex(("127.0.0.1", running.stage.push_port)) != 0


@pytest.mark.parametrize("mode", ["embedded", "intune"])
def test_a_mode_and_its_adapter_belong_together(make_stage: MakeStage, mode: str) -> None:
    """Else a site would ask another UEM than it says."""
    stage = make_stage()
    settings = msgspec.to_builtins(adapted(stage, EpmmServer()))
    settings["agent"]["uem"]["mode"] = mode
    path = stage.folder / "runtime.json"
    path.write_bytes(msgspec.json.encode(settings))
    with pytest.raises(SettingsError, match=rf"mode {mode} with the adapter epmm.* - at `\$\.agent\.uem`"):
        load(path)
