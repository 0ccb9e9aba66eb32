"""Who may keep whom waiting: one connection never the others, and no side's pause outlives the reason for it."""

import asyncio
import contextlib
import socket
import ssl

from sentry_runtime.devices.record import State
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, Turn, basic, post, until
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
            async with asyncio.timeout(1.5):
                await stranger.writer.drain()
            sent += 4_000
    assert sent < 400_000
    await until(lambda: stand.status()["requests"] > 0)
    served, before_that = stand.status()["requests"], -1
    while served != before_that:
        await asyncio.sleep(1.1)  # the worker tells once in a second
        served, before_that = stand.status()["requests"], served
    assert served < sent
    assert resident(worker) - before < 16 * MEGABYTE  # 10 are the trail's buffer, since nobody takes its lines here


async def test_a_full_device_holds_up_the_responses_of_later_requests_too(make_stand: MakeStand) -> None:
    """Small answers fill the device's buffer, large ones follow: those wait at the backend. Then all of them come.

    The OPTIONS between them take another connection to the backend each time, which nobody has told to wait.
    """
    stand = await make_stand(throttle=None)  # it goes in circles
    await stand.agent.put(PHONE, State.ALLOWED)
    small, large = 40_000, 6 * MEGABYTE

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.ok(
            b"x" * (small if "Cmd=Sync" in turn.seen.target else large if "Cmd=Search" in turn.seen.target else 0)
        )

    stand.backend.script = script
    phone = await narrow(stand)
    (worker,) = stand.workers()
    assert (await phone.ask(OPTIONS)).status == 200
    before = resident(worker)
    stop_reading(phone)
    sender = asyncio.create_task(phone.send((post("Sync") + OPTIONS) * 100 + (post("Search") + OPTIONS) * 4))
    most, came = 0, -1
    while came != len(stand.backend.seen):  # until the backend is asked for nothing more
        came = len(stand.backend.seen)
        await asyncio.sleep(0.4)
        most = max(most, resident(worker) - before)
    read_on(phone)
    sizes = [len((await phone.response()).body) for _ in range(208)]
    await sender
    assert most < 8 * MEGABYTE
    assert came < 201
    assert sizes == [small, 0] * 100 + [large, 0] * 4


async def test_after_a_slow_response_the_next_request_is_answered(make_stand: MakeStand) -> None:
    """Whatever the size at which the last byte falls into a full buffer: the pause does not outlive the response."""
    stand = await make_stand(throttle=None)  # it goes in circles
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


async def test_after_an_early_answer_the_next_request_is_answered(stand: Stand) -> None:
    """A backend refuses a message that is still on its way: what held the device up then is over with it.

    The messages are of such sizes that the gateway has taken all of some while the backend is stuck in the middle: nobody
    is left who would say "go on".
    """
    await stand.agent.put(PHONE, State.ALLOWED)
    stuck, next_one = asyncio.Event(), asyncio.Event()

    async def script(turn: Turn) -> None:
        if "Cmd=SendMail" in turn.seen.target:
            turn.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await stuck.wait()
            await turn.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await next_one.wait()
            turn.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await turn.body()
        if "Cmd=SendMail" not in turn.seen.target:
            await turn.ok()

    async def refused(sizes: list[int]) -> list[Device]:
        """Send messages of these sizes; those whose connection goes on after the refusal."""
        stuck.clear()
        phones = [await stand.device() for _ in sizes]
        for phone, size in zip(phones, sizes, strict=True):
            phone.writer.write(post("SendMail", b"m" * size))
        left, before = 0, -1
        while left != before:  # until no more of it moves
            await asyncio.sleep(0.3)
            left, before = sum(phone.writer.transport.get_write_buffer_size() for phone in phones), left
        stuck.set()
        heads = [await phone.head() for phone in phones]
        assert {status for status, _ in heads} == {403}
        return [phone for phone, (_, headers) in zip(phones, heads, strict=True) if "connection" not in headers]

    stand.backend.script = script
    assert await refused([16 * MEGABYTE]) == []
    (outcome,) = await stand.audit.outcomes(1)
    taken = outcome["bytes_in"]  # so much passes until all buffers on the way are full
    kept = await refused([taken * number // 24 for number in range(1, 25)])
    assert kept
    for phone in kept:
        phone.writer.write(post())
    await asyncio.sleep(0.1)
    next_one.set()
    async with asyncio.timeout(PROMPT_SECONDS):
        assert [(await phone.response()).status for phone in kept] == [200] * len(kept)


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
