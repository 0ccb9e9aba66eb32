"""What a Standalone Sentry's administrators can set and do, and where it is here: `python -m appliance.parity > docs/parity.md`.

A row names settings by their paths and commands by their syntax; everything else is derived. A setting is a command of CONFIG
mode and a key of Ansible's `appliance_config`, because both are made from the schema; a `show` is a topic of
`appliance_facts`. What is named and not there yet, and what is not here at all, carries its reason (`until`), and so does an
act that Ansible does not do (`by_hand`). A test holds each name against the schema and the grammar, and finds reasons that
are no longer true.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from appliance.cli import ios, table
from appliance.cli.settings_tree import schema
from appliance.config.paths import describe
from appliance.portal import places
from appliance.rest.operations import BY_NAME

ANY_NAME = "x"  # stands for a name of one's own in a path
MORE = " …"  # behind the first words of a command: whatever follows

# Why Ansible does not do what the command line does.
SESSION = "belongs to one person's session"
MOMENT = "an act of the moment, which a person decides on; what is to stay is a setting"
DANGER = "not to be repeated by a play that runs again"
LOOK = "a look at this moment, with an argument"
STEPS = "a dialogue; Ansible commits the whole tree at once"

# What of the command line is which operation of REST (`appliance.rest.operations`), beside settings and topics.
REST: dict[str, tuple[str, ...]] = {
    "show timeout": ("facts",),
    "show sentry device <id>": ("facts", "find_device"),
    "show sentry explain <id> <user>": ("explain",),
    "device register|allow|block|remove <id> <user>": ("device_action",),
    "device …": ("device_action", "flag_device", "device_policy"),
    "persist sentry devices": ("persist_devices",),
    "clear sentry redirects": ("clear_redirects",),
    "clear revocation": ("purge_revocation",),
    "debug sentry check-in": ("check_in",),
    "configure terminal": (
        "read_candidate",
        "replace_candidate",
        "merge_candidate",
        "set_setting",
        "delete_setting",
        "diff",
    ),
    "ping <host>": ("ping",),
    "traceroute <host>": ("trace",),
    "host <host>": ("lookup",),
    "clear arp-cache": ("clear_neighbours",),
    "reload": ("power",),
    "poweroff": ("power",),
    "setup": ("replace_config",),
    "service gateway|agent|uem|portal|tls-proxy|alerts|acme|offsite|directory start|stop|restart|status": ("service",),
    "service gateway quiesce|drain|resume": ("maintain",),
    "write": ("commit", "discard"),
    "clock set <time>": ("set_clock",),
    "enable secret": ("set_enable_secret",),
    "username <user> password": ("set_password",),
    "certificate …": ("request_certificate", "upload_certificate", "upload_pkcs12", "renew_certificate"),
    "alert test": ("test_alert",),
    "rollback <revision>": ("rollback", "confirm"),
    "show revisions": ("revisions",),
    "backup export": ("export_backup",),
    "backup export <backup>": ("export_backup",),
    "backup restore": ("restore_backup",),
    "support bundle": ("make_bundle",),
    "debug capture start …": ("start_capture",),
    "debug capture stop": ("stop_capture",),
    "download fetch <download>": ("fetch_download",),
    "download drop <download>": ("drop_download",),
    "backup send": ("send_backup",),
    "backup send <backup>": ("send_backup",),
    "uem enrol": ("enrol",),
    "token create <token> administrator|operator|auditor": ("create_token",),
    "token revoke <token>": ("revoke_token",),
    "show tokens": ("tokens", "session"),
    "show sentry statistics": ("metrics",),
    "stig scan": ("start_scan", "stig_report"),
    "show software": ("software",),
    "software update": ("upload_software", "update_software"),
    "software rollback": ("roll_back_software",),
}
SECRET = "the enable secret goes with the request that needs it (`Sentry-Enable-Secret`)"  # noqa: S105 - words about one
BY_TYPING = "a matter of typing"
NO_REST: dict[str, str] = {
    "privileged mode by a second secret": SECRET,
    "leave": "a request is a session of its own",
    "help on keys": "the document is at `/openapi.json` and `/docs`",
    "idle time of the session": "a request is a session of its own",
    "do a command of PRIVILEGED mode": BY_TYPING,
}
"""Rows that are no operation, and why."""

# Why something is not here.
NOT_OURS = "not a matter of this product"
SEALED = "the system is what was built and tested: nothing is installed into it, an update replaces it as a whole"
BROUGHT = "an update is brought by who has looked at it (`software update`, `playbooks/upgrade.yml`); the appliance fetches none"
NO_PROGRAM = "no way leads from the command line to another program or machine"
KERBEROS = "the gateway passes Negotiate on and holds no tickets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing an administrator can set or do."""

    what: str
    settings: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    until: str = ""
    by_hand: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows under a heading."""

    title: str
    rows: tuple[Row, ...]


PARTS: tuple[Part, ...] = (
    Part(
        "Command line: looking",
        (
            Row(what="version", commands=("show version",)),
            Row(what="the machine", commands=("show system", "show uptime")),
            Row(what="banner", commands=("show banner",)),
            Row(what="clock", commands=("show clock",)),
            Row(what="host name", commands=("show hostname",)),
            Row(what="interfaces", commands=("show interfaces",)),
            Row(what="neighbours (ARP)", commands=("show ip arp",)),
            Row(what="domain", commands=("show ip domain-name",)),
            Row(what="name servers", commands=("show ip name-server",)),
            Row(what="routes", commands=("show ip route",)),
            Row(what="static hosts", commands=("show statichost",)),
            Row(what="time servers", commands=("show ntp",)),
            Row(what="log", commands=("show log", "show log gateway")),
            Row(what="where logs go", commands=("show syslog",)),
            Row(what="processes", commands=("show processes",)),
            Row(what="memory", commands=("show memory",)),
            Row(what="services", commands=("show service",)),
            Row(what="sockets", commands=("show tcp", "show ports")),
            Row(what="idle times", commands=("show timeout",), by_hand=SESSION),
            Row(what="kernel parameters", commands=("show kparam",)),
            Row(what="access control lists", commands=("show acl",)),
            Row(what="networks of SSH, portal and gateway", commands=("show portalacl",)),
            Row(what="FIPS 140 mode, in any case of letters", commands=("show fips",)),
            Row(what="certificates and when they end", commands=("show certificates",)),
            Row(what="TLS versions of the management ports", commands=("show httpd protocol",)),
            Row(what="everything for support", commands=("show tech",)),
            Row(what="running configuration", commands=("show running-config", "show startup-config")),
            Row(what="where updates come from", until=BROUGHT),
        ),
    ),
    Part(
        "Command line: the gateway",
        (
            Row(what="settings as a flat list", commands=("show sentry config-properties",)),
            Row(what="those that match a word", commands=("show sentry config-properties <filter>",)),
            Row(what="device list", commands=("show sentry devices",)),
            Row(what="one device", commands=("show sentry device <id>",), by_hand=LOOK),
            Row(what="why a device gets through or not", commands=("show sentry explain <id> <user>",), by_hand=LOOK),
            Row(what="learned redirections", commands=("show sentry redirects",)),
            Row(what="connection to the UEM", commands=("show sentry connectivity", "show uem")),
            Row(what="whether the UEM's pushes are verified", commands=("show sentry emm-source-verify",)),
            Row(what="from where the UEM pushes", commands=("show sentry emm-ips",)),
            Row(what="statistics", commands=("show sentry statistics", "show gateway", "show agent")),
            Row(what="servers behind the gateway", commands=("show sentry servers",)),
            Row(what="system resources", commands=("show sentry system-resources",)),
            Row(what="Kerberos modules, tickets and checks", until=KERBEROS),
            Row(
                what="forget cached devices, all or one",
                commands=("device register|allow|block|remove <id> <user>",),
                by_hand=DANGER,
            ),
            Row(
                what="write the device list, or read it anew",
                commands=("persist sentry devices",),
                by_hand="each change is on the disk before it counts; the command only has the disk confirm it",
            ),
            Row(
                what="forget redirections",
                commands=("clear sentry redirects", "clear sentry redirects <id> <user>"),
                by_hand=MOMENT,
            ),
            Row(what="forget revocation lists", commands=("clear revocation",), by_hand=MOMENT),
            Row(what="check in with the UEM now", commands=("debug sentry check-in",), by_hand=MOMENT),
            Row(
                what="watchdog: the stacks and last lines of a service that hung, for a support bundle",
                commands=("show watchdog", "support bundle"),
            ),
            Row(what="wipe, block, allow a device", commands=("device …",), by_hand=DANGER),
        ),
    ),
    Part(
        "Command line: acts",
        (
            Row(what="privileged mode by a second secret", commands=("enable", "disable", "end"), by_hand=SESSION),
            Row(what="configuration mode", commands=("configure terminal",), by_hand=STEPS),
            Row(what="leave", commands=("exit", "logout"), by_hand=SESSION),
            Row(what="help on keys", commands=("help",), by_hand=SESSION),
            Row(what="ping", commands=("ping <host>",), by_hand=LOOK),
            Row(what="way to a host", commands=("traceroute <host>",), by_hand=LOOK),
            Row(what="DNS look-up", commands=("host <host>",), by_hand=LOOK),
            Row(what="idle time of the session", commands=("timeout <minutes>",), by_hand=SESSION),
            Row(what="connections to other machines (ssh, telnet)", until=NO_PROGRAM),
            Row(what="forget neighbours", commands=("clear arp-cache",), by_hand=MOMENT),
            Row(what="restart, asking for what was not saved", commands=("reload",), by_hand=DANGER),
            Row(what="turn off", commands=("poweroff",), by_hand=DANGER),
            Row(what="set-up wizard, again and again", commands=("setup",), by_hand=STEPS),
            Row(
                what="start, stop, restart services",
                commands=(
                    "service gateway|agent|uem|portal|tls-proxy|alerts|acme|offsite|directory start|stop|restart|status",
                ),
                by_hand=MOMENT,
            ),
            Row(
                what="stop the packet filter",
                until="it is never open: without rules nothing comes in or goes out (docs/architecture.md)",
            ),
            Row(
                what="take the gateway out of its balancers",
                commands=("service gateway quiesce|drain|resume",),
                by_hand=MOMENT,
            ),
            Row(what="save the configuration", commands=("write", "write memory"), by_hand=STEPS),
            Row(
                what="look for updates, update by itself",
                until=BROUGHT,
            ),
            Row(what="install packages, such as a hypervisor's tools", until=SEALED),
            Row(what="renew the boot loader's configuration", until=SEALED),
            Row(what="one run of the system's monitor", commands=("show tech",)),
            Row(what="clean databases and disks", until="every store has its bounds and cleans itself"),
            Row(what="app analytics, fail-over of the UEM", until=NOT_OURS),
        ),
    ),
    Part(
        "Command line: configuration",
        (
            Row(what="do a command of PRIVILEGED mode", commands=("do …",), by_hand=SESSION),
            Row(what="banner", settings=("banner.text",)),
            Row(what="host name", settings=("hostname",)),
            Row(what="clock by hand", commands=("clock set <time>",), by_hand="the clock is the time servers'"),
            Row(what="enable secret", commands=("enable secret",), settings=("cli.enable_secret_hash",)),
            Row(
                what="accounts and their passwords",
                commands=(
                    "password",
                    "username <user> password",
                    "username <user> role administrator|operator|auditor",
                ),
                settings=("users.accounts",),
            ),
            Row(what="name servers", commands=("ip name-server <address>",), settings=("dns.servers",)),
            Row(what="domain", commands=("ip domain-name <name>",), settings=("dns.search",)),
            Row(what="static hosts", commands=("statichost <name> <address>",), settings=("dns.static_hosts",)),
            Row(
                what="routes",
                commands=("ip route <network> <next>", "ip route <network> <next> <via>"),
                settings=("interfaces.NAME.routes", "interfaces.NAME.gateway"),
            ),
            Row(
                what="fixed neighbours", until="a neighbour is asked for; a fixed one breaks with the next network card"
            ),
            Row(what="time servers", settings=("ntp.servers",)),
            Row(what="networks of the portal", settings=("portal.networks",)),
            Row(
                what="kernel parameters",
                until="fixed with the system (`show kparam`): a free one is a way around the hardening",
            ),
            Row(what="syslog", settings=("syslog",)),
            Row(what="SNMP", settings=("snmp",)),
            Row(what="session timeout", settings=("cli.idle_minutes",)),
            Row(what="FIPS 140 mode", until="always on: there is no other mode to fall into"),
            Row(what="TLS versions and ciphers of the management ports", settings=("tls.management",)),
            Row(what="certificates of clients and of the portal", commands=("certificate …",), by_hand=STEPS),
            Row(what="turn HSTS off", until="the portal is never without it"),
            Row(what="licence, common-criteria mode", until="there is one mode, and it is the hardened one"),
            Row(what="automatic upgrades", until=BROUGHT),
        ),
    ),
    Part(
        "Command line: interfaces",
        (
            Row(
                what="an interface",
                settings=("interfaces.NAME.zones", "interfaces.NAME.mtu", "interfaces.NAME.description"),
            ),
            Row(
                what="address",
                commands=("ip address <address>", "ip address <address> <mask>", "no ip address"),
                settings=("interfaces.NAME.addresses", "interfaces.NAME.dhcp"),
            ),
            Row(what="shut down and up", commands=("shutdown", "no shutdown"), settings=("interfaces.NAME.enabled",)),
            Row(
                what="VLAN on an interface",
                commands=("interface vlan <vlan>", "physical interface <interface>"),
                settings=("interfaces.NAME.vlan.id", "interfaces.NAME.vlan.parent"),
            ),
        ),
    ),
    Part(
        "System manager: settings",
        (
            Row(
                what="management interface of its own",
                settings=("interfaces.NAME.zones", "firewall.management_networks"),
            ),
            Row(what="SSH sessions at once, tries, log-in time", settings=("ssh",)),
            Row(what="idle time of the portal", settings=("portal.idle_minutes",)),
            Row(what="portal: port, log-ins a minute", settings=("portal.port", "portal.login_attempts_per_minute")),
            Row(what="log-in text", settings=("banner.text",)),
            Row(what="syslog servers, facilities and levels", settings=("syslog.servers",)),
            Row(what="SNMP users and trap receivers", settings=("snmp",)),
            Row(what="mail server for alerts", settings=("email",), commands=("alert test",), by_hand=MOMENT),
            Row(what="alerts: whom, how often, which", settings=("alerts",)),
            Row(what="new devices while the UEM is away", settings=("uem.fail_mode",)),
            Row(what="TLS profiles: incoming, outgoing, UEM, management", settings=("tls",)),
            Row(what="TLS towards devices", settings=("tls.incoming",)),
            Row(what="TLS towards backends, and whose certificates count", settings=("backends.servers",)),
            Row(what="TLS towards the UEM, and whose certificates count", settings=("uem.authorities",)),
            Row(what="TLS towards an access service", until="this product has no access service"),
            Row(
                what="upload of logs",
                until="logs are sent as they come (`syslog.servers`); a copy afterwards proves nothing",
            ),
            Row(
                what="purge of data",
                until="logs turn by size and the device list has its bounds; nothing waits to be purged",
            ),
        ),
    ),
    Part(
        "System manager: security",
        (
            Row(what="local users: name, mail, EDIPI, role", settings=("users.accounts",)),
            Row(what="password policy", settings=("users.password_policy",)),
            Row(
                what="passwords without blanks or grave accents",
                until="every printable character is allowed: long pass phrases are to be had (SP 800-63B 3.1.1.2)",
            ),
            Row(
                what="password is not the user's name, and in no dictionary",
                settings=("users.password_policy",),
            ),
            Row(
                what="sign-in by certificate (CAC, PIV), mapped to EDIPI",
                settings=("portal.certificate_login",),
                commands=("show certificate-login",),
            ),
            Row(
                what="administrators of a directory (LDAP), by groups",
                settings=("directory",),
                commands=("show directory",),
            ),
            Row(
                what="certificates: own, requests, uploads, from an ACME server",
                settings=("certificates",),
                commands=("certificate …",),
                by_hand=STEPS,
            ),
            Row(what="networks and hosts", settings=("acl.networks",)),
            Row(what="network services", settings=("acl.services",)),
            Row(what="access control lists", settings=("acl.lists", "acl.default_action")),
            Row(what="portal ACL", settings=("portal.networks",)),
            Row(what="networks of devices", settings=("firewall.device_networks",)),
            Row(what="TLS of the portal; HSTS and the host check are always on", settings=("tls.management",)),
            Row(what="SAML", until="log-in is by password and second secret, or by key"),
        ),
    ),
    Part(
        "System manager: maintenance and troubleshooting",
        (
            Row(what="sessions and messages", commands=("show sessions", "show confirmation")),
            Row(what="accounts", commands=("show users",)),
            Row(
                what="backup of settings, secrets, keys and certificates, and the way back",
                commands=("backup export", "backup restore"),
                by_hand=MOMENT,
            ),
            Row(
                what="backups that the appliance makes by itself",
                settings=("backup.on_change", "backup.daily_at", "backup.keep", "backup.passphrase"),
                commands=("show backups", "backup export <backup>"),
            ),
            Row(
                what="copies of them on other machines (SFTP, S3)",
                settings=("backup.sftp", "backup.s3"),
                commands=("show backup-destinations", "show backup-key", "backup send", "backup send <backup>"),
            ),
            Row(
                what="tokens of the REST API",
                commands=("token create <token> administrator|operator|auditor", "token revoke <token>", "show tokens"),
                by_hand="a token is shown once, to the person who gives it out",
            ),
            Row(
                what="scan by the STIGs' rules, each night and now; what is open",
                commands=("show stig", "show stig open", "stig scan"),
                by_hand="`playbooks/scan.yml` scans a fleet from outside",
            ),
            Row(
                what="facts that a STIG scan judges by, for an assessor's account",
                commands=("show facts", "facts <fact>"),
                by_hand=LOOK,
            ),
            Row(what="numbers for a monitoring system", commands=("show sentry statistics",)),
            Row(
                what="kept configurations, return to one",
                commands=("show revisions", "rollback <revision>"),
                by_hand=DANGER,
            ),
            Row(
                what="export and import of the configuration",
                commands=("show running-config",),
            ),
            Row(
                what="software updates, and the way back",
                commands=("show software", "software update", "software rollback"),
                by_hand="`playbooks/upgrade.yml`, over REST",
            ),
            Row(what="log levels and export of logs", settings=("syslog.servers",)),
            Row(
                what="packet capture",
                commands=("debug capture start …", "debug capture stop", "show capture"),
                by_hand=MOMENT,
            ),
            Row(
                what="a bundle for support, without secrets",
                commands=("support bundle", "show downloads", "download fetch <download>", "download drop <download>"),
                by_hand=MOMENT,
            ),
            Row(what="service diagnosis", commands=("show sentry connectivity", "show service")),
        ),
    ),
    Part(
        "What the UEM decides there, and the site here",
        (
            Row(what="gateway: listeners, balancers, limits, device authentication, rules", settings=("gateway",)),
            Row(what="backends, domains, health checks, redirections", settings=("backends",)),
            Row(what="names of users", settings=("principals",)),
            Row(what="UEM: mode, place, enrolment, policies", settings=("uem",)),
            Row(what="enrol at the UEM", commands=("uem enrol", "uem renew"), by_hand="the token is for one use"),
        ),
    ),
)


# --- what is there ---------------------------------------------------------------------------------------------------


def path_of(setting: str) -> tuple[str, ...]:
    """The path of a setting as the schema takes it, names of one's own filled in."""
    return tuple(ANY_NAME if step == "NAME" else step for step in setting.split("."))


def has_setting(setting: str) -> bool:
    """Whether the schema has it."""
    return describe(schema(), path_of(setting)) is not None


@cache
def syntaxes() -> tuple[str, ...]:
    """Every command there is, as the reference writes it, without those for what must not be typed."""
    listed = [each.syntax for each in table.COMMANDS if "<secret>" not in each.syntax]
    behind = [f"no {each.syntax}" for each in ios.NO_COMMANDS]
    return tuple(plain(each) for each in (*listed, *behind, "interface vlan <vlan>", "do show version"))


def plain(syntax: str) -> str:
    """A syntax for people: `<action:start|stop>` as `start|stop`."""
    return " ".join(part.strip("<>").partition(":")[2] if ":" in part else part for part in syntax.split())


def commands_of(name: str) -> tuple[str, ...]:
    """The commands that a row's name stands for; none where there is none yet."""
    if name.endswith(MORE):
        return tuple(each for each in syntaxes() if each.startswith(f"{name.removesuffix(MORE)} "))
    return (name,) if name in syntaxes() else ()


@cache
def topics() -> dict[str, str]:
    """The topic behind each `show`."""
    return {f"show {words}": topic for words, topic, _help in table.TOPICS} | SHOWN_BY_HAND | CONFIGURATION


SHOWN_BY_HAND = {"show fips": "fips", "show certificates": "certificates"}
"""Topics whose commands do more than show them."""

CONFIGURATION = dict.fromkeys(("show running-config", "show startup-config"), "configuration")
"""What `appliance_facts` has besides topics."""


def missing(row: Row) -> tuple[str, ...]:
    """What the row names and is not there."""
    settings = (each for each in row.settings if not has_setting(each))
    return (*settings, *(each for each in row.commands if not commands_of(each)))


# --- the page --------------------------------------------------------------------------------------------------------


def cli_cell(row: Row) -> str:
    """How it is typed, or why it is not."""
    there = [f"`{each}`" for each in row.commands if commands_of(each)]
    there += [f"`{' '.join(each.split('.'))}`" for each in row.settings if has_setting(each)]
    return "; ".join(there) or row.until


def rest_cell(row: Row) -> str:
    """Which requests do it, or why none does."""
    keys = [each for each in row.settings if has_setting(each)]
    said = [f"`/config`: {', '.join(f'`{each}`' for each in keys)}"] if keys else []
    seen = dict.fromkeys(topics()[each] for each in row.commands if each in topics() and commands_of(each))
    if "configuration" in seen:
        said.append("`GET /config`")
    said += [f"`GET /facts/{topic}`" for topic in seen if topic not in ("configuration", "revisions")]
    names = dict.fromkeys(name for each in row.commands if commands_of(each) for name in REST.get(each, ()))
    said += [f"`{BY_NAME[name].method} {BY_NAME[name].path}`" for name in names]
    return "; ".join(dict.fromkeys(said)) or NO_REST.get(row.what, "") or row.until


def ansible_cell(row: Row) -> str:
    """How a play has it, or why it has not."""
    keys = [f"`{each}`" for each in row.settings if has_setting(each)]
    seen = dict.fromkeys(topics()[each] for each in row.commands if each in topics() and commands_of(each))
    said = [f"`appliance_config`: {', '.join(keys)}"] if keys else []
    if not row.by_hand and seen:
        said.append(f"`appliance_facts`: {', '.join(seen)}")
    return "; ".join(said) or row.by_hand or row.until


def portal_cell(row: Row) -> str:
    """On which page it is, or why it is on none."""
    commands = [(each, topics().get(each, "")) for each in row.commands if commands_of(each)]
    return places.cell((each for each in row.settings if has_setting(each)), commands, row.until)


HEAD = """\
# What is where

Made by `python -m appliance.parity > docs/parity.md`; do not edit.

Everything that administrators of a Standalone Sentry can set and do, by its command line and its system manager, and where it
is here. A setting is typed in CONFIG mode as it stands and is the same key in a site file and for Ansible
([configuration.md](configuration.md)); commands are listed in [cli.md](cli.md), the Ansible modules in
[ansible.md](ansible.md), the portal's pages in [portal.md](portal.md), and REST, whose places are below `/api/v1`, in
[rest.md](rest.md). Where there is nothing, the reason stands in its place.
"""


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for part in PARTS:
        rows = "".join(_row(row) for row in part.rows)
        yield f"## {part.title}\n\n| | command line | portal | REST | Ansible |\n|---|---|---|---|---|\n{rows}"


def _row(row: Row) -> str:
    cells = " | ".join(_cell(each) for each in (cli_cell(row), portal_cell(row), rest_cell(row), ansible_cell(row)))
    return f"| {row.what} | {cells} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
