"""The port on which the UEM calls us: `POST /v1/decisions`, HTTPS with mutual TLS, nothing else.

Who has no certificate of the UEM's authority does not get past the TLS handshake, so what stands here only bounds and
checks what an authenticated UEM sends.
"""

import asyncio
import ssl
from collections.abc import Callable

from aiohttp import web

from sentry_runtime.agent.device_list import DeviceList, account
from sentry_runtime.devices.store import StoreError
from sentry_runtime.uem.api import Push
from sentry_runtime.uem.http import problem, problems
from sentry_runtime.uem.messages import MESSAGE_BYTES, MessageError, decode
from sentry_runtime.uem.trail import Audit

SHUTDOWN_SECONDS = 2.0  # what runs has that long to end: a commit takes milliseconds
BODY_SECONDS = 10.0  # 2 MiB at 2 Mbit/s; the UEM repeats what it did not get through


class PushServer:
    """Takes pushes into the device list. `taken` counts the messages that were good; `heard` is called after each."""

    def __init__(self, devices: DeviceList, *, audit: Audit, heard: Callable[[], None]) -> None:
        self._devices = devices
        self._audit = audit
        self._heard = heard
        self.taken = 0
        app = web.Application(client_max_size=MESSAGE_BYTES, middlewares=[problems])
        app.router.add_post("/v1/decisions", self._take)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=75.0, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS
        )

    async def start(self, address: str, port: int, tls: ssl.SSLContext) -> None:
        """Bind and listen. Raises `OSError` when the address cannot be had."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=tls).start()

    async def stop(self) -> None:
        """Finish what runs and close."""
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        try:
            push = decode(body, Push)
        except MessageError as error:
            self._audit("uem_push_refused", detail=str(error))
            return problem(400, "not a push", str(error))
        try:
            changed = await self._devices.take(push.decisions)
        except StoreError as error:
            self._audit("device_list_failed", detail=str(error))
            return problem(503, "not taken", "the device list cannot be written")
        self.taken += 1
        self._heard()
        account(self._audit, self._devices, changed)
        return web.Response(status=204)
