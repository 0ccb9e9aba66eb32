"""How connections read: all of a worker into one buffer, whose content is taken before the next one reads.

A protocol that is given `bytes` costs an allocation of the loop's largest read (256 KiB) for each packet, most of which is
given back at once.
"""

from abc import ABC, abstractmethod

READ_BYTES = 262_144  # what uvloop reads at most at a time

_buffer = memoryview(bytearray(READ_BYTES))


class Intake(ABC):
    """A protocol with `data_received`, as `asyncio.Protocol` has it."""

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(_buffer[:nbytes].tobytes())

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
