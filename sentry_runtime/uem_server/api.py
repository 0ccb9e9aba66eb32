"""The requests that a Sentry makes: `POST /v1/contacts`, `GET /v1/decisions`, `POST /v1/information` and `POST /v1/wipes`."""

import asyncio
import re
import ssl

from aiohttp import web

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.uem.api import DECISIONS_PER_PAGE, Contact, Information, WipeReport
from sentry_runtime.uem.http import answer, problem, problems
from sentry_runtime.uem.messages import VERSION_MAX, MessageError, decode
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server.pusher import Pusher
from sentry_runtime.uem_server.registry import UnknownDeviceError
from sentry_runtime.uem_server.room import NoRoomError
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

CONTACT_BYTES = 65_536  # the longest contact, all its aliases included, is below 16 KiB
SHUTDOWN_SECONDS = 2.0  # what runs has that long to end: a commit takes milliseconds
BODY_SECONDS = 10.0  # a contact is one packet

_NUMBER = re.compile(r"[0-9]{1,16}")  # as many digits as `VERSION_MAX` has


class Api:
    """HTTPS with mutual TLS: who has no certificate of the appliance's authority gets no further than the handshake."""

    def __init__(self, worker: Worker, pusher: Pusher, audit: Audit) -> None:
        self._worker = worker
        self._pusher = pusher
        self._audit = audit
        self.contacts = 0
        app = web.Application(client_max_size=CONTACT_BYTES, middlewares=[problems])
        app.router.add_post("/v1/contacts", self._contact)
        app.router.add_get("/v1/decisions", self._decisions, allow_head=False)
        app.router.add_post("/v1/information", self._information)
        app.router.add_post("/v1/wipes", self._wipes)
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

    async def _contact(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        try:
            contact = decode(body, Contact)
        except MessageError as error:
            return problem(400, "not a contact", str(error))
        try:
            decision = await self._worker.call(lambda registry: registry.contact(contact))
        except NoRoomError as error:
            key = DeviceKey(contact.device_id, contact.principal)
            self._audit("uem_contact_refused", key=key, detail=str(error))
            return problem(429, "too many unregistered devices", str(error))
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)
        self.contacts += 1
        key = DeviceKey(decision.device_id, decision.principal)
        self._audit("uem_contact", key=key, action=decision.state, reasons=decision.reasons, version=decision.version)
        return answer(decision)

    async def _wipes(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        try:
            report = decode(body, WipeReport)
        except MessageError as error:
            return problem(400, "not a report of a wipe", str(error))
        try:
            decision, changed = await self._worker.call(lambda registry: registry.report_wipe(report))
        except UnknownDeviceError as error:
            return problem(404, "no such device", str(error))
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)
        if changed:
            self._pusher.add(changed)
            key, order = DeviceKey(decision.device_id, decision.principal), report.wipe.order
            marks = () if decision.wipe is None else decision.wipe.marks
            self._audit("uem_wipe", key=key, action=decision.state, reasons=marks, version=order)
        return answer(decision)

    async def _decisions(self, request: web.Request) -> web.Response:
        try:
            after = _number(request, "after", 0, 0, VERSION_MAX)
            limit = _number(request, "limit", DECISIONS_PER_PAGE, 1, DECISIONS_PER_PAGE)
        except MessageError as error:
            return problem(400, "not a question for decisions", str(error))
        try:
            return answer(await self._worker.call(lambda registry: registry.changes(after, limit)))
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)

    async def _information(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        try:
            told = decode(body, Information)
        except MessageError as error:
            return problem(400, "not what a device says of itself", str(error))
        try:
            await self._worker.call(lambda registry: registry.inform(told))
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)
        return web.Response(status=204)

    def _unavailable(self, error: Exception) -> web.Response:
        self._audit("uem_failed", detail=str(error))
        return problem(503, "not now", "the UEM cannot use its database")


def _number(request: web.Request, name: str, default: int, lowest: int, highest: int) -> int:
    text = request.query.get(name, str(default))
    if not (_NUMBER.fullmatch(text) and lowest <= int(text) <= highest):
        raise MessageError(f"`{name}` is {lowest} to {highest}, found {text[:40]!r}")
    return int(text)
