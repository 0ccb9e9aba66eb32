"""Port 80 while a name is proved: the one thing it says, and what it does with everybody else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from appliance.acme.answering import CONNECTIONS, HEAD_BYTES, answer, answering
from tests.ports import free_port

PROOFS = {"token-1_x": "token-1_x.thumbprint"}
HEAD = b"Host: gateway.example.test\r\nUser-Agent: an authority\r\n\r\n"
NOTHING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_a_token_that_was_announced() -> None:
    said = answer(b"GET /.well-known/acme-challenge/token-1_x HTTP/1.1\r\n" + HEAD, PROOFS)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n")
    assert body == b"token-1_x.thumbprint"
    only_head = answer(b"HEAD /.well-known/acme-challenge/token-1_x HTTP/1.0\r\n\r\n", PROOFS)
    assert only_head == head + b"\r\n\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"GET /.well-known/acme-challenge/other HTTP/1.1",
        b"GET /.well-known/acme-challenge/ HTTP/1.1",
        b"GET /.well-known/acme-challenge/token-1_x/ HTTP/1.1",
        b"GET /.well-known/acme-challenge/token-1_x?a=b HTTP/1.1",
        b"GET /.well-known/acme-challenge/../token-1_x HTTP/1.1",
        b"GET /.well-known/acme-challenge/%74oken-1_x HTTP/1.1",
        b"GET http://gateway/.well-known/acme-challenge/token-1_x HTTP/1.1",
        b"POST /.well-known/acme-challenge/token-1_x HTTP/1.1",
        b"GET / HTTP/1.1",
        b"GET /Microsoft-Server-ActiveSync HTTP/1.1",
        b"GET /.well-known/acme-challenge/token-1_x",
        b"GET /.well-known/acme-challenge/" + b"a" * 300 + b" HTTP/1.1",
        b"\x16\x03\x01",
    ],
)
def test_everything_else_gets_nothing(line: bytes) -> None:
    assert answer(line + b"\r\n" + HEAD, PROOFS) == NOTHING


async def asked(port: int, said: bytes) -> bytes:
    """What comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def with_port(talk: Callable[[int], Awaitable[None]]) -> None:
    port = free_port()
    async with answering(("127.0.0.1",), port, PROOFS):
        await talk(port)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_it_answers_once_and_ends_the_connection() -> None:
    async def talk(port: int) -> None:
        twice = (b"GET /.well-known/acme-challenge/token-1_x HTTP/1.1\r\n" + HEAD) * 2
        assert (await asked(port, twice)).count(b"HTTP/1.1 200") == 1
        assert await asked(port, b"GET / HTTP/1.1\r\n\r\n") == NOTHING

    await with_port(talk)


async def test_a_head_without_end_is_cut_off() -> None:
    async def talk(port: int) -> None:
        assert await asked(port, b"GET / HTTP/1.1\r\nX: " + b"a" * 4 * HEAD_BYTES) == b""

    await with_port(talk)


async def test_a_crowd_finds_no_room_and_whoever_is_silent_is_left_when_the_proof_is_over() -> None:
    async def talk(port: int) -> None:
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
        assert await asked(port, b"GET / HTTP/1.1\r\n\r\n") == b""
        crowd.pop()[1].close()
        deadline = asyncio.get_running_loop().time() + 10
        while await asked(port, b"GET / HTTP/1.1\r\n\r\n") != NOTHING:
            assert asyncio.get_running_loop().time() < deadline
        for _reader, writer in crowd:
            writer.close()

    await with_port(talk)
