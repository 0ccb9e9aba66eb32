"""What is taken away from the appliance: make a support bundle, and fetch or drop files that wait."""

import asyncio
import base64
import logging
from typing import Any, Final, get_args

from aiohttp import web

from appliance.configd.api import (
    Download,
    DropDownload,
    Facts,
    FetchDownload,
    GetConfig,
    MakeBundle,
    Piece,
    StartCapture,
    StopCapture,
)
from appliance.configd.client import Refused, Unreachable
from appliance.portal.showing import block, pairs, records
from appliance.portal.step_up import ask_password, wants_password
from appliance.portal.visit import Visit

NAME_CHARACTERS = 64
PLACE = "/support"
PROTOCOLS: Final = get_args(StartCapture.__annotations__["protocol"])
CAPTURE: Final = ("interface", "protocol", "host", "port", "seconds", "whole")
"""The fields of the form of a capture, none of which is a secret."""
DIGITS = 5  # of a port or of seconds; what is too much is configd's to refuse

_log = logging.getLogger(__name__)


async def page(visit: Visit) -> web.Response:
    """The files that wait, and what can be made."""
    return await shown(visit)


async def shown(visit: Visit, *, problem: str = "") -> web.Response:
    """The page; `problem` says why what was asked for was not done."""
    frame = await visit.frame()
    waiting, capturing = await asyncio.gather(visit.show("downloads"), visit.show("capture"))
    interfaces = await visit.call(GetConfig, view="running", path=("interfaces",))
    facts = pairs(capturing)
    return await visit.page(
        "support.html.j2",
        status=422 if problem else 200,
        frame=frame,
        waiting=records(waiting),
        trouble=block(waiting).lines[:1],
        problem=problem,
        interfaces=sorted(interfaces),
        protocols=PROTOCOLS,
        running="" if facts.get("running", "no") == "no" else facts["running"],
        capture=block(capturing),
        typed={name: visit.word(name) for name in CAPTURE},
    )


async def capture(visit: Visit) -> web.Response:
    """Begin a capture; whole packets are captured for who gives their password again."""
    fields: dict[str, Any] = {name: visit.word(name) for name in ("interface", "host")}
    protocol = visit.word("protocol", "any")
    if protocol not in PROTOCOLS:
        raise web.HTTPBadRequest
    for name in ("port", "seconds"):
        said = visit.word(name)
        if said and not (said.isascii() and said.isdigit() and len(said) <= DIGITS):
            return await shown(visit, problem=f"{name}: found {said[:64]!r}; allowed: a whole number")
        fields |= {name: int(said)} if said else {}
    whole = visit.word("whole") == "yes"
    try:
        await visit.prove()
        done = await visit.call(StartCapture, Facts, **fields, protocol=protocol, whole=whole)
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=CAPTURE)
        return await _refused(visit, refused)
    visit.say(f"Capturing: {dict(done.facts).get('capturing', '')}. The file will wait here.")
    return visit.go(PLACE)


async def stop_capture(visit: Visit) -> web.Response:
    """End the capture that runs."""
    try:
        made = await visit.call(StopCapture, Download)
    except Refused as refused:
        return await _refused(visit, refused)
    visit.say(f"The capture has ended; {made.name} waits here, {made.size} bytes.")
    return visit.go(PLACE)


async def bundle(visit: Visit) -> web.Response:
    """Make a support bundle."""
    try:
        made = await visit.call(MakeBundle, Download)
    except Refused as refused:
        return await _refused(visit, refused)
    visit.say(f"{made.name} is made, {made.size} bytes. It waits here until {made.until}.")
    return visit.go(PLACE)


async def fetch(visit: Visit) -> web.StreamResponse:
    """Hand a file to the browser. It is deleted once the browser was sent all of it; one that breaks off is still there."""
    name = _name(visit)
    try:
        piece = await visit.call(FetchDownload, Piece, name=name, offset=0)
    except Refused as refused:
        return await _refused(visit, refused)
    answer = web.StreamResponse()
    answer.content_type = "application/octet-stream"
    answer.enable_chunked_encoding()  # so that its end is told only once the file is deleted here
    answer.headers["Content-Disposition"] = f'attachment; filename="{piece.name}"'
    await answer.prepare(visit.request)
    offset = 0
    try:
        while piece.content:
            data = base64.b64decode(piece.content)
            await answer.write(data)
            offset += len(data)
            piece = await visit.call(FetchDownload, Piece, name=name, offset=offset)
    except (Refused, Unreachable) as error:
        _log.warning("%s: the download broke off: %s", name, error)
        answer.force_close()
        if visit.request.transport is not None:  # without its end: the browser says so
            visit.request.transport.close()
    return answer


async def drop(visit: Visit) -> web.Response:
    """Delete a file that nobody wants any more."""
    name = _name(visit)
    try:
        await visit.call(DropDownload, None, name=name)
    except Refused as refused:
        return await _refused(visit, refused)
    visit.say(f"{name} is deleted.")
    return visit.go(PLACE)


async def _refused(visit: Visit, refused: Refused) -> web.Response:
    """The page, with the reason; raised on where the session has ended."""
    if refused.refusal.kind == "session":
        raise refused
    return await shown(visit, problem=refused.refusal.message)


def _name(visit: Visit) -> str:
    name = visit.word("name")
    if not 0 < len(name) <= NAME_CHARACTERS:
        raise web.HTTPBadRequest
    return name
