"""What systemd hears of a service of the management plane."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.systemd import announced, asked_to_end


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket at which systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        yield listener


async def test_it_is_ready_alive_and_ending(heard: socket.socket) -> None:
    async with announced("all is well"):
        said = [heard.recv(100) for _ in range(2)]
        await asyncio.sleep(0)
        said.append(heard.recv(100))
    assert [*said, heard.recv(100)] == [b"READY=1", b"STATUS=all is well", b"WATCHDOG=1", b"STOPPING=1"]


async def test_one_that_fails_is_ending_too(heard: socket.socket) -> None:
    with pytest.raises(ZeroDivisionError):
        async with announced():
            raise ZeroDivisionError
    assert [heard.recv(100), heard.recv(100)] == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_when_it_is_asked_to(number: signal.Signals) -> None:
    stop = asked_to_end()
    os.kill(os.getpid(), number)
    async with asyncio.timeout(10):
        await stop.wait()
