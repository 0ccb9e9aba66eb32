"""The certificates that the appliance's services show: its own, kept valid and in step with its names, or those of the site's
authority (V-251005), with a second one ready (`appliance.pki` makes them and puts them in place), or an ACME server's.

An uploaded certificate without a key is for a key that was made here (`appliance.keyring`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from appliance import chains, keyring, pki, served
from appliance.features import acme, values
from appliance.features.base import Feature, Problem, System, Tree
from appliance.features.values import Rules

Clock = Callable[[], datetime]
KEY_TYPES = ("p256", "p384", "rsa3072", "rsa4096")  # `keyring.KINDS` says how openssl makes them
EXTRA_NAMES = 32  # a certificate for more names than that has a wildcard
KEY_CHARACTERS = 16_384  # of RSA 8192 in PEM it is 6,500
KEY = "one private key in PEM form (-----BEGIN PRIVATE KEY-----), EC or RSA, without a password"
NAME_PART = "up to 64 letters, digits, blanks and . , & ( ) / -"
COUNTRY = "two capital letters, such as DE"
PATH = "certificates.servers"

_KEY = re.compile(r"-----BEGIN ((?:EC |RSA )?PRIVATE KEY)-----\n[A-Za-z0-9+/=\n]+-----END \1-----\n?")
_NAME_PART = re.compile(r"[^\W_][\w .,&()/-]{0,63}")
_COUNTRY = re.compile(r"[A-Z]{2}")


def _now() -> datetime:
    return datetime.now(UTC)


def verify(tree: Tree) -> Iterable[Problem]:
    """A certificate is not due for renewal the day it is made; an uploaded one is whole, strong and for the right name."""
    held = tree["certificates"]
    if held["renew_days"] >= held["lifetime_days"]:
        yield Problem(
            "certificates.renew_days", str(held["renew_days"]), f"less than lifetime_days, {held['lifetime_days']}"
        )
    for setting, server in sorted(held["servers"].items()):
        path = f"{PATH}.{setting}"
        yield from _verify_belonging(path, server)
        for where, one in _given(path, server):
            yield from verify_chain(f"{where}.certificate", one["certificate"], str(tree["hostname"]))
    yield from _verify_push(tree)
    yield from acme.verify(tree)


def _verify_belonging(path: str, server: Mapping[str, Any]) -> Iterator[Problem]:
    if "certificate" in server:
        return
    if server.get("second"):
        yield Problem(f"{path}.second", "a second certificate without a first", "a first one in certificate, or none")
    if "key" in server:
        yield Problem(f"{path}.key", "a key without a certificate", "the certificate that it is for, or none")


def _given(path: str, server: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What was uploaded for one service, with its path."""
    if "certificate" in server:
        yield path, server
    if server.get("second"):
        yield f"{path}.second", server["second"]


def verify_chain(path: str, text: str, hostname: str) -> Iterator[Problem]:
    """What is wrong with an uploaded certificate whatever the time is."""
    try:
        chain = chains.read(text)
    except chains.ChainError as error:
        yield Problem(path, error.flaw.found, error.flaw.allowed)
        return
    for flaw in chains.flaws(chain, (hostname,)):
        yield Problem(path, flaw.found, flaw.allowed)


def _verify_push(tree: Tree) -> Iterator[Problem]:
    """The UEM in the box believes the appliance's own authority alone."""
    push, mode = tree["certificates"]["servers"]["uem_push"], tree["uem"]["mode"]
    if mode == "core":
        return
    for setting, found in (("certificate", "a certificate"), ("issuer", push["issuer"])):
        if setting in push and found != "own":
            allowed = (
                f"the appliance's own, since the UEM's mode is {mode}: another one's UEM pushes in mode core alone"
            )
            yield Problem(f"{PATH}.uem_push.{setting}", found, allowed)


def verify_change(before: Tree, after: Tree, *, clock: Clock = _now) -> Iterable[Problem]:
    """An uploaded certificate that is new holds now. One that ended since keeps nobody from committing something else."""
    known = {text for _path, text, _ahead in _texts(before)}
    for path, text, ahead in _texts(after):
        if text not in known:
            for flaw in chains.dated(chains.read(text), clock(), ahead=ahead):
                yield Problem(path, flaw.found, flaw.allowed)


def _texts(tree: Tree) -> Iterator[tuple[str, str, bool]]:
    """Every uploaded certificate with its path, and whether it is for later."""
    for setting, server in sorted(tree.get("certificates", {}).get("servers", {}).items()):
        for path, one in _given(f"{PATH}.{setting}", server):
            yield f"{path}.certificate", one["certificate"], one is not server


def on_machine(tree: Tree, system: System) -> Iterable[Problem]:
    """Every uploaded certificate has its key: the one that came with it, or one that was made here."""
    for service, setting in served.SERVICES.items():
        for one in served.uploaded(tree, service):
            path = f"{PATH}.{setting}" + (".second" if one.which == "second" else "")
            yield from _verify_key(path, one, system)


def _verify_key(path: str, one: "served.Uploaded", system: System) -> Iterator[Problem]:
    if not one.key:
        if keyring.key_for(one.chain, system) is None:
            yield Problem(
                f"{path}.certificate",
                "a certificate for a key that was not made on this appliance, and no key",
                "one for a request of this appliance (`certificate ... csr`), or its key with it",
            )
    elif chains.name_of_private(system.secret(one.key)) != chains.key_name(one.chain[0].public_key()):
        yield Problem(f"{path}.key", "the key of another certificate", f"the key of {chains.subject(one.chain[0])}")


def key_kinds(tree: Tree, service: str) -> frozenset[str]:
    """The kinds of keys of the certificates that a service (by its setting's name) shows or will show, as `key_type` has them."""
    server = tree["certificates"]["servers"][service]
    texts = [one["certificate"] for _path, one in _given("", server)]
    try:
        found = {chains.key_kind(chains.read(text)[0].public_key()) for text in texts}
    except chains.ChainError:  # it is refused for that
        found = set()
    return frozenset(found or {server["key_type"]})


def reconcile(tree: Tree, system: System) -> bool:
    """Make what is missing, expiring or names something else; put in place what was uploaded; the services are told."""
    bound = acme.reconcile(tree, system)
    return bool(pki.ensure(tree, system)) or bound


def _is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None and bool(chains.name_of_private(text))


CHAIN_KIND: Rules = {
    **values.PEM_KIND,
    "maxlength": chains.CHAIN_CHARACTERS,
}
KEY_KIND: Rules = {
    "type": "string",
    "coerce": values.stripped,  # and no more: a reference to a secret passes here, too
    "maxlength": KEY_CHARACTERS,
    "check_with": values.check(_is_key, KEY),
    "meta": {"allowed": KEY, "secret": True},
}
CERTIFICATE = values.described(
    CHAIN_KIND,
    "Certificate",
    "PEM of the server's certificate and of every authority above it, up to and with the root. Without it: the appliance's own.",
)
PRIVATE_KEY = values.described(
    KEY_KIND,
    "Key",
    "PEM of its private key. Without it the certificate is for a key that was made here (`certificate ... csr`).",
)


def _server(label: str, text: str) -> Rules:
    group = values.group(
        label,
        text,
        issuer=values.described(
            {"type": "string", "allowed": ["own", "self_signed", "acme"]},
            "Issuer",
            "Who signs the certificate that is not uploaded: the appliance's own authority, itself, or the ACME server of "
            "certificates.acme; until that has issued one, the appliance's own authority.",
            default="own",
        ),
        key_type=values.described(
            {"type": "string", "allowed": list(KEY_TYPES)},
            "Key type",
            "Of the keys that are made here, for requests too.",
            default="p256",
        ),
        extra_names=values.several(
            values.HOST_KIND,
            "Extra names",
            "DNS names and addresses beside the appliance's own, in what is made here and in requests.",
            most=EXTRA_NAMES,
            default=[],
        ),
        certificate=CERTIFICATE,
        key=PRIVATE_KEY,
        second=values.group(
            "Second certificate",
            "One that takes over by itself when the first ends.",
            certificate={**CERTIFICATE, "required": True},
            key=PRIVATE_KEY,
            **{
                "from": values.described(
                    values.MINUTE_KIND, "From", "When it takes over, where that is before the first ends."
                )
            },
        ),
    )
    return {**group, "default": {}}


def _part(label: str) -> Rules:
    return values.described(values.text_kind(_NAME_PART.fullmatch, NAME_PART), label, "In the subject of requests.")


FEATURE = Feature(
    name="certificates",
    label="Certificates",
    default={},
    schema=values.group(
        "Certificates",
        "The appliance's own authority and what it issues to the appliance's services; what the site's authority has issued.",
        lifetime_days=values.number(
            "Lifetime (days)", "Of a certificate; browsers take no more than 398.", low=2, high=398, default=397
        ),
        renew_days=values.number(
            "Renewal (days)", "How long before the end a new one is made.", low=1, high=180, default=30
        ),
        subject={
            **values.group(
                "Subject",
                "What requests say of whose the appliance is, beside its name.",
                country=values.described(
                    values.text_kind(_COUNTRY.fullmatch, COUNTRY), "Country", "In the subject of requests."
                ),
                state=_part("State or province"),
                locality=_part("Locality"),
                organization=_part("Organization"),
                organizational_unit=_part("Organizational unit"),
            ),
            "default": {},
        },
        acme=acme.GROUP,
        servers={
            **values.group(
                "Servers",
                "The certificate of each port.",
                gateway=_server("Gateway", "What devices see on 443."),
                portal=_server("Portal", "What administrators' browsers see on 8443."),
                uem_push=_server("UEM's pushes", "What a UEM on another machine sees on 9090, in mode core."),
            ),
            "default": {},
        },
    ),
    verify=verify,
    render=acme.render,
    flows=acme.flows,
    units=(acme.UNIT,),
    verify_change=verify_change,
    on_machine=on_machine,
    reconcile=reconcile,
)
