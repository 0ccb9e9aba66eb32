"""Passwords: hashed and compared by libxcrypt, judged by libpwquality, log-ins decided by PAM."""

import ctypes
import hmac
import secrets
import string
import sys
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from appliance.process import CommandError, Finished

CRYPT_LIBRARY = "libcrypt.so.1"
CRYPT_DATA_BYTES = 32_768  # sizeof(struct crypt_data) of libxcrypt, kept for ever by its ABI
ROUNDS = 100_000  # SHA-512 crypt: about a tenth of a second here, what Debian's and RHEL's hardening guides ask for
SALT_CHARACTERS = 16  # the most SHA-512 crypt takes
PASSWORD_BYTES = 512  # libxcrypt refuses longer ones (CRYPT_MAX_PASSPHRASE_SIZE)
SERVICE = "sentry-portal"
PAM_PROGRAM = Path(__file__).with_name("pam_program.py")
PAM_REFUSED = 10  # `pam_program.REFUSED`
_SALT = string.ascii_letters + string.digits + "./"


class PasswordError(ValueError):
    """A password that the rules refuse; the message says why and never what it was."""


class Run(Protocol):
    """`appliance.process.run`, or a test's."""

    def __call__(self, argv: list[str], *, stdin: str | None = None) -> str: ...


@cache
def _crypt_r() -> Any:
    function = ctypes.CDLL(CRYPT_LIBRARY).crypt_r
    function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
    function.restype = ctypes.c_char_p
    return function


def _crypt(password: str, setting: str) -> str:
    """crypt_r(3), which Python no longer wraps; raises `PasswordError` when libxcrypt refuses."""
    held = password.encode()
    if b"\0" in held or len(held) >= PASSWORD_BYTES:
        raise PasswordError(f"a password is at most {PASSWORD_BYTES - 1} bytes and has no NUL")
    data = ctypes.create_string_buffer(CRYPT_DATA_BYTES)
    found: bytes | None = _crypt_r()(held, setting.encode(), data)
    if found is None or found.startswith(b"*"):
        raise PasswordError("the hash is of a kind this machine does not know")
    return found.decode()


def hashed(password: str) -> str:
    """`password` as a SHA-512 crypt hash with a fresh salt."""
    salt = "".join(secrets.choice(_SALT) for _ in range(SALT_CHARACTERS))
    return _crypt(password, f"$6$rounds={ROUNDS}${salt}")


def verify(password: str, expected: str) -> bool:
    """Whether `password` has the hash `expected`."""
    try:
        found = _crypt(password, expected)
    except PasswordError:
        return False
    return hmac.compare_digest(found.encode(), expected.encode())


def judge(password: str, user: str, run: Run, *, most: int = PASSWORD_BYTES) -> None:
    """Hold `password` against the machine's policy (/etc/security/pwquality.conf); raises `PasswordError` with its words.
    `most`: the longest one in characters, of which libpwquality knows nothing."""
    if not password.isprintable():
        raise PasswordError("a password consists of printable characters")
    if len(password) > most:
        raise PasswordError(f"found a password of {len(password)} characters; allowed: at most {most}")
    try:
        run(["pwscore", user] if user else ["pwscore"], stdin=f"{password}\n")
    except CommandError as error:
        said = error.output.strip().splitlines()  # libpwquality's words never hold the password
        raise PasswordError(said[-1].strip() if said else "the password policy refuses it") from error


class Attempt(Protocol):
    """`appliance.process.attempt`, or a test's."""

    def __call__(self, argv: list[str], *, stdin: str | None = None) -> Finished: ...


def pam_login(user: str, password: str, attempt: Attempt) -> bool:
    """Whether PAM lets `user` in; faillock, in the service's stack, counts the failures. Raises `CommandError` when PAM
    could not be asked.

    A process of its own does it: PAM's modules wait (pam_faildelay) with the interpreter's lock held, and may crash.
    """
    finished = attempt([sys.executable, "-I", str(PAM_PROGRAM), SERVICE], stdin=f"{user}\0{password}")
    if finished.status not in (0, PAM_REFUSED):
        raise CommandError(["pam", SERVICE], finished.status, finished.errors)
    return finished.status == 0
