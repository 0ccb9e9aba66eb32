"""What a server says of a password beside "success" (pure): that it has expired, or is to be changed before anything else.

Such a bind lets its person change the password and do nothing more; who takes the result alone for a yes lets them in.
"""

from collections.abc import Iterator, Mapping
from typing import Any

POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"  # asks, and answers (draft-behera-ldap-password-policy 6)
EXPIRED = "2.16.840.1.113730.3.4.4"  # of itself the word that the password has (draft-vchu-ldap-pwd-policy 3.1)
REQUEST = (POLICY, False, None)  # not critical: a server that knows it not answers as it always did
UNREADABLE = "says something of the password that cannot be read"
_SEQUENCE, _WARNING, _ERROR = 0x30, 0xA0, 0x81
_SECONDS_LEFT = 0x80  # the warning that the password will expire; the other one counts the log-ins after that it has
_ERRORS = {
    0: "says that the password has expired",
    1: "says that the account is locked",
    2: "wants the password changed first",
}


def held_against(controls: Mapping[str, Mapping[str, Any]]) -> str:
    """Why the controls of a bind that came to success (by object identifier, each with its octets as `value`) refuse the person
    all the same; "" where they do not. What cannot be read refuses."""
    if EXPIRED in controls:
        return _ERRORS[0]
    if POLICY not in controls:
        return ""
    try:
        return _held(bytes(controls[POLICY]["value"] or b""))
    except (IndexError, ValueError):
        return UNREADABLE


def _held(octets: bytes) -> str:
    """A PasswordPolicyResponseValue: a sequence of a warning, an error, both or neither."""
    ((tag, whole),) = _elements(octets)
    if tag != _SEQUENCE:
        return UNREADABLE
    for part, value in _elements(whole):
        if part == _ERROR:
            return _ERRORS.get(int.from_bytes(value, "big"), "has an error in its password policy for this person")
        ((kind, _count),) = _elements(value)
        if part != _WARNING:
            return UNREADABLE
        if kind != _SECONDS_LEFT:
            return "says that the password has expired and lets this person in a few times more"
    return ""


def _elements(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and values of BER in its short form, since all of this is less than 128 octets. Raises `ValueError`, `IndexError`."""
    while octets:
        tag, size = octets[0], octets[1]
        if size > len(octets) - 2:  # the long form too: it says 128 and more
            raise ValueError("not as long as it says")
        yield tag, octets[2 : 2 + size]
        octets = octets[2 + size :]
