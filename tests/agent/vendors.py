"""TLS servers shaped as the public documentation of Ivanti EPMM and Microsoft Graph shows these, with the faults that they have.

They answer as they were recorded to: pages, filters, tokens. `faults` are taken one by one before that: a request that a fault
answers does not get further.
"""

import abc
import base64
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import msgspec
from aiohttp import web

from tests.ports import free_port

ACCOUNT, PASSWORD = "sentry-api", "canary-epmm-4c1d"
TENANT, CLIENT, SECRET = "lab.test", "0d1c6f2e-5a5e-4a9f-8d7e-3b0f5a1c2d3e", "canary-graph-9e7a"

Fault = Callable[[web.Request], web.StreamResponse | None]


def status(code: int, body: bytes = b"{}", *, location: str = "", retry_after: str = "") -> Fault:
    """Answer with this status."""
    headers = {name: value for name, value in (("Location", location), ("Retry-After", retry_after)) if value}
    return lambda _request: web.Response(status=code, body=body, headers=headers)


def rubbish(body: bytes) -> Fault:
    """200, with this."""
    return status(200, body)


def break_off(request: web.Request) -> web.StreamResponse:
    """End the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def passed(_request: web.Request) -> None:
    """No fault: so that the next one meets the next request."""


class Vendor(abc.ABC):
    """A server on loopback; `requests` are the paths with queries, in order."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.faults: deque[Fault] = deque()
        self.requests: list[web.Request] = []
        app = web.Application(middlewares=[self._first])
        app.router.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)

    @abc.abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """What it answers."""

    async def start(self, tls: ssl.SSLContext) -> Self:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls).start()
        return self

    async def stop(self) -> None:
        """Close everything."""
        await self._runner.cleanup()

    def asked(self, part: str) -> list[web.Request]:
        """The requests with this in their path."""
        return [request for request in self.requests if part in request.path]

    @web.middleware
    async def _first(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(request)
        fault = self.faults.popleft() if self.faults else passed
        answer = fault(request)
        return answer if answer is not None else await handler(request)


def json(found: Any) -> web.Response:
    """200 with this."""
    return web.Response(body=msgspec.json.encode(found), content_type="application/json")


class EpmmServer(Vendor):
    """`lists` by the names of the v1 API; `details` are the rows of the V2 API, of which it gives at most `page_rows` at once."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.details: list[dict[str, Any]] = []
        self.page_rows = 500
        self.password = PASSWORD
        self.wrapped = False

    def routes(self) -> list[web.RouteDef]:
        """The two calls."""
        return [web.get("/api/v1/eas/devices", self._eas), web.get("/api/v2/devices", self._devices)]

    def put(self, device_id: str, user: str, listed: str, **detail: Any) -> None:
        """A device in this list; with a `detail` it is managed, too."""
        for rows in self.lists.values():
            rows[:] = [row for row in rows if row["deviceId"] != device_id]
        uuid = f"uuid-{device_id.lower()}"
        domain, mailbox = "lab.test", user.partition("@")[0]
        row = {"uuid": uuid, "domain": domain, "deviceId": device_id, "mailboxId": mailbox, "userName": user}
        self.lists.setdefault(listed, []).append({**row, "phoneNumber": "PDA", "model": "iPhone"})
        self.details = [one for one in self.details if one["common.uuid"] != uuid]
        if listed.startswith("registered"):
            usual = {"common.uuid": uuid, "common.status": "ACTIVE", "common.blocked": False, "common.compliant": True}
            self.details.append({**usual, **{f"common.{name}": value for name, value in detail.items()}})

    def _denied(self, request: web.Request) -> bool:
        right = base64.b64encode(f"{ACCOUNT}:{self.password}".encode()).decode()
        return request.headers.get("Authorization") != f"Basic {right}"

    async def _eas(self, request: web.Request) -> web.Response:
        if self._denied(request):
            return web.Response(status=401)
        if not any(self.lists.values()):
            return web.Response(status=404, text="No Data Found")
        if not self.wrapped:
            return json({"messages": ["2 Device(s) returned"], **self.lists})
        inner = {name: {name[:-1]: rows if len(rows) > 1 else rows[0]} for name, rows in self.lists.items() if rows}
        return json({"easWebServiceReponse": {"messages": {"message": "found"}, "wipedDevices": "", **inner}})

    async def _devices(self, request: web.Request) -> web.Response:
        if self._denied(request):
            return web.Response(status=401)
        query = request.query
        if {"adminDeviceSpaceId", "query", "fields"} - set(query):
            return web.Response(status=400)
        offset, limit = int(query["offset"]), min(int(query["limit"]), self.page_rows)
        rows = self.details[offset : offset + limit]
        fields = set(query["fields"].split(","))
        found = [{name: value for name, value in row.items() if name in fields} for row in rows]
        more = offset + len(rows) < len(self.details)
        return json({"results": found, "totalCount": len(self.details), "resultCount": len(found), "hasMore": more})


class GraphServer(Vendor):
    """The tenant's token endpoint and its managed devices, of which it gives at most `page_rows` at once."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[dict[str, Any]] = []
        self.page_rows = 1_000
        self.secret = SECRET
        self.tokens: set[str] = set()
        self.issued = 0
        self.expires_in = 3_599
        self.filters = True

    def routes(self) -> list[web.RouteDef]:
        """The token, and the list."""
        return [
            web.post(f"/{TENANT}/oauth2/v2.0/token", self._token),
            web.get("/v1.0/deviceManagement/managedDevices", self._devices),
        ]

    def put(self, device_id: str, user: str, **more: Any) -> None:
        """A device in place of the one that has this id."""
        self.devices = [one for one in self.devices if one["easDeviceId"] != device_id]
        usual = {
            "@odata.type": "#microsoft.graph.managedDevice",
            "id": f"705c034c-{device_id}",
            "easDeviceId": device_id,
            "userPrincipalName": user,
            "emailAddress": user,
            "complianceState": "compliant",
            "deviceRegistrationState": "registered",
            "managementAgent": "mdm",
            "jailBroken": "False",
            "isEncrypted": True,
            "lastSyncDateTime": "2026-01-01T00:02:49.3205976-08:00",
            "partnerReportedThreatState": "unknown",
            "operatingSystem": "iOS",
            "model": "iPhone 15",
        }
        self.devices.append({**usual, **more})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        right = {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": self.secret,
            "scope": f"{self.url}/.default",
        }
        if dict(form) != right:
            error = {"error": "invalid_client", "error_description": f"AADSTS7000215: {form.get('client_secret')!r}"}
            return web.Response(status=401, body=msgspec.json.encode(error), content_type="application/json")
        self.issued += 1
        token = f"canary-token-{self.issued}"
        self.tokens.add(token)
        return json({"token_type": "Bearer", "expires_in": self.expires_in, "access_token": token})

    async def _devices(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return web.Response(status=401, body=b'{"error": {"code": "InvalidAuthenticationToken"}}')
        query = request.query
        found = self.devices
        if self.filters and "$filter" in query:
            name, _, value = query["$filter"].partition(" eq ")
            wanted = value[1:-1].replace("''", "'").lower()
            found = [one for one in found if (one[name] or "").lower() == wanted]
        start = int(query.get("$skiptoken", "0"))
        select = set(query["$select"].split(","))
        rows = [{name: one[name] for name in one if name in select} for one in found[start : start + self.page_rows]]
        answer: dict[str, Any] = {"@odata.context": f"{self.url}/v1.0/$metadata", "value": rows}
        if start + len(rows) < len(found):
            following = request.rel_url.update_query({"$skiptoken": str(start + len(rows))})
            answer["@odata.nextLink"] = f"{self.url}{following}"
        return json(answer)
