"""A worker's clock and its signs of life."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from sentry_runtime import settings
from sentry_runtime.gateway.front import FrontConnection
from sentry_runtime.gateway.policies import SitePolicy
from sentry_runtime.gateway.worker import Post, _Worker


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The worker's end and the supervisor's."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ends
    for end in ends:
        end.close()


def worker(channel: socket.socket, folder: Path) -> _Worker:
    """One that listens nowhere."""
    tls = settings.ServerTls(certificate="", key="")
    link = settings.UemLink(mode="embedded", url="", tls=settings.ClientTls(trust=""))
    whole = settings.Settings(
        gateway=settings.Gateway(listeners=(), tls=tls, backends=(settings.Backend(name="mail", host="192.0.2.1"),)),
        agent=settings.Agent(uem=link),
        paths=settings.Paths(devices=str(folder), audit_socket=str(folder / "audit.sock")),
    )
    return _Worker(
        Post(
            settings=whole,
            sockets=[],
            entrances=[],
            backends=[None],
            policy=SitePolicy(),
            examiner=None,
            channel=channel,
        )
    )


async def test_a_fault_in_one_connection_does_not_stop_the_clock(
    channel: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    """It is reported, and the deadlines of all others are looked at a second later."""

    class Broken:
        def tidy(self, now: float) -> None:
            raise RuntimeError("broken")

    one = worker(channel[0], tmp_path)
    one._crowd.fronts.add(cast(FrontConnection, Broken()))
    with pytest.raises(RuntimeError, match="broken"):
        one._tick()
    assert one._ticker is not None
    one._ticker.cancel()


async def test_a_supervisor_that_has_just_died_is_no_fault_of_the_worker(
    channel: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    """With words of ours unread its end is a reset, not an end."""
    one = worker(channel[0], tmp_path)
    one._tell()
    channel[1].close()
    for _ in range(3):
        one._tell()
    assert channel[0].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0  # the reset has been taken
