"""The certificates that the appliance's services show: those of its own authority or signed by themselves, which are made here,
and those that were uploaded or obtained from an ACME server, which are put in place here.

Everything is done by the `openssl` command, so that the machine's one OpenSSL (and its FIPS provider) does all of it. Keys
are made where they stay: they never leave the machine, and no key is ever in an argument list. What is found on the disk
is looked at each time, so that a crash between two renames, a lost file or a changed name heals at the next commit.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from appliance import chains, keyring, obtained, secret_file, served
from appliance.features import interfaces, values
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
    """Whether it carries the appliance's names and addresses; else only those of loopback."""


LEAVES = (
    Leaf("uem", "sentry-uem", "serverAuth", "sentry-uem.service"),
    Leaf("uem-client", "sentry-uem", "clientAuth", "sentry-uem.service"),
    Leaf(
        "uem-push", "sentry-agent", "serverAuth", "sentry-agent.service"
    ),  # public where the UEM is on another machine
    Leaf("agent", "sentry-agent", "clientAuth", "sentry-agent.service"),
    Leaf("gateway", "sentry-gateway", "serverAuth", "sentry-gateway.service", public=True),
    Leaf("portal", "sentry-tls-proxy", "serverAuth", "sentry-tls-proxy.service", public=True),
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

    @property
    def key_kind(self) -> str:
        """The kind of its key in the words of the setting `key_type`."""
        return chains.key_kind(load_pem_public_key(self.public_key.encode()))


def _now() -> datetime:
    return datetime.now(UTC)


def ensure(tree: Tree, system: System, *, clock: Clock = _now, anew: Collection[str] = ()) -> tuple[str, ...]:
    """Make what is missing, about to end, for other names, without its key, of another authority or of another kind, and what
    is named in `anew`; put what was uploaded or obtained in place.

    Idempotent; returns the names of the services that have another certificate now, with the authority's own (`ca`) where that
    is new. These are reloaded or restarted if they run. Raises `CommandError` when openssl or a file operation fails, `KeyError`
    where an uploaded certificate's key is nowhere.
    """
    lifetime = timedelta(days=tree["certificates"]["lifetime_days"])
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", FOLDER])
    # An authority must outlive what it issues.
    renewed = _good(AUTHORITY, AUTHORITY_KEY, frozenset(), system, clock() + lifetime, clock()) is None
    if renewed:
        _make_authority(tree, system)
    issuer = _certificate(AUTHORITY, system).subject_key
    due = clock() + timedelta(days=tree["certificates"]["renew_days"])
    made = [leaf for leaf in LEAVES if _bring(leaf, tree, system, due, clock(), issuer, again=leaf.name in anew)]
    for unit in sorted({leaf.unit for leaf in made}):
        system.run(["systemctl", "try-reload-or-restart", "--", unit])
    return (*(("ca",) if renewed else ()), *(leaf.name for leaf in made))


def _bring(leaf: Leaf, tree: Tree, system: System, due: datetime, now: datetime, issuer: str, *, again: bool) -> bool:
    """Have the certificate of `leaf` be the right one; whether that took anything."""
    chosen = served.choice(tree, leaf.name, now) or obtained.shown(tree, leaf.name, system)
    if chosen is not None:
        return _put(leaf, chosen, system)
    if not again and _leaf_good(leaf, tree, system, due, now, issuer):
        return False
    _make_leaf(leaf, tree, system)
    return True


def names(leaf: Leaf, tree: Tree) -> tuple[str, ...]:
    """The subject alternative names (RFC 5280 4.2.1.6) of `leaf`, as openssl's configuration writes them."""
    more = tuple(map(_written, served.settings(tree, leaf.name).get("extra_names", ())))
    if leaf.public or _is_pushed_to(leaf, tree):
        full = str(tree["hostname"])
        short = full.partition(".")[0]
        addresses = (f"IP:{address}" for address in interfaces.addresses(tree))
        return tuple(dict.fromkeys((f"DNS:{full}", f"DNS:{short}", *addresses, *more)))
    return ("DNS:localhost", "IP:127.0.0.1")


def requested_names(tree: Tree, service: str) -> tuple[str, ...]:
    """The names a request of `service` asks for. No authority but our own signs a short name or a private address unasked."""
    more = map(_written, served.settings(tree, service).get("extra_names", ()))
    return tuple(dict.fromkeys((f"DNS:{tree['hostname']}", *more)))


def _written(name: str) -> str:
    return f"DNS:{name}" if values.address_of(name) is None else f"IP:{name}"


def _is_pushed_to(leaf: Leaf, tree: Tree) -> bool:
    return leaf.name == "uem-push" and tree.get("uem", {}).get("mode") == "core"


def _leaf_good(leaf: Leaf, tree: Tree, system: System, due: datetime, now: datetime, issuer: str) -> bool:
    wanted = frozenset(_comparable(name) for name in names(leaf, tree))
    path, key = certificate_path(leaf.name), key_path(leaf.name)
    found = _good(path, key, wanted, system, due, now)
    if found is None or found.key_kind != _key_type(leaf, tree):
        return False
    if not secret_file.is_for(leaf.group, key, system):  # another service had it, in an older release
        return False
    return found.issuer_key == (found.subject_key if _signs_itself(leaf, tree) else issuer)


def _signs_itself(leaf: Leaf, tree: Tree) -> bool:
    return bool(served.settings(tree, leaf.name).get("issuer") == "self_signed")


def _key_type(leaf: Leaf, tree: Tree) -> str:
    return str(served.settings(tree, leaf.name).get("key_type", "p256"))


def _good(
    path: str, key: str, wanted: frozenset[str], system: System, due: datetime, now: datetime
) -> Certificate | None:
    """The certificate, if it and its key are there, belong together, last beyond `due` and are for `wanted` names."""
    if system.read(path) is None or system.read(key) is None:
        return None
    try:
        found = _certificate(path, system)
        public_key = system.run(["openssl", "pkey", "-in", key, "-pubout"])
    except CommandError:  # openssl cannot read one of them, so it is as good as missing
        return None
    dated = found.starts <= now + CLOCK_SLACK and found.ends > due
    return found if dated and found.names == wanted and found.public_key == public_key else None


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


def _new_key(kind: str) -> list[str]:
    algorithm, parameter = keyring.KINDS[kind]
    return ["-newkey", algorithm.lower(), "-pkeyopt", parameter, "-noenc", "-sha256"]


def _make_authority(tree: Tree, system: System) -> None:
    extensions = ("basicConstraints = critical, CA:TRUE, pathlen:0", "keyUsage = critical, keyCertSign, cRLSign")
    # The host name tells two appliances' authorities apart in a list; nothing depends on it.
    request = _request(f"Appliance CA of {tree['hostname']}", extensions)
    _issue(AUTHORITY, AUTHORITY_KEY, "root", request, [*_new_key("p256"), "-days", str(AUTHORITY_DAYS)], system)


def _make_leaf(leaf: Leaf, tree: Tree, system: System) -> None:
    folder = f"{FOLDER}/{leaf.name}"
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", folder])
    common_name = str(tree["hostname"]) if leaf.public or _is_pushed_to(leaf, tree) else leaf.name
    extensions = (
        "authorityKeyIdentifier = keyid:always",
        "basicConstraints = critical, CA:FALSE",
        "keyUsage = critical, digitalSignature",
        f"extendedKeyUsage = {leaf.purpose}",
        f"subjectAltName = {', '.join(names(leaf, tree))}",
    )
    signer = [] if _signs_itself(leaf, tree) else ["-CA", AUTHORITY, "-CAkey", AUTHORITY_KEY]
    options = [*_new_key(_key_type(leaf, tree)), *signer, "-days", str(tree["certificates"]["lifetime_days"])]
    request = _request(common_name, extensions)
    _issue(certificate_path(leaf.name), key_path(leaf.name), leaf.group, request, options, system)


def _put(leaf: Leaf, chosen: "served.Uploaded", system: System) -> bool:
    """Have an uploaded certificate and its key lie in their places; whether that took anything. Its request, if one was out for
    it, is answered."""
    chain = chosen.chain
    key = system.secret(chosen.key) if chosen.key else keyring.key_for(chain, system)
    if key is None:
        raise KeyError(f"the key of {chains.subject(chain[0])} is not on this appliance")
    path, text = certificate_path(leaf.name), chains.shown(chain)
    folder = f"{FOLDER}/{leaf.name}"
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", folder])
    changed = secret_file.put(key_path(leaf.name), f"{key.rstrip()}\n", leaf.group, system)
    if system.read(path) != text:
        new = f"{path}.new"
        system.run(["install", "-o", "root", "-g", "root", "-m", "0644", "--", "/dev/stdin", new], stdin=text)
        system.run(["mv", "-f", "-T", "--", new, path])
        changed = True
    if chains.name_of_request(keyring.pending(leaf.name, system)) == chains.key_name(chain[0].public_key()):
        system.run(["rm", "-f", "--", keyring.request_path(leaf.name)])
    return changed


def _request(common_name: str, extensions: Iterable[str]) -> str:
    # X.520 limits a common name to 64 characters; the names that count are the alternative ones.
    return _REQUEST.format(common_name=common_name[:64], extensions="\n".join(extensions))


def _issue(certificate: str, key: str, group: str, request: str, options: list[str], system: System) -> None:
    """Make a key and its certificate beside their places, then put both in place.

    openssl creates a private key's file with mode 0600; the group gets to read it only once it is complete.
    """
    new_key, new_certificate = f"{key}.new", f"{certificate}.new"
    system.run(["rm", "-f", "--", new_key, new_certificate])
    command = ["openssl", "req", "-x509", "-config", "/dev/stdin", *options]
    system.run([*command, "-keyout", new_key, "-out", new_certificate], stdin=request)
    system.run(["chown", f"root:{group}", "--", new_key])
    system.run(["chmod", "0600" if group == "root" else "0640", "--", new_key])
    system.run(["chmod", "0644", "--", new_certificate])
    system.run(["mv", "-f", "-T", "--", new_key, key])
    system.run(["mv", "-f", "-T", "--", new_certificate, certificate])
