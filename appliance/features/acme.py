"""Where certificates come from an ACME server (RFC 8555): which server, as whom, and from where it may look for proofs.

A part of the feature `certificates`, which has this group in its schema. Names are proved by http-01 alone: the packet filter
lets port 80 through while a service's certificate comes from there, and it is listened on while one is being proved.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance import obtained, secret_file
from appliance.acme.settings import SETTINGS_PATH, Binding, Settings
from appliance.features import backends, dns, email, interfaces, listeners, service_file, tls, values
from appliance.features.base import File, Flow, Problem, System, Tree, Unit
from appliance.features.values import Rules

PATH = "certificates.acme"
FILE = str(SETTINGS_PATH)
USER = "sentry-acme"
UNIT_NAME = "sentry-acme.service"
PROOF_PORT = 80  # RFC 8555 8.3: no other
FOLDER = f"{tls.FOLDER}/acme"
BINDING_KEY = f"{FOLDER}/binding.secret"
# No backend's name has a dot in it, so no backend's anchors lie there.
TRUST = f"{backends.TRUST}/acme.server.pem"
NETWORKS = 16
CONTACTS = 4

URL = "https:// with a host, and what the server's documents say behind it, such as https://ca.example.com/acme/acme/directory"
KEY_ID = "1 to 254 printable ASCII characters without blanks"
KEY = "the key as the server's administrator gives it out: base64url, of 16 to 128 bytes"
_KEY_ID = re.compile(r"[!-~]{1,254}")
_KEY = re.compile(r"[A-Za-z0-9_-]{22,171}={0,2}")


def _is_url(text: str) -> bool:
    return values.url_of(text, "https") is not None


def verify(tree: Tree) -> Iterable[Problem]:
    """A service whose certificate comes from a server has one, and nothing else has port 80."""
    held, ordered = tree["certificates"]["acme"], obtained.places(tree)
    yield from tls.verify(f"{PATH}.tls_versions", held["tls_versions"])
    for setting in ("key_id", "key"):
        if bool(held["binding"]) and setting not in held["binding"]:
            yield Problem(f"{PATH}.binding.{setting}", "nothing", "both key_id and key, or neither")
    if not ordered:
        return
    if "directory" not in held:
        wanting = ", ".join(ordered)
        yield Problem(f"{PATH}.directory", "nothing", f"the server's directory: {wanting} have theirs from there")
    yield from _verify_proofs(tree, held)


def _verify_proofs(tree: Tree, held: Mapping[str, Any]) -> Iterator[Problem]:
    setting = listeners.ports(tree).get(PROOF_PORT)
    if setting is not None:
        yield Problem(setting, f"{PROOF_PORT}", f"another one: ACME servers look for proofs at {PROOF_PORT}")
    for place, zone in enumerate(held["proof_zones"]):
        if not interfaces.in_zone(tree, zone):
            yield Problem(
                f"{PATH}.proof_zones.{place}", f"{zone}, which no interface carries", "zones of the interfaces"
            )


def settings(tree: Tree) -> Settings | None:
    """The service's settings; None where no certificate comes from a server."""
    held = tree["certificates"]["acme"]
    if not obtained.places(tree) or "directory" not in held:
        return None
    binding = held["binding"]
    return Settings(
        directory=held["directory"],
        trust=TRUST if "ca_certificates" in held else backends.SYSTEM_TRUST,
        contacts=tuple(held["contacts"]),
        terms_agreed=held["terms_agreed"],
        binding=Binding(key_id=binding["key_id"], key_path=BINDING_KEY) if binding else None,
        minimum=held["tls_versions"]["minimum"],
        maximum=held["tls_versions"]["maximum"],
        listen=interfaces.listen_addresses(tree, held["proof_zones"]),
        port=PROOF_PORT,
    )


def render(tree: Tree) -> Mapping[str, File]:
    """The settings file, without which the service does not run, and the anchors for the server where the site says which."""
    made = settings(tree)
    if made is None:
        return {}
    files = {FILE: service_file.readable_by(USER, made)}
    if made.trust == TRUST:
        files[TRUST] = File(tree["certificates"]["acme"]["ca_certificates"])
    return files


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The service's way to the server, and the way of whoever looks for proofs."""
    made = settings(tree)
    if made is None:
        return ()
    held = tree["certificates"]["acme"]
    host, port = values.place_of(made.directory)
    peers = tuple(held["networks"]) or dns.addresses_of(tree, host)
    proofs = tuple(held["proof_networks"])
    return (
        Flow("certificates", "out", "tcp", port, None, peers, USER),
        *(Flow("certificates", "in", "tcp", PROOF_PORT, zone, proofs) for zone in held["proof_zones"]),
    )


def reconcile(tree: Tree, system: System) -> bool:
    """The binding's key lies where the service reads it, for as long as there is one."""
    binding = tree["certificates"].get("acme", {}).get("binding")
    if not binding or settings(tree) is None:
        return secret_file.remove(BINDING_KEY, system)
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", FOLDER])
    return secret_file.put(BINDING_KEY, system.secret(binding["key"]), USER, system)


UNIT = Unit(UNIT_NAME, "restart", (FILE, TRUST))

GROUP: Rules = {
    **values.group(
        "ACME",
        "The ACME server (RFC 8555) of the services whose issuer is acme. It looks for proofs on port 80 (http-01).",
        directory=values.described(values.text_kind(_is_url, URL), "Directory", "The URL of the server's directory."),
        ca_certificates=values.described(
            values.PEM_KIND,
            "CA certificates",
            "PEM of the authorities believed for the server. Without it: the system's.",
        ),
        issuer_certificates=values.described(
            values.PEM_KIND,
            "Issuers' roots",
            "PEM of the roots to which what the server issues must lead. Without it: the CA certificates.",
        ),
        contacts=values.several(
            email.ADDRESS_KIND, "Contacts", "Whom the authority may write to.", most=CONTACTS, default=[]
        ),
        terms_agreed=values.switch(
            "Terms agreed",
            "You have read the terms of service that the server names, and agree to them.",
            default=False,
        ),
        binding={
            **values.group(
                "External account binding",
                "The account at the authority that this appliance's belongs to, where the server asks for one.",
                key_id=values.described(values.text_kind(_KEY_ID.fullmatch, KEY_ID), "Key id", "The key's name there."),
                key=values.described(values.text_kind(_KEY.fullmatch, KEY, secret=True), "Key", "For HMAC-SHA256."),
            ),
            "default": {},
        },
        renew_percent=values.number(
            "Renewal (percent)",
            "From when on the next certificate is asked for: this much of the lifetime is left.",
            low=5,
            high=80,
            default=33,
        ),
        tls_versions={**tls.VERSIONS, "default": {}},
        networks=values.several(
            values.NETWORK_KIND,
            "Networks",
            "In which the server's addresses lie; the firewall lets the appliance out to these. Empty: to the static address of"
            " its name (`dns.static_hosts`), or to anybody where that has none.",
            most=NETWORKS,
            default=[],
        ),
        proof_zones=values.several(
            {"type": "string", "allowed": list(interfaces.ZONES)},
            "Zones of proofs",
            "In which zones port 80 answers whoever looks for proofs.",
            least=1,
            most=len(interfaces.ZONES),
            default=["device"],
        ),
        proof_networks=values.several(
            values.NETWORK_KIND,
            "Networks of proofs",
            "From which proofs are looked for. Empty: from anywhere, as public authorities do.",
            most=NETWORKS,
            default=[],
        ),
    ),
    "default": {},
}
