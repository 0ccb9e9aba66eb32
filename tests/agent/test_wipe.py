"""A wipe through gateway, agent and UEM, all of them real processes: ordered, handed out, acknowledged, reported; with kills."""

import asyncio
import re
from collections.abc import Callable

import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.record import State, WipeKind, WipeMark
from sentry_runtime.eas.provision import Ask, Request, Response, WipeAcknowledgement, decode_response, encode_request
from sentry_runtime.uem.api import Decision
from tests.agent.stage import Stage
from tests.agent.test_three_processes import device, say, status_of
from tests.gateway.stand import PATIENCE, PHONE, Backend, Turn, basic, post

PHONE_ID, ANNA = PHONE.device_id, PHONE.principal
REGISTER = control.Register(device_id=PHONE_ID, principal=ANNA)
ORDER = control.OrderWipe(device_id=PHONE_ID, principal=ANNA, by="olga")
CANCEL = control.CancelWipe(device_id=PHONE_ID, principal=ANNA, by="olga")
ALLOW = control.SetState(device_id=PHONE_ID, principal=ANNA, state=State.ALLOWED)
HANDED_OUT, UNVERIFIED, VERIFIED = WipeMark.HANDED_OUT, WipeMark.UNVERIFIED, WipeMark.VERIFIED
WRONG = basic(password="an0ther")


def word(stage: Stage) -> Decision | None:
    """What the UEM says of the phone."""
    listed = control.call(stage.paths.uem_admin, control.ListRegistered(), list[Decision])
    return next((one for one in listed if one.device_id == PHONE.device_id), None)


def marks(stage: Stage) -> set[WipeMark]:
    """What the UEM knows of its wipe."""
    found = word(stage)
    return set() if found is None or found.wipe is None else set(found.wipe.marks)


async def until(true: Callable[[], bool]) -> None:
    """Until it holds; a condition in another process can only be looked at."""
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.02)


async def ordered(stage: Stage, request: control.Request = ORDER) -> Decision:
    """The phone is registered and to be wiped, and the gateway knows."""
    await say(stage, REGISTER)
    decision = await say(stage, request)
    async with asyncio.timeout(PATIENCE):
        while await status_of(stage, post("Sync", version="12.1")) == 200:
            pass
    return decision


async def provision(
    stage: Stage, request: Request, authorization: str | None = None, version: str = "14.1"
) -> Response:
    """A Provision on a connection of its own."""
    phone = await device(stage)
    asked = post("Provision", encode_request(request), version=version, authorization=authorization or basic())
    answer = await phone.ask(asked)
    await phone.close()
    assert answer.status == 200
    return decode_response(answer.body)


def listed(stage: Stage) -> tuple[State, bool]:
    """What the agent has of the phone: its state, and whether the UEM does not know it yet."""
    (record,) = (one for one in stage.listed() if one.key == PHONE)
    return record.state, record.unreported


async def test_from_the_administrators_word_to_the_report(trio: Stage, backend: Backend) -> None:
    """The phone's Ping ends, it gets the directive, acknowledges, and is wiped; then only its removal is valid."""

    async def hold(turn: Turn) -> None:
        await turn.body()
        if "Cmd=Ping" in turn.seen.target:
            await turn.reader.read()
        await turn.ok()

    backend.script = hold
    await say(trio, REGISTER)
    phone = await device(trio)
    await phone.send(post("Ping", version="14.1"))
    await backend.wait_seen()
    with trio.audit() as trail:
        await say(trio, ORDER)
        await asyncio.to_thread(trail.until, "uem_changed")  # the registration, which nobody had read
        line = (await asyncio.to_thread(trail.until, "uem_changed"))[-1]
        assert (line["by"], line["action"], line["detail"]) == ("olga", "wipe_pending", "wipe of the device")
    ended = await phone.response()
    assert (ended.status, b"\x03140\x00" in ended.body) == (449, True)
    await phone.close()
    assert (await provision(trio, Ask())).remote_wipe
    await until(lambda: marks(trio) == {HANDED_OUT})
    assert await provision(trio, WipeAcknowledgement(1)) == Response(status=1)
    await until(lambda: marks(trio) == {HANDED_OUT, UNVERIFIED, VERIFIED})
    wiped = word(trio)
    assert wiped is not None
    assert (wiped.state, wiped.wipe.by if wiped.wipe else "") == (State.WIPED, "olga")
    await until(lambda: listed(trio) == (State.WIPED, False))
    assert await status_of(trio, post(version="12.1")) == 403
    for request in (REGISTER, ORDER, CANCEL, ALLOW):
        with pytest.raises(ControlError, match=re.escape("has been wiped; now it can only be removed")):
            await say(trio, request)
    await say(trio, control.Remove(device_id=PHONE_ID, principal=ANNA))
    await until(lambda: trio.listed() == [])
    await say(trio, REGISTER)
    assert await status_of(trio, post(version="12.1")) == 200


async def test_a_pending_wipe_is_cancelled_and_the_phone_goes_on(trio: Stage) -> None:
    """What had come of it is told to who cancels."""
    await ordered(trio)
    await provision(trio, Ask())
    await until(lambda: marks(trio) == {HANDED_OUT})
    was = await asyncio.to_thread(control.call, trio.paths.uem_admin, CANCEL)
    assert was["marks"] == ["handed_out"]
    await until(lambda: listed(trio) == (State.ALLOWED, False))
    async with asyncio.timeout(PATIENCE):
        while await status_of(trio, post(version="12.1")) != 200:
            pass


async def test_the_uem_is_away_and_the_agent_killed_and_nothing_is_lost(trio: Stage) -> None:
    """Acknowledged is wiped at once; the report waits on the disk until the UEM is back."""
    uem, agent, _ = trio.running
    await ordered(trio)
    await asyncio.to_thread(uem.kill)
    assert await provision(trio, WipeAcknowledgement(1)) == Response(status=1)
    await until(lambda: listed(trio) == (State.WIPED, True))
    await asyncio.to_thread(agent.kill)
    assert await status_of(trio, post(version="12.1")) in (403, 449)
    await asyncio.to_thread(trio.agent)
    assert listed(trio) == (State.WIPED, True)
    assert trio.status()["wipes_unreported"] == 1
    assert await status_of(trio, post(version="12.1")) in (403, 449)
    await asyncio.to_thread(trio.uem)
    await until(lambda: UNVERIFIED in marks(trio))
    await until(lambda: listed(trio) == (State.WIPED, False))


async def test_a_cancel_in_ignorance_of_the_acknowledgement_comes_too_late(trio: Stage, backend: Backend) -> None:
    """The phone is never let in in between: not by the feed, not by the push."""
    uem, agent, _ = trio.running
    await ordered(trio)
    await asyncio.to_thread(uem.kill)
    await provision(trio, WipeAcknowledgement(1))
    await until(lambda: listed(trio) == (State.WIPED, True))
    await asyncio.to_thread(agent.kill)
    await asyncio.to_thread(trio.uem)
    await asyncio.to_thread(control.call, trio.paths.uem_admin, CANCEL)
    freed = word(trio)
    assert freed is not None
    assert freed.state is State.ALLOWED
    served = len(backend.seen)
    await asyncio.to_thread(trio.agent)
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(listed, trio) != (State.WIPED, False):
            assert await status_of(trio, post(version="12.1")) in (403, 449)
    final = word(trio)
    assert final is not None
    assert (final.state, len(backend.seen)) == (State.WIPED, served)


@pytest.mark.shows("core resync wipe")
async def test_a_wipe_ordered_while_the_agent_is_away_comes_with_the_next_resync(trio: Stage) -> None:
    """No push has told it; until then the phone goes on."""
    await say(trio, REGISTER)
    assert await status_of(trio, post(version="12.1")) == 200
    await asyncio.to_thread(trio.running[1].kill)
    await say(trio, ORDER)
    assert await status_of(trio, post(version="12.1")) == 200
    await asyncio.to_thread(trio.agent)
    await until(lambda: listed(trio) == (State.WIPE_PENDING, False))
    async with asyncio.timeout(PATIENCE):
        while await status_of(trio, post(version="12.1")) != 449:
            pass


async def test_a_gateway_killed_between_directive_and_acknowledgement(trio: Stage) -> None:
    """It holds nothing that the next one would miss."""
    gateway = trio.running[2]
    await ordered(trio)
    assert (await provision(trio, Ask())).remote_wipe
    await asyncio.to_thread(gateway.kill)
    await asyncio.to_thread(trio.start, "gateway")
    assert await provision(trio, WipeAcknowledgement(1)) == Response(status=1)
    await until(lambda: VERIFIED in marks(trio))


async def test_a_strangers_acknowledgement_is_shown_as_what_it_is(trio: Stage, backend: Backend) -> None:
    """Unverified; the phone gets the directive all the same, says that it failed, and then that it did it."""

    async def by_password(turn: Turn) -> None:
        await turn.body()
        await turn.ok(status="401 Unauthorized" if turn.seen.value("Authorization") == WRONG else "200 OK")

    backend.probe = by_password
    await ordered(trio)
    assert await provision(trio, WipeAcknowledgement(1), WRONG) == Response(status=1)
    await until(lambda: marks(trio) == {UNVERIFIED})
    assert (await provision(trio, Ask())).remote_wipe
    assert await provision(trio, WipeAcknowledgement(2)) == Response(status=2, remote_wipe=True)
    await until(lambda: marks(trio) == {UNVERIFIED, HANDED_OUT, WipeMark.FAILED})
    assert await provision(trio, WipeAcknowledgement(1)) == Response(status=1)
    await until(lambda: VERIFIED in marks(trio))


async def test_an_account_is_wiped_when_the_phone_comes_with_16_1(trio: Stage) -> None:
    """That it came with an older version stands at the UEM until then."""
    order = control.OrderWipe(device_id=PHONE_ID, principal=ANNA, kind=WipeKind.ACCOUNT)
    await ordered(trio, order)
    assert await status_of(trio, post(version="12.1")) == 403
    await until(lambda: marks(trio) == {WipeMark.TOO_OLD})
    assert (await provision(trio, Ask(), version="16.1")).account_only_remote_wipe
    done = WipeAcknowledgement(1, account_only=True)
    assert await provision(trio, done, version="16.1") == Response(status=1)
    await until(lambda: {WipeMark.TOO_OLD, HANDED_OUT, VERIFIED} <= marks(trio))
