"""Services, tools of the network, and restarting or turning off the machine."""

import asyncio
from typing import Any, Final, get_args

from aiohttp import web

from appliance.configd.api import (
    CheckIn,
    ClearNeighbours,
    ControlService,
    EnrolSentry,
    Facts,
    Lookup,
    Maintain,
    PersistDevices,
    Ping,
    Power,
    PurgeRevocation,
    SendTestAlert,
    Table,
    Text,
    Trace,
)
from appliance.configd.client import Refused
from appliance.portal.showing import Block, block, records
from appliance.portal.step_up import ask_password, wants_password
from appliance.portal.visit import Visit

SERVICES: Final = get_args(ControlService.__annotations__["service"])
ACTIONS: Final = ("start", "restart", "stop")
MAINTENANCE: Final = ("quiesce", "drain", "resume")
HOST_CHARACTERS = 255
TOPICS: Final = (("gateway", "The gateway"), ("agent", "The agent"), ("uem", "The UEM"), ("alerts", "Alerts"))
LOOKS: Final[dict[str, tuple[str, Any, Any]]] = {
    "ping": ("ping", Ping, Text),
    "lookup": ("DNS look-up", Lookup, Text),
    "trace": ("way to the host", Trace, Table),
}
ACTS: Final[dict[str, tuple[str, Any, Any]]] = {
    "clear-neighbours": ("Neighbours that were forgotten", ClearNeighbours, Table),
    "purge-revocation": ("Revocation lists are fetched anew", PurgeRevocation, None),
    "persist-devices": ("The disk has confirmed the device list", PersistDevices, Facts),
    "check-in": ("Checked in with the Cloud", CheckIn, Facts),
    "test-alert": ("A test alert", SendTestAlert, Facts),
}
"""Acts of the moment, by the word of their button."""


async def services(visit: Visit) -> web.Response:
    """The state of each service, and the counters of ours."""
    names = tuple(topic for topic, _title in TOPICS)
    frame, (units, *found) = await asyncio.gather(
        visit.frame(), asyncio.gather(visit.show("services"), *map(visit.show, names))
    )
    ours = {f"sentry-{name}.service": name for name in SERVICES}
    return await visit.page(
        "services.html.j2",
        frame=frame,
        units=[{**row, "service": ours.get(row["unit"], "")} for row in records(units)],
        trouble=() if records(units) else block(units).lines[:1],
        topics=[(topic, title, block(one)) for (topic, title), one in zip(TOPICS, found, strict=True)],
        may_act=visit.role != "auditor",
        may_stop=visit.role == "administrator",
    )


async def control(visit: Visit) -> web.Response:
    """Start, restart or stop one of our services."""
    service, action = visit.word("service"), visit.word("action")
    if service not in SERVICES or action not in ACTIONS:
        raise web.HTTPBadRequest
    return await _acted(visit, ControlService, f"{service}: {action}", service=service, action=action)


async def maintain(visit: Visit) -> web.Response:
    """Take the gateway out of its balancers, and back."""
    action = visit.word("action")
    if action not in MAINTENANCE:
        raise web.HTTPBadRequest
    return await _acted(visit, Maintain, f"gateway: {action}", action=action)


async def _acted(visit: Visit, verb: Any, what: str, **fields: str) -> web.Response:
    """Send a verb, with the person's password where the form has it; what came of it stands on the next page."""
    try:
        await visit.prove()
        done = await visit.call(verb, Facts, **fields)
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=tuple(fields))
        if refused.refusal.kind == "session":
            raise
        visit.say(f"{what}: {refused.refusal.message}", good=False)
    else:
        visit.say(f"{what}: {', '.join(f'{name} {value}' for name, value in done.facts)}")
    return visit.go("/services")


async def tools(visit: Visit) -> web.Response:
    """Ping, look-up, traceroute, and acts of the moment."""
    return await _tools(visit)


async def _tools(visit: Visit, *, host: str = "", found: Block | None = None, problem: str = "") -> web.Response:
    return await visit.page(
        "tools.html.j2",
        status=422 if problem else 200,
        host=host,
        found=found,
        problem=problem,
        looks=[(word, title) for word, (title, _verb, _kind) in LOOKS.items()],
        may_enrol=visit.role == "administrator",
    )


async def look(visit: Visit) -> web.Response:
    """Ask the network about a host."""
    host, what = visit.word("host"), visit.word("what")
    if what not in LOOKS or len(host) > HOST_CHARACTERS:
        raise web.HTTPBadRequest
    _title, verb, kind = LOOKS[what]
    try:
        found = await visit.call(verb, kind, host=host)
    except Refused as refused:
        if refused.refusal.kind == "session":
            raise
        return await _tools(visit, host=host, problem=refused.refusal.message)
    return await _tools(visit, host=host, found=block(found))


async def do(visit: Visit) -> web.Response:
    """An act of the moment."""
    what = visit.word("what")
    if what not in ACTS:
        raise web.HTTPBadRequest
    title, verb, kind = ACTS[what]
    try:
        done = await visit.call(verb, kind)
    except Refused as refused:
        if refused.refusal.kind == "session":
            raise
        return await _tools(visit, problem=f"{title}: {refused.refusal.message}")
    if done is None:
        visit.say(f"{title}.")
        return visit.go("/tools")
    return await _tools(visit, found=block(done))


async def enrol(visit: Visit) -> web.Response:
    """Have the agent get its certificate from the UEM."""
    try:
        await visit.prove()
        done = await visit.call(EnrolSentry, Facts, token=visit.word("uem_token"))
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=())
        if refused.refusal.kind == "session":
            raise
        return await _tools(visit, problem=refused.refusal.message)
    return await _tools(visit, found=block(done))


async def power(visit: Visit) -> web.Response:
    """How to restart or turn off the machine."""
    return await visit.page("power.html.j2", problem="")


async def power_off(visit: Visit) -> web.Response:
    """Restart or turn off the machine, with the word typed and the person's own password."""
    action = visit.word("action")
    if action not in ("reload", "poweroff"):
        raise web.HTTPBadRequest
    if visit.word("typed") != action:
        return await visit.page("power.html.j2", status=422, problem=f"Nothing was done: type {action} to do it.")
    try:
        await visit.prove()
        await visit.call(Power, None, action=action)
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=("action", "typed"))
        raise
    visit.say("The machine restarts." if action == "reload" else "The machine turns itself off.")
    return visit.go("/power")
