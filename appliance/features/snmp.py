"""SNMP: who may read the machine's state, and who is told of it. Version 3 with authentication and privacy, nothing else.

snmpd reads the rendered file and, beside it, the one with the users' keys, which `snmp_users` keeps: passphrases
stay in the secret store, and keys are readable by snmpd alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.features import interfaces, snmp_users, values
from appliance.features.base import Feature, File, Flow, Problem, System, Tree, Unit
from appliance.features.snmp_users import ACCOUNT, AUTHENTICATION, FOLDER, INTERNAL, PRIVACY, USERS
from appliance.features.template import filled
from appliance.snmp.figures import ROOT

CONFIGURATION = f"{FOLDER}/snmpd.conf"
UNIT = snmp_users.UNIT
PORT, TRAP_PORT = 161, 162
LINK_SECONDS = 10  # how often snmpd looks at the interfaces for linkUp and linkDown; a look is a few system calls
MANAGERS, MOST_USERS, RECEIVERS = 16, 8, 8
TEXT_CHARACTERS = 255  # RFC 3418: sysContact and sysLocation
# 12 random characters of the keyboard are 78 bits, and RFC 3414 11.2 asks for 8; the key takes a million bytes of work each.
PASSPHRASE_LOW, PASSPHRASE_HIGH = 12, 128

OWN = f".{'.'.join(map(str, ROOT))}"
VIEW = (
    ("included", ".1.3.6.1.2.1.1", "system (RFC 3418)"),
    ("included", ".1.3.6.1.2.1.2", "interfaces (RFC 2863)"),
    ("included", ".1.3.6.1.2.1.11", "SNMP's own counters (RFC 3418)"),
    ("included", ".1.3.6.1.2.1.25", "the host's resources (RFC 2790)"),
    ("included", ".1.3.6.1.2.1.31", "more on interfaces (RFC 2863)"),
    ("included", ".1.3.6.1.6.3.10", "this engine (RFC 3411)"),
    ("included", OWN, "the product itself (docs/SENTRY-GATEWAY-MIB.txt)"),
    # The running programs' paths and arguments may tell what nobody should read here.
    ("excluded", ".1.3.6.1.2.1.25.4.2.1.4", "hrSWRunPath"),
    ("excluded", ".1.3.6.1.2.1.25.4.2.1.5", "hrSWRunParameters"),
)
"""What a user may read. Nothing may be written."""

PROTOCOL = "v3: V-251000 asks for authenticated SNMP, so v1 and v2c with their community strings are never served"
LEVEL = "authPriv: V-251000 asks for a keyed hash, and what is not encrypted is read on the way"
PASSPHRASE = f"{PASSPHRASE_LOW} to {PASSPHRASE_HIGH} printable ASCII characters"
NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter, and not sentry-..."
_NAME = re.compile(r"(?!sentry-)[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the view."""

    kind: str
    oid: str
    text: str


def is_passphrase(text: str) -> bool:
    """Whether `text` may be a passphrase (RFC 3414 11.2 asks for more than a word)."""
    return text.isascii() and text.isprintable() and PASSPHRASE_LOW <= len(text) <= PASSPHRASE_HIGH


def verify(tree: Tree) -> Iterable[Problem]:
    """Who is on has somebody to answer to; the two passphrases of a user differ; who gets traps, gets them as a user."""
    held = tree["snmp"]
    if held["enabled"]:
        yield from _verify_enabled(held)
    for name, user in sorted(held["users"].items()):
        # References, and the same for the same value: one passphrase that is guessed must not be both.
        if user["auth_passphrase"] == user["privacy_passphrase"]:
            yield Problem(f"snmp.users.{name}.privacy_passphrase", "the same as auth_passphrase", "another passphrase")
    for name, receiver in sorted(held["traps"].items()):
        if receiver["user"] not in held["users"]:
            known = ", ".join(sorted(held["users"])) or "a name of snmp.users"
            yield Problem(f"snmp.traps.{name}.user", repr(receiver["user"]), known)


def _verify_enabled(held: Mapping[str, Any]) -> Iterator[Problem]:
    if not held["users"]:
        yield Problem("snmp.users", "none", "at least one: without a user nobody is answered")
    if not held["managers"]:
        yield Problem("snmp.managers", "none", "at least one network: from nowhere else SNMP answers")


def render(tree: Tree) -> Mapping[str, File]:
    """snmpd's settings without a key; without the file it does not start."""
    held = tree["snmp"]
    if not held["enabled"]:
        return {}
    text = filled(
        "snmpd.conf.j2",
        snmp=held,
        hostname=tree["hostname"],
        listen=[_transport(address, PORT) for address in interfaces.listen_addresses(tree, ("management",))],
        view=[_Line(*line) for line in VIEW],
        users_file=USERS,
        link_seconds=LINK_SECONDS,
        internal=INTERNAL,
        own=OWN,
    )
    return {CONFIGURATION: File(text)}


def _transport(address: str, port: int) -> str:
    """An address as snmpd writes it (snmpd(8), LISTENING ADDRESSES)."""
    found = values.address_of(address)
    return f"udp6:[{address}]:{port}" if found is not None and found.version == 6 else f"udp:{address}:{port}"


def flows(tree: Tree) -> tuple[Flow, ...]:
    """161 from the managers in the management zone; traps to their receivers."""
    held = tree["snmp"]
    if not held["enabled"]:
        return ()
    asked = Flow("snmp", "in", "udp", PORT, "management", tuple(held["managers"]))
    places: dict[int, list[str]] = {}
    for receiver in held["traps"].values():
        places.setdefault(receiver["port"], []).append(receiver["address"])
    told = (
        Flow("snmp", "out", "udp", port, "management", tuple(sorted(set(found))), ACCOUNT)
        for port, found in sorted(places.items())
    )
    return (asked, *told)


def reconcile(tree: Tree, system: System) -> bool:
    """The users' keys are there before snmpd looks for them, and gone when it is off."""
    return snmp_users.ensure(tree, system)


def _passphrase(label: str, text: str) -> values.Rules:
    return values.described(values.text_kind(is_passphrase, PASSPHRASE, secret=True), label, text, required=True)


def _choice(words: Iterable[str], label: str, text: str, default: str) -> values.Rules:
    return values.described({"type": "string", "allowed": list(words)}, label, text, default=default)


USER = values.group(
    "User",
    "An SNMPv3 user (RFC 3414) who may read.",
    security_level=values.described(
        values.text_kind("authPriv".__eq__, LEVEL),
        "Security level",
        "authPriv, and no other.",
        default="authPriv",
    ),
    auth=_choice(AUTHENTICATION, "AUTH protocol", "The keyed hash (RFC 7860).", "sha-256"),
    auth_passphrase=_passphrase("AUTH passphrase", "What its key is made of."),
    privacy=_choice(
        PRIVACY, "Privacy protocol", "The cipher (RFC 3826; with 256 bits as all managers have it).", "aes-256"
    ),
    privacy_passphrase=_passphrase("Privacy passphrase", "Another one."),
)
RECEIVER = values.group(
    "Trap receiver",
    "A machine in the management zone that is told.",
    address=values.described(values.SERVER_ADDRESS_KIND, "Address", "Its address.", required=True),
    port=values.described(values.PORT_KIND, "Port", "Where it listens.", default=TRAP_PORT),
    user=values.described(
        values.text_kind(_NAME.fullmatch, NAME),
        "User",
        "One of the users: whose keys the trap is made with.",
        required=True,
    ),
)

FEATURE = Feature(
    name="snmp",
    label="SNMP",
    default={},
    schema=values.group(
        "SNMP",
        "Reading the machine's state, and traps: SNMPv3 only.",
        enabled=values.switch(
            "SNMP control", "Whether SNMP answers, to the managers and in the management zone.", default=False
        ),
        protocol=values.described(
            values.text_kind("v3".__eq__, PROTOCOL), "Protocol", "v3, and no other (V-251000).", default="v3"
        ),
        managers=values.several(
            values.NETWORK_KIND,
            "Managers",
            "From here, and from nowhere else, SNMP is asked.",
            most=MANAGERS,
            default=[],
        ),
        users=values.named(
            values.text_kind(_NAME.fullmatch, NAME), USER, "Users", "By name.", most=MOST_USERS, default={}
        ),
        traps=values.named(
            values.text_kind(_NAME.fullmatch, NAME),
            RECEIVER,
            "Trap receivers",
            "By a name of your own.",
            most=RECEIVERS,
            default={},
        ),
        link_traps=values.switch(
            "Link up/down trap", "Whether receivers hear of an interface that goes or comes.", default=True
        ),
        location=values.line(
            "Location", "Where the machine stands.", characters=TEXT_CHARACTERS, forbidden='"#\\', default=""
        ),
        contact=values.line("Contact", "Who looks after it.", characters=TEXT_CHARACTERS, forbidden='"#\\', default=""),
    ),
    verify=verify,
    render=render,
    flows=flows,
    reconcile=reconcile,
    units=(Unit(UNIT, "restart", (CONFIGURATION,)),),
    facts=("snmp",),
)
