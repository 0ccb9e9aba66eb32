"""What is risky asks for the person's own password: a page that has them give it, or show
their card where they have none, and then goes on where they were."""

from aiohttp import web

from appliance.configd.api import Refusal
from appliance.configd.client import Refused
from appliance.portal.visit import OWN_CARD, OWN_PASSWORD, Visit

_ASKS = frozenset({"privilege", "authentication", "locked"})


def wants_password(refusal: Refusal) -> bool:
    """Whether configd refused for want of the person's password, or because it was wrong."""
    return refusal.kind in _ASKS


async def ask_password(visit: Visit, refusal: Refusal, *, kept: tuple[str, ...]) -> web.Response:
    """The page. The fields `kept` of the form are sent again with the password; secrets must not be among them. Who has none is
    asked for their card: the connection is closed, so that the next request comes with a handshake and a ticket of its own."""
    fields = [(name, value) for name in kept if (value := visit.form.get(name)) is not None and isinstance(value, str)]
    return await _asked(visit, refusal, fields, visit.request.path_qs)


async def _asked(visit: Visit, refusal: Refusal, fields: list[tuple[str, str]], action: str) -> web.Response:
    frame = await visit.frame()
    wrong = "" if refusal.kind == "privilege" else refusal.message
    if refusal.kind == "authentication" and not frame.by_certificate:
        wrong = "The password is not right."
    page = await visit.page(
        "password.html.j2",
        status=403,
        frame=frame,
        fields=fields,
        wrong=wrong,
        why=refusal.message if not wrong and not frame.by_certificate else "",
        action=action,
        own_password=OWN_PASSWORD,
        own_card=OWN_CARD,
    )
    if frame.by_certificate:
        page.force_close()
    return page


async def card(visit: Visit) -> web.Response:
    """Where a person without a password shows their card before they fill in a form that asks for it."""
    frame = await visit.frame()
    page = await visit.page("card.html.j2", frame=frame, own_card=OWN_CARD)
    page.force_close()
    return page


async def show_card(visit: Visit) -> web.Response:
    """It was shown, with this request."""
    if not visit.form.get(OWN_CARD):
        raise web.HTTPBadRequest
    try:
        await visit.prove()
    except Refused as refused:
        if not wants_password(refused.refusal):
            raise
        return await _asked(visit, refused.refusal, [], "/card")
    visit.say("Your card was shown again: for five minutes you may do what asks for it.")
    return visit.go("/")
