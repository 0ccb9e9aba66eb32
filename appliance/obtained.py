"""Certificates that an ACME server issued to this appliance: which services have theirs from there, when the next is due, and
whether a chain that came back may be shown.

What was taken over lies as a file with the root, beside the service's certificate; its key lies where keys that were made here
do (`appliance.keyring`). Nothing that the ACME service says is believed: a chain is judged as an uploaded one is, and besides it
must be for the key and the names that were asked for, and lead to a root that the site believes.
"""

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from appliance import chains, keyring, served
from appliance.chains import Chain, Flaw
from appliance.features.base import System, Tree
from appliance.features.tls import FOLDER

SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"  # Debian's ca-certificates


def path(service: str) -> str:
    """Where the chain of `service` lies that was taken over last."""
    return f"{FOLDER}/{service}/acme.pem"


def places(tree: Tree) -> tuple[str, ...]:
    """The services whose certificates come from an ACME server: an uploaded one goes before."""
    listed = ((service, served.settings(tree, service)) for service in served.SERVICES)
    return tuple(service for service, held in listed if held.get("issuer") == "acme" and "certificate" not in held)


def names(tree: Tree, service: str) -> tuple[str, ...]:
    """The names that are asked for: the appliance's own and the service's further ones."""
    more = map(str, served.settings(tree, service).get("extra_names", ()))
    return tuple(dict.fromkeys((str(tree["hostname"]), *more)))


def anchors(tree: Tree, system: System) -> str:
    """The authorities (PEM) to whose roots a chain must lead: those the site states for issuers, or for the server, or the
    system's."""
    held = tree["certificates"]["acme"]
    return str(held.get("issuer_certificates") or held.get("ca_certificates") or system.read(SYSTEM_TRUST) or "")


def taken(service: str, system: System) -> Chain | None:
    """The chain that was taken over last, where its key is here; None where there is none."""
    text = system.read(path(service))
    if text is None:
        return None
    try:
        chain = chains.read(text)
    except chains.ChainError:  # damaged: as good as missing
        return None
    return chain if keyring.key_for(chain, system) is not None else None


def shown(tree: Tree, service: str, system: System) -> "served.Uploaded | None":
    """What of it `service` shows; None: nothing, since none is wanted, none is there, it is for another host name, or its key is
    RSA where the settings say EC or the other way round: the cipher suites may be those of the other kind alone."""
    if service not in places(tree):
        return None
    chain = taken(service, system)
    if chain is None or any(chains.flaws(chain, (str(tree["hostname"]),))):
        return None
    if chains.key_kind(chain[0].public_key()).startswith("rsa") != _key_type(tree, service).startswith("rsa"):
        return None
    return served.Uploaded("first", chains.pem(chain), "")


def due(tree: Tree, service: str, system: System, now: datetime, *, since: datetime | None = None) -> bool:
    """Whether the next certificate is to be asked for: there is none, it is for other names or another kind of key, its root is
    believed no more, or so little of its lifetime is left. That is counted from `since`, where it was taken over then: an
    authority that dates its certificates back must not be asked again at once."""
    chain = taken(service, system)
    if chain is None or any(chains.flaws(chain, names(tree, service))):
        return True
    if chain[-1] not in chains.roots(anchors(tree, system)):
        return True
    server = chain[0]
    if chains.key_kind(server.public_key()) != _key_type(tree, service):
        return True
    starts = server.not_valid_before_utc
    lifetime = server.not_valid_after_utc - (max(since, starts) if since is not None else starts)
    return bool(now >= server.not_valid_after_utc - lifetime * tree["certificates"]["acme"]["renew_percent"] / 100)


def _key_type(tree: Tree, service: str) -> str:
    return str(served.settings(tree, service).get("key_type", "p256"))


def asks_for(request: str, tree: Tree, service: str) -> bool:
    """Whether a request (PKCS #10, PEM) is what would be made now: for these names, with this kind of key."""
    try:
        made = x509.load_pem_x509_csr(request.encode())
        held = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    found = {str(one.value).lower() for one in held}
    kind = chains.key_kind(made.public_key())
    wanted = {name.lower() for name in names(tree, service)}
    return found == wanted and kind == _key_type(tree, service)


def flaws(chain: Chain, tree: Tree, service: str, request: str, now: datetime) -> Iterator[Flaw]:
    """Why a chain that came back may not be shown."""
    if chains.key_name(chain[0].public_key()) != chains.name_of_request(request):
        yield Flaw(f"{chains.subject(chain[0])} for another key", "a certificate for the request of this appliance")
    yield from chains.flaws(chain, names(tree, service))
    yield from chains.dated(chain, now)
