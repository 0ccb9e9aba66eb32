"""The appliance's own certificate authority and the certificates it gives to the appliance's services.

Everything is done by the `openssl` command, so that the machine's one OpenSSL (and its FIPS provider) does all of it. Keys
are made where they stay: they never leave the machine, and no key is ever in an argument list. What is found on the disk
is looked at each time, so that a crash between two renames, a lost file or a changed name heals at the next commit.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from appliance.features import interfaces
from appliance.features.base import System, Tree
from appliance.features.tls import AUTHORITY, FOLDER, certificate_path, key_path
from appliance.process import CommandError

AUTHORITY_KEY = f"{FOLDER}/ca.key"
AUTHORITY_DAYS = 3_650
CLOCK_SLACK = timedelta(hours=1)  # a certificate dated ahead of the clock by more was made when the clock was wrong

Clock = Callable[[], datetime]
Purpose = Literal["serverAuth", "clientAuth"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One service's certificate: who may read its key, what it is for, who must take notice of a new one."""

    name: str
    group: str
    purpose: Purpose
    unit: str
    public: bool = False
    """Whether it always carries the appliance's names and addresses; else only those of loopback."""


LEAVES = (
    Leaf("uem", "sentry-uem", "serverAuth", "sentry-uem.service"),
    Leaf("uem-client", "sentry-uem", "clientAuth", "sentry-uem.service"),
    Leaf("uem-push", "sentry-agent", "serverAuth", "sentry-agent.service"),
    Leaf("agent", "sentry-agent", "clientAuth", "sentry-agent.service"),
    Leaf("gateway", "sentry-gateway", "serverAuth", "sentry-gateway.service", public=True),
    Leaf("portal", "sentry-portal", "serverAuth", "sentry-portal.service", public=True),
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What of a certificate decides whether it is still good: key identifiers and public key as openssl prints them."""

    starts: datetime
    ends: datetime
    names: frozenset[str]
    subject_key: str
    issuer_key: str
    public_key: str


def _now() -> datetime:
    return datetime.now(UTC)


def ensure(tree: Tree, system: System, *, clock: Clock = _now) -> bool:
    """Make what is missing, about to end, for other names, without its key or of another authority.

    Idempotent; says whether anything was made. Services whose certificate is new are reloaded or restarted if they run.
    Raises `CommandError` when openssl or a file operation fails.
    """
    lifetime = timedelta(days=tree["certificates"]["lifetime_days"])
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", FOLDER])
    # An authority must outlive what it issues.
    renewed = not _good(AUTHORITY, AUTHORITY_KEY, frozenset(), system, clock() + lifetime, clock())
    if renewed:
        _make_authority(tree, system)
    issuer = _certificate(AUTHORITY, system).subject_key
    due = clock() + timedelta(days=tree["certificates"]["renew_days"])
    made = [leaf for leaf in LEAVES if not _leaf_good(leaf, tree, system, due, clock(), issuer)]
    for leaf in made:
        _make_leaf(leaf, tree, system)
    for unit in sorted({leaf.unit for leaf in made}):
        system.run(["systemctl", "try-reload-or-restart", "--", unit])
    return renewed or bool(made)


def names(leaf: Leaf, tree: Tree) -> tuple[str, ...]:
    """The subject alternative names (RFC 5280 4.2.1.6) of `leaf`, as openssl's configuration writes them."""
    if not (leaf.public or _is_pushed_to(leaf, tree)):
        return ("DNS:localhost", "IP:127.0.0.1")
    full = str(tree["hostname"])
    short = full.partition(".")[0]
    return (f"DNS:{full}", f"DNS:{short}", *(f"IP:{address}" for address in interfaces.addresses(tree)))


def _is_pushed_to(leaf: Leaf, tree: Tree) -> bool:
    """Whether it is what a UEM on another machine sees."""
    return leaf.name == "uem-push" and bool(tree["uem"]["mode"] == "core")


def _leaf_good(leaf: Leaf, tree: Tree, system: System, due: datetime, now: datetime, issuer: str) -> bool:
    wanted = frozenset(_comparable(name) for name in names(leaf, tree))
    return _good(certificate_path(leaf.name), key_path(leaf.name), wanted, system, due, now, issuer)


def _good(
    path: str, key: str, wanted: frozenset[str], system: System, due: datetime, now: datetime, issuer: str = ""
) -> bool:
    """Whether certificate and key are there, belong together, last beyond `due` and are for `wanted` names."""
    if system.read(path) is None or system.read(key) is None:
        return False
    try:
        found = _certificate(path, system)
        public_key = system.run(["openssl", "pkey", "-in", key, "-pubout"])
    except CommandError:  # openssl cannot read one of them, so it is as good as missing
        return False
    dated = found.starts <= now + CLOCK_SLACK and found.ends > due
    return dated and found.names == wanted and found.public_key == public_key and issuer in ("", found.issuer_key)


# --- looking -----------------------------------------------------------------------------------------------------


def _certificate(path: str, system: System) -> Certificate:
    # One run for everything: each costs the FIPS provider's self-test, and a commit waits for all of them.
    extensions = "subjectAltName,subjectKeyIdentifier,authorityKeyIdentifier"
    asked = ["-dates", "-dateopt", "iso_8601", "-ext", extensions, "-pubkey"]
    text = system.run(["openssl", "x509", "-in", path, "-noout", *asked])
    return Certificate(
        starts=_date(text, "notBefore"),
        ends=_date(text, "notAfter"),
        names=frozenset(_comparable(name) for name in _extension(text, "Subject Alternative Name").split(", ") if name),
        subject_key=_extension(text, "Subject Key Identifier"),
        issuer_key=_extension(text, "Authority Key Identifier").removeprefix("keyid:"),
        public_key=_public_key(text),
    )


def _date(text: str, field: str) -> datetime:
    found = re.search(rf"^{field}=(\S+ \S+)Z$", text, re.MULTILINE)
    if found is None:  # an openssl that writes dates in another way: nothing here would be true
        raise CommandError(["openssl", "x509"], 0, f"no {field} in: {text}")
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)


def _public_key(text: str) -> str:
    found = re.search(r"-----BEGIN PUBLIC KEY-----\n.*?-----END PUBLIC KEY-----\n", text, re.DOTALL)
    return found[0] if found else ""


def _extension(text: str, label: str) -> str:
    found = re.search(rf"^X509v3 {label}:.*\n +(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _comparable(name: str) -> str:
    """One spelling for what openssl reads (`IP:::1`) and what it prints (`IP Address:0:0:0:0:0:0:0:1`)."""
    kind, _, value = name.replace("IP Address:", "IP:", 1).partition(":")
    return f"{kind}:{interfaces.plain_address(value)}" if kind == "IP" else f"{kind}:{value}"


# --- making ------------------------------------------------------------------------------------------------------

# `prompt = no` and a whole configuration of our own: nothing is taken from the machine's openssl.cnf but the providers.
_REQUEST = """\
[req]
prompt = no
distinguished_name = subject
x509_extensions = extensions
[subject]
O = Sentry
CN = {common_name}
[extensions]
subjectKeyIdentifier = hash
{extensions}
"""
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-sha256"]


def _make_authority(tree: Tree, system: System) -> None:
    extensions = ("basicConstraints = critical, CA:TRUE, pathlen:0", "keyUsage = critical, keyCertSign, cRLSign")
    # The host name tells two appliances' authorities apart in a list; nothing depends on it.
    request = _request(f"Appliance CA of {tree['hostname']}", extensions)
    _issue(AUTHORITY, AUTHORITY_KEY, "root", request, ["-days", str(AUTHORITY_DAYS)], system)


def _make_leaf(leaf: Leaf, tree: Tree, system: System) -> None:
    folder = f"{FOLDER}/{leaf.name}"
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", folder])
    common_name = str(tree["hostname"]) if leaf.public else leaf.name
    extensions = (
        "authorityKeyIdentifier = keyid:always",
        "basicConstraints = critical, CA:FALSE",
        "keyUsage = critical, digitalSignature",
        f"extendedKeyUsage = {leaf.purpose}",
        f"subjectAltName = {', '.join(names(leaf, tree))}",
    )
    signer = ["-CA", AUTHORITY, "-CAkey", AUTHORITY_KEY, "-days", str(tree["certificates"]["lifetime_days"])]
    request = _request(common_name, extensions)
    _issue(certificate_path(leaf.name), key_path(leaf.name), leaf.group, request, signer, system)


def _request(common_name: str, extensions: Iterable[str]) -> str:
    # X.520 limits a common name to 64 characters; the names that count are the alternative ones.
    return _REQUEST.format(common_name=common_name[:64], extensions="\n".join(extensions))


def _issue(certificate: str, key: str, group: str, request: str, options: list[str], system: System) -> None:
    """Make a key and its certificate beside their places, then put both in place.

    openssl creates a private key's file with mode 0600; the group gets to read it only once it is complete.
    """
    new_key, new_certificate = f"{key}.new", f"{certificate}.new"
    system.run(["rm", "-f", "--", new_key, new_certificate])
    command = ["openssl", "req", "-x509", "-config", "/dev/stdin", *_NEW_KEY, *options]
    system.run([*command, "-keyout", new_key, "-out", new_certificate], stdin=request)
    system.run(["chown", f"root:{group}", "--", new_key])
    system.run(["chmod", "0600" if group == "root" else "0640", "--", new_key])
    system.run(["chmod", "0644", "--", new_certificate])
    system.run(["mv", "-f", "-T", "--", new_key, key])
    system.run(["mv", "-f", "-T", "--", new_certificate, certificate])
