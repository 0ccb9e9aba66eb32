"""Connections of people whom no backend knows: bounded in number and time, counted from the first packet, and on record."""

import asyncio
import ssl
import time
from typing import Any

import msgspec
import pytest

from sentry_runtime.devices.record import State
from sentry_runtime.gateway import account
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.stand import PHONE, Device, Stand, post, until

NOT_SERVED = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"  # where a ClientHello is expected


async def silent(stand: Stand) -> Device:
    """A TCP connection that never begins a handshake."""
    stand.devices.append(Device(*await asyncio.open_connection("127.0.0.1", stand.port)))
    return stand.devices[-1]


async def refused(stand: Stand) -> bool:
    """Whether a new connection does not even get a handshake."""
    try:
        await stand.device()
    except (ConnectionError, ssl.SSLError):
        return True
    return False


async def test_an_answer_of_the_gateways_own_does_not_buy_a_long_rest(make_stand: MakeStand) -> None:
    """Who was only told 404, or blocked, is closed when idle; whom the backend has served may stay."""
    stand = await make_stand(limits=with_limits(head_seconds=1.0))
    await stand.agent.put(PHONE, State.ALLOWED)
    stranger, blocked, served = [await stand.device() for _ in range(3)]
    assert (await stranger.ask(NOT_SERVED)).status == 404
    assert (await blocked.ask(post(authorization=None))).status == 401
    assert (await served.ask(post())).status == 200
    assert await stranger.ended() == await blocked.ended() == b""
    assert (await served.ask(post())).status == 200


async def test_handshakes_that_never_end_count_as_connections(make_stand: MakeStand) -> None:
    """Else the bound on connections would be none for whoever does not finish his."""
    stand = await make_stand(limits=with_limits(connections_per_worker=3))
    mute = [await silent(stand) for _ in range(3)]
    await until(lambda: stand.status()["connections_now"] == 3)
    assert await refused(stand)
    lines = await stand.audit.count(1)
    assert [(line["event"], line["reasons"]) for line in lines] == [("connection_refused", ["too_many_connections"])]
    for one in mute:
        await one.close()
    await until(lambda: stand.status()["connections_now"] == 0)
    assert (await (await stand.device()).ask(NOT_SERVED)).status == 404


async def test_one_source_cannot_take_all_places(make_stand: MakeStand) -> None:
    """What is beyond its share is refused before the handshake, and its places come back when it goes."""
    stand = await make_stand(limits=with_limits(connections_per_worker=100, connections_per_source=2))
    first, _second = await stand.device(), await stand.device()
    assert await refused(stand)
    lines = await stand.audit.count(1)
    assert [(line["event"], line["reasons"]) for line in lines] == [("connection_refused", ["too_many_from_source"])]
    await first.ask(NOT_SERVED)
    await first.close()
    await until(lambda: stand.status()["connections_now"] == 1)
    assert (await (await stand.device()).ask(NOT_SERVED)).status == 404


@pytest.mark.parametrize(("words", "reason"), [(PLAIN, "tls"), (b"", "closed")])
async def test_a_failed_handshake_is_on_record(stand: Stand, words: bytes, reason: str) -> None:
    """What is no TLS, and who goes before it begins."""
    one = await silent(stand)
    if words:
        await one.send(words)
        await one.ended()
    await one.close()
    (line,) = await stand.audit.count(1)
    assert (line["event"], line["reasons"], line["source"]) == ("handshake_failed", [reason], "127.0.0.1")
    await until(lambda: stand.status()["handshakes_failed"] == 1)


async def test_a_connection_without_a_request_is_on_record(stand: Stand) -> None:
    """A handshake and nothing more."""
    device = await stand.device()
    await device.close()
    (line,) = await stand.audit.count(1)
    assert (line["event"], line["reasons"]) == ("connection_silent", ["no_request"])
    await until(lambda: stand.status()["connections_silent"] == 1)


async def test_a_storm_of_connections_does_not_flood_the_trail(stand: Stand) -> None:
    """The counters have every one; the lines of each second are few, and the next one says how many were left out."""
    storm = 5 * account.TURNED_AWAY_LINES
    for _ in range(storm):
        await (await silent(stand)).close()
    await until(lambda: stand.status()["handshakes_failed"] == storm)
    this_second = int(time.time())
    await until(lambda: int(time.time()) > this_second)
    await (await silent(stand)).close()

    def told(lines: list[dict[str, Any]]) -> int:
        return len(lines) + sum(int(line.get("count", 0)) for line in lines)

    lines = await stand.audit.wait(lambda lines: told(lines) >= storm + 1)
    assert told(lines) == storm + 1
    assert len(lines) <= storm


async def test_a_handshake_under_way_does_not_hold_up_a_stop(stand: Stand) -> None:
    """It is ended with the rest that is idle."""
    await silent(stand)
    await until(lambda: stand.status()["connections_now"] == 1)
    assert stand.process is not None
    started = time.monotonic()
    stand.process.terminate()
    assert await stand.ended() == 0
    assert time.monotonic() - started < stand.settings.gateway.limits.drain_seconds


async def test_a_name_that_is_none_is_a_backend_that_cannot_be_reached(make_stand: MakeStand) -> None:
    """The device is asked to come back, and its connection goes on."""
    stand = await make_stand(started=False)
    (backend,) = stand.settings.gateway.backends
    nameless = msgspec.structs.replace(backend, host=f"{'x' * 70}.lab.test")
    gateway = msgspec.structs.replace(stand.settings.gateway, backends=(nameless,))
    stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway)
    await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)
    device: Device = await stand.device()
    for data in (post(), post(device="PHONE2")):
        assert (await device.ask(data)).status == 503
    assert [one["reasons"] for one in await stand.audit.outcomes(2)] == [["backend_unreachable"]] * 2
