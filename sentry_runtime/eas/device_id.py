"""A device's id: from what a request carries to the one text under which the device is known.

| form of the query | what it carries | canonical id | alias |
|---|---|---|---|
| plain (`DeviceId=`) | 1 to 64 bytes of printable ASCII but space and "+" | the text in upper case | none |
| base64 (in the blob) | 1 to 32 bytes of any kind | their hex in upper case | if they are such text: it, in upper case |

So do SOGo, Horde and Z-Push. A phone that changes between the forms has two canonical ids therefore, and nothing tells it
from another phone that has made the one id of the other. So what is said of one id exactly grants; an alias, and whatever
else has the same `root`, only restricts, and counts as one phone.
"""

import enum
import re
from dataclasses import dataclass

DEVICE_ID_CHARS = 64  # as in the device list: MS-ASHTTP speaks of 32, a GUID in hex has 32

_TEXT = re.compile(rb"[!-*,-~]{1,64}")  # printable ASCII; no space and no "+", which some servers read as a space
_HEX = re.compile(r"(?:[0-9A-F]{2})+")


class Form(enum.Enum):
    """The two forms of a query (MS-ASHTTP 2.2.1.1.1)."""

    PLAIN = "plain"
    BASE64 = "base64"


class DeviceIdError(ValueError):
    """These bytes are no device id in this form."""


@dataclass(frozen=True, slots=True)
class DeviceId:
    """`canonical` is what the device list is searched for; `aliases` are other spellings under which the device may be known."""

    canonical: str
    aliases: tuple[str, ...] = ()


def read(form: Form, octets: bytes) -> DeviceId:
    """The id that these bytes (of the plain form: percent-decoded) are; see the module's table. Raises `DeviceIdError`."""
    if form is Form.PLAIN:
        if not _TEXT.fullmatch(octets):
            raise DeviceIdError("a device id of 1 to 64 printable ASCII characters without spaces and + is allowed")
        return DeviceId(octets.decode("ascii").upper())
    if not 0 < len(octets) <= DEVICE_ID_CHARS // 2:  # its hex must fit
        raise DeviceIdError("a device id of 1 to 32 bytes is allowed")
    aliases = (octets.decode("ascii").upper(),) if _TEXT.fullmatch(octets) else ()
    return DeviceId(octets.hex().upper(), aliases)


def root(canonical: str) -> str:
    """The same for a device id as text and for the hex of its bytes, in whatever case they were sent.

    Read as hex for as long as that gives text: an id that is itself the hex of text has one more spelling. Ids of
    random bytes are their own root, but for one in millions; sharing a root never grants anything.
    """
    while _HEX.fullmatch(canonical):
        octets = bytes.fromhex(canonical)
        if not _TEXT.fullmatch(octets):
            break
        canonical = octets.decode("ascii").upper()
    return canonical


def is_text(text: str) -> bool:
    """Whether a plain query can carry this as a device id."""
    return _TEXT.fullmatch(text.encode()) is not None


def printable_reading(canonical: str) -> tuple[str, ...]:
    """The aliases of a canonical id, as `read` gives them for a base64 query's bytes; none for what is no hex of them."""
    if not _HEX.fullmatch(canonical) or len(canonical) > DEVICE_ID_CHARS:
        return ()
    return read(Form.BASE64, bytes.fromhex(canonical)).aliases
