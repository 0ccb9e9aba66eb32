"""From tcpdump's output to the file: until the time is up, the file is as large as it may be, tcpdump ends, or somebody asks."""

import os
import selectors
from collections.abc import Callable
from typing import BinaryIO, Literal

from appliance.capture.headers import Cutter

READ_BYTES = 65_536
LOOK_SECONDS = 0.5  # how late an order to end is seen

End = Literal["time", "size", "over", "stopped"]


def record(
    source: int,
    target: BinaryIO,
    cutter: Cutter,
    *,
    seconds: float,
    most: int,
    clock: Callable[[], float],
    stopped: Callable[[], bool],
) -> End:
    """Write what comes from the descriptor `source` into `target`, `most` bytes at most and never a part of a packet. `clock` is
    monotonic. Returns what ended it. Raises `NoCaptureError`, `OSError`."""
    until, written = clock() + seconds, 0
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while not stopped():
            left = until - clock()
            if left <= 0:
                return "time"
            if not selector.select(min(left, LOOK_SECONDS)):
                continue
            data = os.read(source, READ_BYTES)
            if not data:
                return "over"
            for piece in cutter.feed(data):
                if written + len(piece) > most:
                    return "size"
                target.write(piece)
                written += len(piece)
    return "stopped"
