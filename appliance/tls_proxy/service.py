"""Accepts connections, so many and no more, and gives each its relay."""

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from appliance.settings_file import SettingsError
from appliance.tls_proxy.context import server_context
from appliance.tls_proxy.relay import Relay, Tickets
from appliance.tls_proxy.settings import Settings

CONNECTIONS = (
    512  # 64 administrators with a browser's six each are 384; with full buffers on both sides that is 512 MiB at worst
)
SOURCE_CONNECTIONS = 64  # administrators behind one address share these, and the rest is for others
BACKLOG = 128
DRAIN_SECONDS = 5.0  # pages take milliseconds; longer is a client that does not read
LOOK_SECONDS = 0.05  # between looks while connections end
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What keeps every connection from being taken, and not only one that its client has given up."""
AGAIN_SECONDS = 1.0  # after an accept that failed: no descriptors or no memory, which others give back

_log = logging.getLogger(__name__)


class Service:
    """The whole of it. `tickets` is the way to configd. Raises `SettingsError` when the certificate cannot be used."""

    def __init__(self, settings: Settings, tickets: Tickets) -> None:
        self._settings = settings
        self._tickets = tickets
        self._context = server_context(settings.tls)
        self._relays: set[Relay] = set()
        self._crowd: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def reload(self) -> None:
        """Show new connections the certificate that lies there now; those that stand notice nothing. One that cannot be used
        changes nothing and is said in the log."""
        try:
            self._context = server_context(self._settings.tls)
        except SettingsError as error:
            _log.error("the certificate stays as it was: %s", error)
            return
        _log.info("the certificate was read anew")

    @asynccontextmanager
    async def serving(self, listeners: Iterable[socket.socket]) -> AsyncIterator[None]:
        """Serve on bound sockets; at the end connections have `DRAIN_SECONDS`."""
        held = list(listeners)
        for one in held:
            one.listen(BACKLOG)
            one.settimeout(0)
        accepting = [asyncio.create_task(self._accept(one)) for one in held]
        try:
            yield
        finally:
            for task in accepting:
                task.cancel()
            await asyncio.gather(*accepting, return_exceptions=True)
            for one in held:
                one.close()
            await self._drain()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, address = await loop.sock_accept(listener)
                await self._take(connected, (address[0], address[1]))
            except OSError as error:
                if error.errno in EXHAUSTED:
                    _log.error("no connection can be taken: %s", error)
                    await asyncio.sleep(AGAIN_SECONDS)

    async def _take(self, connected: socket.socket, source: tuple[str, int]) -> None:
        if len(self._relays) >= CONNECTIONS or self._crowd[source[0]] >= SOURCE_CONNECTIONS:
            _log.warning("from %s: one connection too many", source[0])
            connected.close()
            return
        relay = Relay(
            self._context,
            source,
            connected.getsockname()[:2],
            tickets=self._tickets,
            portal=self._settings.portal_socket,
            asks=self._settings.tls.client_authorities is not None,
            ended=lambda: self._forget(relay, source[0]),
            spawn=self._spawn,
        )
        self._relays.add(relay)
        self._crowd[source[0]] += 1
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: relay.protocol, connected)
        except OSError:
            connected.close()
            relay.protocol.connection_lost(None)
            raise

    def _forget(self, relay: Relay, source: str) -> None:
        self._relays.discard(relay)
        self._crowd[source] -= 1
        if not self._crowd[source]:
            del self._crowd[source]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _drain(self) -> None:
        """End each connection once nothing more is being answered on it, and all of them when the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_SECONDS
        while self._relays and loop.time() < deadline:
            for relay in tuple(self._relays):
                if not relay.asked:
                    relay.protocol.close()
            await asyncio.sleep(LOOK_SECONDS)
        for relay in tuple(self._relays):
            relay.protocol.abort()
        await asyncio.sleep(0)  # the loop tells each that it is lost
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
