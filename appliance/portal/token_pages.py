"""Tokens of the REST API: which there are, a new one, which is shown once, and taking one back."""

from typing import Final, get_args

from aiohttp import web

from appliance.configd.api import CreateToken, ListTokens, NewToken, Refusal, RevokeToken, Role, Scope, TokenFacts
from appliance.configd.client import Refused
from appliance.portal.step_up import ask_password, wants_password
from appliance.portal.visit import Visit

ROLES: Final[tuple[Role, ...]] = get_args(Role)
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
DAYS = 90  # proposed; what is allowed says configd
DAYS_DIGITS = 4
NETWORKS_CHARACTERS = 1_024  # sixteen networks, IPv6 ones too


async def page(visit: Visit) -> web.Response:
    """All tokens, with what may be done."""
    return await _page(visit)


async def _page(
    visit: Visit,
    *,
    problems: tuple[str, ...] = (),
    typed: dict[str, str] | None = None,
    chosen: tuple[str, ...] = (),
    made: NewToken | None = None,
) -> web.Response:
    frame = await visit.frame()
    return await visit.page(
        "tokens.html.j2",
        status=422 if problems else 200,
        frame=frame,
        tokens=await visit.call(ListTokens, tuple[TokenFacts, ...]),
        roles=ROLES,
        scopes=SCOPES,
        chosen=chosen,
        made=made,
        problems=problems,
        typed={"name": "", "role": "auditor", "days": str(DAYS), "networks": "", **(typed or {})},
    )


async def issue(visit: Visit) -> web.Response:
    """A new token, which stands on the page that answers and nowhere else."""
    typed = {name: visit.word(name) for name in ("name", "role", "days", "networks")}
    chosen = tuple(str(one) for one in visit.posted.getall("scope", []))
    if typed["role"] not in ROLES or not set(chosen) <= set(SCOPES):
        raise web.HTTPBadRequest
    flaw = _flaw(typed)
    if flaw:
        return await _page(visit, problems=(flaw,), typed=typed, chosen=chosen)
    try:
        await visit.prove()
        made = await visit.call(
            CreateToken,
            NewToken,
            name=typed["name"],
            role=typed["role"],
            scopes=tuple(dict.fromkeys(chosen)),
            days=int(typed["days"]),
            networks=tuple(typed["networks"].replace(",", " ").split()),
        )
    except Refused as refused:
        return await _page(visit, problems=_words(refused.refusal), typed=typed, chosen=chosen)
    return await _page(visit, made=made)


def _flaw(typed: dict[str, str]) -> str:
    """What of the form is no number or too long to be passed on; empty where it may be."""
    days = typed["days"]
    if not (days.isascii() and days.isdigit() and len(days) <= DAYS_DIGITS):
        return f"Days: found {days[:16]!r}; allowed: a number of days"
    if len(typed["networks"]) > NETWORKS_CHARACTERS:
        return f"From: found {len(typed['networks'])} characters; allowed: at most {NETWORKS_CHARACTERS}"
    return ""


async def revoke(visit: Visit) -> web.Response:
    """Take a token back."""
    name = visit.word("name")
    try:
        await visit.prove()
        await visit.call(RevokeToken, None, name=name)
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=("name",))
        return await _page(visit, problems=_words(refused.refusal))
    visit.say(f"The token {name} is revoked: it is good for nothing from now on.")
    return visit.go("/tokens")


def _words(refusal: Refusal) -> tuple[str, ...]:
    """What a refusal says to the person. Raises it anew where the session has ended."""
    if refusal.kind == "session":
        raise Refused(refusal)
    if refusal.kind == "authentication":
        return ("Your own password is not right. Nothing was changed.",)
    return refusal.problems or (refusal.message,)
