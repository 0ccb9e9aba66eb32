"""People: the accounts, their passwords, one's own, and the enable secret of the command line."""

import asyncio
import re

from aiohttp import web

from appliance.configd.api import (
    Committed,
    DeleteConfig,
    GetConfig,
    Refusal,
    Session,
    SetConfig,
    SetEnableSecret,
    SetOwnPassword,
    SetPassword,
    Touch,
)
from appliance.configd.client import Refused
from appliance.portal.showing import block, records
from appliance.portal.visit import PASSWORD_CHARACTERS, Visit

ROLES = ("administrator", "operator", "auditor")
WRONG = "Your own password is not right."
DIFFER = "The two passwords are not the same. Nothing was changed."
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


async def page(visit: Visit) -> web.Response:
    """Who may log in, and who is."""
    return await _page(visit)


async def _page(visit: Visit, *, problems: tuple[str, ...] = (), typed: dict[str, str] | None = None) -> web.Response:
    frame, users, sessions = await asyncio.gather(visit.frame(), visit.show("users"), visit.show("sessions"))
    return await visit.page(
        "people.html.j2",
        status=422 if problems else 200,
        frame=frame,
        users=records(users),
        sessions=block(sessions),
        roles=ROLES,
        problems=problems,
        typed={"user": "", "role": "auditor", "full_name": "", **(typed or {})},
        may_change=visit.role == "administrator",
    )


async def add(visit: Visit) -> web.Response:
    """A new account with a password, into the candidate."""
    user, role, name = visit.word("user"), visit.word("role"), visit.word("full_name")
    typed = {"user": user, "role": role, "full_name": name}
    if role not in ROLES:
        raise web.HTTPBadRequest
    if not _NAME.fullmatch(user):
        said = f"User name: found {user[:64]!r}; allowed: a lower-case letter, then up to 30 of a-z, 0-9, - and _"
        return await _page(visit, problems=(said,), typed=typed)
    if await _is_taken(visit, user):
        return await _page(
            visit, problems=(f"User name: found {user!r}, which is taken; allowed: another",), typed=typed
        )
    password = _new_password(visit)
    if password is None:
        return await _page(visit, problems=(DIFFER,), typed=typed)
    path = ("users", "accounts", user)
    try:
        await visit.prove()
        await visit.call(SetConfig, None, path=path, value={"role": role, "full_name": name})
    except Refused as refused:
        return await _refused(visit, refused.refusal, typed)
    try:
        await visit.call(SetPassword, None, user=user, password=password)
    except Refused as refused:  # no half of an account stays in the candidate
        await visit.call(DeleteConfig, None, path=path)
        return await _refused(visit, refused.refusal, typed)
    visit.say(f"{user} is in your candidate. Review and commit to make it real.")
    return visit.go("/people")


async def _is_taken(visit: Visit, user: str) -> bool:
    """Whether the candidate has an account of this name."""
    try:
        await visit.call(GetConfig, view="candidate", path=("users", "accounts", user))
    except Refused as refused:
        if refused.refusal.kind != "invalid":
            raise
        return False
    return True


async def set_password(visit: Visit) -> web.Response:
    """Somebody's password, into the candidate."""
    user, password = visit.word("user"), _new_password(visit)
    if password is None:
        return await _page(visit, problems=(DIFFER,))
    try:
        await visit.prove()
        await visit.call(SetPassword, None, user=user, password=password)
    except Refused as refused:
        return await _refused(visit, refused.refusal)
    visit.say(f"The password of {user} is in your candidate. Review and commit to make it real.")
    return visit.go("/people")


async def set_own_password(visit: Visit) -> web.Response:
    """One's own password, whatever one's role; it holds at once."""
    password = _new_password(visit)
    if password is None:
        return await _page(visit, problems=(DIFFER,))
    try:
        await visit.prove()
        await visit.call(SetOwnPassword, Committed, password=password)
    except Refused as refused:
        return await _refused(visit, refused.refusal)
    visit.say("Your password is set, and holds from now on. Your other sessions have ended.")
    return visit.go("/people")


async def ended(visit: Visit) -> web.Response:
    """The form of who must set a new password before anything else; for others it is among the people."""
    visit.held.session = await visit.call(Touch, Session)
    if not visit.held.session.password_ended:
        return visit.go("/people")
    return visit.pages.password_ended(visit.held.csrf, visit.held.session.user)


async def replace_ended(visit: Visit) -> web.Response:
    """A new password in the place of one that is too old; then the portal is open."""
    password = _new_password(visit)
    if password is None:
        return _still_ended(visit, (DIFFER,))
    try:
        await visit.prove()
        await visit.call(SetOwnPassword, Committed, password=password)
        visit.held.session = await visit.call(Touch, Session)
    except Refused as refused:
        if refused.refusal.kind == "session":
            raise
        wrong = refused.refusal.kind == "authentication"
        visit.held.session = await visit.call(Touch, Session)
        if (
            not visit.held.session.password_ended
        ):  # it is the machine's fault, and the portal is open for who would mend it
            visit.say(f"Your password stays as it is: {refused.refusal.message}", good=False)
            return visit.go("/")
        return _still_ended(visit, (WRONG,) if wrong else refused.refusal.problems or (refused.refusal.message,))
    visit.say("Your password is set, and holds from now on. Your other sessions have ended.")
    return visit.go("/")


def _still_ended(visit: Visit, problems: tuple[str, ...]) -> web.Response:
    return visit.pages.password_ended(visit.held.csrf, visit.held.session.user, status=422, problems=problems)


async def set_enable_secret(visit: Visit) -> web.Response:
    """What `enable` asks for at the command line, into the candidate."""
    secret = _new_password(visit)
    if secret is None:
        return await _page(visit, problems=(DIFFER,))
    try:
        await visit.prove()
        await visit.call(SetEnableSecret, None, secret=secret)
    except Refused as refused:
        return await _refused(visit, refused.refusal)
    visit.say("The enable secret is in your candidate. Review and commit to make it real.")
    return visit.go("/people")


def _new_password(visit: Visit) -> str | None:
    """What was typed twice; None where the two differ or are too long to be taken."""
    first, second = visit.form.get("new_password", ""), visit.form.get("new_password_again", "")
    fits = isinstance(first, str) and 0 < len(first) <= PASSWORD_CHARACTERS
    return first if fits and first == second else None


async def _refused(visit: Visit, refusal: Refusal, typed: dict[str, str] | None = None) -> web.Response:
    if refusal.kind == "session":
        raise Refused(refusal)
    words = WRONG if refusal.kind == "authentication" else refusal.message
    return await _page(visit, problems=refusal.problems or (words,), typed=typed)
