"""A policy's way from an administrator to a device, and what a device says on its way back: gateway, agent and UEM together,
all of them real processes."""

import asyncio

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import TEMPORARY, Policy
from sentry_runtime.eas.provision import EAS_WBXML, Acknowledgement, Ask, Response, decode_response, encode_request
from tests.agent.conftest import MakeStage
from tests.agent.stage import Stage
from tests.agent.test_policies import assign, details, register, set_policies, told
from tests.agent.test_three_processes import device
from tests.gateway.stand import PATIENCE, PHONE, Backend, Device, Turn, post

SITES = Policy(device_password_enabled=True, allow_simple_device_password=True)
STRICT = Policy(device_password_enabled=True, min_device_password_length=8)
LAX = Policy(allow_camera=True)
SAYS = DeviceInformation(model="iPhone10C1", imei="490154203237518", os="iOS 17.0")


@pytest.fixture
def stage(make_stage: MakeStage, backend: Backend) -> Stage:
    """A gateway with the site's policy, an agent in fail mode `allow`, a UEM with two policies; nothing is started."""
    made = make_stage("allow")
    secret = made.folder / "fleet.key"
    secret.write_bytes(bytes(range(32)))
    made.front(backend.port, policy=SITES, fleet_secret=str(secret))
    set_policies(made, None, strict=STRICT, lax=LAX)
    return made


async def status_of(phone: Device, key: int, command: str = "FolderSync") -> tuple[int, bytes]:
    """What a request with this key is answered: HTTP's status, and the one in its document."""
    answer = await phone.ask(post(command, extra=f"X-MS-PolicyKey: {key}\r\n"))
    return answer.status, answer.body[-6:-3]


async def refused(phone: Device, key: int) -> tuple[int, bytes]:
    """What this key is answered as soon as the worker has heard that it is worth nothing any more."""
    async with asyncio.timeout(PATIENCE):
        while (answered := await status_of(phone, key))[0] == 200:
            pass
    return answered


async def say(phone: Device, request: Ask | Acknowledgement) -> Response:
    """A Provision and its answer."""
    return decode_response((await phone.ask(post("Provision", encode_request(request)))).body)


async def provision(phone: Device) -> tuple[Policy, int]:
    """Both phases: the policy that was handed out, and the final key."""
    offered = (await say(phone, Ask(EAS_WBXML, SAYS))).policy
    assert offered is not None
    assert isinstance(offered.document, Policy)
    granted = (await say(phone, Acknowledgement(EAS_WBXML, offered.key, 1))).policy
    assert granted is not None
    assert granted.key is not None
    return offered.document, granted.key


@pytest.mark.shows("core policy")
async def test_an_assigned_policy_reaches_the_device_at_once(stage: Stage, backend: Backend) -> None:
    """Its held Ping ends, its key is worth nothing, and what it is handed out is the UEM's; reverted, the site's again."""

    async def hold(turn: Turn) -> None:
        await turn.body()
        await (turn.reader.read() if "Cmd=Ping" in turn.seen.target else turn.ok())

    backend.script = hold
    stage.uem()
    await asyncio.to_thread(register, stage, PHONE)
    stage.agent()
    stage.start("gateway")
    phone = await device(stage)
    assert await status_of(phone, 0) == (449, b"142")
    policy, old = await provision(phone)
    assert (policy, await status_of(phone, old)) == (SITES, (200, b""))
    for name, wanted in (("strict", STRICT), (None, SITES)):
        await phone.send(post("Ping", extra=f"X-MS-PolicyKey: {old}\r\n"))
        await backend.wait_seen(len(backend.seen) + 1)
        await asyncio.to_thread(assign, stage, PHONE, name)
        ended = await phone.response()
        assert (ended.status, ended.body[-6:-3]) == (449, b"143")
        assert await status_of(phone, old) == (449, b"143")
        policy, new = await provision(phone)
        assert (policy, new != old) == (wanted, True)
        assert await status_of(phone, new) == (200, b"")
        old = new
    await phone.close()


@pytest.mark.shows("core policy")
async def test_a_policy_that_is_changed_reaches_each_device_that_has_it(stage: Stage) -> None:
    """And a restart of everything changes no key."""
    uem = stage.uem()
    await asyncio.to_thread(register, stage, PHONE)
    await asyncio.to_thread(assign, stage, PHONE, "strict")
    agent, gateway = stage.agent(), stage.start("gateway")
    phone = await device(stage)
    assert await status_of(phone, 0) == (449, b"142")
    policy, old = await provision(phone)
    assert policy == STRICT
    await phone.close()
    for process in (gateway, agent, uem):
        await asyncio.to_thread(process.terminate)
    for start in (stage.uem, stage.agent):
        start()
    stage.start("gateway")
    phone = await device(stage)
    assert await status_of(phone, old) == (200, b"")
    stricter = msgspec.structs.replace(STRICT, min_device_password_length=10)
    set_policies(stage, None, strict=stricter, lax=LAX)
    follower = stage.follow()
    await asyncio.to_thread(stage.running[-3].terminate)
    stage.uem()
    await asyncio.to_thread(follower.until, PHONE)
    follower.close()
    await asyncio.to_thread(stage.wait, lambda: details(stage, PHONE).policy == stricter)
    assert await refused(phone, old) == (449, b"143")
    policy, new = await provision(phone)
    assert policy == stricter
    assert await status_of(phone, new) == (200, b"")
    await phone.close()


@pytest.mark.shows("core away 1", "core away 2", "core away 3", "cloud away 1")
async def test_a_device_that_comes_while_the_uem_is_away_gets_a_simple_passcode_first(stage: Stage) -> None:
    """It is let in with the temporary policy, not with the site's; once the UEM is back its next request provisions the real
    one."""
    uem = stage.uem()
    await asyncio.to_thread(register, stage, PHONE)
    await asyncio.to_thread(assign, stage, PHONE, "strict")
    await asyncio.to_thread(uem.terminate)
    stage.agent()
    stage.start("gateway")
    phone = await device(stage)
    assert await status_of(phone, 0) == (449, b"142")
    policy, temporary = await provision(phone)
    assert (policy, await status_of(phone, temporary)) == (TEMPORARY, (200, b""))
    follower = stage.follow()
    stage.uem()
    await asyncio.to_thread(follower.until, PHONE)
    follower.close()
    assert await refused(phone, temporary) == (449, b"143")
    policy, final = await provision(phone)
    assert (policy, await status_of(phone, final)) == (STRICT, (200, b""))
    await phone.close()


async def test_what_the_device_says_is_known_to_the_uem(stage: Stage) -> None:
    """By the time somebody asks what that phone is."""
    stage.uem()
    await asyncio.to_thread(register, stage, PHONE)
    stage.agent()
    stage.start("gateway")
    phone = await device(stage)
    await provision(phone)
    await phone.close()

    def known() -> bool:
        return told(stage, PHONE) == [control.Registered(key=PHONE, information=SAYS)]

    await asyncio.to_thread(stage.wait, known)
    assert details(stage, PHONE).information == SAYS
