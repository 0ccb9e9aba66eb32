"""Gateway, agent and UEM together, all of them real processes: from an administrator's word to a device's connection."""

import asyncio

import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.tls import client_context
from sentry_runtime.uem.api import Decision
from tests.agent.stage import Stage
from tests.gateway.stand import PATIENCE, PHONE, Backend, Device, Turn, basic, post


@pytest.fixture
def stage(trio: Stage) -> Stage:
    """UEM, agent and gateway run; nothing is registered."""
    return trio


async def device(stage: Stage) -> Device:
    """A phone's connection."""
    port = stage.settings.gateway.listeners[0].port
    context = client_context(stage.pki.client(None))
    return Device(*await asyncio.open_connection("127.0.0.1", port, ssl=context))


async def say(stage: Stage, request: control.Request) -> Decision:
    """An administrator's word at the UEM."""
    decision = await asyncio.to_thread(control.call, stage.paths.uem_admin, request, Decision)
    assert isinstance(decision, Decision)
    return decision


REGISTER = control.Register(device_id=PHONE.device_id, principal=PHONE.principal)
BLOCK = control.SetState(device_id=PHONE.device_id, principal=PHONE.principal, state=State.BLOCKED)


async def test_an_unregistered_device_is_blocked_until_an_administrator_registers_it(
    stage: Stage, backend: Backend
) -> None:
    """The backend sees its request only then, and no second first contact is needed."""
    phone = await device(stage)
    blocked = await phone.ask(post(version="12.1"))  # 12.1 is told by the HTTP status
    assert (blocked.status, backend.seen) == (403, [])
    follower = stage.follow()
    await say(stage, REGISTER)
    await asyncio.to_thread(follower.until, PHONE)
    follower.close()
    await phone.close()
    phone = await device(stage)
    allowed = await phone.ask(post())
    await phone.close()
    assert (allowed.status, len(backend.seen)) == (200, 1)
    assert stage.status()["questions"] == 1


async def test_a_block_cuts_the_ping_that_hangs(stage: Stage, backend: Backend) -> None:
    """The push goes through the agent to the worker: both sides of the exchange end, and the phone stays out."""

    async def hold(turn: Turn) -> None:
        await turn.body()
        await turn.reader.read()

    await say(stage, REGISTER)
    backend.script = hold
    phone = await device(stage)
    await phone.send(post("Ping", version="12.1"))
    await backend.wait_seen()
    await say(stage, BLOCK)
    await phone.ended()
    await phone.close()
    async with asyncio.timeout(PATIENCE):
        await backend.lost.wait()
    again = await device(stage)
    assert (await again.ask(post(version="12.1"))).status == 403
    await again.close()
    assert len(backend.seen) == 1


async def status_of(stage: Stage, request: bytes) -> int:
    """What one request on its own connection is answered."""
    phone = await device(stage)
    answer = await phone.ask(request)
    await phone.close()
    return answer.status


async def announced(stage: Stage, request: control.Request, *keys: DeviceKey) -> None:
    """An administrator's word that the workers have heard of, for all these entries."""
    follower = stage.follow()
    await say(stage, request)
    await asyncio.to_thread(follower.until, *keys)
    follower.close()


async def test_a_word_on_a_windows_name_is_a_word_on_the_phone_that_logs_in_with_it(stage: Stage) -> None:
    """However the administrator and the phone write it; and a name that nobody can have is refused."""
    phone = post(version="12.1", authorization=basic("CORP\\Anna"), user="anna")
    await say(stage, control.Register(device_id="phone1", principal="corp\\ANNA"))
    assert await status_of(stage, phone) == 200
    block = control.SetState(device_id="phone1", principal="CORP\\Anna", state=State.BLOCKED)
    await announced(stage, block, DeviceKey("PHONE1", "anna@corp"))
    assert await status_of(stage, phone) == 403
    with pytest.raises(ControlError, match="invalid: a principal is `user`, `user@domain` or `DOMAIN"):
        await say(stage, control.Register(device_id="phone1", principal="anna smith"))


async def test_a_block_of_one_spelling_stops_a_phone_whose_other_spellings_were_registered(
    stage: Stage, backend: Backend
) -> None:
    """The id in hex and the person without a domain: both were registered before any contact, neither passes any more."""
    twin = DeviceKey(b"PHONE1".hex().upper(), PHONE.principal)
    bare = DeviceKey("PHONE1", "anna")
    for key in (PHONE, twin, bare):
        await say(stage, control.Register(device_id=key.device_id, principal=key.principal))
    spellings = (
        post(version="12.1", device=twin.device_id),
        post(version="12.1", authorization=basic("anna"), user="anna"),
    )
    assert [await status_of(stage, spelling) for spelling in spellings] == [200, 200]
    await announced(stage, BLOCK, PHONE, twin, bare)
    assert [await status_of(stage, spelling) for spelling in spellings] == [403, 403]
    assert len(backend.seen) == 2


async def test_a_known_device_goes_on_while_agent_and_uem_are_dead(stage: Stage, backend: Backend) -> None:
    """The worker reads the list itself; a new device gets 503 and may come again."""
    await say(stage, REGISTER)
    phone = await device(stage)
    assert (await phone.ask(post())).status == 200
    await phone.close()
    for process in stage.running[:2]:
        process.kill()
    phone = await device(stage)
    assert (await phone.ask(post())).status == 200
    await phone.close()
    stranger = await device(stage)
    unknown = await stranger.ask(post(device="STRANGER1"))
    await stranger.close()
    assert (unknown.status, "retry-after" in unknown.headers) == (503, True)
    stage.agent()
    phone = await device(stage)
    assert (await phone.ask(post())).status == 200
    await phone.close()
    assert len(backend.seen) == 3
