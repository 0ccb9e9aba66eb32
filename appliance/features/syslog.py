"""Log servers: what of the log leaves the machine, for whom and how. rsyslog sends it, to each server from a queue of its own.

`roles/sentry/files/rsyslog.conf` is the fixed part: it keeps everything in files here, whatever is set. What this feature
renders stands beside it and only adds ways out, so that a server that is away never costs a local line.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from appliance.features import backends, dns, interfaces, tls, values
from appliance.features.base import Check, Feature, File, Flow, Problem, Tree, Unit
from appliance.features.template import filled

CONFIGURATION = "/etc/rsyslog.d/50-sentry.conf"
AUDIT_RULES = "/etc/rsyslog.d/audit.rules"
STATISTICS = "/run/sentry-log/statistics"
PROBLEMS = "/run/sentry-log/problems"
SPOOL = "/var/spool/rsyslog"
UNIT = "rsyslog.service"
ACCOUNT = "sentry-log"

SERVERS = 4  # a pair, and one that is being moved to and from; each may fill its own part of /var
PORT = 6_514  # syslog over TLS (RFC 5425 4.1)
# A line of the trail has about 600 bytes: the default holds ten minutes of 700 requests a second, or a day of one of 5.
QUEUE_MIB, QUEUE_LOW, QUEUE_HIGH = 512, 16, 4_096
MEMORY_LINES = 10_000  # a burst that the disk takes a second for; 6 MB
# From here on lines go to disk, and until it holds so few again: what a power cut may take from a queue, though not from the
# files here. A server that is there keeps it shorter, so the disk is left alone.
DISK_FROM_LINES, DISK_UNTIL_LINES = 500, 100
CHECKPOINT_LINES = 100  # after a kill so many lines may come twice; none is lost
FILE_MIB = 8  # one file of a queue; it goes when it was sent
RETRY_SECONDS, RETRY_LONGEST_SECONDS = 5, 60  # a server that is back has its lines within a minute
STATISTICS_SECONDS = 10  # how old what `show syslog` says may be
CHAIN_CERTIFICATES = 5  # what public hierarchies have is three

Protocol = Literal["udp", "tcp", "tls"]
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""The severities of RFC 5424 table 2, by their numbers, in rsyslog's words."""
AUDIT = "audit"
KINDS = {
    AUDIT: "the gateway's and the administrators' audit trail, and the kernel's audit records",
    "auth": "log-ins and sudo",
    "health": "what the appliance's services and systemd say of themselves",
    "kernel": "the kernel, and what the packet filter logs",
    "system": "everything else",
}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter"


@dataclass(frozen=True, slots=True)
class Server:
    """One log server, with everything that follows from its settings filled in."""

    name: str
    address: str
    port: int
    protocol: Protocol
    zone: Any
    kinds: tuple[str, ...]
    level: str
    enabled: bool
    queue_mib: int
    peer: str
    anchors: str

    @property
    def tls(self) -> bool:
        """Whether lines go over TLS."""
        return self.protocol == "tls"

    @property
    def transport(self) -> Literal["udp", "tcp"]:
        """The protocol below."""
        return "udp" if self.protocol == "udp" else "tcp"

    @property
    def severity(self) -> int:
        """The highest number (RFC 5424 table 2) that is sent."""
        return LEVELS.index(self.level)

    @property
    def audited(self) -> bool:
        """Whether it gets the audit trail, which has no level: it goes whole or not at all."""
        return AUDIT in self.kinds

    @property
    def others(self) -> tuple[str, ...]:
        """The kinds beside the audit trail."""
        return tuple(kind for kind in KINDS if kind in self.kinds and kind != AUDIT)


def servers(tree: Tree) -> tuple[Server, ...]:
    """The log servers of `tree`, by name."""
    return tuple(_server(name, held) for name, held in sorted(tree["syslog"]["servers"].items()))


def _server(name: str, held: Mapping[str, Any]) -> Server:
    return Server(
        name=name,
        address=held["address"],
        port=held["port"],
        protocol=held["protocol"],
        zone=held["zone"],
        kinds=tuple(held["facilities"]),
        level=held["level"],
        enabled=held["enabled"],
        queue_mib=held["queue_mib"],
        peer=held.get("peer_name", held["address"]),
        anchors=held.get("ca_certificates", ""),
    )


def trust_path(name: str) -> str:
    """Where the anchors of a log server lie. No backend's name has a dot in it, so no backend's lie there."""
    return f"{backends.TRUST}/log.{name}.pem"


def verify(tree: Tree) -> Iterable[Problem]:
    """TLS has what it needs to know the server by; no setting is without effect; no server is there twice."""
    seen: dict[tuple[str, int, str], str] = {}
    for server in servers(tree):
        path = f"syslog.servers.{server.name}"
        yield from _verify_tls(path, server, tree["syslog"]["servers"][server.name])
        if not interfaces.in_zone(tree, server.zone):
            yield Problem(f"{path}.zone", f"{server.zone}, which no interface carries", "a zone of the interfaces")
        place = (server.address, server.port, server.transport)
        if place in seen:
            yield Problem(f"{path}.address", f"where {seen[place]} is already", "every server once")
        seen.setdefault(place, server.name)
    yield from tls.verify("syslog.tls", tree["syslog"]["tls"])


def _verify_tls(path: str, server: Server, held: Mapping[str, Any]) -> Iterator[Problem]:
    if not server.tls:
        for setting in ("ca_certificates", "peer_name"):
            if setting in held:
                yield Problem(
                    f"{path}.{setting}", "something", f"nothing: protocol {server.protocol} has no certificate"
                )
        return
    if not server.anchors:
        yield Problem(f"{path}.ca_certificates", "nothing", f"{values.PEM}: without anchors no server is believed")
    if values.address_of(server.peer) is not None:
        yield Problem(f"{path}.peer_name", "nothing", f"{values.NAME}, as it stands in the server's certificate")


def render(tree: Tree) -> Mapping[str, File]:
    """The ways out, the audit trail's rules for them, and whose certificates are believed. Without a server: nothing."""
    enabled = tuple(server for server in servers(tree) if server.enabled)
    if not enabled:
        return {}
    files = {CONFIGURATION: File(_configuration(tree, enabled))}
    audited = tuple(server for server in enabled if server.audited)
    if audited:
        files[AUDIT_RULES] = File(filled("rsyslog-audit.rules.j2", servers=audited))
    return files | {trust_path(server.name): File(server.anchors) for server in enabled if server.tls}


def _configuration(tree: Tree, enabled: tuple[Server, ...]) -> str:
    return filled(
        "rsyslog.conf.j2",
        servers=enabled,
        audited=[server for server in enabled if server.audited],
        hostname=tree["hostname"],
        versions=tree["syslog"]["tls"],
        trust_path=trust_path,
        spool=SPOOL,
        statistics=STATISTICS,
        statistics_seconds=STATISTICS_SECONDS,
        problems=PROBLEMS,
        memory_lines=MEMORY_LINES,
        disk_from=DISK_FROM_LINES,
        disk_until=DISK_UNTIL_LINES,
        checkpoint=CHECKPOINT_LINES,
        file_mib=FILE_MIB,
        retry=RETRY_SECONDS,
        retry_longest=RETRY_LONGEST_SECONDS,
        chain=CHAIN_CERTIFICATES,
    )


def flows(tree: Tree) -> tuple[Flow, ...]:
    """rsyslog's way to each server. A name that `dns.static_hosts` does not know may be anybody in the zone."""
    return tuple(
        Flow(
            "syslog",
            "out",
            server.transport,
            server.port,
            server.zone,
            dns.addresses_of(tree, server.address),
            ACCOUNT,
        )
        for server in servers(tree)
        if server.enabled
    )


SERVER = values.group(
    "Log server",
    "One machine that gets the log.",
    address=values.described(values.SERVER_KIND, "Server", "Its address, or its name.", required=True),
    port=values.described(values.PORT_KIND, "Port", "6514 is usual with TLS, 514 without.", default=PORT),
    protocol=values.described(
        {"type": "string", "allowed": ["tls", "tcp", "udp"]},
        "Protocol",
        "tls: nobody on the way reads or changes a line (RFC 5425). udp says nothing when a server is away: what is sent then is "
        "lost.",
        default="tls",
    ),
    zone=values.described(
        {"type": "string", "allowed": list(interfaces.ZONES)}, "Zone", "Where it is reached.", default="management"
    ),
    ca_certificates=values.described(
        values.PEM_KIND, "CA certificates", "PEM of the authorities believed for it. With tls only, and needed there."
    ),
    peer_name=values.described(
        values.NAME_KIND,
        "Name in its certificate",
        "The DNS name its certificate must have. With tls only; without it, the server's own name.",
    ),
    facilities=values.several(
        {"type": "string", "allowed": list(KINDS)},
        "Facility types",
        f"What it gets. {'; '.join(f'{kind}: {text}' for kind, text in KINDS.items())}. V-251002 and V-251006 ask for audit.",
        least=1,
        most=len(KINDS),
        default=list(KINDS),
    ),
    level=values.described(
        {"type": "string", "allowed": list(LEVELS)},
        "Level",
        "Lines of this severity and of graver ones are sent. The audit trail is always sent whole.",
        default="info",
    ),
    enabled=values.switch("Admin state", "Whether anything is sent to it.", default=True),
    queue_mib=values.number(
        "Disk queue (MiB)",
        "How much waits on the disk for a server that is away. What is beyond is lost for this server, though not in the files "
        "here; `show syslog` counts it.",
        low=QUEUE_LOW,
        high=QUEUE_HIGH,
        default=QUEUE_MIB,
    ),
)

FEATURE = Feature(
    name="syslog",
    label="Log servers",
    default={},
    schema=values.group(
        "Log servers",
        "Where the log goes beside the files of this machine.",
        servers=values.named(
            values.text_kind(_NAME.fullmatch, NAME),
            SERVER,
            "Servers",
            "By a name of your own.",
            most=SERVERS,
            default={},
        ),
        tls={**tls.VERSIONS, "default": {}},
    ),
    verify=verify,
    render=render,
    flows=flows,
    checks=(Check(("rsyslogd", "-N1", "-f", f"{{{CONFIGURATION}}}"), needs=(CONFIGURATION,)),),
    units=(Unit(UNIT, "restart", (CONFIGURATION, AUDIT_RULES, trust_path("*"))),),
    facts=("syslog",),
)
