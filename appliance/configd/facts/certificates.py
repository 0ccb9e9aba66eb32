"""Topics about the certificates of the appliance: what each service shows, what is ready beside it, and what is asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509

from appliance import chains, keyring, obtained, pki, served
from appliance.acme import api as acme_api
from appliance.alerts.happening import plain
from appliance.apply import stamp
from appliance.configd.api import Facts, Shown, Table
from appliance.configd.errors import refused
from appliance.configd.facts.context import Context, Topic
from appliance.features.tls import AUTHORITY, certificate_path
from sentry_runtime import control

COLUMNS = ("certificate", "use", "made by", "subject", "issuer", "names", "ends", "days left", "SHA-256")
DAY_SECONDS = 86_400


def certificates(context: Context, argument: str) -> Shown:
    """All certificates, or with a service's name everything about its own."""
    if not argument:
        return Table(title="certificates", columns=COLUMNS, rows=tuple(_all(context)))
    names = {"client": "agent", **{leaf.name: leaf.name for leaf in pki.LEAVES}}
    if argument not in names:
        raise refused("invalid", f"found {argument!r} after certificates; allowed: {', '.join(names)}")
    rows = list(_service(context, names[argument]))
    facts = [fact for row in rows for fact in zip(COLUMNS[1:], row[1:], strict=True) if fact[1]]
    request = keyring.pending(argument, context.system)
    return Facts(
        title=f"certificates of {argument}",
        facts=(*facts, *_acme(context, argument), *((("request (PKCS #10)", request.strip()),) if request else ())),
    )


def _acme(context: Context, service: str) -> Iterator[tuple[str, str]]:
    """How it stands with the ACME server, where the service's certificate comes from one."""
    if service not in obtained.places(context.tree):
        return
    yield "ACME server", str(context.setting("certificates", "acme", "directory"))
    try:
        said = standings(context)
    except control.ControlError as error:
        yield "order", f"not known: {error}"
        return
    yield "ACME account", plain(said.account, acme_api.WORDS_CHARACTERS) or "none yet"
    order = said.orders.get(service)
    if not keyring.ordered(service, context.system) or order is None:
        yield "order", "none"
        return
    yield "order", _ordered(order)
    yield "attempts that failed", str(order.tries)
    if order.tried:
        yield "last attempt", stamp(order.tried)
    if order.problem:
        yield "problem", plain(order.problem, acme_api.WORDS_CHARACTERS)


def standings(context: Context) -> acme_api.Report:
    """What the ACME service says of itself. Raises `ControlError`."""
    said: acme_api.Report = context.call(acme_api.SOCKET, acme_api.Status(), acme_api.Report)
    return said


def _ordered(order: acme_api.Standing) -> str:
    match order.state:
        case "works":
            return "the server is being asked"
        case "ready":
            return "there, and about to be shown"
        case "waits":
            return f"tried next {stamp(order.next_try)}" if order.next_try else "tried next within seconds"


def _all(context: Context) -> Iterator[tuple[str, ...]]:
    authority = _read(context, AUTHORITY)
    if authority:
        yield _row(context, "ca", "own authority", "appliance", authority)
    for leaf in pki.LEAVES:
        yield from _service(context, leaf.name)
        if leaf.name in obtained.places(context.tree) and keyring.ordered(leaf.name, context.system):
            yield (leaf.name, _order(context, leaf.name), "ACME", "", "", "", "", "", "")


def _service(context: Context, service: str) -> Iterator[tuple[str, ...]]:
    shown = _read(context, certificate_path(service))
    ready = served.uploaded(context.tree, service)
    ours = {one.which: one.chain[0] for one in ready}
    if shown:
        which = next((which for which, one in ours.items() if one == shown), "")
        yield _row(
            context,
            service,
            f"active{f' ({which})' if len(ours) > 1 else ''}",
            _maker(context, service, shown, uploaded=bool(which)),
            shown,
        )
    for which, one in ours.items():
        if one != shown:
            yield _row(context, service, _waiting(context, service, which), "uploaded", one)
    request = keyring.pending(service, context.system)
    if request:
        asked = x509.load_pem_x509_csr(request.encode())
        yield (service, "requested", "", asked.subject.rfc4514_string(), "", "", "", "", "")


def _order(context: Context, service: str) -> str:
    """What becomes of an order, in a cell."""
    try:
        order = standings(context).orders.get(service)
    except control.ControlError as error:
        return f"ordered; not known: {error}"
    if order is None:
        return "ordered"
    failed = f"failed: {plain(order.problem, acme_api.WORDS_CHARACTERS)}; " if order.problem else ""
    return f"ordered; {failed}{_ordered(order)}"


def _waiting(context: Context, service: str, which: str) -> str:
    if which == "first":
        return "first, over"
    return f"second, takes over {served.takeover(context.tree, service):%Y-%m-%d %H:%M} UTC"


def _maker(context: Context, service: str, one: x509.Certificate, *, uploaded: bool) -> str:
    if uploaded:
        return "uploaded"
    obtained_chain = obtained.taken(service, context.system) if service in obtained.places(context.tree) else None
    if obtained_chain is not None and obtained_chain[0] == one:
        return "ACME"
    return "self-signed" if one.issuer == one.subject else "appliance"


def _row(context: Context, service: str, use: str, maker: str, one: x509.Certificate) -> tuple[str, ...]:
    ends = one.not_valid_after_utc
    left = (ends - datetime.fromtimestamp(context.now, UTC)).total_seconds() / DAY_SECONDS
    days = "ended" if left <= 0 else f"{left:.0f}" if left >= 1 else "less than 1"
    names = ", ".join(chains.names_of(one))
    when = f"{ends:%Y-%m-%d %H:%M}"
    return (service, use, maker, chains.subject(one), chains.issuer(one), names, when, days, chains.fingerprint(one))


def _read(context: Context, path: str) -> x509.Certificate | None:
    """The first certificate of a file; None where there is none that can be read."""
    text = context.system.read(path) or ""
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return None


TOPICS = {"certificates": Topic("the certificates of the services", certificates, argument="a service")}
