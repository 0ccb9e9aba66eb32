"""How devices prove what they are: certificates of theirs, or those a front end has checked, and what has been revoked.

A part of the feature `gateway`, which has this group in its schema and puts what is rendered here beside its settings file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance.features import listeners, revocation, values
from appliance.features.base import File, Flow, Problem, Tree
from appliance.features.listeners import NAME_KIND, NETWORKS
from appliance.features.values import Rules
from sentry_runtime.settings import CertificateHeader, DeviceAuthentication, MappedCertificate, Revocation

FOLDER = "/var/lib/sentry/tls/devices"
AUTHORITIES, ISSUERS, LISTS = (f"{FOLDER}/{name}.pem" for name in ("authorities", "issuers", "crls"))
CERTIFICATES = 10_000
URLS = 8
HANDSHAKE_MODES = ("group_certificate", "identity_certificate")
MODES = ("pass_through", *HANDSHAKE_MODES, "trusted_front_end")
FIELDS = ("upn", "email", "common_name", "table")
FORMS = ("certificate", "subject", "xfcc")

URL = "a URL such as http://crl.example.com/devices.crl (what lies there is signed, so there is no https)"
HEADER = "up to 64 letters, digits and dashes"
SERIAL = "a serial number in hex, with or without colons, as `openssl x509 -serial` prints it"
ISSUER = "a name such as CN=Devices,O=Example,C=DE, as `openssl x509 -issuer -nameopt RFC2253` prints it"

_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,2}(?::?[0-9A-Fa-f]{2}){0,19}|[0-9A-Fa-f]{1,40}")
_ISSUER = re.compile(r"[A-Za-z0-9.]+=[^=]+(?:[,+][A-Za-z0-9.]+=[^=]+)*")


def verify(tree: Tree) -> Iterable[Problem]:
    """What belongs to which mode: no setting that is without effect, and none that nobody could pass by."""
    auth = tree["gateway"]["device_authentication"]
    yield from listeners.verify_networks("gateway.device_authentication.front_ends", auth["front_ends"])
    yield from _verify_mode(tree, auth)


def _verify_mode(tree: Tree, auth: Mapping[str, Any]) -> Iterator[Problem]:
    path, mode = "gateway.device_authentication", auth["mode"]
    handshake, upstream = mode in HANDSHAKE_MODES, mode == "trusted_front_end"
    rules = (
        (handshake and "authorities" not in auth, "authorities", "nothing", f"certificates: {mode} needs them"),
        (
            handshake and not all(one.tls for one in listeners.listeners(tree)),
            "mode",
            f"{mode}, where client TLS is not required",
            "a mode in which nobody shows a certificate: pass_through or trusted_front_end",
        ),
        (upstream and "header" not in auth, "header", "nothing", "a header's name: trusted_front_end needs it"),
        (upstream and not auth["front_ends"], "front_ends", "none", "networks: trusted_front_end needs them"),
        (not upstream and "header" in auth, "header", "a name", "none, since the mode is not trusted_front_end"),
        (
            not upstream and auth["front_ends"],
            "front_ends",
            "networks",
            "none, since the mode is not trusted_front_end",
        ),
        (mode == "pass_through" and "authorities" in auth, "authorities", "certificates", "none with pass_through"),
        (
            "issuers" in auth and "authorities" not in auth,
            "issuers",
            "certificates",
            "none, or the authorities above them as well",
        ),
        (
            "table" in auth["mapping"] and not auth["certificates"],
            "mapping",
            "table, and no certificates are listed",
            "the other fields, or certificates",
        ),
        (
            auth["certificates"] and "table" not in auth["mapping"],
            "certificates",
            "some, and the mapping does not ask for the table",
            "none, or table in the mapping",
        ),
        (
            handshake and auth["revocation"]["check"] != "off" and not _sources(auth["revocation"]),
            "revocation.check",
            f"{auth['revocation']['check']}, without crls, crl_urls or ocsp_url",
            "off, or one of the three: without a proof nobody would pass",
        ),
        (
            not handshake and _sources(auth["revocation"]),
            "revocation",
            f"lists or a responder, with {mode}",
            "none, since it is nothing the gateway checks in this mode",
        ),
    )
    yield from (Problem(f"{path}.{where}", found, allowed) for wrong, where, found, allowed in rules if wrong)


def _sources(said: Mapping[str, Any]) -> bool:
    return bool("crls" in said or said["crl_urls"] or "ocsp_url" in said)


def authentication(tree: Tree) -> DeviceAuthentication:
    """How devices prove what they are, as the data plane's settings say it."""
    auth = tree["gateway"]["device_authentication"]
    header = CertificateHeader(name=auth["header"], form=auth["header_form"]) if "header" in auth else None
    return DeviceAuthentication(
        mode=auth["mode"],
        authorities=AUTHORITIES if "authorities" in auth else None,
        issuers=ISSUERS if "issuers" in auth else None,
        mapping=tuple(auth["mapping"]),
        table=tuple(MappedCertificate(**one) for _name, one in sorted(auth["certificates"].items())),
        header=header,
        revocation=_revocation(auth),
    )


def _revocation(auth: Mapping[str, Any]) -> Revocation | None:
    said = auth["revocation"]
    if auth["mode"] not in HANDSHAKE_MODES or said["check"] == "off":
        return None
    return Revocation(
        policy=said["check"],
        crl_files=(LISTS,) if "crls" in said else (),
        crl_urls=tuple(said["crl_urls"]),
        ocsp_url=said.get("ocsp_url"),
        refresh_seconds=said["refresh_minutes"] * 60.0,
        lenient_seconds=said["lenient_hours"] * 3_600.0,
    )


def render(tree: Tree) -> Mapping[str, File]:
    """The authorities of devices and their lists, each in its file."""
    auth = tree["gateway"]["device_authentication"]
    texts = ((AUTHORITIES, auth, "authorities"), (ISSUERS, auth, "issuers"), (LISTS, auth["revocation"], "crls"))
    return {path: File(held[key]) for path, held, key in texts if key in held}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The agent's ways to lists and responders."""
    return revocation.flows(tree, _revocation(tree["gateway"]["device_authentication"]), "gateway")


def _choice(*words: str) -> Rules:
    return {"type": "string", "allowed": list(words)}


REVOCATION = values.group(
    "Revocation",
    "How it is known that a certificate has been revoked, with group_certificate and identity_certificate.",
    check=values.described(
        _choice("off", "strict", "lenient"),
        "Check",
        "strict: who is not proved good is refused. lenient: passes for `lenient_hours`, and is written down.",
        default="strict",
    ),
    crls=values.described(
        values.CRL_KIND,
        "Revocation lists",
        "Lists of your own, for a network without a way out; they end, and then need a commit.",
    ),
    crl_urls=values.several(
        values.text_kind(values.is_http_url, URL),
        "Lists at",
        "From where the agent fetches the authorities' lists.",
        most=URLS,
        default=[],
    ),
    ocsp_url=values.described(
        values.text_kind(values.is_http_url, URL),
        "Responder",
        "The authority's OCSP responder, asked where no list in date decides.",
    ),
    refresh_minutes=values.number(
        "Refresh (minutes)", "How often lists are fetched and responders asked anew.", low=1, high=1_440, default=60
    ),
    lenient_hours=values.number(
        "Lenient (hours)", "How long a certificate passes without a fresh proof.", low=1, high=720, default=24
    ),
)
AUTHENTICATION = values.group(
    "Device authentication",
    "How a device proves what it is, beside its user's credentials.",
    mode=values.described(
        _choice(*MODES),
        "Mode",
        "pass_through: by nothing. group_certificate: any certificate of the authorities. identity_certificate: one that "
        "names its user. trusted_front_end: the same, checked upstream and told in a header.",
        default="pass_through",
    ),
    authorities=values.described(
        values.PEM_KIND,
        "Authorities",
        "PEM of the roots, and of the authorities below them that issue devices' certificates.",
    ),
    issuers=values.described(
        values.PEM_KIND,
        "Issuers",
        "PEM of those that may have issued a device's certificate. Without it: any of the authorities.",
    ),
    mapping=values.several(
        _choice(*FIELDS),
        "Mapping",
        "The first of these that a certificate has names its user: SAN user principal name, SAN e-mail, common name, "
        "`certificates`.",
        least=1,
        most=len(FIELDS),
        default=["upn", "email"],
    ),
    certificates=values.named(
        NAME_KIND,
        values.group(
            "Certificate",
            "Whose one certificate is.",
            issuer=values.described(
                values.text_kind(_ISSUER.fullmatch, ISSUER), "Issuer", "Its issuer's name.", required=True
            ),
            serial=values.described(
                values.text_kind(_SERIAL.fullmatch, SERIAL), "Serial number", "Its number.", required=True
            ),
            user=values.line("User", "The user's name.", characters=320, forbidden=" ", required=True),
        ),
        "Certificates",
        "Certificates that name nobody, each by a name of your own.",
        most=CERTIFICATES,
        default={},
    ),
    header=values.described(
        values.text_kind(_HEADER.fullmatch, HEADER),
        "Header",
        "In which a front end tells of the certificate it has checked.",
    ),
    header_form=values.described(
        _choice(*FORMS),
        "Header's form",
        "certificate: base64 DER, or PEM. subject: its name (RFC 4514). xfcc: as Envoy writes it.",
        default="certificate",
    ),
    front_ends=values.several(
        values.NETWORK_KIND,
        "Front ends",
        "From where that header is believed; from elsewhere it is removed.",
        most=NETWORKS,
        default=[],
    ),
    revocation={**REVOCATION, "default": {}},
)
