"""What the status page and `/api/v1/status` show: facts that configd reports, gathered at once."""

import asyncio
from collections import Counter
from typing import Any, Protocol

import msgspec

from appliance.configd.api import Facts, Show, Shown, Table, Verb
from appliance.configd.client import Refused

_DEVICE_STATE = "state"


class Caller(Protocol):
    """The way to configd (`appliance.configd.client.AsyncClient`)."""

    async def call(self, verb: Verb, result_type: Any) -> Any:
        """Send one verb and return its result; raises `Refused` or `Unreachable`."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One card of the page: rows under headings, or what configd said instead (`trouble`)."""

    topic: str
    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    trouble: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at a glance."""

    host: str
    version: str
    uptime: str
    fips: str
    sections: tuple[Section, ...]
    notices: tuple[str, ...] = ()


SECTIONS = (
    ("services", "Services"),
    ("devices", "Devices"),
    ("backends", "Mail servers"),
    ("interfaces", "Interfaces"),
    ("ports", "Ports"),
    ("ntp", "Time servers"),
    ("uem", "UEM"),
    ("confirmation", "Configuration"),
)


async def gather(client: Caller, session: str, notices: tuple[str, ...] = ()) -> Status:
    """Ask configd for every topic. A topic that cannot be answered shows why; an ended session is raised as `Refused`."""
    words = await asyncio.gather(
        *(_first(client, session, topic) for topic in ("hostname", "version", "uptime", "fips"))
    )
    sections = await asyncio.gather(*(_section(client, session, topic, title) for topic, title in SECTIONS))
    host, version, uptime, fips = words
    return Status(host=host, version=version, uptime=uptime, fips=fips, sections=tuple(sections), notices=notices)


async def _shown(client: Caller, session: str, topic: str) -> Shown:
    found: Shown = await client.call(Show(session=session, topic=topic), Shown)
    return found


async def _first(client: Caller, session: str, topic: str) -> str:
    """The topic in one line: its first fact, or its first line."""
    try:
        found = await _shown(client, session, topic)
    except Refused as refused:
        _raise_if_ended(refused)
        return f"not available: {refused.refusal.message}"
    if isinstance(found, Facts):
        return found.facts[0][1] if found.facts else ""
    if isinstance(found, Table):
        return ", ".join(found.rows[0]) if found.rows else ""
    return found.lines[0] if found.lines else ""


async def _section(client: Caller, session: str, topic: str, title: str) -> Section:
    try:
        found = await _shown(client, session, topic)
    except Refused as refused:
        _raise_if_ended(refused)
        return Section(topic=topic, title=title, trouble=refused.refusal.message)
    if isinstance(found, Facts):
        return Section(topic=topic, title=title, rows=found.facts)
    if isinstance(found, Table):
        return _devices(found, title) if topic == "devices" else _table(topic, title, found)
    return Section(topic=topic, title=title, rows=tuple((line,) for line in found.lines))


def _table(topic: str, title: str, found: Table) -> Section:
    return Section(topic=topic, title=title, columns=found.columns, rows=found.rows)


def _devices(found: Table, title: str) -> Section:
    """The device list may be long: how many there are of each state."""
    at = found.columns.index(_DEVICE_STATE)
    counts = Counter(row[at] for row in found.rows)
    rows = tuple((state, str(number)) for state, number in sorted(counts.items()))
    return Section(topic="devices", title=title, rows=rows or (("known devices", "0"),))


def _raise_if_ended(refused: Refused) -> None:
    if refused.refusal.kind == "session":
        raise refused
