"""Ports for what the tests start.

A program that is told its port binds it a moment after the test has chosen it. No other may have it by then: not another of
pytest's workers, which have a span each, and not the kernel, which gives ports to whoever does not ask for a certain one from
32768 on (net.ipv4.ip_local_port_range).
"""

import itertools
import os
import socket

FIRST = 10_000
SPAN = 2_000
SPANS = 11  # the last ends at 31999


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now and that no other test will be given soon."""
    for number in _numbers:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                continue
            return number
    raise AssertionError("unreachable: the numbers come round")


def _span(worker: str) -> range:
    """The ports of one of pytest's workers, `gw0` and so on; without workers, the first."""
    start = FIRST + int(worker.removeprefix("gw") or 0) % SPANS * SPAN
    return range(start, start + SPAN)


def _begin() -> "itertools.cycle[int]":
    """Another checkout's tests, which may run too, are most likely elsewhere in the span."""
    ports = _span(os.environ.get("PYTEST_XDIST_WORKER", ""))
    begin = os.getpid() % SPAN
    return itertools.cycle([*ports[begin:], *ports[:begin]])


_numbers = _begin()
