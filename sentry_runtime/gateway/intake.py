"""How connections read: all of a worker into one buffer, whose content is taken before the next one reads.

A protocol that is given `bytes` costs an allocation of the loop's largest read (256 KiB) for each packet, most of which is
given back at once.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Final, cast

READ_BYTES = 262_144  # what uvloop reads at most at a time

_BUFFER: Final = memoryview(bytearray(READ_BYTES))


class Intake(ABC):
    """A protocol with `data_received`, as `asyncio.Protocol` has it. Loops only ask for the methods, and a class of asyncio's
    cannot be the base of a compiled one."""

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(_BUFFER[:nbytes].tobytes())

    @abstractmethod
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Bytes have come."""

    @abstractmethod
    def eof_received(self) -> bool:
        """The other side will send no more; whether the connection stays open for what we send."""

    @abstractmethod
    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended: by an error, or (None) in good order."""

    @abstractmethod
    def pause_writing(self) -> None:
        """The other side does not take what we write."""

    @abstractmethod
    def resume_writing(self) -> None:
        """It does again."""


def protocol(one: Intake | asyncio.BaseProtocol) -> asyncio.BaseProtocol:
    """As what a loop takes it for."""
    return cast(asyncio.BaseProtocol, one)
