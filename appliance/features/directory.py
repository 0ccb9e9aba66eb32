"""The site's directory (LDAP), whose people administer the appliance by its groups; they come by the portal.

Accounts of the appliance stay what they are: the directory is never asked about a name that is one of theirs, and they log in
when it is away. The service that asks (`appliance.directory`) has what is set here in its one settings file.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from appliance import secret_file
from appliance.directory.settings import SETTINGS_PATH, Group, Server, Settings
from appliance.features import backends, dns, service_file, tls, values
from appliance.features.base import Feature, File, Flow, Problem, System, Tree, Unit
from appliance.features.users import ROLES

FILE = str(SETTINGS_PATH)
USER = "sentry-directory"
UNIT_NAME = "sentry-directory.service"
FOLDER = f"{tls.FOLDER}/directory"
PASSWORD = f"{FOLDER}/bind.secret"
# No backend's name has a dot in it, so no backend's anchors lie there.
TRUST = f"{backends.TRUST}/directory.server.pem"
SERVERS = 4  # each adds its time-out to a log-in while it is away
GROUPS = 16  # each is a question at a log-in
NETWORKS = 16
PORTS = {"ldaps": 636, "starttls": 389}
DN_CHARACTERS = 512
SESSION_HOURS = 8  # a working day: who was taken out of a group is out of the portal by then, however busy

NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter"
DN = f"a distinguished name (RFC 4514) such as OU=People,DC=example,DC=mil, of at most {DN_CHARACTERS} characters"
ACCOUNT = f"{DN}, or a user principal name such as sentry@example.mil"
ATTRIBUTE = (
    "the name of an attribute such as uid or sAMAccountName: up to 64 letters, digits and -, beginning with a letter"
)
SECRET = "one line of 1 to 512 printable characters"  # noqa: S105 - it says what a password may be
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_PRINCIPAL = re.compile(r"[A-Za-z0-9._-]{1,64}@[A-Za-z0-9.-]{1,255}")
_RDN = r"[A-Za-z][A-Za-z0-9-]*=(?:[^,+\"\\<>;=\x00-\x1f\x7f]|\\[,+\"\\<>;=# ]|\\[0-9A-Fa-f]{2})+"
_DN = re.compile(rf"{_RDN}(?:[,+] ?{_RDN})*")


def is_dn(text: str) -> bool:
    """Whether `text` is a distinguished name as RFC 4514 writes it, with names of attributes and without quotes."""
    return len(text) <= DN_CHARACTERS and text.isprintable() and _DN.fullmatch(text) is not None


def _is_account(text: str) -> bool:
    return is_dn(text) or _PRINCIPAL.fullmatch(text) is not None


def _is_secret(text: str) -> bool:
    return 1 <= len(text) <= 512 and text.isprintable()


def verify(tree: Tree) -> Iterable[Problem]:
    """What is needed to ask is there, and nothing is without effect."""
    held = tree["directory"]
    yield from tls.verify("directory.tls_versions", held["tls_versions"])
    if not held["servers"]:
        for name in ("base_dn", "bind_account", "bind_password", "ca_certificates", "groups"):
            if held.get(name):
                yield Problem(f"directory.{name}", "something", "nothing without directory.servers")
        return
    if "base_dn" not in held:
        yield Problem("directory.base_dn", "nothing", f"{DN}, because there are directory.servers")
    if not held["groups"]:
        yield Problem("directory.groups", "none", "at least one group with a role: others log in nobody")
    yield from _verify_bind(held)
    often = {
        name for name, times in Counter(group["dn"].lower() for group in held["groups"].values()).items() if times > 1
    }
    for name, group in sorted(held["groups"].items()):
        if group["dn"].lower() in often:
            yield Problem(
                f"directory.groups.{name}.dn", f"{group['dn']}, which another one has too", "every group once"
            )


def _verify_bind(held: Mapping[str, Any]) -> Iterator[Problem]:
    for name in ("bind_account", "bind_password"):
        if held["bind"] == "account" and name not in held:
            yield Problem(f"directory.{name}", "nothing", "bind_account and bind_password, because bind is account")
        if held["bind"] == "user" and name in held:
            yield Problem(f"directory.{name}", "something", "nothing, because bind is user")


def settings(tree: Tree) -> Settings | None:
    """The service's settings; decoded from what will be written, so that a wrong value is seen here. None without a server."""
    held = tree["directory"]
    if not held["servers"]:
        return None
    whole = Settings(
        servers=tuple(Server(host=one["host"], port=_port(held, one)) for one in _ordered(held["servers"])),
        security=held["security"],
        trust=TRUST if "ca_certificates" in held else backends.SYSTEM_TRUST,
        base=held["base_dn"],
        bind=held["bind"],
        account=held.get("bind_account", ""),
        password_path=PASSWORD if "bind_password" in held else "",
        user_attribute=held["user_attribute"],
        membership=held["membership"],
        groups=tuple(Group(dn=one["dn"], role=one["role"]) for one in _ranked(held["groups"])),
        timeout_seconds=held["timeout_seconds"],
        minimum=held["tls_versions"]["minimum"],
        maximum=held["tls_versions"]["maximum"],
    )
    return msgspec.json.decode(msgspec.json.encode(whole), type=Settings)


def _ordered(servers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """By priority; those of the same one by name."""
    return [servers[name] for name in sorted(servers, key=lambda name: (servers[name]["priority"], name))]


def _ranked(groups: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those whose role may do most first: who is in several has that one."""
    return [groups[name] for name in sorted(groups, key=lambda name: (ROLES.index(groups[name]["role"]), name))]


def _port(held: Mapping[str, Any], server: Mapping[str, Any]) -> int:
    return int(server.get("port", PORTS[held["security"]]))


def render(tree: Tree) -> Mapping[str, File]:
    """The settings file, without which the service does not run, and the anchors where the site says which."""
    made = settings(tree)
    if made is None:
        return {}
    files = {FILE: service_file.readable_by(USER, made)}
    if "ca_certificates" in tree["directory"]:
        files[TRUST] = File(tree["directory"]["ca_certificates"])
    return files


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The service's way to each server: into the listed networks, or to the static address of its name. A name that has neither
    may be anybody."""
    held = tree["directory"]
    return tuple(
        Flow(
            "directory",
            "out",
            "tcp",
            _port(held, one),
            None,
            tuple(held["networks"]) or dns.addresses_of(tree, one["host"]),
            USER,
        )
        for one in _ordered(held["servers"])
    )


def reconcile(tree: Tree, system: System) -> bool:
    """The password of the appliance's own account lies where the service reads it, for as long as there is one."""
    held: Any = tree["directory"]
    if "bind_password" not in held:
        return secret_file.remove(PASSWORD, system)
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", FOLDER])
    return secret_file.put(PASSWORD, system.secret(held["bind_password"]), USER, system)


def _choice(*words: str) -> dict[str, Any]:
    return {"type": "string", "allowed": list(words)}


_DN_KIND = values.text_kind(is_dn, DN)
_KEYS = values.text_kind(_NAME.fullmatch, NAME)

SERVERS_RULES = values.named(
    _KEYS,
    values.group(
        "Server",
        "One server of the directory.",
        host=values.described(
            values.HOST_KIND, "Host", "Its name or address; its certificate must be for it.", required=True
        ),
        port=values.described(
            values.PORT_KIND, "Port", "Where it listens. Without it: 636 with ldaps, 389 with starttls."
        ),
        priority=values.number("Priority", "The one with the least is asked first.", low=1, high=100, default=10),
    ),
    "Servers",
    "The directory's servers, by a name of your own; the next one is asked where one is away. Without any, nobody logs in by a"
    " directory.",
    most=SERVERS,
    default={},
)

GROUPS_RULES = values.named(
    _KEYS,
    values.group(
        "Group",
        "A group of the directory and what its members may do here. Who is in several has the role that may do most.",
        dn=values.described(_DN_KIND, "Distinguished name", "The group's entry.", required=True),
        role=values.described(
            _choice(*ROLES),
            "Role",
            "administrator: everything; operator: looks and acts on devices; auditor: looks.",
            required=True,
        ),
    ),
    "Groups",
    "Whose members log in, by a name of your own. Who is in none does not.",
    most=GROUPS,
    default={},
)

FEATURE = Feature(
    name="directory",
    label="Directory",
    default={},
    schema=values.group(
        "Directory",
        "The site's directory (LDAP), whose people log in to the portal by its groups. Accounts of the appliance log in whether"
        " it answers or not, and SSH takes those alone.",
        servers=SERVERS_RULES,
        security=values.described(
            _choice("ldaps", "starttls"),
            "Security",
            "ldaps: TLS from the first byte. starttls: TLS begins in the protocol, and without it nobody is asked.",
            default="ldaps",
        ),
        tls_versions={**tls.VERSIONS, "default": {}},
        ca_certificates=values.described(
            values.PEM_KIND,
            "CA certificates",
            "PEM of the authorities believed for the servers. Without it: the system's.",
        ),
        networks=values.several(
            values.NETWORK_KIND,
            "Networks",
            "In which the servers' addresses lie; the firewall lets questions out to these. Empty: to the static addresses of"
            " their names (`dns.static_hosts`), or to anybody where those have none.",
            most=NETWORKS,
            default=[],
        ),
        base_dn=values.described(_DN_KIND, "Base", "Below which people are looked for."),
        bind=values.described(
            _choice("account", "user"),
            "Bind",
            "account: people are looked up by the appliance's own account. user: as themselves, whose entries are right below the"
            " base.",
            default="account",
        ),
        bind_account=values.described(
            values.text_kind(_is_account, ACCOUNT), "Bind account", "The appliance's own account in the directory."
        ),
        bind_password=values.described(
            values.text_kind(_is_secret, SECRET, secret=True), "Bind password", "Of this account."
        ),
        user_attribute=values.described(
            values.text_kind(_ATTRIBUTE.fullmatch, ATTRIBUTE),
            "User attribute",
            "Which attribute of a person's entry is the name that is typed at log-in: uid, or Active Directory's sAMAccountName.",
            default="uid",
        ),
        membership=values.described(
            _choice("member", "uniqueMember", "nested"),
            "Membership",
            "Which attribute of a group has its members. nested: Active Directory's member, also by groups in groups.",
            default="member",
        ),
        groups=GROUPS_RULES,
        timeout_seconds=values.number(
            "Time-out (seconds)", "How long a server may take for each answer.", low=1, high=10, default=5
        ),
        session_hours=values.number(
            "Session length (hours)",
            "After which a person of the directory logs in again, however busy: so the directory is asked anew.",
            low=1,
            high=24,
            default=SESSION_HOURS,
        ),
    ),
    verify=verify,
    render=render,
    flows=flows,
    reconcile=reconcile,
    units=(Unit(UNIT_NAME, "restart", (FILE, TRUST)),),
    facts=("directory",),
)
