"""The lines of the audit trail: one JSON object per event. `trail` sends them.

The fields are bounded where they are read, so a line stays below 2 KiB. No line holds a credential, a cookie, a body or a raw
query.
"""

from datetime import UTC, datetime
from functools import lru_cache

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event. `id` joins the lines of one request; the texts hold no control characters (JSON escapes what would)."""

    time: str
    id: str
    event: str
    source: str = ""
    source_port: int = 0
    listener: str = ""
    method: str = ""
    path: str = ""
    command: str = ""
    device_id: str = ""
    device_type: str = ""
    principal: str = ""
    protocol: str = ""
    certificate: str = ""
    action: str = ""
    reasons: tuple[str, ...] = ()
    decided_by: str = ""
    rule: str = ""
    softened: tuple[str, ...] = ()
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    milliseconds: int = 0
    backend: str = ""
    target: str = ""
    count: int = 0


_ENCODE = msgspec.json.Encoder().encode
_BLANK = len(b'{"time":"","id":"","event":""')


def members(line: Line) -> str:
    """What a line with an empty `time`, `id` and `event` has beside them, as it stands in the JSON object behind these three: for
    who makes many lines with the same rest."""
    return encode(line)[_BLANK:-1].decode()


def encode(line: Line) -> bytes:
    """The line's JSON."""
    try:
        return _ENCODE(line)
    except UnicodeEncodeError:  # UTF-8 has no lone surrogates
        texts = {name: value for name in line.__struct_fields__ if isinstance(value := getattr(line, name), str)}
        clean = {name: value.encode(errors="replace").decode() for name, value in texts.items()}
        return _ENCODE(msgspec.structs.replace(line, **clean))


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds."""
    whole, milliseconds = divmod(int(seconds * 1_000), 1_000)
    return f"{_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=2)  # many lines have the same second; the one before may still come once
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
