"""Who may keep whom waiting: one connection never the others, and no side's pause outlives the reason for it."""

import asyncio
import contextlib
import socket
import ssl

import pytest

from sentry_runtime.devices.record import State
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, Turn, basic, post
from tests.gateway.test_streams import MEGABYTE, resident

STRANGER = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
OPTIONS = f"OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\nAuthorization: {basic()}\r\n\r\n".encode()
PROMPT_SECONDS = 2.0  # an ordinary answer takes some milliseconds, also on a busy test machine well below this


async def narrow(stand: Stand) -> Device:
    """A device whose kernel takes little ahead, so that the gateway soon sees that it does not read."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    one.settimeout(0)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", stand.port))
    context = ssl.create_default_context(cafile=stand.certificates.ca)
    reader, writer = await asyncio.open_connection(sock=one, ssl=context, server_hostname="mail.lab.test", limit=2_000)
    stand.devices.append(Device(reader, writer))
    return stand.devices[-1]


def stop_reading(device: Device) -> None:
    """The phone's application sleeps."""
    device.writer.transport.pause_reading()  # type: ignore[attr-defined]


def read_on(device: Device) -> None:
    """It wakes up."""
    device.writer.transport.resume_reading()  # type: ignore[attr-defined]


async def test_a_flood_of_strangers_requests_on_one_connection_delays_nobody_else(stand: Stand) -> None:
    """Each is answered here and costs its sender nothing: an allowed device on the same worker is served in between."""
    await stand.agent.put(PHONE, State.ALLOWED)
    phone, stranger = await stand.device(), await stand.device()
    assert (await phone.ask(post())).status == 200

    async def flood() -> None:
        while True:
            await stranger.send(STRANGER * 1_000)

    answered = 0

    async def swallow() -> None:
        nonlocal answered
        while data := await stranger.reader.read(1 << 20):
            answered += data.count(b" 404 ")

    tasks = [asyncio.create_task(flood()), asyncio.create_task(swallow())]
    for _ in range(5):
        async with asyncio.timeout(PROMPT_SECONDS):
            assert (await phone.ask(post())).status == 200
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert answered > 100  # the flood has run meanwhile


async def test_who_does_not_read_his_answers_gets_no_more_of_them(stand: Stand) -> None:
    """A stranger sends requests and reads nothing: the gateway stops serving him, and its memory does not grow."""
    stranger = await narrow(stand)
    stop_reading(stranger)
    (worker,) = stand.workers()
    before = resident(worker)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 400_000:  # 60 MB of answers
            stranger.writer.write(STRANGER * 4_000)
            async with asyncio.timeout(0.7):
                await stranger.writer.drain()
            sent += 4_000
    assert sent < 400_000
    assert resident(worker) - before < 16 * MEGABYTE  # 10 are the trail's buffer, since nobody takes its lines here
    assert stand.status()["restarts"] == 0


async def test_a_full_device_holds_up_the_responses_of_later_requests_too(stand: Stand) -> None:
    """Large answers to requests sent ahead wait at the backend, however many there are; then all of them come."""
    await stand.agent.put(PHONE, State.ALLOWED)

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.ok(b"x" * (4 * MEGABYTE if turn.seen.method == "POST" else 0))

    stand.backend.script = script
    phone = await narrow(stand)
    (worker,) = stand.workers()
    assert (await phone.ask(OPTIONS)).status == 200
    before = resident(worker)
    stop_reading(phone)
    await phone.send((post("Sync") + OPTIONS) * 10)
    most = 0
    for _ in range(10):
        await asyncio.sleep(0.1)
        most = max(most, resident(worker) - before)
    assert most < 4 * MEGABYTE
    read_on(phone)
    sizes = [len((await phone.response()).body) for _ in range(20)]
    assert sizes == [4 * MEGABYTE, 0] * 10


async def test_after_a_slow_response_the_next_request_is_answered(stand: Stand) -> None:
    """Whatever the size at which the last byte falls into a full buffer: the pause does not outlive the response."""
    await stand.agent.put(PHONE, State.ALLOWED)
    size = 60_000
    answered = asyncio.Event()

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.ok(b"x" * size)
        answered.set()

    stand.backend.script = script

    async def asked_ahead(device: Device, most: int) -> int:
        """Ask one after the other without reading, until one is not taken any more; how many were."""
        stop_reading(device)
        for count in range(most):
            answered.clear()
            await device.send(post("Sync"))
            try:
                async with asyncio.timeout(0.5):
                    await answered.wait()
            except TimeoutError:
                return count
            await asyncio.sleep(0.005)  # the response reaches the device's buffer or the gateway's
        return most

    first = await narrow(stand)
    crossing = await asked_ahead(first, 900)
    assert 0 < crossing < 900
    first.writer.transport.abort()
    for count in (crossing - 1, crossing):
        phone = await narrow(stand)
        taken = await asked_ahead(phone, count)
        read_on(phone)
        for _ in range(taken + (taken < count)):
            assert len((await phone.response()).body) == size
        async with asyncio.timeout(PROMPT_SECONDS):
            assert len((await phone.ask(post("Sync"))).body) == size
        phone.writer.transport.abort()


@pytest.mark.parametrize("megabytes", [3, 5, 7])
async def test_after_an_early_answer_the_next_request_is_answered(stand: Stand, megabytes: int) -> None:
    """A backend refuses a message while it is still on the way, and reads it later: what held us up then is over."""
    await stand.agent.put(PHONE, State.ALLOWED)
    stuck = asyncio.Event()

    async def script(turn: Turn) -> None:
        if "Cmd=SendMail" not in turn.seen.target:
            await turn.body()
            await turn.ok()
            return
        turn.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stuck.wait()
        await turn.say(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        turn.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await turn.body()

    stand.backend.script = script
    phone = await stand.device()
    phone.writer.write(post("SendMail", b"m" * (megabytes * MEGABYTE)))
    left, before = 0, -1
    while left != before:  # until no more of it moves
        await asyncio.sleep(0.2)
        left, before = phone.writer.transport.get_write_buffer_size(), left  # type: ignore[attr-defined]
    stuck.set()
    status, headers = await phone.head()
    assert status == 401
    if headers.get("connection") == "close":
        assert await phone.ended() == b""
        phone = await stand.device()
    async with asyncio.timeout(PROMPT_SECONDS):
        assert (await phone.ask(post())).status == 200


async def test_requests_sent_ahead_by_the_hundred_are_all_answered_in_order(make_stand: MakeStand) -> None:
    """Turns and pauses lose none of them, whatever answers them."""
    stand = await make_stand()
    await stand.agent.put(PHONE, State.ALLOWED)

    async def script(turn: Turn) -> None:
        await turn.ok(await turn.body())

    stand.backend.script = script
    phone = await stand.device()
    count = 400
    sender = asyncio.create_task(
        phone.send(b"".join(STRANGER * 20 + post("Sync", b"%05d" % one * 100) for one in range(count // 20)))
    )
    async with asyncio.timeout(PATIENCE):
        for one in range(count // 20):
            assert [(await phone.response()).status for _ in range(20)] == [404] * 20
            assert (await phone.response()).body == b"%05d" % one * 100
    await sender
