"""A request of the gateway's own over a device's connection to its backend, answered in one small piece."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sentry_runtime.eas import provision
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.forward import Receiver, ResponseHead, Upstream

ANSWER_BYTES = provision.BYTES  # what the gateway asks for is read whole


@dataclass(frozen=True, slots=True)
class Heard:
    """What the backend answers; `encoded` when its body is compressed, though nobody has asked for that."""

    status: int
    body: bytes = b""
    encoded: bool = False
    fields: tuple[tuple[bytes, bytes], ...] = ()


async def inquire(upstream: Upstream, request: bytes, seconds: float) -> Heard:
    """Send a whole request over a connection that is free, and return the answer to it.

    Raises `BackendsDownError` when there is none within `seconds`, or one of more than `ANSWER_BYTES`; the connection is of
    no use then.
    """
    listener = _Listener()
    upstream.begin(listener)
    try:
        upstream.write(request)
        upstream.set_reading(reading=True)
        async with asyncio.timeout(seconds):
            return await listener.heard
    except TimeoutError:
        raise BackendsDownError("backend_timeout") from None
    finally:
        if not listener.complete:
            upstream.drop()


class _Listener(Receiver):
    """The `Receiver` of the answer."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self.complete = False
        self._head: ResponseHead | None = None
        self._body = bytearray()

    def response_head(self, head: ResponseHead, *, more: bool) -> None:  # noqa: ARG002 - the body is not passed on
        self._head = head

    def response_body(self, pieces: Sequence[bytes]) -> None:
        if self.heard.done():
            return
        for piece in pieces:
            self._body += piece
        if len(self._body) > ANSWER_BYTES:
            self._fail("backend_answer_too_large")

    def response_end(self) -> None:
        if self._head is None or self.heard.done():
            return
        self.complete = True
        encoded = any(
            name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in self._head.fields
        )
        self.heard.set_result(Heard(self._head.status, bytes(self._body), encoded, tuple(self._head.fields)))

    def upstream_lost(self, reason: str) -> None:
        self._fail(reason)

    def upstream_full(self) -> None:
        pass  # the request is one small piece that has been written

    def upstream_ready(self) -> None:
        pass

    def _fail(self, reason: str) -> None:
        if not self.heard.done():
            self.heard.set_exception(BackendsDownError(reason))
