"""What configd asks the service that sends backups, over a Unix socket: one line of JSON each way, as in
`sentry_runtime.control`."""

from typing import Annotated

import msgspec

from appliance.backup.bounds import FILE_BYTES

SOCKET = "/run/sentry-offsite/offsite.sock"
LINE_BYTES = 1_500_000  # a backup has at most 1 MiB, in base64 4/3 of it
WORDS_CHARACTERS = 300  # of a problem: one line for people
SEND_SECONDS = 90.0  # how long configd waits for an answer to `Send`: an attempt at each destination, all at once

FileName = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{8}T[0-9]{6}Z-[1-9][0-9]{0,8}\.backup$")]
Sealed = Annotated[bytes, msgspec.Meta(max_length=FILE_BYTES)]  # in base64 on the wire
Words = Annotated[str, msgspec.Meta(max_length=WORDS_CHARACTERS)]


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do"):
    """Every request carries its name in `do`."""


class Status(_Ask, frozen=True, kw_only=True, tag="offsite.status"):
    """How it stands. Result: `Report`."""


class Offer(_Ask, frozen=True, kw_only=True, tag="offsite.offer"):
    """A sealed backup, which is sent to every destination that has another one; it takes the place of the one that was
    offered before. Result: `Report`."""

    name: FileName
    file: Sealed


class Send(_Ask, frozen=True, kw_only=True, tag="offsite.send"):
    """The same, now and to every destination, whatever it has and however often it was tried before. Result: `Report`, once each
    was tried."""

    name: FileName
    file: Sealed


Ask = Status | Offer | Send


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with one destination: the file that was sent last and when, and of the one that is being sent how often that
    was tried, when last, when next (0: never), and what the last attempt ended with. Times are seconds since the epoch."""

    sent: str = ""
    sent_at: float = 0.0
    tries: int = 0
    tried: float = 0.0
    next_try: float = 0.0
    problem: Words = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`holding` is the file that was offered last; `public_key` is to be put on the SFTP servers; the destinations by name."""

    holding: str
    public_key: str
    destinations: dict[str, Standing]
