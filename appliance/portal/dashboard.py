"""The dashboard: what the gateway decides, devices, servers behind it, certificates that end, services. It renews itself."""

import asyncio

from aiohttp import web

from appliance.configd.api import Shown
from appliance.portal.showing import Block, block, first_line, pairs, records
from appliance.portal.visit import LIVE, Visit

REFRESH_SECONDS = 30
SOON_DAYS = 30  # a certificate that ends within is worth a warning
GLANCE = (("version", "Version"), ("uptime", "Up"), ("fips", "Cryptography"))
TABLES = (("services", "Services"), ("interfaces", "Interfaces"), ("ports", "Ports"), ("connectivity", "Connectivity"))
DECISIONS = ("allowed", "blocked", "denied", "undecided", "throttled", "logons_refused")
"""The gateway's counters of what became of requests (`sentry_runtime.metrics`)."""
STATES = (("allowed", "allowed"), ("blocked", "blocked"), ("wipe_pending", "wipe pending"), ("wiped", "wiped"))


async def page(visit: Visit) -> web.Response:
    """Everything at a glance."""
    frame = await visit.frame()
    names = (
        *(topic for topic, _title in (*GLANCE, *TABLES)),
        *("gateway", "device-states", "backends", "certificates"),
    )
    found = dict(zip(names, await asyncio.gather(*map(visit.show, names)), strict=True))
    states = pairs(found["device-states"])
    return await visit.page(
        "dashboard.html.j2",
        frame=frame,
        refresh=REFRESH_SECONDS,
        live=f"/?{LIVE}=1",
        glance=[(title, first_line(found[topic])) for topic, title in GLANCE],
        tables=[(topic, title, block(found[topic])) for topic, title in TABLES],
        decisions=_decisions(found["gateway"]),
        states=[(word, state, _number(states.get(state, ""))) for state, word in STATES] if states else [],
        counted=states.get("counted", ""),
        chart=[(word, _number(states.get(state, ""))) for state, word in STATES],
        trouble=[shown.lines[0] for shown in map(block, found.values()) if shown.kind == "text" and _is_away(shown)],
        backends=records(found["backends"]),
        certificates=_ending(found["certificates"]),
    )


def _is_away(shown: Block) -> bool:
    return bool(shown.lines) and shown.lines[0].startswith("not available")


def _decisions(found: Shown) -> list[tuple[str, int]]:
    said = pairs(found)
    return [(name.replace("_", " "), _number(said[name])) for name in DECISIONS if name in said]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def _ending(found: Shown) -> list[dict[str, str | bool]]:
    """The certificates, those that end first before the others; `soon` are those to look after."""
    listed = [one for one in records(found) if one.get("days left")]
    return sorted(({**one, "soon": _days(one["days left"]) < SOON_DAYS} for one in listed), key=_order)


def _order(one: dict[str, str | bool]) -> float:
    return _days(str(one["days left"]))


def _days(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0.0
