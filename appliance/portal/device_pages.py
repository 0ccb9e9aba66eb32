"""Devices: found, explained, and what may be done about one of them."""

import asyncio
import re
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from appliance.configd.api import (
    ClearRedirects,
    DeviceAction,
    DevicePage,
    DevicePolicy,
    Explain,
    FlagDevice,
    SearchDevices,
)
from appliance.configd.client import Refused
from appliance.portal.showing import block, records
from appliance.portal.step_up import ask_password, wants_password
from appliance.portal.visit import Visit
from sentry_runtime.control import Explanation

STATES: Final = ("", "allowed", "blocked", "wipe_pending", "wiped")
CHARACTERS = 320  # the longest user name (RFC 3696)
ACTIONS: Final = {
    "register": "is registered",
    "allow": "is allowed",
    "block": "is blocked",
    "remove": "is removed",
    "cancel-wipe": "has no wipe waiting",
    "wipe": "is ordered to wipe itself",
    "wipe-account": "is ordered to wipe the account",
}
"""What may be done to a device, and what is said then where configd says nothing."""
WIPES: Final = frozenset({"wipe", "wipe-account"})
CAUSES: Final = ("compromised", "os_version", "not_encrypted", "out_of_contact", "policy")
WRONG_WIPE = "Nothing was done: to wipe, type the device id exactly as it stands there."
_DEVICE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def address(device: str, user: str) -> str:
    """Of the page of one device and user."""
    return f"/devices/one?{urlencode({'device': device, 'user': user})}"


async def search(visit: Visit) -> web.Response:
    """A page of the device list, by a text and a state."""
    text, state = visit.asked("text")[:CHARACTERS], visit.asked("state")
    if state not in STATES:
        raise web.HTTPBadRequest
    where = {"after_device": visit.asked("after_device")[:64], "after_user": visit.asked("after_user")[:CHARACTERS]}
    frame, found = await asyncio.gather(
        visit.frame(), visit.call(SearchDevices, DevicePage, text=text, state=state, **where)
    )
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    following = ""
    if found.more and rows:
        behind = {"after_device": rows[-1]["device"], "after_user": rows[-1]["user"]}
        following = "/devices?" + urlencode({"text": text, "state": state, **behind})
    return await visit.page(
        "devices.html.j2",
        frame=frame,
        rows=rows,
        text=text,
        state=state,
        states=STATES,
        following=following,
        address=address,
        may_act=visit.role != "auditor",
    )


async def one(visit: Visit) -> web.Response:
    """All that is known of one device and user, and what becomes of its requests now."""
    return await _one(visit, visit.asked("device"), visit.asked("user"))


async def _one(visit: Visit, device: str, user: str, *, problem: str = "", status: int = 200) -> web.Response:
    if not _DEVICE_ID.fullmatch(device) or not 0 < len(user) <= CHARACTERS or not user.isprintable():
        raise web.HTTPBadRequest
    frame, shown, explained, policies = await asyncio.gather(
        visit.frame(), visit.show("device", device), _explained(visit, device, user), visit.show("policies")
    )
    facts = [(row["fact"], row.get(user, "")) for row in records(shown)]
    return await visit.page(
        "device.html.j2",
        status=status,
        frame=frame,
        device=device,
        user=user,
        facts=[(name, text) for name, text in facts if text],
        state=dict(facts).get("state", ""),
        trouble=block(shown).lines[:1],
        explained=explained if isinstance(explained, Explanation) else None,
        unexplained=explained if isinstance(explained, str) else "",
        policies=[row["policy"] for row in records(policies)],
        causes=CAUSES,
        problem=problem,
        may_act=visit.role != "auditor",
    )


async def _explained(visit: Visit, device: str, user: str) -> Explanation | str:
    try:
        return await visit.call(Explain, Explanation, device_id=device, principal=user)
    except Refused as refused:
        if refused.refusal.kind == "session":
            raise
        return refused.refusal.message


async def act(visit: Visit) -> web.Response:
    """Register, allow, block, remove, wipe; a wipe only with the device id typed and the person's own password."""
    device, user, action = visit.word("device"), visit.word("user"), visit.word("action")
    if action not in ACTIONS:
        raise web.HTTPBadRequest
    if action in WIPES and visit.word("typed") != device:
        return await _one(visit, device, user, problem=WRONG_WIPE, status=422)
    try:
        await visit.prove()
        said = await visit.call(
            DeviceAction, str | None, action=action, device_id=device, principal=user, note=visit.word("note")
        )
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=("device", "user", "action", "typed", "note"))
        return await _refused(visit, device, user, refused)
    visit.say(str(said) if said else f"{device} of {user} {ACTIONS[action]}.")
    return visit.go(address(device, user))


async def flag(visit: Visit) -> web.Response:
    """Tell the UEM in the box that something is wrong with a device, or no longer."""
    device, user, cause = visit.word("device"), visit.word("user"), visit.word("cause")
    holds = visit.word("holds") == "yes"
    if cause not in CAUSES:
        raise web.HTTPBadRequest
    try:
        await visit.call(FlagDevice, None, cause=cause, holds=holds, device_id=device, principal=user)
    except Refused as refused:
        return await _refused(visit, device, user, refused)
    visit.say(f"{device} of {user}: {cause.replace('_', ' ')} {'holds' if holds else 'is over'}.")
    return visit.go(address(device, user))


async def policy(visit: Visit) -> web.Response:
    """Have a device apply one of the UEM's policies."""
    device, user, name = visit.word("device"), visit.word("user"), visit.word("policy")
    try:
        await visit.call(DevicePolicy, None, device_id=device, principal=user, policy=name or None)
    except Refused as refused:
        return await _refused(visit, device, user, refused)
    visit.say(f"{device} of {user} is to apply {name or 'the default policy'}.")
    return visit.go(address(device, user))


async def forget_redirects(visit: Visit) -> web.Response:
    """Forget where a backend has sent one device, or all of them."""
    device, user = visit.word("device"), visit.word("user")
    number = await visit.call(ClearRedirects, int, device_id=device, principal=user)
    visit.say(f"{number} {'redirection was' if number == 1 else 'redirections were'} known and are forgotten.")
    return visit.go(address(device, user) if device else "/tools")


async def _refused(visit: Visit, device: str, user: str, refused: Refused) -> web.Response:
    if refused.refusal.kind == "session" or not _DEVICE_ID.fullmatch(device):
        raise refused
    return await _one(visit, device, user, problem=refused.refusal.message, status=422)
