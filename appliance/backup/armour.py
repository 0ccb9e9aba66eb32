"""A backup as text that can be pasted: base64 between two lines, as PEM has it (RFC 7468)."""

import base64
import binascii

from appliance.backup.bounds import FILE_BYTES, BackupError

BEGIN = "-----BEGIN SENTRY BACKUP-----"
END = "-----END SENTRY BACKUP-----"
LINE_CHARACTERS = 64  # RFC 7468 2
LINES = FILE_BYTES * 4 // 3 // LINE_CHARACTERS + 4  # of the longest, with the two around it


def armoured(base64_text: str) -> tuple[str, ...]:
    """The lines of a backup that is given in base64."""
    cut = range(0, len(base64_text), LINE_CHARACTERS)
    return (BEGIN, *(base64_text[start : start + LINE_CHARACTERS] for start in cut), END)


def stripped(text: str) -> str:
    """The base64 of a backup in such lines, or of one that is base64 alone; without line ends."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if lines and lines[0] == BEGIN:
        if lines[-1] != END:
            raise BackupError(f"found a block without its last line; allowed: up to {END}")
        lines = lines[1:-1]
    return "".join(lines)


def decoded(text: str) -> bytes:
    """The file of a backup, armoured or in base64 alone. Raises `BackupError`."""
    try:
        return base64.b64decode(stripped(text), validate=True)
    except (binascii.Error, ValueError) as error:
        if isinstance(error, BackupError):
            raise
        raise BackupError(
            f"found what is no base64; allowed: a backup in base64, or between {BEGIN} and {END}"
        ) from error
