"""Keys that were made on this appliance for certificates that somebody else signs, and the requests that are out for them.

A key lies here under the digest of its public half, for root alone, and leaves only into the file of the service that shows its
certificate. A certificate that comes without a key, whether today or by a rollback, is known to be for one of them by that.
"""

from collections.abc import Collection, Mapping
from typing import Any

from appliance import chains
from appliance.features.base import System, Tree
from appliance.features.tls import FOLDER

RING = f"{FOLDER}/keys"
KEYS = 64  # files kept at most: three services, each with a first, a second and a request, over many revisions

KINDS: Mapping[str, tuple[str, ...]] = {
    "p256": ("EC", "ec_paramgen_curve:P-256"),
    "p384": ("EC", "ec_paramgen_curve:P-384"),
    "rsa3072": ("RSA", "rsa_keygen_bits:3072"),
    "rsa4096": ("RSA", "rsa_keygen_bits:4096"),
}
"""The types of keys made here, as `openssl genpkey` calls them: those of docs/crypto.md and no other."""

# Every field is one of `features.certificates`, whose kinds let nothing through that openssl's configuration would interpret.
_REQUEST = """\
[req]
prompt = no
utf8 = yes
string_mask = utf8only
distinguished_name = subject
req_extensions = extensions
[subject]
{subject}
[extensions]
subjectAltName = {names}
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
"""
_FIELDS = {
    "country": "C",
    "state": "ST",
    "locality": "L",
    "organization": "O",
    "organizational_unit": "OU",
}


def request_path(service: str) -> str:
    """Where the request (PKCS #10) of `service` lies that waits for its certificate."""
    return f"{FOLDER}/{service}/request.pem"


def order_path(service: str) -> str:
    """Where the request of `service` lies that an ACME server is asked to answer."""
    return f"{FOLDER}/{service}/order.pem"


def place(name: str) -> str:
    """Where the key with this digest lies."""
    return f"{RING}/{name}.key"


def make_request(service: str, kind: str, subject: Mapping[str, str], names: tuple[str, ...], system: System) -> str:
    """Make a new key of `kind` and a request for `names` (as openssl writes them: `DNS:`, `IP:`); returns it as PEM.

    A request of before is forgotten, its key is not: its certificate may still come. Raises `CommandError`.
    """
    common = names[0].partition(":")[2][:64]  # X.520's bound; the names that count are the alternative ones
    fields = [(short, subject[long]) for long, short in _FIELDS.items() if long in subject]
    written = "\n".join(f"{name} = {value}" for name, value in (*fields, ("CN", common)))
    return _made(service, kind, _REQUEST.format(subject=written, names=", ".join(names)), request_path(service), system)


def make_order(service: str, kind: str, names: tuple[str, ...], system: System) -> str:
    """The same for an ACME server, which takes the names and no subject (RFC 8555 7.4): the common name is one of the past."""
    text = _REQUEST.format(subject="", names=", ".join(names))
    return _made(service, kind, text, order_path(service), system, "-subj", "/")


def _made(service: str, kind: str, text: str, path: str, system: System, *options: str) -> str:
    folder = f"{FOLDER}/{service}"
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", FOLDER, folder])
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0700", RING])
    new = f"{RING}/new.{service}.{path.rpartition('/')[2]}"  # two may be made at the same time
    algorithm, parameter = KINDS[kind]
    # openssl makes the file of a private key 0600.
    system.run(["rm", "-f", "--", new])
    system.run(["openssl", "genpkey", "-algorithm", algorithm, "-pkeyopt", parameter, "-out", new])
    key = place(chains.name_of_private(system.read(new) or ""))
    system.run(["chmod", "0600", "--", new])
    system.run(["mv", "-f", "-T", "--", new, key])
    command = ["openssl", "req", "-new", "-config", "/dev/stdin", *options, "-sha256", "-key", key]
    system.run([*command, "-out", f"{path}.new"], stdin=text)
    system.run(["chmod", "0644", "--", f"{path}.new"])
    system.run(["mv", "-f", "-T", "--", f"{path}.new", path])
    return system.read(path) or ""


def key_for(certificate: chains.Chain, system: System) -> str | None:
    """The private key (PEM) made here for this chain's server; None where there is none."""
    return system.read(place(chains.key_name(certificate[0].public_key())))


def pending(service: str, system: System) -> str:
    """The request of `service` that waits for its certificate, as PEM; "" where none does."""
    return system.read(request_path(service)) or ""


def ordered(service: str, system: System) -> str:
    """The request of `service` that an ACME server is asked to answer, as PEM; "" where none is."""
    return system.read(order_path(service)) or ""


def needed(trees: Collection[Tree], services: Collection[str], system: System) -> frozenset[str]:
    """The digests of the keys that the certificates of these configurations, and the requests of these services, are for."""
    held = {chains.key_name(chains.read(text)[0].public_key()) for tree in trees for text in _texts(tree)}
    out = {chains.name_of_request(find(service, system)) for service in services for find in (pending, ordered)}
    return frozenset(held | out)


def _texts(tree: Tree) -> list[str]:
    servers: Mapping[str, Any] = tree.get("certificates", {}).get("servers", {})
    held = [one for server in servers.values() for one in (server, server.get("second") or {})]
    return [one["certificate"] for one in held if "certificate" in one]


def forget(keep: frozenset[str], system: System) -> None:
    """Remove the oldest keys beyond `KEYS`, but none of those in `keep`. Raises `CommandError`."""
    listed = system.run(["find", RING, "-maxdepth", "1", "-name", "*.key", "-printf", "%T@ %f\\n"])
    by_age = [line.split(" ", 1)[1].removesuffix(".key") for line in sorted(listed.splitlines(), reverse=True)]
    for name in by_age[KEYS:]:
        if name not in keep:
            system.run(["rm", "-f", "--", place(name)])
