"""How a build ends early: in order, whoever wants it to end. It has a guest and a folder to put away."""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndedError(BaseException):
    """Somebody wants the build to end. As KeyboardInterrupt, no `Exception`: nothing but the program's end handles it."""


@contextmanager
def in_order(process: int | None) -> Iterator[None]:
    """Inside, Ctrl-C, a hang-up, SIGTERM and the end of `process`, if one is given, raise `EndedError` in the main thread."""
    before = {number: signal.signal(number, _end) for number in _SIGNALS}
    if process is not None:
        handle = os.pidfd_open(process)
        threading.Thread(target=_watch, args=(handle,), daemon=True, name="watch").start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(handle: int) -> None:
    """Ask for our own end when that process has ended."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll()
    os.close(handle)
    os.kill(os.getpid(), signal.SIGTERM)


def _end(number: int, frame: object) -> None:
    del frame
    # Once is enough: what puts things away is not to be interrupted.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise EndedError(signal.Signals(number).name)
