"""What comes over the portal's socket without a preface, or with a wrong one, is hung up on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from appliance.portal import serving as portal_serving
from appliance.portal.serving import listening, preface_of, serving
from appliance.proxy_protocol import SIGNATURE, Preface, encoded

LONG, SHORT = 30.0, 0.3
ASK = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
TICKET = "ab" * 32
PREFACE = encoded(Preface("2001:db8::7", 50_000, "2001:db8::2", 8_443, certificate=True, ticket=TICKET))


@pytest.fixture
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The socket of an application that says what it was told of a connection."""

    async def told(request: web.Request) -> web.Response:
        preface = preface_of(request)
        assert preface is not None
        return web.Response(text=f"{request.remote} {request.scheme} {preface.ticket} {preface.certificate}")

    application = web.Application()
    application.router.add_get("/", told)
    path = tmp_path_factory.mktemp("p") / "s"
    with listening(path) as listener:
        async with serving(application, listener):
            yield path


async def said(place: Path, *parts: bytes) -> bytes:
    """What comes back for these, each in a segment of its own."""
    reader, writer = await asyncio.open_unix_connection(place)
    try:
        async with asyncio.timeout(LONG):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("cut", [1, 12, 16, len(PREFACE) - 1, len(PREFACE)])
async def test_the_application_learns_source_and_ticket_however_they_come(place: Path, cut: int) -> None:
    whole = PREFACE + ASK
    answer = await said(place, whole[:cut], whole[cut:])
    assert answer.endswith(f"2001:db8::7 https {TICKET} True".encode())


@pytest.mark.parametrize("words", [ASK, b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n" + ASK, SIGNATURE + bytes(4) + ASK])
async def test_without_a_preface_there_is_no_answer(place: Path, words: bytes) -> None:
    assert await said(place, words) == b""


async def test_half_a_preface_is_not_waited_for_for_ever(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_serving, "HEAD_SECONDS", SHORT)
    assert await said(place, PREFACE[:20]) == b""


async def test_only_its_group_may_dial_the_socket(place: Path) -> None:
    assert place.stat().st_mode & 0o777 == 0o660  # noqa: ASYNC240 - a file of the test's own
