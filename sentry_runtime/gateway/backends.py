"""The ActiveSync servers behind the gateway: which one is next, and a connection to it."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sentry_runtime.settings import Backend

REST_SECONDS = 10.0  # how long a backend that could not be reached is tried last

Connection = TypeVar("Connection", bound=asyncio.BaseProtocol)


class BackendsDownError(Exception):
    """No backend could be reached; `reason` (of the last one tried) is one word for the audit line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Target:
    """A backend with what is needed to dial it, and until when (loop time) it is tried last."""

    backend: Backend
    context: ssl.SSLContext | None
    resting_until: float = 0.0


class Backends:
    """Round robin over the backends; one that could not be reached is passed over while another can be."""

    def __init__(self, targets: list[Target], connect_seconds: float) -> None:
        self._targets = targets
        self._connect_seconds = connect_seconds
        self._turn = 0

    def order(self, now: float) -> list[Target]:
        """In which order to try them for the next connection."""
        turn = self._turn % len(self._targets)
        self._turn += 1
        rotated = self._targets[turn:] + self._targets[:turn]
        return sorted(rotated, key=lambda target: target.resting_until > now)

    def any_up(self, now: float) -> bool:
        """Whether there is one that did not fail just now."""
        return any(target.resting_until <= now for target in self._targets)

    async def connect(self, make: Callable[[Target], Connection]) -> Connection:
        """Dial one after the other until one takes the connection. Raises `BackendsDownError`."""
        loop = asyncio.get_running_loop()
        reason = ""
        for target in self.order(loop.time()):
            try:
                async with asyncio.timeout(self._connect_seconds):
                    connection = await _dial(target, make)
            except (
                OSError,
                UnicodeError,
            ) as error:  # TimeoutError and every ssl error are OSErrors; a host that is no name
                reason = _word(error)
                target.resting_until = loop.time() + REST_SECONDS
                continue
            target.resting_until = 0.0
            return connection
        raise BackendsDownError(reason)


async def _dial(target: Target, make: Callable[[Target], Connection]) -> Connection:
    loop = asyncio.get_running_loop()
    backend = target.backend
    if target.context is None:
        _, plain = await loop.create_connection(lambda: make(target), backend.host, backend.port)
        return plain
    _, secured = await loop.create_connection(
        lambda: make(target),
        backend.host,
        backend.port,
        ssl=target.context,
        server_hostname=backend.server_name or backend.host,
    )
    return secured


def _word(error: OSError | UnicodeError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "backend_certificate"
        case ssl.SSLError():
            return "backend_tls"
        case TimeoutError():
            return "backend_timeout"
        case ConnectionRefusedError():
            return "backend_refused"
        case _:
            return "backend_unreachable"
