"""Whether this very process has its cryptography from the FIPS provider alone: asked of the OpenSSL it has loaded.

Nothing of it can be told from outside for certain: another openssl.cnf in the environment, or a library of its own, would show
here and in no file of the machine.
"""

import _hashlib
import ssl
from collections.abc import Callable

ENABLED = "FIPS 140 mode is enabled"
DISABLED = "FIPS 140 mode is disabled"


def state() -> str:
    """One line of words: enabled, or disabled and what gives it away. MD5 and ChaCha20 are tried, which are not approved."""
    found = [said for said, holds in _SIGNS if holds()]
    return f"{DISABLED} ({', '.join(found)})" if found else ENABLED


def _by_default() -> bool:
    """The default properties (`fips=yes`) are what every fetch without properties of its own goes by."""
    return not _hashlib.get_fips_mode()


def _md5_works() -> bool:
    # `hashlib.md5` would do here: it falls back to a copy of Python's own, which is not what OpenSSL does.
    try:
        _hashlib.new("md5", b"")
    except ValueError:
        return False
    return True


def _chacha_works() -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers("ECDHE+CHACHA20")
    except ssl.SSLError:
        return False
    return True


_SIGNS: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("algorithms need not be approved", _by_default),
    ("MD5 works", _md5_works),
    ("ChaCha20 works", _chacha_works),
)
