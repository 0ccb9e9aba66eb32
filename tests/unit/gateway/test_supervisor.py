"""What the supervisor tells its workers."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway import worker
from sentry_runtime.gateway.generation import ORDER_SECONDS, Running
from sentry_runtime.gateway.redirects import Forgotten

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
        while order != worker.RETIRE:
            order, descriptors, _, _ = socket.recv_fds(theirs, worker.ORDER_BYTES, 1)
            told.append((order, len(descriptors)))
            for descriptor in descriptors:
                os.close(descriptor)

    reader = threading.Thread(target=read)
    reader.start()
    descriptor = os.memfd_create("settings")
    running.tell(worker.RETIRE, descriptor)
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
    running.tell(worker.DRAIN)
    running.pass_on(NEWS)
    running.channel.close()
    running.tell(worker.DRAIN)
    running.pass_on(NEWS)
