"""The file of a backup: a header in clear, and behind it what only the passphrase opens.

    SENTRY-BACKUP        the mark, with a line end
    {"format": 1, ...}   `Header` as JSON on one line
    ...                  the payload, compressed, in AES-256-GCM (NIST SP 800-38D), with the 16 bytes of its tag

Mark and header are the cipher's associated data, so that a header that was changed opens nothing. The key comes from the
passphrase by PBKDF2 with HMAC-SHA-512 (NIST SP 800-132); each file has a salt, and so a key, of its own.
"""

import os
import zlib
from collections.abc import Callable
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from appliance.backup.bounds import FILE_BYTES, PASSPHRASE, PASSPHRASE_LEAST, PASSPHRASE_MOST, BackupError

FORMAT = 1
MARK = b"SENTRY-BACKUP\n"
ITERATIONS = 210_000
"""OWASP's Password Storage Cheat Sheet for PBKDF2-HMAC-SHA512; SP 800-132 (5.2) wants as many as people can wait for."""
MOST_ITERATIONS = 10 * ITERATIONS  # a file of a stranger's must not keep the machine busy for longer than some seconds
SALT_BYTES = 32  # SP 800-132 (5.1) wants 16 at least
NONCE_BYTES = 12  # SP 800-38D (8.2): what GCM takes without hashing it first
KEY_BYTES = 32
TAG_BYTES = 16
HEADER_BYTES = 2_048  # the longest host name and the rest have 700
PAYLOAD_BYTES = 16_777_216  # as the longest revision: what is compressed cannot fill the memory


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What everybody may read: of which appliance and of when (ISO 8601) it is, which version and schema of settings wrote it,
    and how its key is made. `salt` and `nonce` are hexadecimal."""

    format: int
    product: str
    host: str
    when: str
    schema: int
    kdf: Literal["pbkdf2-hmac-sha512"] = "pbkdf2-hmac-sha512"
    iterations: int
    salt: str
    cipher: Literal["aes-256-gcm"] = "aes-256-gcm"
    nonce: str


class _Format(msgspec.Struct):
    format: int


def check_passphrase(passphrase: str) -> None:
    """Raise `BackupError` unless a backup may be sealed with it."""
    if not PASSPHRASE_LEAST <= len(passphrase) <= PASSPHRASE_MOST:
        raise BackupError(f"found a passphrase of {len(passphrase)} characters; allowed: {PASSPHRASE}")
    if not passphrase.isprintable():
        raise BackupError(f"found a passphrase with characters that cannot be printed; allowed: {PASSPHRASE}")


def seal(
    payload: bytes,
    passphrase: str,
    *,
    product: str,
    host: str,
    when: str,
    schema: int,
    iterations: int = ITERATIONS,
    randomness: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The file that holds `payload`. Raises `BackupError` for a weak passphrase or a payload that is too long."""
    check_passphrase(passphrase)
    header = Header(
        format=FORMAT,
        product=product,
        host=host,
        when=when,
        schema=schema,
        iterations=iterations,
        salt=randomness(SALT_BYTES).hex(),
        nonce=randomness(NONCE_BYTES).hex(),
    )
    clear = MARK + msgspec.json.encode(header) + b"\n"
    sealed = AESGCM(_key(passphrase, header)).encrypt(bytes.fromhex(header.nonce), zlib.compress(payload), clear)
    made = clear + sealed
    if len(made) > FILE_BYTES or len(payload) > PAYLOAD_BYTES:
        raise BackupError(f"found a backup of {len(made)} bytes; allowed: at most {FILE_BYTES}")
    return made


def read_header(file: bytes, *, least: int = ITERATIONS) -> Header:
    """What the header says, which nobody has vouched for yet. `least`: iterations that there must be. Raises `BackupError`."""
    return _parted(file, least)[0]


def unseal(file: bytes, passphrase: str, *, least: int = ITERATIONS) -> tuple[Header, bytes]:
    """Header and payload of a file. Raises `BackupError` where it is no such file, was cut or changed, or the passphrase is
    another one; which of the last two it is, nobody can tell."""
    header, clear, sealed = _parted(file, least)
    if not 0 < len(passphrase) <= PASSPHRASE_MOST:
        raise BackupError(f"found a passphrase of {len(passphrase)} characters; allowed: {PASSPHRASE}")
    try:
        packed = AESGCM(_key(passphrase, header)).decrypt(bytes.fromhex(header.nonce), sealed, clear)
    except InvalidTag as error:
        raise BackupError(
            "found a backup that this passphrase does not open, or one that was changed; "
            "allowed: the whole file as it was made, and its passphrase"
        ) from error
    return header, _unpacked(packed)


def _parted(file: bytes, least: int) -> tuple[Header, bytes, bytes]:
    """The header, everything in clear, and what is sealed."""
    if len(file) > FILE_BYTES:
        raise BackupError(f"found a file of {len(file)} bytes; allowed: a backup of at most {FILE_BYTES}")
    if not file.startswith(MARK):
        raise BackupError("found a file that is no backup of this product; allowed: one that begins with SENTRY-BACKUP")
    end = file.find(b"\n", len(MARK), len(MARK) + HEADER_BYTES)
    if end < 0:
        raise BackupError("found a backup without a whole header; allowed: the whole file as it was made")
    header = _header(file[len(MARK) : end])
    if not least <= header.iterations <= MOST_ITERATIONS:
        raise BackupError(f"found {header.iterations} iterations; allowed: {least} to {MOST_ITERATIONS}")
    if len(file) - end - 1 < TAG_BYTES:
        raise BackupError("found a backup that was cut; allowed: the whole file as it was made")
    return header, file[: end + 1], file[end + 1 :]


def _header(line: bytes) -> Header:
    try:
        found = msgspec.json.decode(line, type=_Format).format
        if found != FORMAT:
            raise BackupError(f"found a backup of format {found}; allowed: {FORMAT}")
        header = msgspec.json.decode(line, type=Header)
        sizes = len(bytes.fromhex(header.salt)), len(bytes.fromhex(header.nonce))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"found a header that cannot be read ({error}); allowed: one of format {FORMAT}") from error
    except BackupError:
        raise
    except ValueError as error:
        raise BackupError("found salt or nonce that is not hexadecimal; allowed: the file as it was made") from error
    if sizes != (SALT_BYTES, NONCE_BYTES):
        raise BackupError(f"found salt and nonce of {sizes} bytes; allowed: {(SALT_BYTES, NONCE_BYTES)}")
    return header


def _key(passphrase: str, header: Header) -> bytes:
    kdf = PBKDF2HMAC(SHA512(), KEY_BYTES, bytes.fromhex(header.salt), header.iterations)
    return kdf.derive(passphrase.encode())


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        payload = unpacking.decompress(packed, PAYLOAD_BYTES)
    except zlib.error as error:
        raise BackupError("found a payload that cannot be unpacked; allowed: one that this product made") from error
    if not unpacking.eof:
        raise BackupError(f"found a payload that is cut or longer than {PAYLOAD_BYTES} bytes; allowed: at most as many")
    return payload
