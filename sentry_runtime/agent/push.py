"""The port on which the UEM calls us: `POST /v1/decisions`, HTTPS with mutual TLS, nothing else.

Who does not come from the UEM's addresses, or has no certificate of its name and authority, does not get past `push_door`, so
what stands here only bounds and checks what an authenticated UEM sends.
"""

import ssl
import time
from collections.abc import Callable, Iterable

from aiohttp import web

from sentry_runtime.agent.device_list import DeviceList, account
from sentry_runtime.agent.push_door import EVENT, PushDoor
from sentry_runtime.devices.store import StoreError
from sentry_runtime.uem.api import Push
from sentry_runtime.uem.http import Server, message, problem
from sentry_runtime.uem.messages import MESSAGE_BYTES, MessageError
from sentry_runtime.uem.refusals import Refusals
from sentry_runtime.uem.trail import Audit


class PushServer(Server):
    """Takes pushes into the device list. `taken` counts the messages that were good; `heard` is called after each.

    `networks` are those of the UEM; empty: any address. `subject` is its certificate's.
    """

    def __init__(
        self,
        devices: DeviceList,
        *,
        audit: Audit,
        heard: Callable[[], None],
        subject: str,
        networks: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._devices = devices
        self._audit = audit
        self._heard = heard
        self._networks = tuple(networks)
        self._subject = subject
        self._refusals = Refusals(audit, clock, EVENT)
        self._push_door: PushDoor | None = None
        self.taken = 0
        super().__init__(MESSAGE_BYTES, [web.post("/v1/decisions", self._take)])

    @property
    def turned_away(self) -> int:
        """How many came from a wrong address or without the right certificate."""
        return self._refusals.refused

    async def listen(self, addresses: Iterable[str], port: int, tls: ssl.SSLContext) -> None:
        """Bind and listen. Raises `OSError` when an address cannot be had."""
        self._push_door = PushDoor(await self.protocols(), tls, self._networks, self._subject, self._refusals)
        for address in addresses:
            self._push_door.open(address, port)

    async def stop(self) -> None:
        """Finish what runs and close."""
        if self._push_door is not None:
            await self._push_door.close()
        await super().stop()

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
