"""One request to a backend of which only the answer's head is wanted."""

import asyncio

import httptools

from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.forward import HEAD_BYTES
from sentry_runtime.gateway.intake import Channel, Intake


class Probe(Intake):
    """Sends one OPTIONS and has the status of its response as a future; `fields` are there when that is."""

    def __init__(self, target: Target, request: bytes) -> None:
        self.target = target
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.fields: list[tuple[bytes, bytes]] = []
        self._request = request
        self._channel: Channel | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._bytes = 0
        self._seen = 0

    def connection_made(self, channel: Channel) -> None:
        self._channel = channel
        channel.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("backend_malformed")
            return
        if self._seen and not self.status.done():
            self.status.set_result(self._seen)
        elif self._bytes > HEAD_BYTES:
            self._fail("backend_malformed")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either is one
        self._fail("backend_closed")

    def pause_writing(self) -> None:
        """There is one request, which has been written."""

    def resume_writing(self) -> None:
        """As `pause_writing`."""

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self.fields.append((name, value or b""))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self._seen = self._seen or status
        else:  # an interim response: its fields are not those of the answer
            self.fields.clear()

    def drop(self) -> None:
        """Close; the status, if it has not come, never will."""
        self.status.cancel()
        if self._channel is not None:
            self._channel.abort()

    def _fail(self, reason: str) -> None:
        if not self.status.done():
            self.status.set_exception(BackendsDownError(reason))
