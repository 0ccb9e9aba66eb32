"""Topics about the certificates of the appliance: what each service shows, what is ready beside it, and what is asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509

from appliance import chains, keyring, pki, served
from appliance.configd.api import Facts, Shown, Table
from appliance.configd.errors import refused
from appliance.configd.facts.context import Context, Topic
from appliance.features.tls import AUTHORITY, certificate_path

COLUMNS = ("certificate", "use", "made by", "subject", "issuer", "names", "ends", "days left", "SHA-256")
DAY_SECONDS = 86_400


def certificates(context: Context, argument: str) -> Shown:
    """All certificates, or with a service's name everything about its own."""
    if not argument:
        return Table(title="certificates", columns=COLUMNS, rows=tuple(_all(context)))
    names = {"client": "agent", **{leaf.name: leaf.name for leaf in pki.LEAVES}}
    if argument not in names:
        raise refused("invalid", f"found {argument!r} after certificates; allowed: {', '.join(names)}")
    rows = [row for row in _all(context) if row[0] == names[argument]]
    facts = [fact for row in rows for fact in zip(COLUMNS[1:], row[1:], strict=True) if fact[1]]
    request = keyring.pending(argument, context.system)
    return Facts(
        title=f"certificates of {argument}",
        facts=(*facts, *((("request (PKCS #10)", request.strip()),) if request else ())),
    )


def _all(context: Context) -> Iterator[tuple[str, ...]]:
    authority = _read(context, AUTHORITY)
    if authority:
        yield _row(context, "ca", "own authority", "appliance", authority)
    for leaf in pki.LEAVES:
        yield from _service(context, leaf.name)


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
            _maker(shown, uploaded=bool(which)),
            shown,
        )
    for which, one in ours.items():
        if one != shown:
            yield _row(context, service, _waiting(context, service, which), "uploaded", one)
    request = keyring.pending(service, context.system)
    if request:
        asked = x509.load_pem_x509_csr(request.encode())
        yield (service, "requested", "", asked.subject.rfc4514_string(), "", "", "", "", "")


def _waiting(context: Context, service: str, which: str) -> str:
    if which == "first":
        return "first, over"
    return f"second, takes over {served.takeover(context.tree, service):%Y-%m-%d %H:%M} UTC"


def _maker(one: x509.Certificate, *, uploaded: bool) -> str:
    if uploaded:
        return "uploaded"
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
