"""What different spellings of one device and one person have in common (pure).

An ActiveSync client may send its id as text (plain query) or as bytes (base64 query); the gateway knows the second as hex. A
person logs in as `user`, `DOMAIN\\user` or `user@domain`. A device list entry is found by one exact spelling; what is said
under one must restrict the others.
"""

from sentry_runtime.eas.device_id import root

__all__ = ["root", "user"]


def user(principal: str) -> str:
    """What all principals that may be one person share: the part before the domain."""
    return principal.partition("@")[0]
