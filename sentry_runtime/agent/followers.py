"""Those who want to hear of changes (the gateway's workers): one line `Changed` per announcement."""

import asyncio

import msgspec

from sentry_runtime import control
from sentry_runtime.control_server import Stream
from sentry_runtime.devices.record import DeviceKey

KEYS_PER_LINE = (
    250  # a key's JSON is below 2.4 KiB whatever is escaped in it, so a line stays below `control.LINE_BYTES`
)
BACKLOG_BYTES = 4 * 1_048_576  # about 40,000 unread keys: a follower that far behind reads the list anew instead

_encode = msgspec.json.Encoder().encode


class Followers:
    """Announcements reach every follower in order, or end its connection: a follower that reconnects trusts nothing it kept."""

    def __init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def count(self) -> int:
        """How many listen now."""
        return len(self._writers)

    def stream(self) -> Stream:
        """What the control server hands the connection to. The empty answer says that from here on nothing is missed."""
        return Stream(self._serve)

    def announce(self, keys: tuple[DeviceKey, ...]) -> None:
        """Tell everybody, without waiting for anybody."""
        for start in range(0, len(keys), KEYS_PER_LINE):
            self._say(control.Changed(keys=keys[start : start + KEYS_PER_LINE]))

    def announce_certificates(self) -> None:
        """Tell everybody that certificates are to be judged anew."""
        self._say(control.CertificatesChanged())

    def _say(self, news: control.News) -> None:
        line = _encode(news) + b"\n"
        for writer in self._writers:
            writer.write(line)
            if writer.transport.get_write_buffer_size() > BACKLOG_BYTES:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            writer.write(control.answer(None))
            await reader.read(1)  # a follower says nothing more: whatever comes, the end or a byte, ends it
        finally:
            self._writers.discard(writer)
