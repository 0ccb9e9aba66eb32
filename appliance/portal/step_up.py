"""What is risky asks for the person's own password: a page that has them give it and then goes on where they were."""

from aiohttp import web

from appliance.configd.api import Refusal
from appliance.portal.visit import OWN_PASSWORD, Visit

_ASKS = frozenset({"privilege", "authentication", "locked"})


def wants_password(refusal: Refusal) -> bool:
    """Whether configd refused for want of the person's password, or because it was wrong."""
    return refusal.kind in _ASKS


async def ask_password(visit: Visit, refusal: Refusal, *, kept: tuple[str, ...]) -> web.Response:
    """The page. The fields `kept` of the form are sent again with the password; secrets must not be among them."""
    fields = [(name, value) for name in kept if (value := visit.form.get(name)) is not None and isinstance(value, str)]
    wrong = "" if refusal.kind == "privilege" else refusal.message
    if refusal.kind == "authentication":
        wrong = "The password is not right."
    return await visit.page(
        "password.html.j2",
        status=403,
        fields=fields,
        wrong=wrong,
        why=refusal.message if not wrong else "",
        action=visit.request.path_qs,
        own_password=OWN_PASSWORD,
    )
