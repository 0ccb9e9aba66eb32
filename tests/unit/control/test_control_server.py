"""The Unix socket: framing, bounds, what a killed predecessor leaves, and the end of connections."""

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentry_runtime import control, control_server
from sentry_runtime.control import ControlError
from sentry_runtime.control_server import ControlServer, Peer, Refused, Stream, page_that_fits

STATUS = b'{"do": "status"}\n'


class Service:
    """Counts requests; `Drain` is refused, `Follow` is taken over."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    async def handle(self, peer: Peer, request: control.Request) -> object:
        """The handler."""
        self.peers.append(peer)
        match request:
            case control.Drain():
                raise Refused("forbidden", "not you")
            case control.Follow():
                return Stream(self.stream)
            case _:
                return len(self.peers)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Says one line more and waits for the end."""
        writer.write(control.answer(None) + b"news\n")
        await reader.read()


@pytest.fixture
def service() -> Service:
    """What stands behind the socket."""
    return Service()


@pytest.fixture
async def path(tmp_path: Path, service: Service) -> AsyncIterator[Path]:
    """A served socket."""
    server = ControlServer(tmp_path / "control.sock", service.handle)
    await server.start()
    yield tmp_path / "control.sock"
    await server.stop()


async def call(path: Path, request: control.Request) -> object:
    """The blocking client, beside the loop."""
    return await asyncio.to_thread(control.call, path, request)


async def test_the_client_gets_results_and_refusals_and_the_service_gets_the_kernels_word_for_the_peer(
    path: Path, service: Service
) -> None:
    """Not what a message says."""
    assert await call(path, control.Status()) == 1
    with pytest.raises(ControlError, match="forbidden: not you"):
        await call(path, control.Drain())
    assert {(peer.pid, peer.uid, peer.gid) for peer in service.peers} == {(os.getpid(), os.getuid(), os.getgid())}


async def test_requests_on_one_connection_are_answered_in_their_order(path: Path) -> None:
    """Also when they come in pieces, or two in one piece."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(STATUS[:5])
    await writer.drain()
    writer.write(STATUS[5:] + STATUS)
    assert [json.loads(await reader.readline()) for _ in range(2)] == [{"result": 1}, {"result": 2}]
    writer.close()


async def test_a_request_longer_than_the_bound_is_refused_and_ends_the_connection(path: Path) -> None:
    """What would follow cannot be told from the rest of it."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * (control_server.REQUEST_BYTES + 10) + b"\n")
    assert json.loads(await reader.readline())["error"]["kind"] == "invalid"
    assert await reader.read() == b""
    writer.close()


async def test_a_request_that_is_no_text_is_refused(path: Path) -> None:
    """Like any other that cannot be read; the connection stays."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"do": "stat\xff"}\n' + STATUS)
    assert json.loads(await reader.readline())["error"]["kind"] == "invalid"
    assert json.loads(await reader.readline()) == {"result": 1}
    writer.close()


async def test_an_unfinished_request_is_not_served(path: Path, service: Service) -> None:
    """A client that died in the middle of a line asked for nothing."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(STATUS.rstrip())
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert service.peers == []


async def test_more_connections_than_the_bound_are_told_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that are there go on."""
    monkeypatch.setattr(control_server, "CONNECTIONS", 1)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(STATUS)
    assert json.loads(await reader.readline()) == {"result": 1}
    with pytest.raises(ControlError, match="busy: 1 connections are open"):
        await call(path, control.Status())
    writer.write(STATUS)
    assert json.loads(await reader.readline()) == {"result": 2}
    writer.close()


async def test_an_idle_connection_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold a place for ever."""
    monkeypatch.setattr(control_server, "IDLE_SECONDS", 0.01)
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.read() == b""
    writer.close()


async def test_a_stream_keeps_its_connection_until_the_server_stops(tmp_path: Path, service: Service) -> None:
    """`stop` waits for nobody who merely listens, and takes the socket away."""
    server = ControlServer(tmp_path / "control.sock", service.handle)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
    writer.write(b'{"do": "follow"}\n')
    assert [await reader.readline(), await reader.readline()] == [b'{"result":null}\n', b"news\n"]
    await server.stop()
    assert await reader.read() == b""
    writer.close()
    assert not (tmp_path / "control.sock").exists()


async def test_the_socket_of_a_killed_predecessor_is_replaced_and_a_living_ones_is_not(
    tmp_path: Path, service: Service
) -> None:
    """A dead one refuses connections; a living one answers."""
    place = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(place))
    server = ControlServer(place, service.handle)
    await server.start()
    assert place.stat().st_mode & 0o777 == control_server.SOCKET_MODE
    with pytest.raises(BlockingIOError, match="another process already answers there"):
        await ControlServer(place, service.handle).start()
    assert await call(place, control.Status()) == 1
    await server.stop()


def test_a_page_holds_what_one_line_can() -> None:
    """Whole items, and never none where the first fits."""
    items = ["x" * 100_000] * 20
    page = page_that_fits(items)
    assert 1 < len(page) < 20
    assert len(control.answer(page)) <= control.LINE_BYTES
    assert page_that_fits(["x"] * 3) == ["x"] * 3


def test_an_answer_that_comes_octet_by_octet_has_one_deadline(tmp_path: Path) -> None:
    """Each octet within the time-out, the line never."""
    place = tmp_path / "slow.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(place))
        listener.listen()

        def serve() -> None:
            taken, _address = listener.accept()
            with taken, contextlib.suppress(OSError):
                taken.recv(65_536)
                for _ in range(1_000):
                    taken.sendall(b" ")
                    time.sleep(0.05)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(ControlError, match="timed out"):
            control.call(place, control.Status(), seconds=0.5)
        assert 0.5 <= time.monotonic() - began < 10
        thread.join(30)
        assert not thread.is_alive()
