"""Whoever is slow to ask is hung up on; whoever reads a page is not."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from appliance.portal import gate, serving
from appliance.tls_proxy import relay, service

SHORT = 0.3
LONG = 30.0


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits a test can wait for."""
    monkeypatch.setattr(serving, "HEAD_SECONDS", SHORT)
    monkeypatch.setattr(relay, "HANDSHAKE_SECONDS", SHORT)
    monkeypatch.setattr(gate, "BODY_SECONDS", SHORT)


@pytest.fixture
async def connection(limits: None, stand: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TLS connection to the portal."""
    reader, writer = await asyncio.open_connection("localhost", int(stand.url.rpartition(":")[2]), ssl=stand.tls)
    yield reader, writer
    writer.transport.abort()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Everything up to the end, which must come by itself."""
    async with asyncio.timeout(LONG):
        try:
            return await reader.read()
        except (ConnectionResetError, ssl.SSLError):
            return b""


@pytest.mark.parametrize("begun", [b"", b"GET /login HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
async def test_a_head_that_does_not_come_ends_the_connection(connection: Any, begun: bytes) -> None:
    reader, writer = connection
    writer.write(begun)
    assert await read_all(reader) == b""


async def test_a_handshake_that_does_not_come_ends_the_connection(limits: None, stand: Any) -> None:
    with socket.create_connection(("localhost", int(stand.url.rpartition(":")[2]))) as silent:
        silent.settimeout(0)
        async with asyncio.timeout(LONG):
            assert await asyncio.get_running_loop().sock_recv(silent, 1) == b""


async def test_a_form_that_does_not_come_is_408(connection: Any, stand: Any) -> None:
    reader, writer = connection
    host = stand.url.removeprefix("https://")
    head = f"POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\nuser=".encode())
    assert (await read_all(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_has_asked_stays_open_for_the_next_click(connection: Any, stand: Any) -> None:
    reader, writer = connection
    ask = f"GET /static/portal.css HTTP/1.1\r\nHost: {stand.url.removeprefix('https://')}\r\n\r\n".encode()
    for _ in range(2):
        writer.write(ask)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert len(await reader.readexactly(length)) == length
        await asyncio.sleep(2 * SHORT)  # longer than a head may take


@pytest.mark.parametrize("place", [service, serving])
async def test_a_source_with_its_share_of_connections_gets_no_more_until_one_of_them_ends(
    stand: Any, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TLS proxy counts, and so does the portal."""
    monkeypatch.setattr(serving, "HEAD_SECONDS", LONG)
    monkeypatch.setattr(relay, "HANDSHAKE_SECONDS", LONG)
    monkeypatch.setattr(place, "SOURCE_CONNECTIONS", 2)
    port = int(stand.url.rpartition(":")[2])

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port, ssl=stand.tls, server_hostname="localhost")

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(f"GET /login HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        return await read_all(reader)

    held = [await connect() for _ in range(2)]
    assert await surplus(connect) == b""
    assert (await ask(*held[0])).startswith(b"HTTP/1.1 200 ")
    assert (await ask(*await connect())).startswith(b"HTTP/1.1 200 ")
    for _, writer in held:
        writer.transport.abort()


async def surplus(connect: Any) -> bytes:
    """What a connection too many hears: the end, in the handshake or right after it."""
    try:
        reader, writer = await connect()
    except (OSError, ssl.SSLError):
        return b""
    said = await read_all(reader)
    writer.transport.abort()
    return said
