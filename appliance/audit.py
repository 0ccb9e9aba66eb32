"""The management plane's audit trail: one line of JSON for each verb, to syslog (authpriv) under the tag `sentry-configd`;
log-ins under `sentry-tally`."""

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

import msgspec

DEV_LOG = "/dev/log"
TAG = "sentry-configd"
SOFTWARE_TAG = "sentry-software"  # what the units say that write to an image's slots, or look at them
TALLY_TAG = "sentry-tally"  # log-ins that PAM asks about, from processes of their own
AUTHPRIV_NOTICE = (10 << 3) | 5  # RFC 5424 table 1 and 2
FIELD_CHARACTERS = 256  # a name or a path; whoever sends more wants to hide something behind it
_encode = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, by whom and how it ended. `result` is `ok` or a refusal's kind. It never holds a value."""

    time: str
    event: str
    user: str
    role: str = ""
    source: str = ""
    path: str = ""
    result: str = "ok"
    detail: str = ""


class Audit(Protocol):
    """Where entries go."""

    def write(self, entry: Entry) -> None:
        """Record one entry; never raises."""


class SyslogAudit:
    """Writes to the syslog socket; when it does not take a line, to standard error, which systemd keeps."""

    def __init__(
        self, path: str = DEV_LOG, *, tag: str = TAG, fallback: Callable[[str], Any] = sys.stderr.write
    ) -> None:
        self._path = path
        self._tag = tag
        self._fallback = fallback
        self._socket: socket.socket | None = None

    def write(self, entry: Entry) -> None:
        """See `Audit.write`."""
        line = _encode(_bounded(entry)).decode()
        if not self._send(line) and not self._send(line):  # the second attempt dials anew: syslog was restarted
            self._fallback(f"{self._tag}: {line}\n")

    def close(self) -> None:
        """Give up the connection to syslog; the next entry dials again."""
        self._drop()

    def _send(self, line: str) -> bool:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                self._socket.connect(self._path)
            self._socket.send(f"<{AUTHPRIV_NOTICE}>{self._tag}[{os.getpid()}]: {line}".encode())
        except OSError:
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None


class StreamAudit:
    """Writes to a stream, which is the journal's for a unit that ends right after: of what comes so the journal knows for sure
    which unit said it. The unit's file names the tag and the facility."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream

    def write(self, entry: Entry) -> None:
        """See `Audit.write`."""
        with contextlib.suppress(OSError):
            print(_encode(_bounded(entry)).decode(), file=self._stream, flush=True)


def _bounded(entry: Entry) -> Entry:
    return Entry(**{name: str(getattr(entry, name))[:FIELD_CHARACTERS] for name in entry.__struct_fields__})
