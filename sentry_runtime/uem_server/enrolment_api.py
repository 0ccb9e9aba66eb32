"""The requests of enrolment.

| where | request | who |
|---|---|---|
| the port of enrolment | `POST /v1/enrolments` | whoever has the token of a Sentry; TLS without a client certificate |
| the UEM's port | `POST /v1/renewals` | a Sentry, with its enrolled certificate |
| the administrators' paths | `GET`, `POST`, `DELETE enrolments` | an administrator |
"""

import asyncio
import time

import msgspec
from aiohttp import web

from sentry_runtime.json_text import decoded
from sentry_runtime.uem.enrolment import ENROLMENTS, RENEWALS, Enrol, Renew, decode
from sentry_runtime.uem.http import BODY_SECONDS, Handler, answer, problem
from sentry_runtime.uem.messages import MessageError
from sentry_runtime.uem.refusals import Refusals
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server.authority import CsrError
from sentry_runtime.uem_server.callers import ADMIN, certificate_of
from sentry_runtime.uem_server.enrolment import Enrolment
from sentry_runtime.uem_server.enrolments import TokenError
from sentry_runtime.uem_server.peers import PeerError
from sentry_runtime.uem_server.resources import OpenEnrolment
from sentry_runtime.uem_server.sentrys import Sentrys
from sentry_runtime.uem_server.tries import Tries
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

BASE = f"{ADMIN}v1/enrolments"
ENROL_BYTES = 16_384  # a request with the largest key is below 3 KiB

EVENT = "uem_enrolment_refused"
REFUSED = ("not enrolled", "this token is not good for this Sentry")
"""The one answer to every wrong token: which of the reasons it was is the audit trail's."""

_decode_wanted = msgspec.json.Decoder(OpenEnrolment).decode


class EnrolmentApi:
    """`enrolling` are the routes of the port of enrolment, `renewing` those of the UEM's, `administering` the administrators'."""

    def __init__(self, enrolment: Enrolment, worker: Worker, sentrys: Sentrys, audit: Audit) -> None:
        self._enrolment = enrolment
        self._worker = worker
        self._sentrys = sentrys
        self._audit = audit
        self._tries = Tries(time.monotonic)
        self._renewals = Tries(time.monotonic)
        self._refusals = Refusals(audit, time.monotonic, EVENT)

    def enrolling(self) -> list[web.AbstractRouteDef]:
        """For whoever has a token."""
        return [web.post(ENROLMENTS, self._guarded(self._enrol))]

    def renewing(self) -> list[web.AbstractRouteDef]:
        """For Sentrys with an enrolled certificate."""
        return [web.post(RENEWALS, self._guarded(self._renew))]

    def administering(self) -> list[web.AbstractRouteDef]:
        """For administrators."""
        return [
            web.get(BASE, self._guarded(self._list), allow_head=False),
            web.post(BASE, self._guarded(self._open)),
            web.delete(BASE, self._guarded(self._revoke)),
        ]

    def refuse(self, address: str, reason: str) -> None:
        """Write down who did not get as far as a request."""
        self._refusals.refuse(address, reason)

    def _guarded(self, handler: Handler) -> Handler:
        """The handler with its errors as answers."""

        async def answered(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except (MessageError, CsrError, PeerError) as error:
                return problem(400, "not taken", str(error))
            except (OverloadedError, DatabaseError) as error:
                self._audit("uem_failed", detail=str(error))
                return problem(503, "not now", "the UEM cannot use its database")

        return answered

    async def _enrol(self, request: web.Request) -> web.StreamResponse:
        source = request.remote or ""
        if not self._tries.may(source):
            self._refusals.refuse(source, "too many tries")
            return problem(429, "too many tries", "try again in some minutes")
        asked = decode(await _read(request), Enrol)
        try:
            return answer(await self._enrolment.enrol(asked, source))
        except TokenError as error:
            self._refusals.refuse(source, f"Sentry {asked.sentry}: {error}")
            return problem(403, *REFUSED)

    async def _renew(self, request: web.Request) -> web.StreamResponse:
        certificate = certificate_of(request)
        if certificate is None or not self._enrolment.is_ours(certificate):
            return problem(403, "not for you", "your certificate is not from this UEM, so it is not renewed here")
        sentry = str(request["caller"])
        if not self._renewals.may_as(sentry):
            self._refusals.refuse(f"Sentry {sentry}", "too many renewals")
            return problem(429, "too many renewals", "try again in some minutes")
        asked = decode(await _read(request), Renew)
        try:
            return answer(await self._enrolment.renew(certificate, asked.csr, request.remote or ""))
        except TokenError as error:
            self._refusals.refuse(f"Sentry {sentry}", f"renewal: {error}")
            return problem(403, "not renewed", str(error))

    async def _list(self, _request: web.Request) -> web.StreamResponse:
        found = await self._enrolment.listed()
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    async def _open(self, request: web.Request) -> web.StreamResponse:
        try:
            wanted = decoded(_decode_wanted, await _read(request))
        except msgspec.MsgspecError as error:
            raise MessageError(str(error)) from error
        opened = await self._enrolment.open(wanted, str(request["caller"]))
        await self._sentrys.reload(self._worker)
        return answer(opened)

    async def _revoke(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("name", "")
        if not await self._enrolment.revoke(name[:64], str(request["caller"])):
            return problem(404, "no such thing", f"nothing that counts is enrolled under {name[:64]!r}")
        return web.Response(status=204)


async def _read(request: web.Request) -> bytes:
    async with asyncio.timeout(BODY_SECONDS):
        return await request.read()
