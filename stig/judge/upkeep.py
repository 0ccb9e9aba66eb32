"""V-250999, V-251006: the clock's sources, and where the audit trail goes."""

from collections.abc import Iterable
from dataclasses import dataclass

from stig.parse.rsyslog import DEFAULT, Forward, Input
from stig.verdict import Point, Verdict

SOURCES = 2  # V-250999: a primary and a secondary
AUDIT_SOCKET = "/run/sentry-audit/audit.sock"
STATES = {"*": "selected", "+": "combined", "-": "not combined", "?": "unreachable", "x": "false", "~": "too variable"}
LOCAL = ("127.", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Source:
    """One row of `chronyc -c sources`: kind (`^` server, `=` peer, `#` local clock), state and address."""

    kind: str
    state: str
    address: str


def sources(rows: Iterable[str]) -> tuple[Source, ...]:
    """The rows of `chronyc -n -c sources`."""
    fields = [row.split(",") for row in rows if row.count(",") >= 2]
    return tuple(Source(kind, state, address) for kind, state, address, *_rest in fields)


@dataclass(frozen=True, slots=True)
class Clock:
    """`running`: the daemon's own list, None when it does not answer. `container`: this kernel lets no guest set the clock,
    so the daemon cannot run here whatever is configured. `configured`: the servers chronyd resolves its files to."""

    running: tuple[Source, ...] | None
    container: bool
    configured: tuple[str, ...]


def servers(printed: Iterable[str]) -> tuple[str, ...]:
    """The time servers in what `chronyd -p` prints."""
    rows = [line.split() for line in printed]
    return tuple(row[1] for row in rows if len(row) > 1 and row[0] in ("server", "peer", "pool"))


def clock(facts: Clock) -> Verdict:
    """At least two different servers, in the running daemon; in a container, in its configuration."""
    wanted = f"at least {SOURCES} different servers"
    if facts.running is None and facts.container:
        found = facts.configured
        points = (
            Point(
                "chronyd -p (a container may not set the clock, so chronyd cannot run in it)",
                ", ".join(found) or "none",
                wanted,
                len(set(found)) >= SOURCES,
                "configured",
            ),
        )
    else:
        running = facts.running
        listed = ", ".join(f"{one.address} ({STATES.get(one.state, one.state)})" for one in running or ())
        different = {source.address for source in running or () if source.kind in "^="}
        shown = "chronyd does not answer" if running is None else listed or "none"
        points = (Point("chronyc -n -c sources", shown, wanted, len(different) >= SOURCES),)
    return Verdict(
        points,
        reading=(
            "The rule asks for a primary and a secondary server. Whether they are approved and lie in different regions is for a "
            "person; whether they answer at this moment is shown and not judged."
        ),
    )


@dataclass(frozen=True, slots=True)
class Logging:
    """rsyslog's forwards and inputs as resolved, whether it runs, and the established connections of rsyslogd
    (`address:port`)."""

    active: bool
    forwards: tuple[Forward, ...]
    inputs: tuple[Input, ...]
    connected: tuple[str, ...]


def central_log(facts: Logging) -> Verdict:
    """The daemon runs, and both the system's log and the audit socket's ruleset are forwarded to another machine."""
    audit = next((one.ruleset for one in facts.inputs if one.socket == AUDIT_SOCKET), None)
    away = tuple(one for one in facts.forwards if not one.target.startswith(LOCAL))
    points = [
        Point(
            "systemctl is-active rsyslog.service", "active" if facts.active else "not active", "active", facts.active
        ),
        _forwarded("the gateway's audit records", away, audit),
        _forwarded("the system's and the administrators' log", away, DEFAULT),
    ]
    for one in away:
        if one.protocol.startswith("tcp"):
            there = any(peer.endswith(f":{one.port}") for peer in facts.connected)
            points.append(
                Point(
                    "ss -Htnp state established: rsyslogd",
                    ", ".join(facts.connected) or "no connection",
                    f"a connection to {one.target}, port {one.port}",
                    there,
                )
            )
    return Verdict(tuple(points))


def _forwarded(what: str, away: tuple[Forward, ...], ruleset: str | None) -> Point:
    mine = [one for one in away if one.ruleset == ruleset]
    found = ", ".join(f"{one.selector} to {one.target}:{one.port}/{one.protocol}" for one in mine)
    return Point(
        f"rsyslogd -N1 -o: forwarding of {what}",
        "no input takes them" if ruleset is None else found or "kept on this machine only",
        "sent to a central log server (address and port)",
        bool(mine),
    )
