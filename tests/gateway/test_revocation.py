"""A device that is blocked loses what it holds at once; and what the worker believes follows the device list."""

import asyncio

import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from tests.gateway.stand import PHONE, Device, Stand, Turn, post


async def hang(turn: Turn) -> None:
    """A held Ping: the backend reads the request and says nothing."""
    await turn.body()
    await turn.reader.read()


async def held(stand: Stand, command: str = "Ping", version: str = "14.1") -> Device:
    """A device whose request waits at the backend."""
    await stand.agent.put(PHONE, State.ALLOWED)
    stand.backend.script = hang
    device = await stand.device()
    await device.send(post(command, b"\x03\x01\x6a\x00", version=version))
    await stand.backend.wait_seen()
    return device


@pytest.mark.parametrize(
    ("command", "version", "status", "body"),
    [
        ("Ping", "14.1", 200, "03 01 6a 00 00 0d 45 47 03 31 32 39 00 01 01"),
        ("Ping", "12.1", 200, "03 01 6a 00 00 0d 45 47 03 37 00 01 01"),
        ("Sync", "14.1", 200, "03 01 6a 00 45 4e 03 31 32 39 00 01 01"),
        ("Sync", "2.5", 403, ""),
    ],
)
async def test_a_held_request_ends_at_once_when_its_device_is_blocked(
    stand: Stand, command: str, version: str, status: int, body: str
) -> None:
    """With the answer of its command and version; the backend's connection is closed, and the trail says why."""
    device = await held(stand, command, version)
    await stand.agent.put(PHONE, State.BLOCKED, Reason.COMPROMISED)
    response = await device.response()
    assert (response.status, response.body.hex(" ")) == (status, body)
    await stand.backend.lost.wait()
    (outcome,) = await stand.audit.outcomes(1)
    assert (outcome["action"], outcome["reasons"]) == ("block", ["revoked", "compromised"])
    for again in (device, await stand.device()):  # the connection stays, and nothing gets past on it either
        assert (await again.ask(post("Sync", version="12.1"))).status == 403


async def test_a_response_that_has_begun_is_cut(stand: Stand) -> None:
    """There is no honest end for it any more."""

    async def half(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await turn.reader.read()

    await stand.agent.put(PHONE, State.ALLOWED)
    stand.backend.script = half
    device = await stand.device()
    await device.send(post("Sync"))
    await device.head()
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    assert await device.ended() in (b"half", b"")
    await stand.backend.lost.wait()


async def test_other_devices_go_on(stand: Stand) -> None:
    """A change of one entry touches no other."""
    device = await held(stand)
    other = await stand.agent.put(
        Record(key=PHONE, state=State.ALLOWED, version=1).key.__class__("PHONE2", "anna@lab.test"), State.ALLOWED
    )
    second = await stand.device()
    await second.send(post("Ping", device="PHONE2"))
    await stand.backend.wait_seen(2)
    await stand.agent.put(other.key, State.BLOCKED, Reason.MANUAL)
    assert (await second.response()).body.endswith(b"\x03129\x00\x01\x01")
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    assert (await device.response()).body.endswith(b"\x03129\x00\x01\x01")


async def test_a_removed_entry_ends_what_runs_and_is_asked_about_again(stand: Stand) -> None:
    """Forgotten is not allowed: the held request ends with 503, the next one is a first contact."""
    device = await held(stand)
    await stand.agent.remove(PHONE)
    assert (await device.response()).status == 503
    again = await stand.device()
    assert (await again.ask(post("Sync", version="12.1"))).status == 403
    assert [ask.key for ask in stand.agent.asked] == [PHONE]


async def test_without_the_agent_known_devices_go_on_and_new_ones_are_told_to_wait(stand: Stand) -> None:
    """The device list is on the disk; a question nobody answers is 503 with Retry-After."""
    await stand.agent.put(PHONE, State.ALLOWED)
    await stand.agent.stop_socket()
    device = await stand.device()
    assert (await device.ask(post())).status == 200
    response = await device.ask(post(device="PHONE2"))
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert [seen.target.count("PHONE2") for seen in stand.backend.seen] == [0]


async def test_what_was_missed_while_the_agent_was_away_is_made_up_for(stand: Stand) -> None:
    """A block that nobody told of takes effect when the agent is back, also on a held Ping."""
    device = await held(stand)
    await stand.agent.stop_socket()
    stand.agent.put_silently(Record(key=PHONE, state=State.BLOCKED, version=2, reasons=(Reason.MANUAL,)))
    await stand.agent.start()
    assert (await device.response()).body.endswith(b"\x03129\x00\x01\x01")


async def test_while_no_changes_are_told_every_request_reads_the_list(stand: Stand) -> None:
    """A cache nobody drops would let a blocked device pass."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post())).status == 200
    await stand.agent.stop_socket()
    stand.agent.put_silently(Record(key=PHONE, state=State.BLOCKED, version=2, reasons=(Reason.MANUAL,)))
    assert (await device.ask(post(version="12.1"))).status == 403


async def test_a_removal_that_was_missed_is_made_up_for(stand: Stand) -> None:
    """Forgotten while the agent was away is forgotten: the held request ends when the agent is back."""
    device = await held(stand)
    await stand.agent.stop_socket()
    stand.agent.remove_silently(PHONE)
    await stand.agent.start()
    assert (await device.response()).status == 503
    await stand.backend.lost.wait()


async def test_an_entry_that_cannot_be_read_ends_nothing_by_itself_and_harms_no_other(stand: Stand) -> None:
    """What runs goes on until the agent tells of a change; the next request is told to come back; others pass."""
    device = await held(stand)
    await stand.agent.stop_socket()
    other = DeviceKey("PHONE2", PHONE.principal)
    stand.agent.put_silently(Record(key=other, state=State.ALLOWED, version=1))
    stand.agent.damage_silently(PHONE)
    await stand.agent.start()
    async with asyncio.timeout(5):
        await stand.agent.following.wait()
    second = await stand.device()
    response = await second.ask(post("Sync"))
    assert (response.status, response.headers["retry-after"], stand.agent.asked) == (503, "5", [])
    await second.send(post("Ping", device="PHONE2"))
    await stand.backend.wait_seen(2)
    assert not stand.backend.lost.is_set()
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    assert (await device.response()).body.endswith(b"\x03129\x00\x01\x01")


async def test_a_device_forgotten_right_after_the_agents_yes_is_not_sent_on(stand: Stand) -> None:
    """The list has the last word, also while the backend is dialled."""

    async def yes_and_no(ask: control.Ask) -> Record:
        record = await stand.agent.put(ask.key, State.ALLOWED)
        await stand.agent.remove(ask.key)
        return record

    stand.agent.answer = yes_and_no
    device = await stand.device()
    assert (await device.ask(post())).status == 503
    assert stand.backend.seen == []


async def test_a_device_blocked_right_after_the_agents_yes_is_not_sent_on(stand: Stand) -> None:
    """Also where the connection to the backend is there already."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 200
    other = await stand.agent.put(DeviceKey("PHONE2", PHONE.principal), State.ALLOWED)
    stand.backend.script = hang
    second = await stand.device()
    await second.send(post("Ping", device="PHONE2"))
    await stand.backend.wait_seen(2)
    await stand.agent.remove(PHONE)
    await stand.agent.put(other.key, State.BLOCKED, Reason.MANUAL)
    await second.response()  # what is told comes in order: the worker has heard of the removal, too

    async def yes_and_no(ask: control.Ask) -> Record:
        record = await stand.agent.put(ask.key, State.ALLOWED)
        await stand.agent.put(ask.key, State.BLOCKED, Reason.MANUAL)
        return record

    stand.agent.answer = yes_and_no
    assert (await device.ask(post(version="12.1"))).status == 403
    assert len(stand.backend.seen) == 2
