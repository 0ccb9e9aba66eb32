"""The backend of the bench, byte by byte."""

import asyncio
from typing import cast

import pytest

from tests.bench import phones
from tests.bench.backend import Connection, Desk, response


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)


def connected(desk: Desk) -> tuple[Connection, Wire]:
    connection, wire = Connection(desk), Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    return connection, wire


def request(command: str, length: int) -> bytes:
    return phones.known(0).head(command, length) + b"x" * length


@pytest.mark.parametrize("step", [1, 7, 100, 10_000])
def test_requests_are_answered_one_by_one_however_their_bytes_come(step: int) -> None:
    desk = Desk()
    desk.handle("answer", 5_000)
    connection, wire = connected(desk)
    stream = (
        request("Sync", 200)
        + request("ItemOperations", 0)
        + b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n"
        + request("Sync", 3)
    )
    for start in range(0, len(stream), step):
        connection.data_received(stream[start : start + step])
    small = response(phones.ANSWER_BYTES)
    assert wire.sent == [small, response(5_000), small, small]
    assert desk.handle("served", 0) == 3  # the OPTIONS is none that a device has to wait for


def test_a_body_is_no_head() -> None:
    desk = Desk()
    connection, wire = connected(desk)
    body = request("Sync", 10)
    connection.data_received(phones.known(0).head("SendMail", len(body)))
    connection.data_received(body)
    assert len(wire.sent) == 1


def test_a_ping_is_held_until_it_is_let_go() -> None:
    desk = Desk()
    (first, one), (second, two) = connected(desk), connected(desk)
    first.data_received(request("Ping", 20))
    second.data_received(request("Ping", 20))
    assert desk.handle("held", 0) == 2
    second.connection_lost(None)
    assert desk.handle("release", 0) == 1
    assert (len(one.sent), len(two.sent)) == (1, 0)
    assert desk.handle("held", 0) == 0


def test_a_word_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match="found 'hold'"):
        Desk().handle("hold", 0)
