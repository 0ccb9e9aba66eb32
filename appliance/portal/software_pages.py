"""The software of an image: what the slots hold, an update brought in, written, and the way back."""

import asyncio
import base64
from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, web

from appliance.configd.api import (
    ReadSoftware,
    RollBackSoftware,
    Session,
    Software,
    Touch,
    UpdateSoftware,
    UploadSoftware,
)
from appliance.configd.client import Refused
from appliance.portal.gate import FORM_FIELD, matches
from appliance.portal.showing import block
from appliance.portal.step_up import ask_password, wants_password
from appliance.portal.visit import Visit

PIECE_BYTES = 1_048_576  # what configd takes in one message
TOKEN_BYTES = 256
NOT_OURS = "This form is not ours or is too old. Go back and try again."
UPLOAD_SECONDS = 1_800.0  # 300 MB over a megabit and a half


async def page(visit: Visit) -> web.Response:
    """How it stands."""
    frame, software, version = await asyncio.gather(
        visit.frame(), visit.call(ReadSoftware, Software), visit.show("version")
    )
    order = software.order
    return await visit.page(
        "software.html.j2",
        frame=frame,
        software=software,
        version=block(version),
        order=order,
        may_act=visit.role == "administrator",
        at_work=order is not None and order.standing == "running",
    )


async def upload(visit: Visit) -> web.Response:
    """Take an update piece by piece. The form is read here and nowhere else, so its token is looked at here, and first."""
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            here = await _uploaded(visit)
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
    except ValueError as error:  # what aiohttp says of a form that is cut or has no boundary
        raise web.HTTPBadRequest from error
    except Refused as refused:
        if refused.refusal.kind == "session":
            raise
        visit.say(f"Upload: {refused.refusal.message}", good=False)
    else:
        visit.say(f"An update of {here} bytes is here." if here else "Upload: choose a file.", good=bool(here))
    return visit.go("/software")


async def _uploaded(visit: Visit) -> int:
    if not visit.request.content_type.startswith("multipart/"):
        raise web.HTTPForbidden(reason=NOT_OURS)
    parts = await visit.request.multipart()
    token = await parts.next()
    if not isinstance(token, BodyPartReader) or token.name != FORM_FIELD:
        raise web.HTTPForbidden(reason=NOT_OURS)
    said = await token.read_chunk(TOKEN_BYTES)
    if not matches(said.decode(errors="replace"), visit.held.csrf):
        raise web.HTTPForbidden(reason=NOT_OURS)
    file = await parts.next()
    if not isinstance(file, BodyPartReader) or file.name != "update":
        return 0
    here = 0
    async for piece in _pieces(file):
        data = base64.b64encode(piece).decode()
        await visit.call(Touch, Session)  # who waits for an upload is not idle
        here = await visit.call(UploadSoftware, int, offset=here, data=data)
    if here:
        await visit.call(UploadSoftware, int, offset=here, data="", last=True)
    return here


async def _pieces(file: BodyPartReader) -> AsyncIterator[bytes]:
    """The file in pieces of one size, the last one smaller."""
    held = bytearray()
    while chunk := await file.read_chunk(65_536):
        held += chunk
        if len(held) >= PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    if held:
        yield bytes(held)


async def update(visit: Visit) -> web.Response:
    """Have the update written into the slot that does not run."""
    older = visit.word("older") == "yes"
    return await _ordered(visit, "update", UpdateSoftware, allow_older=older)


async def roll_back(visit: Visit) -> web.Response:
    """Have the next restart take the other slot."""
    return await _ordered(visit, "rollback", RollBackSoftware)


async def _ordered(
    visit: Visit, what: str, verb: type[UpdateSoftware] | type[RollBackSoftware], **fields: bool
) -> web.Response:
    try:
        await visit.prove()
        await visit.call(verb, Software, **fields)
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=("older",))
        if refused.refusal.kind == "session":
            raise
        visit.say(f"{what}: {refused.refusal.message}", good=False)
    else:
        visit.say(f"{what}: it has begun; this page says how it goes.")
    return visit.go("/software")
