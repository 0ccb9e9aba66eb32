"""Held Pings: what they take of memory, and how fast a block reaches them."""

import time

from tests.bench import backend, clients, phones, remote
from tests.bench.contest import Sample, Setting
from tests.bench.h2load import quantile
from tests.bench.measures.requests import UnfairError
from tests.bench.proxy import client_context

PINGS = 4_000
BLOCKED_PINGS = 2_000


def wait_held(setting: Setting, count: int) -> None:
    """Until the backend holds so many."""
    end = time.monotonic() + clients.PATIENCE
    while (held := setting.stage.held()) != count:
        if time.monotonic() > end:
            raise UnfairError(f"{setting.proxy.name}: {count} Pings had to be held at the backend; it has {held}")
        time.sleep(0.05)


def memory(setting: Setting, count: int = PINGS) -> Sample:
    """Bytes of memory of all of the proxy's processes for one held Ping, with its connection to the backend."""
    proxy, context = setting.proxy, client_context(setting.stage)
    clients.visits(proxy.port, context, [phones.known(0)], 20, at_once=2, length=phones.BODY_BYTES)
    empty = proxy.pss_bytes()
    devices = [phones.known(number) for number in range(count)]
    with clients.holding(proxy.port, context, devices, phones.BODY_BYTES):
        wait_held(setting, count)
        full = proxy.pss_bytes()
        remote.ask(setting.stage.backend, "release")
    return Sample((full - empty) / count, {"empty": empty, "full": full})


def block(setting: Setting) -> Sample:
    """Seconds until 99 of 100 held Pings of devices that are all blocked at once have heard of it, from before the agent writes
    it down."""
    proxy, context = setting.proxy, client_context(setting.stage)
    assert proxy.agent is not None
    devices = [phones.known(number) for number in range(BLOCKED_PINGS)]
    with clients.holding(proxy.port, context, devices, phones.BODY_BYTES) as held:
        wait_held(setting, BLOCKED_PINGS)
        began = remote.ask(proxy.agent, "block", BLOCKED_PINGS) / 1e6
        times = [at - began for at in held.heard_at(BLOCKED_PINGS)]
        answered = sum(backend.MARK in answer for answer in held.answers())
    if answered:
        raise UnfairError(f"{answered} held Pings of blocked devices have got the backend's answer")
    return Sample(quantile(times, 0.99), {"median": quantile(times, 0.5), "last": max(times)})
