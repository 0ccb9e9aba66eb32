"""Both ends of a connection within the gateway: who is told what comes, and what it sends through."""

from abc import ABC, abstractmethod


class Intake(ABC):
    """Who is told what comes over a connection. `channels` calls it; nothing comes after `connection_lost`, which comes once, and
    never in the middle of a call to the channel."""

    @abstractmethod
    def connection_made(self, channel: "Channel") -> None:
        """The connection stands; TLS, where there is any, has been agreed on."""

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Bytes have come."""

    @abstractmethod
    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended: in good order (None), or by an error. Over TLS good order is a close_notify (RFC 5246 7.2.1):
        without one anybody on the way may have cut off what came last."""

    @abstractmethod
    def pause_writing(self) -> None:
        """The other side does not take what we write."""

    @abstractmethod
    def resume_writing(self) -> None:
        """It does again."""


class Channel(ABC):
    """What is sent through. It begins to read as soon as the connection stands."""

    @property
    @abstractmethod
    def closing(self) -> bool:
        """Whether it ends or has ended: what is written is dropped."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send, at once as far as the kernel takes it."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Let what comes wait in the kernel, which makes the other side wait."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Read on."""

    @abstractmethod
    def close(self) -> None:
        """End in good order, once everything is sent. What still comes is read, so that the kernel does not reset the connection
        under our last bytes, and dropped. The other side may never end its half: `abort` is for who has waited long enough."""

    @abstractmethod
    def abort(self) -> None:
        """End now."""

    @abstractmethod
    def abandon(self) -> None:
        """End when there is nothing better to do, soon. Nothing more is sent from now on, not even what waits, and nobody hears
        what still comes."""

    @abstractmethod
    def certificate(self) -> bytes | None:
        """The other side's certificate (DER), where it has shown one."""
