"""What a place gave, or why it could not."""

from dataclasses import dataclass


class PlaceError(RuntimeError):
    """There is user-data and it cannot be had; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Found:
    """User-data as it was found: where, in words, and the bytes."""

    where: str
    data: bytes
