"""The requests that a Sentry makes: `POST /v1/contacts`, `GET /v1/decisions`, `POST /v1/information`, `POST /v1/wipes` and, in
`comparisons`, `GET /v1/digests` and `GET /v1/buckets/N`. Those of the Cloud manner are in `cloud`."""

import time
from collections.abc import Iterable, Mapping

from aiohttp import web

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.uem.api import Contact, Information, WipeReport
from sentry_runtime.uem.http import Server, answer, message, problem
from sentry_runtime.uem.messages import MessageError
from sentry_runtime.uem.refusals import Refusals
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server.callers import EVENT, Enrols, by_certificate
from sentry_runtime.uem_server.comparisons import Comparisons
from sentry_runtime.uem_server.pages import page_wanted
from sentry_runtime.uem_server.registry import UnknownDeviceError
from sentry_runtime.uem_server.room import NoRoomError
from sentry_runtime.uem_server.sentrys import Sentrys
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

CONTACT_BYTES = 65_536  # the longest contact, all its aliases included, is below 16 KiB


class Api(Server):
    """What is answered from the registry; `contacts` counts those that were."""

    def __init__(
        self,
        worker: Worker,
        sentrys: Sentrys,
        audit: Audit,
        admin: Iterable[web.AbstractRouteDef] = (),
        administrators: Mapping[str, str] | None = None,
        cloud: Iterable[web.AbstractRouteDef] = (),
        enrolment: Enrols | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        """`admin` are the administrators' routes, `administrators` their names by the subjects of their certificates; `cloud`
        are those of Sentrys that only call; `enrolment` knows those of the UEM's own authority; `refusals` writes down who is
        none of them."""
        self._worker = worker
        self._sentrys = sentrys
        self._audit = audit
        self.contacts = 0
        routes = [
            web.post("/v1/contacts", self._contact),
            web.get("/v1/decisions", self._decisions, allow_head=False),
            web.post("/v1/information", self._information),
            web.post("/v1/wipes", self._wipes),
            *Comparisons(worker, audit).routes(),
            *cloud,
        ]
        turned_away = refusals or Refusals(audit, time.monotonic, EVENT)
        gate = by_certificate(sentrys, administrators or {}, turned_away, enrolment)
        super().__init__(CONTACT_BYTES, [*routes, *admin], [gate])

    async def _contact(self, request: web.Request) -> web.Response:
        try:
            contact = await message(request, Contact)
        except MessageError as error:
            return problem(400, "not a contact", str(error))
        try:
            decision = await self._worker.contact(contact)
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
        try:
            report = await message(request, WipeReport)
        except MessageError as error:
            return problem(400, "not a report of a wipe", str(error))
        try:
            decision, changed = await self._worker.call(lambda registry: registry.report_wipe(report))
        except UnknownDeviceError as error:
            return problem(404, "no such device", str(error))
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)
        if changed:
            self._sentrys.add(changed)
            key, order = DeviceKey(decision.device_id, decision.principal), report.wipe.order
            marks = () if decision.wipe is None else decision.wipe.marks
            self._audit("uem_wipe", key=key, action=decision.state, reasons=marks, version=order)
        return answer(decision)

    async def _decisions(self, request: web.Request) -> web.Response:
        try:
            after, limit = page_wanted(request)
        except MessageError as error:
            return problem(400, "not a question for decisions", str(error))
        try:
            body = await self._worker.call(lambda registry: registry.feed(after, limit))
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)
        return web.Response(body=body, content_type="application/json")

    async def _information(self, request: web.Request) -> web.Response:
        try:
            told = await message(request, Information)
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
