"""The requests of Sentrys that only call (docs/uem-api.md, "Cloud"): `POST /v1/candidates`, `GET /v1/settings`,
`GET /v1/compliance`, `GET /v1/actions`, `POST /v1/inventory`."""

import contextlib
import time
from collections.abc import Callable
from typing import Literal

from aiohttp import web
from sqlalchemy import not_

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.uem.api import Contact
from sentry_runtime.uem.cloud_api import Candidates, CloudSettings, Inventory, Tunnel
from sentry_runtime.uem.http import answer, message, problem
from sentry_runtime.uem.messages import MessageError
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server import candidates
from sentry_runtime.uem_server.pages import page_wanted
from sentry_runtime.uem_server.room import NoRoomError
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker


class Cloud:
    """Answers from the registry. How far each Sentry's inventory goes is in memory: after a start all of it is asked for."""

    def __init__(
        self, worker: Worker, settings: CloudSettings, audit: Audit, now: Callable[[], float] = time.time
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._audit = audit
        self._now = now
        self._inventories: dict[str, int] = {}

    def routes(self) -> list[web.RouteDef]:
        """What is answered here."""
        return [
            web.post("/v1/candidates", self._candidates),
            web.get("/v1/settings", self._said, allow_head=False),
            web.get("/v1/{feed:compliance|actions}", self._feed, allow_head=False),
            web.post("/v1/inventory", self._inventory),
        ]

    async def _candidates(self, request: web.Request) -> web.Response:
        try:
            contact = await message(request, Contact)
        except MessageError as error:
            return problem(400, "not a contact", str(error))
        try:
            version, found = await self._worker.call(lambda registry: registry.candidates(contact))
        except NoRoomError as error:
            self._audit("uem_contact_refused", key=DeviceKey(contact.device_id, contact.principal), detail=str(error))
            return problem(429, "too many unregistered devices", str(error))
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)
        self._audit(
            "uem_candidates",
            key=DeviceKey(contact.device_id, contact.principal),
            count=len(found),
            version=version,
        )
        return answer(
            Candidates(
                version=version,
                registered=tuple(one for one in found if one.registered),
                unregistered=tuple(one for one in found if not one.registered),
                settings=self._settings,
            )
        )

    async def _said(self, _request: web.Request) -> web.Response:
        return answer(self._settings)

    async def _feed(self, request: web.Request) -> web.Response:
        feed: Literal["compliance", "actions"] = request.match_info["feed"]  # type: ignore[assignment]  # by the route
        try:
            after, limit = page_wanted(request)
        except MessageError as error:
            return problem(400, "not a question for decisions", str(error))
        chosen = candidates.by_hand() if feed == "actions" else not_(candidates.by_hand())
        try:
            return answer(await self._worker.call(lambda registry: registry.check_in(after, limit, chosen)))
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)

    async def _inventory(self, request: web.Request) -> web.Response:
        try:
            inventory = await message(request, Inventory)
        except MessageError as error:
            return problem(400, "not an inventory", str(error))
        caller = str(request["caller"])
        last = self._inventories.get(caller, 0)
        if inventory.after not in (0, last) and inventory.number != last:
            return problem(409, "not what comes next", f"the last inventory of this Sentry is {last}")
        try:
            news = await self._worker.call(
                lambda registry: registry.look(lambda session: candidates.unknown(session, inventory.tunnels))
            )
            for one in news:
                await self._record(one)
        except (OverloadedError, DatabaseError) as error:
            return self._unavailable(error)
        self._inventories[caller] = inventory.number
        detail = f"of {caller}: {len(news)} not known before, {len(inventory.gone)} gone"
        self._audit("uem_inventory", count=len(inventory.tunnels), detail=detail)
        return web.Response(status=204)

    async def _record(self, one: Tunnel) -> None:
        """A device that is not known is recorded as at a first contact; one for which there is no room is told its Sentry as
        removed."""
        contact = Contact(
            device_id=one.device_id, principal=one.principal, device_type=one.device_type, seen=int(self._now())
        )
        try:
            await self._worker.call(lambda registry: registry.contact(contact))
        except NoRoomError as error:
            key = DeviceKey(one.device_id, one.principal)
            self._audit("uem_contact_refused", key=key, detail=str(error))
            with contextlib.suppress(NoRoomError):  # there is none for that either
                await self._worker.call(lambda registry: registry.leave_out(key))

    def _unavailable(self, error: Exception) -> web.Response:
        self._audit("uem_failed", detail=str(error))
        return problem(503, "not now", "the UEM cannot use its database")
