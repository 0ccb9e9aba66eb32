"""The mail server by which alerts go out: SMTP over TLS, its certificate checked strictly; without TLS there is no mail.

`alerts` renders what is set here into the alert service's one settings file.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from appliance import secret_file
from appliance.features import backends, dns, tls, values
from appliance.features.base import Feature, File, Flow, Problem, System, Tree

USER = "sentry-alerts"
UNIT = "sentry-alerts.service"
PORT = 587  # RFC 6409; TLS from the first byte has 465 (RFC 8314)
FOLDER = f"{tls.FOLDER}/alerts"
PASSWORD = f"{FOLDER}/smtp.secret"
# No backend's name has a dot in it, so no backend's anchors lie there.
TRUST = f"{backends.TRUST}/email.server.pem"
NETWORKS = 16

ADDRESS = "a mail address such as isso@example.com, of ASCII characters"
ACCOUNT = "an account's name of 1 to 254 printable ASCII characters without blanks"
SECRET = "one line of 1 to 512 printable ASCII characters"  # noqa: S105 - it says what a password may be
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*")
_ACCOUNT = re.compile(r"[!-~]{1,254}")
_SECRET = re.compile(r"[ -~]{1,512}")


def is_mail_address(text: str) -> bool:
    """Whether `text` is a mail address whose local part needs no quotes (RFC 5321 4.1.2), of at most 254 characters."""
    local, at, domain = text.rpartition("@")
    fits = len(text) <= 254 and len(local) <= 64
    return bool(at) and fits and _LOCAL.fullmatch(local) is not None and values.is_dns_name(domain)


ADDRESS_KIND = values.text_kind(is_mail_address, ADDRESS)


def verify(tree: Tree) -> Iterable[Problem]:
    """A server has a sender, an account a password, and nothing is without effect."""
    held = tree["email"]
    there = "server" in held
    for name in ("from", "account", "password", "ca_certificates"):
        if name in held and not there:
            yield Problem(f"email.{name}", "something", "nothing without email.server")
    if there and "from" not in held:
        yield Problem("email.from", "nothing", f"{ADDRESS}, because there is email.server")
    if ("account" in held) != ("password" in held):
        missing = "password" if "account" in held else "account"
        yield Problem(f"email.{missing}", "nothing", "both account and password, or neither")
    yield from tls.verify("email.tls_versions", held["tls_versions"])


def render(tree: Tree) -> Mapping[str, File]:
    """The authorities that are believed for the mail server, where the site says which."""
    held = tree["email"]
    return {TRUST: File(held["ca_certificates"])} if "ca_certificates" in held else {}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The alert service's way to the mail server: into the listed networks, or to the static address of its name. A name that has
    neither may be anybody."""
    held = tree["email"]
    if "server" not in held:
        return ()
    peers = tuple(held["networks"]) or dns.addresses_of(tree, held["server"])
    return (Flow("email", "out", "tcp", held["port"], None, peers, USER),)


def reconcile(tree: Tree, system: System) -> bool:
    """The password lies where the alert service reads it, for as long as there is one; it is read for each mail."""
    held: Any = tree["email"]
    if "password" not in held:
        return secret_file.remove(PASSWORD, system)
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", FOLDER])
    return secret_file.put(PASSWORD, system.secret(held["password"]), USER, system)


FEATURE = Feature(
    name="email",
    label="Mail server",
    default={},
    schema=values.group(
        "Mail server",
        "By which alerts go out. `alert test` tries it.",
        server=values.described(
            values.HOST_KIND, "Server", "Name or address; its certificate must be for it. Without it there is no mail."
        ),
        port=values.described(
            values.PORT_KIND, "Port", "Where it takes mail: usually 587 with starttls, 465 with tls.", default=PORT
        ),
        security=values.described(
            {"type": "string", "allowed": ["starttls", "tls"]},
            "Security",
            "starttls: TLS begins after the greeting, and without it nothing is sent. tls: from the first byte.",
            default="starttls",
        ),
        tls_versions={**tls.VERSIONS, "default": {}},
        ca_certificates=values.described(
            values.PEM_KIND, "CA certificates", "PEM of the authorities believed for it. Without it: the system's."
        ),
        networks=values.several(
            values.NETWORK_KIND,
            "Networks",
            "In which its addresses lie; the firewall lets mail out to these. Empty: to the static address of its name"
            " (`dns.static_hosts`), or to anybody where that has none.",
            most=NETWORKS,
            default=[],
        ),
        **{"from": values.described(ADDRESS_KIND, "From", "The sender of alerts.")},
        account=values.described(
            values.text_kind(_ACCOUNT.fullmatch, ACCOUNT), "Account", "As whom to log in, where the server asks for it."
        ),
        password=values.described(
            values.text_kind(_SECRET.fullmatch, SECRET, secret=True), "Password", "Of this account."
        ),
    ),
    verify=verify,
    render=render,
    flows=flows,
    reconcile=reconcile,
)
