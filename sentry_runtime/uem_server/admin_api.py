"""The administrators' REST: `/admin/v1/...`, on the UEM's port by certificate and on its Unix socket by account.

| method and path | does |
|---|---|
| `GET status` | the UEM at a glance |
| `GET users`, `labels`, `tunnels`, `sentrys`, `devices` | what there is; users and devices by pages (`after`, `limit`) |
| `PUT users`, `labels`, `tunnels`, `sentrys` | adds or changes the one in the body; the same again changes nothing |
| `DELETE users?name=`, `labels`, `tunnels`, `sentrys` | forgets one |
| `GET`, `POST enrolments`, `DELETE enrolments?name=` | a Sentry's token and certificates (`enrolment_api`) |
| `POST devices/VERB` | a word on one device (`verbs.VERBS`) |
| `GET sheets/KIND`, `POST sheets/KIND` | users, labels or devices as CSV, out and in |

A change is answered when it is on the disk. What it means for devices is told to the Sentrys without being waited for.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from sqlalchemy.orm import Session

from sentry_runtime.eas.principal import Names, PrincipalError
from sentry_runtime.json_text import decoded
from sentry_runtime.settings import Licence, SentryPeer
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.http import answer, problem
from sentry_runtime.uem.licence import refusal
from sentry_runtime.uem.messages import VERSION_MAX, MessageError
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server import directory, imports, peers, sheets
from sentry_runtime.uem_server.callers import ADMIN
from sentry_runtime.uem_server.enrolment import Enrolment
from sentry_runtime.uem_server.judging import UnknownSecurityPolicyError
from sentry_runtime.uem_server.links import LinkError
from sentry_runtime.uem_server.policies import UnknownPolicyError
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.resources import DeviceEntry, LabelEntry, Status, TunnelEntry, UserEntry
from sentry_runtime.uem_server.sentrys import Sentrys, made
from sentry_runtime.uem_server.verbs import VERBS, Said, key_of
from sentry_runtime.uem_server.wipes import NotNowError
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

BASE = f"{ADMIN}v1"
BODY_SECONDS = 10.0
SHEET_SECONDS = 60.0
PAGE = 500

_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_Result = TypeVar("_Result")
_Job = Callable[[Registry, Session], None]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_DROPS: dict[str, Callable[[Session, str], bool]] = {
    "users": directory.drop_user,
    "labels": directory.drop_label,
    "tunnels": directory.drop_tunnel,
    "sentrys": peers.drop,
}
_WRONG = (
    MessageError,
    PrincipalError,
    UnknownPolicyError,
    UnknownSecurityPolicyError,
    LinkError,
    directory.DirectoryError,
    peers.PeerError,
    sheets.SheetError,
)


class UnknownNameError(LookupError):
    """There is nothing of this name."""


class AdminApi:
    """`routes` are for a `Server` whose gate says who may call. `news` is set when devices have become due."""

    def __init__(
        self,
        worker: Worker,
        sentrys: Sentrys,
        audit: Audit,
        names: Names,
        licence: Licence,
        enrolment: Enrolment | None = None,
    ) -> None:
        self._worker = worker
        self._sentrys = sentrys
        self._audit = audit
        self._names = names
        self._licence = licence
        self._enrolment = enrolment
        self.news = asyncio.Event()
        self._one_sheet = asyncio.Lock()
        self._puts: dict[str, tuple[type[Any], Callable[[Any], _Job]]] = {
            "users": (UserEntry, self._put_user),
            "labels": (LabelEntry, self._put_label),
            "tunnels": (TunnelEntry, self._put_tunnel),
            "sentrys": (SentryPeer, lambda peer: lambda _registry, session: peers.put(session, peer)),
        }
        self._lists: dict[str, Callable[[web.Request], Awaitable[Sequence[msgspec.Struct]]]] = {
            "users": self._users,
            "labels": lambda _request: self._look(directory.all_labels),
            "tunnels": lambda _request: self._look(directory.tunnels),
            "sentrys": lambda _request: self._look(directory.sentrys),
        }

    def routes(self) -> list[web.AbstractRouteDef]:
        """All of them."""
        kinds = "users|labels|tunnels|sentrys"
        guarded = self._guarded
        return [
            web.get(f"{BASE}/status", guarded(self._status), allow_head=False),
            web.get(f"{BASE}/devices", guarded(self._devices), allow_head=False),
            web.post(f"{BASE}/devices/{{verb}}", guarded(self._verb)),
            web.get(f"{BASE}/sheets/{{sheet:users|labels|devices}}", guarded(self._export), allow_head=False),
            web.post(f"{BASE}/sheets/{{sheet:users|labels|devices}}", guarded(self._import)),
            web.get(f"{BASE}/{{kind:{kinds}}}", guarded(self._list), allow_head=False),
            web.put(f"{BASE}/{{kind:{kinds}}}", guarded(self._put)),
            web.delete(f"{BASE}/{{kind:{kinds}}}", guarded(self._delete)),
        ]

    def _guarded(self, handler: _Handler) -> _Handler:
        """The handler with its errors as answers."""

        async def answered(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except _WRONG as error:
                return problem(400, "not taken", str(error))
            except (UnknownDeviceError, UnknownNameError) as error:
                return problem(404, "no such thing", str(error))
            except NotNowError as error:
                return problem(409, "not as things stand", str(error))
            except (OverloadedError, DatabaseError) as error:
                self._audit("uem_failed", detail=str(error))
                return problem(503, "not now", "the UEM cannot use its database")

        return answered

    # --- what there is ---

    async def _status(self, _request: web.Request) -> web.StreamResponse:
        counts = await self._worker.call(lambda registry: registry.counts())
        devices, version = counts.pop("devices"), counts.pop("version")
        by_state = {str(state): count for state, count in counts.items()}
        return answer(Status(devices=devices, version=version, licence=self._licence, by_state=by_state))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        found = await self._lists[request.match_info["kind"]](request)
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    async def _users(self, request: web.Request) -> Sequence[UserEntry]:
        after, limit = request.query.get("after", ""), _number(request, "limit", PAGE, 1, PAGE)
        return await self._look(lambda session: directory.users(session, after, limit))

    async def _devices(self, request: web.Request) -> web.StreamResponse:
        after = _number(request, "after", 0, 0, VERSION_MAX)
        limit = _number(request, "limit", PAGE, 1, PAGE)
        device_id = request.query.get("device_id")
        wanted = None if device_id is None else device_id.upper()
        return answer(await self._worker.call(lambda registry: registry.listed(after, limit, wanted)))

    # --- changes ---

    async def _put(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        expected, job = self._puts[kind]
        entry = await _body(request, expected)
        await self._change(request, job(entry), f"{kind} put: {_name_of(entry)}")
        return web.Response(status=204)

    def _put_user(self, entry: UserEntry) -> _Job:
        canonical = msgspec.structs.replace(entry, principal=self._person(entry.principal))
        return lambda _registry, session: directory.put_user(session, canonical)

    def _put_tunnel(self, entry: TunnelEntry) -> _Job:
        lacks = refusal("app_tunnel", self._licence)
        if lacks is not None:
            raise directory.DirectoryError(lacks)
        return lambda _registry, session: directory.put_tunnel(session, entry)

    def _put_label(self, entry: LabelEntry) -> _Job:
        return lambda registry, session: directory.put_label(session, entry, registry.policies, registry.security)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        kind, name = request.match_info["kind"], request.query.get("name", "")
        wanted = self._person(name) if kind == "users" else name

        def job(_registry: Registry, session: Session) -> None:
            if not _DROPS[kind](session, wanted):
                raise UnknownNameError(f"there is none of the {kind} called {name[:64]!r}")

        await self._change(request, job, f"{kind} deleted: {wanted}")
        return web.Response(status=204)

    async def _verb(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["verb"]
        verb = VERBS.get(name)
        if verb is None:
            return problem(404, "no such word", f"a device can be told {', '.join(VERBS)}; found {name[:40]!r}")
        body = await _body(request, verb.body)
        by = str(request["caller"])
        key = key_of(body.device_id, body.principal, self._names)
        said = Said(body=body, key=key, names=self._names, by=by)

        def job(registry: Registry) -> tuple[list[Decision], DeviceEntry | None]:
            changed = verb.act(registry, said)
            page = registry.listed(0, PAGE, key.device_id)
            return changed, next((one for one in page.devices if one.principal == key.principal), None)

        changed, now = await self._worker.call(job)
        self._audit("uem_said", key=key, by=by, detail=f"{name} {verb.detail(body)}".strip())
        made(self._sentrys, self._audit, changed, by)
        self.news.set()
        return web.Response(status=204) if now is None else answer(now)

    async def _change(self, request: web.Request, job: _Job, detail: str) -> None:
        """Do it, tell who is concerned, and have the others looked at."""
        by = str(request["caller"])

        def change(registry: Registry) -> tuple[list[Decision], list[SentryPeer]]:
            _, changed = registry.amend(lambda session, _next: job(registry, session))
            return changed, registry.look(peers.listed)

        changed, served = await self._worker.call(change)
        self._audit("uem_administered", by=by, detail=detail)
        if self._enrolment is not None:  # with a Sentry that is gone its certificates are
            await self._enrolment.load()
        self._sentrys.serve(served)
        made(self._sentrys, self._audit, changed, by)
        self.news.set()

    # --- sheets ---

    async def _export(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["sheet"]
        response = web.StreamResponse(headers={"Content-Type": "text/csv; charset=utf-8"})
        # The first page before the head: a database that is away is a 503 and no torn sheet.
        text, after = await self._page(kind, None)
        await response.prepare(request)
        await response.write(text.encode())
        try:
            while after is not None:
                text, after = await self._page(kind, after)
                await response.write(text.encode())
        except (OverloadedError, DatabaseError) as error:
            self._audit("uem_failed", detail=str(error))
            if request.transport is not None:
                request.transport.abort()  # half a sheet must not look like a whole one
            return response
        await response.write_eof()
        self._audit("uem_administered", by=str(request["caller"]), detail=f"{kind} exported")
        return response

    async def _page(self, kind: str, after: str | None) -> tuple[str, str | None]:
        """A page of a sheet, with its head where it is the first, and behind what the next begins."""
        if kind == "labels":
            entries = await self._look(directory.all_labels)
            return sheets.head(sheets.LABELS) + sheets.lines(sheets.LABELS, entries), None
        if kind == "users":
            users = await self._look(lambda session: directory.users(session, after or "", PAGE))
            text = sheets.lines(sheets.USERS, users)
            more = users[-1].principal if len(users) == PAGE else None
            return (sheets.head(sheets.USERS) if after is None else "") + text, more
        page = await self._worker.call(lambda registry: registry.listed(int(after or "0"), PAGE))
        text = sheets.lines(sheets.DEVICES, map(sheets.device_row, page.devices))
        return (sheets.head(sheets.DEVICES) if after is None else "") + text, str(page.next) if page.more else None

    async def _import(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["sheet"]
        body = await _sheet(request)
        async with self._one_sheet:  # some seconds of a large one, in a thread: meanwhile Sentrys are answered
            job = await asyncio.to_thread(_import_job, kind, body, self._names)
        by = str(request["caller"])

        def change(registry: Registry) -> tuple[int, list[Decision]]:
            return registry.amend(lambda session, next_version: job(registry, session, next_version))

        count, changed = await self._worker.call(change)
        self._audit("uem_administered", by=by, count=count, detail=f"{kind} imported")
        made(self._sentrys, self._audit, changed, by)
        self.news.set()
        return web.json_response({"lines": count})

    async def _look(self, job: Callable[[Session], _Result]) -> _Result:
        return await self._worker.call(lambda registry: registry.look(job))

    def _person(self, name: str) -> str:
        """The one name of a person. Raises `MessageError`."""
        return key_of("X", name, self._names).principal


def _import_job(kind: str, body: bytes, names: Names) -> Callable[[Registry, Session, Callable[[], int]], int]:
    if kind == "labels":
        labels = sheets.read(sheets.LABELS, body)
        return lambda registry, session, _next: imports.put_labels(
            session, labels, registry.policies, registry.security
        )
    if kind == "users":
        users = sheets.read(sheets.USERS, body)
        return lambda _registry, session, _next: imports.put_users(session, users, names)
    devices = sheets.read(sheets.DEVICES, body)
    return lambda _registry, session, next_version: imports.put_devices(session, devices, names, next_version)


async def _body(request: web.Request, kind: type[_Kind]) -> _Kind:
    """The request's body as one of these. Raises `MessageError` naming the place, `TimeoutError`."""
    async with asyncio.timeout(BODY_SECONDS):
        body = await request.read()
    try:
        return decoded(msgspec.json.Decoder(kind).decode, body)
    except msgspec.MsgspecError as error:
        raise MessageError(str(error)) from error


async def _sheet(request: web.Request) -> bytes:
    """The body, which may be longer than any other."""
    body = bytearray()
    async with asyncio.timeout(SHEET_SECONDS):
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > sheets.SHEET_BYTES:
                raise sheets.SheetError(f"a sheet has at most {sheets.SHEET_BYTES} bytes; more come in another one")
    return bytes(body)


def _number(request: web.Request, name: str, default: int, lowest: int, highest: int) -> int:
    text = request.query.get(name, str(default))
    if not (re.fullmatch(r"[0-9]{1,16}", text, re.ASCII) and lowest <= int(text) <= highest):
        raise MessageError(f"`{name}` is {lowest} to {highest}, found {text[:40]!r}")
    return int(text)


def _name_of(entry: msgspec.Struct) -> str:
    return str(getattr(entry, "name", "") or getattr(entry, "principal", ""))
