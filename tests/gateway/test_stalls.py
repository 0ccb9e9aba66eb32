"""Slow readers and writers are timed out: a worker in the test's own process, whose deadlines are looked at by a later clock.

Everything else is real, as in `test_expiry`, from which the worker is.
"""

import asyncio

import pytest

from sentry_runtime.devices.record import State
from sentry_runtime.gateway.relay import REQUEST_STALL_SECONDS, RESPONSE_STALL_SECONDS
from tests.gateway.stand import PHONE, Device, Turn, post, until
from tests.gateway.test_expiry import Begin, Here, begin

__all__ = ["begin"]  # the fixture

EARLY, LATE = -30.0, 1.0  # a busy machine may take half a minute from the last byte to the look


def later(here: Here, seconds: float) -> None:
    """The worker looks at its deadlines when so many seconds have passed."""
    here.worker._look_at_deadlines(asyncio.get_running_loop().time() + seconds)


async def here_with_a_phone(begin: Begin, **changes: object) -> tuple[Here, Device]:
    """A worker and a connection of an allowed device."""
    here = await begin(**changes)
    await here.stand.agent.put(PHONE, State.ALLOWED)
    return here, await here.stand.device()


HALF = post("SendMail", extra="Content-Length: 100\r\n").replace(b"Content-Length: 0\r\n", b"") + b"half"


@pytest.mark.parametrize(
    "request_bytes", [HALF, post("SendMail", extra="Transfer-Encoding: chunked\r\n") + b"9\r\nhalf"]
)
async def test_a_request_that_stops_in_mid_body_is_timed_out(begin: Begin, request_bytes: bytes) -> None:
    """408 and a close; the backend sees a cut and no end, and its connection is free."""
    here, device = await here_with_a_phone(begin)
    await device.send(request_bytes)
    await here.stand.backend.wait_seen()
    later(here, REQUEST_STALL_SECONDS + EARLY)
    assert here.held() == 1
    later(here, REQUEST_STALL_SECONDS + LATE)
    assert (await device.response()).status == 408
    assert await device.ended() == b""
    async with asyncio.timeout(10):
        await here.stand.backend.lost.wait()
    assert not here.stand.backend.seen[0].complete
    (outcome,) = await here.stand.audit.outcomes(1)
    assert outcome["reasons"] == ["request_stalled"]
    assert here.held() == 0


async def test_a_body_that_the_gateway_itself_reads_is_timed_out(begin: Begin) -> None:
    """Half a document of Autodiscover; no backend is asked."""
    here, device = await here_with_a_phone(begin, external_host="gw.lab.test")
    body = b'<?xml version="1.0"?><Autodiscover'
    lines = ("POST /autodiscover/autodiscover.xml HTTP/1.1", "Host: a", "Content-Type: text/xml", "Content-Length: 999")
    credentials = post().split(b"Authorization: ")[1].split(b"\r\n")[0]
    await device.send("\r\n".join(lines).encode() + b"\r\nAuthorization: " + credentials + b"\r\n\r\n" + body)
    await here.stand.audit.count(1)
    later(here, REQUEST_STALL_SECONDS + LATE)
    assert (await device.response()).status == 408
    assert here.stand.backend.connections == 0


async def test_a_device_that_does_not_read_its_response_is_cut(begin: Begin) -> None:
    """And the backend's connection with it; until then both wait."""
    here, device = await here_with_a_phone(begin)

    async def flood(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n")
        while True:
            await turn.say(bytes(100_000))

    here.stand.backend.script = flood
    await device.send(post("ItemOperations"))
    (front,) = here.worker._crowd.fronts
    await until(lambda: front.full)
    later(here, RESPONSE_STALL_SECONDS + EARLY)
    assert here.held() == 1
    later(here, RESPONSE_STALL_SECONDS + LATE)
    async with asyncio.timeout(10):
        await here.stand.backend.lost.wait()
    assert len(await device.ended()) < 90_000_000
    (outcome,) = await here.stand.audit.outcomes(1)
    assert outcome["reasons"] == ["stalled"]
    await until(lambda: not here.worker._crowd.fronts)


async def test_a_backend_that_stops_in_mid_body_is_cut(begin: Begin) -> None:
    """The device sees a cut, never a made-up end."""
    here, device = await here_with_a_phone(begin)

    async def half(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await turn.reader.read()

    here.stand.backend.script = half
    await device.send(post("Sync"))
    await device.head()
    assert await device.reader.readexactly(8) == b"3\r\nabc\r\n"
    later(here, RESPONSE_STALL_SECONDS + EARLY)
    assert here.held() == 1
    later(here, RESPONSE_STALL_SECONDS + LATE)
    assert await device.ended() == b""
    assert here.held() == 0
