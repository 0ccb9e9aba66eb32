"""A listener that has no room for one more."""

import contextlib
import socket

QUEUE_MOST = 1_000  # aiohttp's backlog is 128
QUEUE_SECONDS = 0.2  # loopback connects in microseconds, or after a second's repetition


def fill_queue(port: int, stack: contextlib.ExitStack) -> int:
    """Connect to a listener that accepts nothing until its queue takes no more; how many it took."""
    for taken in range(QUEUE_MOST):
        peer = stack.enter_context(socket.socket())
        peer.settimeout(QUEUE_SECONDS)
        try:
            peer.connect(("127.0.0.1", port))
        except TimeoutError:
            return taken
    raise AssertionError(f"the queue of port {port} took {QUEUE_MOST} connections and is not full")
