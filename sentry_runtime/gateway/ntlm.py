"""NTLM messages as somebody in the middle reads them (MS-NLMP 2.2.1): which one it is, and who logs on. Pure.

The gateway passes the messages on as they are. It reads them because it judges by the name in the last one: so that name
must be the one that the backend reads, or the message is refused.
"""

import struct
from dataclasses import dataclass

SIGNATURE = b"NTLMSSP\0"

_UNICODE = 0x0000_0001
_ANONYMOUS = 0x0000_0800
_NEGOTIATE_BYTES = 16  # signature, type and flags: older clients send no more
_CHALLENGE_BYTES = 32  # up to the server's challenge
_AUTHENTICATE_BYTES = 64  # up to the flags; a message without them leaves its charset open
_TYPE, _CHALLENGE_FLAGS, _DOMAIN, _USER, _AUTHENTICATE_FLAGS = 8, 20, 28, 36, 60


class NtlmError(ValueError):
    """The message cannot be taken; one word for the audit line."""


@dataclass(frozen=True, slots=True)
class Negotiate:
    """NEGOTIATE_MESSAGE (type 1): a client begins. It names nobody that can be relied on."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """CHALLENGE_MESSAGE (type 2): the server's. `unicode`: names in the answer are UTF-16, else of an OEM code page."""

    unicode: bool


@dataclass(frozen=True, slots=True)
class Authenticate:
    """AUTHENTICATE_MESSAGE (type 3): who logs on, as it is written there. `unicode`: as in `Challenge`."""

    user: str
    domain: str
    unicode: bool

    @property
    def name(self) -> str:
        """The user's name as people write it: `DOMAIN\\user`, or the user alone."""
        return f"{self.domain}\\{self.user}" if self.domain else self.user


def read(message: bytes) -> Negotiate | Challenge | Authenticate:
    """One message. Raises `NtlmError` for one that is cut, of no known type or nobody's, and for a name read in two ways."""
    if not message.startswith(SIGNATURE) or len(message) < _NEGOTIATE_BYTES:
        raise NtlmError("ntlm_malformed")
    kind = _number(message, _TYPE)
    if kind == 1:
        return Negotiate()
    if kind == 2:
        if len(message) < _CHALLENGE_BYTES:
            raise NtlmError("ntlm_malformed")
        return Challenge(bool(_number(message, _CHALLENGE_FLAGS) & _UNICODE))
    if kind != 3 or len(message) < _AUTHENTICATE_BYTES:
        raise NtlmError("ntlm_malformed")
    return _authenticate(message)


def _authenticate(message: bytes) -> Authenticate:
    flags = _number(message, _AUTHENTICATE_FLAGS)
    unicode = bool(flags & _UNICODE)
    user, domain = _text(message, _USER, unicode=unicode), _text(message, _DOMAIN, unicode=unicode)
    if not user or flags & _ANONYMOUS:
        raise NtlmError("ntlm_anonymous")
    # A separator inside a part: some servers split there, and would read another user or domain than we do.
    if "\\" in user or "/" in user or any(sign in domain for sign in "\\/@"):
        raise NtlmError("ntlm_malformed")
    return Authenticate(user, domain, unicode)


def _text(message: bytes, place: int, *, unicode: bool) -> str:
    """The text that the field at `place` (MS-NLMP 2.2.1.3: length, ignored maximum, offset) leads to.

    Of an OEM code page nobody says which one it is; what is not ASCII there would be a guess, and is refused.
    """
    length, _, offset = struct.unpack_from("<HHI", message, place)
    if not length:
        return ""
    if offset < _AUTHENTICATE_BYTES or offset + length > len(message):
        raise NtlmError("ntlm_malformed")
    octets = message[offset : offset + length]
    try:
        text = octets.decode("utf-16-le" if unicode else "ascii")
    except UnicodeDecodeError:
        raise NtlmError("ntlm_name_encoding") from None
    if not text.isprintable():
        raise NtlmError("ntlm_malformed")
    return text


def _number(message: bytes, place: int) -> int:
    return int.from_bytes(message[place : place + 4], "little")
