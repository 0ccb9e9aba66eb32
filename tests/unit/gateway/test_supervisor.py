"""What the supervisor tells its workers, and what it makes of their words."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sentry_runtime import settings
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.store import Reader
from sentry_runtime.gateway import worker_channel
from sentry_runtime.gateway.generation import ORDER_SECONDS, Generation, Place, Running
from sentry_runtime.gateway.judge import Judge
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.policies import Policies, SitePolicy
from sentry_runtime.gateway.redirects import Forgotten
from sentry_runtime.gateway.site import Site
from sentry_runtime.gateway.supervisor import Supervisor
from sentry_runtime.systemd import Notifier

NEWS = Forgotten(keys=(DeviceKey("PHONE1", "anna@lab.test"),))


class Channel(socket.socket):
    """Notes for how long it would wait to send an order."""

    patience: float | None = None

    def sendmsg(self, *arguments: Any) -> int:
        self.patience = self.gettimeout()
        return super().sendmsg(*arguments)


@pytest.fixture
def ends() -> Iterator[tuple[Running, socket.socket]]:
    """A worker as the supervisor sees it, and the worker's end of the channel."""
    one, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours = Channel(fileno=one.detach())
    ours.settimeout(0)
    theirs.settimeout(10)
    yield Running(os.getpid(), ours, 0.0, 0.0), theirs
    ours.close()
    theirs.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """One without a worker."""
    tls = settings.ServerTls(certificate="", key="")
    link = settings.UemLink(mode="embedded", url="", tls=settings.ClientTls(trust=""))
    whole = settings.Settings(
        gateway=settings.Gateway(listeners=(), tls=tls, backends=(settings.Backend(name="mail", host="192.0.2.1"),)),
        agent=settings.Agent(uem=link),
        paths=settings.Paths(devices=str(tmp_path), gateway_control=str(tmp_path / "control.sock")),
    )
    policies = Policies(SitePolicy(), Known(lambda: Reader(str(tmp_path))))
    judge = Judge(policies, Site.of(whole.gateway, names=whole.principals.names()))
    first = Generation(whole, b"", "", 0.0, judge, SitePolicy(), lambda *_: None)
    one = Supervisor(tmp_path / "runtime.json", first, Notifier())
    yield one
    one._selector.close()
    one._wake_in.close()
    one._wake_out.close()


def test_an_order_reaches_a_worker_whose_channel_is_full_of_news(ends: tuple[Running, socket.socket]) -> None:
    """Who retires must not go on as before because much was learned a moment ago; what comes with the order comes, too."""
    running, theirs = ends
    with contextlib.suppress(BlockingIOError):
        while True:
            running.channel.send(b"{}")
    running.pass_on(NEWS)  # is lost, and nobody waits for it
    told: list[tuple[bytes, int]] = []

    def read() -> None:
        order = b""
        while order != worker_channel.RETIRE:
            order, descriptors, _, _ = socket.recv_fds(theirs, worker_channel.ORDER_BYTES, 1)
            told.append((order, len(descriptors)))
            for descriptor in descriptors:
                os.close(descriptor)

    reader = threading.Thread(target=read)
    reader.start()
    descriptor = os.memfd_create("settings")
    running.tell(worker_channel.RETIRE, descriptor)
    os.close(descriptor)
    reader.join()
    assert told[-1] == (b"R", 1)
    assert set(told[:-1]) == {(b"{}", 0)}
    assert isinstance(running.channel, Channel)
    assert running.channel.patience == ORDER_SECONDS  # the reader may have been quick enough this time
    assert running.channel.gettimeout() == 0


def test_a_worker_that_has_died_is_told_nothing(ends: tuple[Running, socket.socket]) -> None:
    """Neither way is an error of the supervisor's."""
    running, theirs = ends
    theirs.close()
    running.tell(worker_channel.DRAIN)
    running.pass_on(NEWS)
    running.channel.close()
    running.tell(worker_channel.DRAIN)
    running.pass_on(NEWS)


@pytest.mark.parametrize("packet", [b"{}", b"\xff", b'{"news":"forgotten","keys":' + b"[" * 60_000])
def test_a_worker_that_says_what_no_worker_says_is_killed(
    ends: tuple[Running, socket.socket], supervisor: Supervisor, packet: bytes
) -> None:
    """And the supervisor goes on: what a stranger may have made of one worker is not to end the gateway."""
    running, theirs = ends
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as child:
        running.pid = child.pid
        theirs.send(packet)
        supervisor._hear(running)
        assert child.wait() == -signal.SIGKILL


def test_news_of_a_worker_reach_the_others(ends: tuple[Running, socket.socket], supervisor: Supervisor) -> None:
    """As they were said, and not the one that said them."""
    running, theirs = ends
    ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, other:
        supervisor._now.places += [Place([], running), Place([], Running(os.getpid(), ours, 0.0, 0.0))]
        theirs.send(msgspec.json.encode(NEWS))
        supervisor._hear(running)
        assert worker_channel.read_news(other.recv(worker_channel.ORDER_BYTES)) == NEWS
    theirs.settimeout(0)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
