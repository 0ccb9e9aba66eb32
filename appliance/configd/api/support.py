"""Support: bundles, captures of packets, and the files of both that wait to be fetched."""

from typing import Literal

import msgspec

from appliance.configd.api.words import SessionVerb, Word


class MakeBundle(SessionVerb, frozen=True, kw_only=True, tag="support.bundle"):
    """Put together what support needs, without a secret, as a file that waits to be fetched. Result: `Download`."""


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A file that waits to be fetched: when it was made, until when it stays (ISO 8601), its bytes."""

    name: str
    kind: Literal["bundle", "capture"]
    when: str
    until: str
    size: int


class FetchDownload(SessionVerb, frozen=True, kw_only=True, tag="download.fetch"):
    """The piece of a file from `offset` on. Result: `Piece`. Whoever asks at the end of it has it all, gets an empty piece, and
    the file is deleted."""

    name: Word
    offset: int = 0


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """`content` in base64, of a file of `size` bytes. `last`: it goes to the end of the file."""

    name: str
    size: int
    offset: int
    content: str
    last: bool


class DropDownload(SessionVerb, frozen=True, kw_only=True, tag="download.drop"):
    """Delete a file that waits to be fetched. Result: None."""

    name: Word


class StartCapture(SessionVerb, frozen=True, kw_only=True, tag="capture.start"):
    """Capture packets on an interface of the configuration, those of a protocol, an address and a port where they are given, for
    so many seconds: headers, or with `whole` the packets themselves. Result: Facts."""

    interface: Word
    protocol: Literal["any", "tcp", "udp", "icmp", "arp"] = "any"
    host: Word = ""
    port: int | None = None
    seconds: int = 60
    whole: bool = False


class StopCapture(SessionVerb, frozen=True, kw_only=True, tag="capture.stop"):
    """End the capture that runs; its file waits to be fetched. Result: `Download`."""
