"""The portal as it runs, over a real configd with the appliance's schema and none of its effects, both on loopback.

`python -m tests.unit.appliance.portal.stage PORT [DEVICES]` serves it to be looked at.
"""

import asyncio
import contextlib
import os
import re
import socket
import ssl
import sys
import tempfile
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import yarl
from aiohttp import web

from appliance.configd import api, facts
from appliance.configd.client import AsyncClient
from appliance.configd.passwords import hashed
from appliance.configd.server import Server
from appliance.portal.app import Portal
from appliance.portal.settings import Settings
from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from tests.unit.appliance.cli.desk import SITE, accepted, public_key, without_effects
from tests.unit.appliance.portal.conftest import behind_proxy, make_certificate
from tests.unit.appliance.workbench import PASSWORDS, Daemon

ACCOUNTS = {"alice": "administrator", "olga": "operator", "albert": "auditor"}
ENABLE = "Enable-Secret-12345"
REAL_TOPICS = {
    "confirmation", "revisions", "users", "sessions", "timeout", "devices", "device", "device-states", "rules",
    "config-properties", "portal-acl", "static-hosts", "domain-name", "downloads",
}  # fmt: skip
"""What `show` answers from the configuration or the device list; the other topics ask a machine."""


class Site(Daemon):
    """configd with a device list behind it, in which the agent's answers come from `devices` (sorted by their keys)."""

    def __init__(self, folder: Path) -> None:
        self.devices: list[Record] = []
        self.orders: list[Any] = []
        self.topics: dict[str, api.Shown] = {}
        super().__init__(folder, features=without_effects())

    def _call(self, path: str, request: Any, result_type: Any = Any, **_rest: Any) -> Any:
        match request:
            case control.ListDevices():
                first = bisect_right(self.devices, request.after, key=lambda one: one.key) if request.after else 0
                return self.devices[first : first + request.limit]
            case control.ShowDevice():
                return [one for one in self.devices if one.key.device_id == request.device_id]
            case control.ShowDetails() | control.ShowRegistered():
                return []
            case control.Explain():
                return self._explained(request)
        self.orders.append(request)
        return super()._call(path, request, result_type)

    def _explained(self, request: control.Explain) -> control.Explanation:
        key = DeviceKey(request.device_id, request.principal)
        found = next((one for one in self.devices if one.key == key), None)
        allowed = found is not None and found.state is State.ALLOWED
        action = "allow" if allowed else "block"
        reasons = tuple(one.value for one in found.reasons) if found else ("unregistered",)
        word = found.state.value if found else "not there"
        step = control.ExplainedStep(row="list", asks="what does the device list say?", saw=word, applies=True)
        return control.Explanation(
            device_id=key.device_id,
            principal=key.principal,
            action=action,
            reasons=() if allowed else reasons,
            softened=(),
            decided_by="device list",
            rule="",
            answer="forwarded" if allowed else "403",
            steps=(step,),
            notes=(),
        )


def devices(number: int) -> list[Record]:
    """So many entries, in key order; every tenth is blocked, every fiftieth waits for its wipe."""
    made = []
    for place in range(number):
        state = State.WIPE_PENDING if place % 50 == 7 else State.BLOCKED if place % 10 == 3 else State.ALLOWED
        reasons = (Reason.OUT_OF_CONTACT,) if state is State.BLOCKED else ()
        key = DeviceKey(f"PHONE{place:06}", f"user{place:05}@example.test")
        made.append(
            Record(
                key=key,
                state=state,
                version=place,
                reasons=reasons,
                device_type="iPhone" if place % 3 else "Android",
                registered=True,
                updated=1_790_000_000 + place,
            )
        )
    return made


@dataclass
class Person:
    """Somebody at a browser that follows nothing by itself, and what they see."""

    http: aiohttp.ClientSession
    url: str
    page: str = ""
    status: int = 0
    place: str = ""

    async def get(self, path: str, **more: Any) -> Self:
        """Look at a page."""
        url = yarl.URL(self.url + path, encoded=True)
        async with self.http.get(url, allow_redirects=False, **more) as answer:
            await self._take(answer)
        return self

    async def post(self, path: str, form: Any = None, **more: Any) -> Self:
        """Send a form with this session's token (that of the page before, or of the dashboard)."""
        held = re.search(r'name="token" value="([^"]+)"', self.page)
        if held is None:
            await self.get("/")
            held = re.search(r'name="token" value="([^"]+)"', self.page)
        token = held[1] if held else ""
        pairs = [*(form.items() if isinstance(form, Mapping) else form or ()), ("token", token)]
        url = yarl.URL(self.url + path, encoded=True)
        async with self.http.post(url, data=pairs, allow_redirects=False, **more) as answer:
            await self._take(answer)
        return self

    async def send(self, path: str, form: Any = None) -> Self:
        """As `post`, and go where the answer leads."""
        await self.post(path, form)
        return await self.get(self.place) if self.status == 303 else self

    async def _take(self, answer: aiohttp.ClientResponse) -> None:
        self.status, self.place = answer.status, answer.headers.get("Location", "")
        body = await answer.read()
        if answer.content_type == "text/html" and body:
            self.page = body.decode()

    async def log_in(self, user: str) -> Self:
        """With the right password."""
        await self.get("/login")
        await self.post("/login", {"user": user, "password": PASSWORDS[user]})
        assert (self.status, self.place) == (303, "/"), self.page
        return await self.get("/")

    @property
    def text(self) -> str:
        """What of the page is text, blanks made one."""
        return " ".join(seen(self.page).text)


@dataclass
class Seen(HTMLParser):
    """A page as a parser takes it: its text, its elements with their attributes."""

    text: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.extend(data.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def value(self, name: str) -> str | None:
        """Of the input of this name."""
        return next((one.get("value") for one in self.all("input") if one.get("name") == name), None)


def seen(page: str) -> Seen:
    """The parsed page."""
    parser = Seen()
    parser.feed(page)
    return parser


@dataclass
class Stage:
    """The running portal, and the configd behind it."""

    site: Site
    url: str
    tls: ssl.SSLContext
    application: web.Application
    people: list[Person] = field(default_factory=list)

    async def person(self, user: str = "") -> Person:
        """Somebody new, logged in where a name is given."""
        connector = aiohttp.TCPConnector(ssl=self.tls)
        http = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True))
        made = Person(http, self.url)
        self.people.append(made)
        return await made.log_in(user) if user else made


def tree_of(site: Site, folder: Path) -> dict[str, Any]:
    """The site's configuration: three people, one of each role."""
    key = "ecdsa-sha2-nistp256 " + public_key(folder)
    accounts = {name: {"role": role, "ssh_keys": [key]} for name, role in ACCOUNTS.items()}
    tree = {**SITE, "users": {"accounts": accounts}, "cli": {"enable_secret_hash": hashed(ENABLE)}}
    return site.schema.fill(accepted(site, tree))


@contextlib.asynccontextmanager
async def staged(
    folder: Path, certificate: Path, port: int, patch: pytest.MonkeyPatch, *, attempts: int = 50
) -> AsyncIterator[Stage]:
    """Serve both until the end."""
    site = Site(folder / "box")
    site.commit(tree_of(site, folder))
    site.gate._doors = replace(site.gate._doors, portal_uid=os.getuid)
    real = facts.show

    def show(topic: str, argument: str, context: facts.Context) -> api.Shown:
        if topic in site.topics:
            return site.topics[topic]
        if topic in REAL_TOPICS:
            return real(topic, argument, context)
        return api.Facts(title=topic, facts=((topic, argument or f"value of {topic}"),))

    patch.setattr(facts, "show", show)
    settings = Settings(port=port, hosts=("localhost",), login_attempts_per_minute=attempts)
    stop, ready = asyncio.Event(), asyncio.Event()
    configd = asyncio.create_task(Server(site.gate, site.watch, folder / "socket").serve(stop, ready=ready))
    await ready.wait()
    application = Portal(settings, "Notice & <consent>", AsyncClient(folder / "socket")).application()
    trust = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    stage = Stage(site, f"https://localhost:{port}", trust, application)
    try:
        async with behind_proxy(application, certificate, socket.create_server(("127.0.0.1", port))):
            yield stage
    finally:
        for one in stage.people:
            await one.http.close()
        stop.set()
        await configd


async def main(port: int, number: int) -> None:
    """Serve until interrupted."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        async with staged(folder, make_certificate(folder), port, patch) as stage:
            stage.site.devices = devices(number)
            sys.stdout.write(f"{stage.url}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int((sys.argv[2:] or ["100"])[0])))
