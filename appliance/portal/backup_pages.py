"""The backups that lie here and their copies elsewhere: what there is, whether it arrived, and sending it now."""

import asyncio
from typing import Final

from aiohttp import web

from appliance.configd.api import Facts, SendBackup
from appliance.configd.client import Refused
from appliance.portal.showing import block, records
from appliance.portal.visit import Visit

NAME_CHARACTERS: Final = 64
PLACE: Final = "/backups"
NOT_SENT: Final = "NOT SENT"
FAILED: Final = "FAILED"


async def page(visit: Visit) -> web.Response:
    """What lies here, where copies go and whether they arrived."""
    frame, kept, sent, key = await asyncio.gather(
        visit.frame(), visit.show("backups"), visit.show("backup-destinations"), visit.show("backup-key")
    )
    return await visit.page(
        "backups.html.j2",
        frame=frame,
        kept=block(kept),
        trouble=block(kept).title if FAILED in block(kept).title else "",
        sent=block(sent),
        key=block(key),
        may_send=bool(records(kept) and records(sent)),
    )


async def send(visit: Visit) -> web.Response:
    """Send the newest backup, or the one that is named, to every destination, whatever was tried before."""
    name = visit.word("name")
    if len(name) > NAME_CHARACTERS:
        raise web.HTTPBadRequest
    try:
        done = await visit.call(SendBackup, Facts, name=name)
    except Refused as refused:
        if refused.refusal.kind == "session":
            raise
        visit.say(f"Send: {refused.refusal.message}", good=False)
    else:
        for destination, words in done.facts:
            visit.say(f"{done.title} to {destination}: {words}", good=not words.startswith(NOT_SENT))
    return visit.go(PLACE)
