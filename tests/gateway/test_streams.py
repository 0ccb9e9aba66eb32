"""Bodies: streamed both ways, framed anew, bounded in memory, and never ended for a peer that has not ended them."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from sentry_runtime.devices.record import State
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, Turn, post, read_body, until

MEGABYTE = 1_000_000
GROWTH_BYTES = 4 * MEGABYTE  # what a message of any size may add to a worker


@pytest.fixture
async def allowed(stand: Stand) -> Device:
    """A connection of an allowed device."""
    await stand.agent.put(PHONE, State.ALLOWED)
    return await stand.device()


def resident(pid: int) -> int:
    """Bytes of memory a process really uses."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4_096


async def test_50_megabytes_pass_both_ways_without_being_gathered(stand: Stand) -> None:
    """The digests agree, and the worker's memory grows by less than 8 MB for the two messages that pass at once."""
    await stand.agent.put(PHONE, State.ALLOWED)
    (worker,) = stand.workers()
    await echoed(stand, await stand.device(), 2 * MEGABYTE, worker)  # everything is loaded once before it is measured
    before = resident(worker)
    most = await echoed(stand, await stand.device(), 50 * MEGABYTE, worker)
    assert most - before < 2 * GROWTH_BYTES


async def echoed(stand: Stand, device: Device, size: int, worker: int) -> int:
    """Send `size` bytes through a backend that sends them back, both at once; the worker's largest size meanwhile."""
    block = bytes(range(256)) * 256
    blocks = size // len(block)

    async def echo(turn: Turn) -> None:
        await turn.say(f"HTTP/1.1 200 OK\r\nContent-Length: {blocks * len(block)}\r\n\r\n".encode())
        for _ in range(blocks):
            await turn.say(await turn.reader.readexactly(len(block)))

    async def send() -> None:
        await device.send(
            post("SendMail", extra=f"Content-Length: {blocks * len(block)}\r\n").replace(b"Content-Length: 0\r\n", b"")
        )
        for _ in range(blocks):
            await device.send(block)

    stand.backend.script = echo
    sender = asyncio.create_task(send())
    status, _headers = await device.head()
    got, most = hashlib.sha256(), 0
    for _ in range(blocks):
        got.update(await asyncio.wait_for(device.reader.readexactly(len(block)), PATIENCE))
        most = max(most, resident(worker))
    await sender
    assert status == 200
    assert got.digest() == hashlib.sha256(block * blocks).digest()
    return most


async def test_a_message_of_200_megabytes_adds_less_than_four_to_a_worker(stand: Stand) -> None:
    """Up to the backend and down to the device, each measured by itself and seen whole at the other end."""
    await stand.agent.put(PHONE, State.ALLOWED)
    (worker,) = stand.workers()
    for pass_through in (passed_up, passed_down):
        await pass_through(stand, await stand.device(), 2 * MEGABYTE, worker)
        before = resident(worker)
        most = await pass_through(stand, await stand.device(), 200 * MEGABYTE, worker)
        assert most - before < GROWTH_BYTES, pass_through.__name__


BLOCK = bytes(range(256)) * 256


async def passed_up(stand: Stand, device: Device, size: int, worker: int) -> int:
    """Send a message of `size` bytes; the worker's largest size meanwhile."""
    count, got, most = size // len(BLOCK), 0, 0

    async def take(turn: Turn) -> None:
        nonlocal got
        for _ in range(count):
            got += await turn.reader.readexactly(len(BLOCK)) == BLOCK
        await turn.ok()

    stand.backend.script = take
    await device.send(post("SendMail").replace(b"Content-Length: 0", b"Content-Length: %d" % (count * len(BLOCK))))
    for _ in range(count):
        await device.send(BLOCK)
        most = max(most, resident(worker))
    assert (await device.response()).status == 200
    assert got == count
    return max(most, resident(worker))


async def passed_down(stand: Stand, device: Device, size: int, worker: int) -> int:
    """Get a message of `size` bytes; the worker's largest size meanwhile."""
    count, most = size // len(BLOCK), 0

    async def give(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count * len(BLOCK)))
        for _ in range(count):
            await turn.say(BLOCK)

    stand.backend.script = give
    await device.send(post("ItemOperations"))
    assert (await device.head())[0] == 200
    for _ in range(count):
        assert await asyncio.wait_for(device.reader.readexactly(len(BLOCK)), PATIENCE) == BLOCK
        most = max(most, resident(worker))
    return most


async def test_a_device_that_does_not_read_holds_the_backend_up(stand: Stand, allowed: Device) -> None:
    """The backend can write no more than the buffers on the way take, long before its 50 MB are out."""
    written = 0

    async def flood(turn: Turn) -> None:
        nonlocal written
        await turn.body()
        await turn.say(f"HTTP/1.1 200 OK\r\nContent-Length: {50 * MEGABYTE}\r\n\r\n".encode())
        for _ in range(500):
            await turn.say(b"x" * 100_000)
            written += 100_000

    stand.backend.script = flood
    (worker,) = stand.workers()
    before = resident(worker)
    allowed.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await allowed.send(post())
    still = -1
    while still != written or not written:  # until the backend has not come on for half a second
        still = written
        await asyncio.sleep(0.5)
    assert written < 25 * MEGABYTE
    assert resident(worker) - before < GROWTH_BYTES
    allowed.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert len((await allowed.response()).body) == 50 * MEGABYTE


async def test_a_backend_that_does_not_read_holds_the_device_up(stand: Stand, allowed: Device) -> None:
    """The other way round."""
    go_on = asyncio.Event()

    async def stubborn(turn: Turn) -> None:
        turn.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        turn.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await turn.body()
        await turn.ok()

    sent = 0

    async def send() -> None:
        nonlocal sent
        await allowed.send(
            post("SendMail", b"").replace(b"Content-Length: 0", f"Content-Length: {50 * MEGABYTE}".encode())
        )
        for _ in range(500):
            await allowed.send(b"x" * 100_000)
            sent += 100_000

    stand.backend.script = stubborn
    (worker,) = stand.workers()
    before = resident(worker)
    sender = asyncio.create_task(send())
    still = -1
    while still != sent or not sent:
        still = sent
        await asyncio.sleep(0.5)
    assert sent < 25 * MEGABYTE
    assert resident(worker) - before < GROWTH_BYTES
    go_on.set()
    await sender
    assert (await allowed.response()).status == 200
    assert len(stand.backend.seen[0].body) == 50 * MEGABYTE


async def test_a_chunked_request_is_framed_anew(stand: Stand, allowed: Device) -> None:
    """In whatever pieces it comes, the backend gets the same bytes, chunked."""
    data = post(extra="Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n"
    for at in range(0, len(data), 7):
        await allowed.send(data[at : at + 7])
    assert (await allowed.response()).status == 200
    (seen,) = stand.backend.seen
    assert (seen.body, seen.values("Transfer-Encoding"), seen.values("Content-Length")) == (
        b"abc0123456789",
        ["chunked"],
        [],
    )


async def test_requests_sent_ahead_are_answered_one_by_one_in_order(stand: Stand, allowed: Device) -> None:
    """The backend gets the next one only when the one before has its answer."""
    running = 0

    async def script(turn: Turn) -> None:
        nonlocal running
        running += 1
        assert running == 1
        body = await turn.body()
        running -= 1
        await turn.ok(body * 2)

    stand.backend.script = script
    await allowed.send(b"".join(post("Sync", b"%d" % number) for number in range(5)))
    assert [(await allowed.response()).body for _ in range(5)] == [b"%d%d" % (one, one) for one in range(5)]


async def test_more_than_may_wait_is_read_when_its_turn_comes(stand: Stand, allowed: Device) -> None:
    """200 KB of requests ahead of the first answer: reading stops and goes on, and every one is answered."""

    async def slow(turn: Turn) -> None:
        await turn.body()
        await go.wait()
        await turn.ok(turn.seen.body[:3])

    go = asyncio.Event()
    stand.backend.script = slow
    sender = asyncio.create_task(
        allowed.send(b"".join(post("Sync", b"%03d" % number + b"x" * 20_000) for number in range(10)))
    )
    await stand.backend.wait_seen()
    go.set()
    assert [(await allowed.response()).body for _ in range(10)] == [b"%03d" % number for number in range(10)]
    await sender


async def test_a_client_of_http_1_0_is_answered_in_its_form(stand: Stand, allowed: Device) -> None:
    """No chunks, and the connection ends with the response."""

    async def chunked(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    stand.backend.script = chunked
    await allowed.send(post().replace(b"HTTP/1.1", b"HTTP/1.0"))
    status, headers = await allowed.head()
    assert (status, headers.get("transfer-encoding"), headers["connection"]) == (200, None, "close")
    assert await allowed.ended() == b"abc"


async def test_trailers_of_the_backend_are_dropped(stand: Stand, allowed: Device) -> None:
    """They never become header fields."""

    async def trailing(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Late: b\r\n\r\n")

    stand.backend.script = trailing
    for _ in range(2):
        response = await allowed.ask(post())
        assert (response.body, "x-late" in response.headers) == (b"a", False)


async def test_each_request_sent_ahead_is_judged_by_itself(stand: Stand, allowed: Device) -> None:
    """Another device, another user or no credentials on the same connection make no difference to the neighbours."""
    await stand.agent.put(PHONE, State.ALLOWED)
    await allowed.send(post(authorization=None) + post() + post(device="PHONE1", user="bert") + post())
    assert [(await allowed.response()).status for _ in range(4)] == [401, 200, 403, 200]
    assert len(stand.backend.seen) == 2


async def test_continue_is_sent_when_the_request_may_pass(stand: Stand, allowed: Device) -> None:
    """A client that waits for 100 gets it from the gateway; the backend sees no Expect."""
    await allowed.send(post("SendMail", b"", extra="Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 4"))
    status, _ = await allowed.head()
    assert status == 100
    await allowed.send(b"mail")
    assert (await allowed.response()).status == 200
    (seen,) = stand.backend.seen
    assert (seen.body, seen.values("Expect")) == (b"mail", [])


async def test_continue_is_not_sent_to_who_may_not_pass(stand: Stand, allowed: Device) -> None:
    """The refusal comes at once, and the connection ends, since nobody knows whether the body still comes."""
    data = post("SendMail", authorization=None, extra="Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 4")
    response = await allowed.ask(data)
    assert (response.status, response.headers["connection"]) == (401, "close")
    assert (await allowed.ended()) == b""


async def test_an_unknown_expectation_is_refused(allowed: Device) -> None:
    """417 (RFC 9110 15.5.18)."""
    assert (await allowed.ask(post(extra="Expect: 200-maybe\r\n"))).status == 417


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n\r\n5"])
async def test_a_backend_that_dies_in_mid_body_shows_as_a_cut(stand: Stand, allowed: Device, framing: bytes) -> None:
    """By length or chunked: the device never sees an end that the backend did not send."""

    async def die(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\nabc")
        turn.writer.transport.abort()

    stand.backend.script = die
    await allowed.send(post())
    _, headers = await allowed.head()
    with pytest.raises((asyncio.IncompleteReadError, OSError)):
        await asyncio.wait_for(read_body(allowed.reader, list(headers.items())), PATIENCE)


async def test_a_tls_backend_whose_end_is_not_signed_shows_as_a_cut(stand: Stand, allowed: Device) -> None:
    """A body that ends with the connection is complete only with a close_notify; else anybody could cut it short."""

    async def die(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\n\r\nabc")
        turn.writer.transport.abort()

    stand.backend.script = die
    await allowed.send(post())
    _, headers = await allowed.head()
    assert headers["transfer-encoding"] == "chunked"
    with pytest.raises((asyncio.IncompleteReadError, OSError)):
        await asyncio.wait_for(read_body(allowed.reader, list(headers.items())), PATIENCE)


async def test_a_body_that_ends_with_the_connection_is_given_a_proper_end(stand: Stand, allowed: Device) -> None:
    """The device gets it chunked and keeps its own connection."""

    async def old(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nabc")
        turn.writer.close()

    stand.backend.script = old
    for _ in range(2):
        response = await allowed.ask(post())
        assert (response.status, response.body) == (200, b"abc")


async def test_interim_responses_of_the_backend_are_kept_from_the_device(stand: Stand, allowed: Device) -> None:
    """100 and 103 are between gateway and backend."""

    async def hint(turn: Turn) -> None:
        await turn.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        await turn.body()
        await turn.say(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await turn.ok(b"abc")

    stand.backend.script = hint
    response = await allowed.ask(post("Sync", b"x"))
    assert (response.status, response.body, response.headers.get("link")) == (200, b"abc", None)


async def test_an_early_answer_ends_the_connection_in_good_order(stand: Stand, allowed: Device) -> None:
    """A backend that refuses a large message before it has all of it: the device reads the refusal."""

    async def refuse(turn: Turn) -> None:
        await turn.ok(b"no", status="413 Too Large")
        turn.writer.close()

    stand.backend.script = refuse
    await allowed.send(post("SendMail").replace(b"Content-Length: 0", b"Content-Length: 1000000") + b"x" * 100_000)
    response = await allowed.response()
    assert (response.status, response.headers["connection"]) == (413, "close")


async def test_an_answer_after_the_answer_is_never_given_to_the_next_request(stand: Stand, allowed: Device) -> None:
    """A backend that says more than it was asked is out of step: its connection is not used again."""

    async def talkative(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nAHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nB")

    stand.backend.script = talkative
    assert [(await allowed.ask(post())).body for _ in range(3)] == [b"A"] * 3
    assert [seen.connection for seen in stand.backend.seen] == [1, 2, 3]


@pytest.mark.parametrize(
    "response",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 199 Soon\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
        b"HTTP/1.1 200 O\0K\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 O\0K\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_a_malformed_response_is_not_passed_on(stand: Stand, allowed: Device, response: bytes) -> None:
    """The device gets 503 and may try again."""

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.say(response)

    stand.backend.script = script
    answer = await allowed.ask(post())
    assert (answer.status, int(answer.headers["retry-after"]) > 0) == (503, True)


@pytest.mark.parametrize("status", ["451 Redirect", "302 Found", "307 Temporary Redirect"])
async def test_a_redirection_past_the_gateway_is_not_passed_on(stand: Stand, allowed: Device, status: str) -> None:
    """The device is asked to come back instead; it never learns the other address."""

    async def elsewhere(turn: Turn) -> None:
        await turn.body()
        url = "https://elsewhere.test/Microsoft-Server-ActiveSync"
        await turn.ok(status=status, extra=f"X-MS-Location: {url}\r\nLocation: {url}\r\n")

    stand.backend.script = elsewhere
    response = await allowed.ask(post())
    assert response.status == 503
    assert "elsewhere" not in str(response.headers)


async def test_a_slow_head_is_timed_out(make_stand: MakeStand) -> None:
    """408 and a close; a connection that says nothing at all is closed. Each has one line."""
    stand = await make_stand(limits=with_limits(head_seconds=1.0))
    slow, silent = await stand.device(), await stand.device()
    await slow.send(b"POST /Micro")
    assert (await slow.response()).status == 408
    assert await slow.ended() == await silent.ended() == b""
    lines = await stand.audit.count(2)
    assert sorted((line["event"], line.get("status"), line["reasons"]) for line in lines) == [
        ("connection_silent", None, ["no_request"]),
        ("refused", 408, ["head_too_slow"]),
    ]
    await until(lambda: stand.status()["connections_silent"] == 1)


async def test_a_head_that_trickles_on_a_used_connection_is_timed_out(make_stand: MakeStand) -> None:
    """The clock runs from the head's first byte, and further bytes do not wind it up."""
    stand = await make_stand(limits=with_limits(head_seconds=1.0))
    device = await stand.device()
    assert (await device.ask(post(authorization=None))).status == 401
    response = asyncio.create_task(device.response())
    for byte in b"POST /Microsoft-Server-ActiveSync":
        await device.send(bytes((byte,)))
        done, _ = await asyncio.wait({response}, timeout=0.2)
        if done:
            break
    assert (await response).status == 408
