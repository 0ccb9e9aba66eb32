"""The port on which the UEM calls us: `POST /v1/decisions`, HTTPS with mutual TLS, nothing else.

Who has no certificate of the UEM's authority does not get past the TLS handshake, so what stands here only bounds and
checks what an authenticated UEM sends.
"""

from collections.abc import Callable

from aiohttp import web

from sentry_runtime.agent.device_list import DeviceList, account
from sentry_runtime.devices.store import StoreError
from sentry_runtime.uem.api import Push
from sentry_runtime.uem.http import Server, message, problem
from sentry_runtime.uem.messages import MESSAGE_BYTES, MessageError
from sentry_runtime.uem.trail import Audit


class PushServer(Server):
    """Takes pushes into the device list. `taken` counts the messages that were good; `heard` is called after each."""

    def __init__(self, devices: DeviceList, *, audit: Audit, heard: Callable[[], None]) -> None:
        self._devices = devices
        self._audit = audit
        self._heard = heard
        self.taken = 0
        super().__init__(MESSAGE_BYTES, [web.post("/v1/decisions", self._take)])

    async def _take(self, request: web.Request) -> web.Response:
        try:
            push = await message(request, Push)
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
