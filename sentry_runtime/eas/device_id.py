"""The spellings of one device's id: as text (plain query) and as the hex of its bytes (base64 query)."""

import re

_HEX = re.compile(r"(?:[0-9A-F]{2})+")
_TEXT = re.compile(rb"[!-*,-~]+")  # what a plain query may carry as a device id; see `sentry_runtime.eas.query`


def root(device_id: str) -> str:
    """The same for a device id as text and for the hex of its bytes, in whatever case they were sent.

    Read as hex for as long as that gives text: an id that is itself the hex of text has one more spelling. Ids of
    random bytes are their own root, but for one in millions; sharing a root never grants anything.
    """
    while _HEX.fullmatch(device_id):
        octets = bytes.fromhex(device_id)
        if not _TEXT.fullmatch(octets):
            break
        device_id = octets.decode("ascii").upper()
    return device_id
