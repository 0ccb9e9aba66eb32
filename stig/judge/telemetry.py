"""V-251002, V-251015 to V-251020, V-251030, V-251039: that the audit trail leaves the machine, and what its records say;
V-251000: who is answered by SNMP.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stig.judge.crypto import ENABLED
from stig.judge.upkeep import AUDIT_SOCKET, LOCAL, Logging
from stig.parse.rsyslog import DEFAULT
from stig.probe.snmp import Answer
from stig.verdict import Point, Verdict

AUDIT = "audit"  # the word for the audit trail among the facility types
SENT = ("connected", "catching up")  # a server's states in which lines reach it


class Server(msgspec.Struct, frozen=True):
    """A row of `show syslog`."""

    server: str
    address: str
    protocol: str
    kinds: str = msgspec.field(name="facility types")
    admin_state: str = msgspec.field(name="admin state")
    state: str
    waiting: str
    lost: str
    problem: str = msgspec.field(default="", name="last problem")

    @property
    def audited(self) -> bool:
        """Whether it is to get the audit trail."""
        return self.admin_state == "enabled" and AUDIT in self.kinds.split(", ")

    @property
    def words(self) -> str:
        """How evidence shows it."""
        why = f" ({self.problem})" if self.problem else ""
        return f"{self.server} at {self.address}/{self.protocol}: {self.state}{why}, {self.waiting} waiting, {self.lost} lost"


class Shown(msgspec.Struct, frozen=True):
    """`show syslog`, as JSON."""

    rows: tuple[Server, ...]


@dataclass(frozen=True, slots=True)
class Offload:
    """The log servers as the appliance shows them, and rsyslog's resolved configuration and connections."""

    servers: tuple[Server, ...]
    logging: Logging


def administrators(facts: Offload) -> Verdict:
    """V-251002: the administrators' audit trail is copied to another system."""
    return Verdict((*_sent(facts), _forwarded(facts.logging, "the administrators' audit trail", DEFAULT)))


def gateway(facts: Offload) -> Verdict:
    """V-251030: the gateway's audit trail is sent to a central log server."""
    return Verdict(
        (*_sent(facts), _forwarded(facts.logging, "the gateway's audit trail", _audit_ruleset(facts.logging)))
    )


def real_time(facts: Offload) -> Verdict:
    """V-251039: nothing waits on the way there."""
    late = [one for one in _audited(facts) if one.state != "connected" or one.waiting != "0"]
    return Verdict(
        (
            *_sent(facts),
            Point(
                "CLI: show syslog (waiting)",
                "; ".join(one.words for one in _audited(facts)) or "no server takes the audit trail",
                "every such server connected, and no line waiting for it",
                bool(_audited(facts)) and not late,
            ),
        ),
        reading=(
            "The rule wants records there within seconds; its check looks at the settings only. Here no record waits at the time "
            "of the scan; how long one is on its way is not timed."
        ),
    )


def _audited(facts: Offload) -> tuple[Server, ...]:
    return tuple(one for one in facts.servers if one.audited and not one.address.startswith(LOCAL))


def _sent(facts: Offload) -> tuple[Point, ...]:
    """A server is there with Audit ticked and enabled, and what is sent arrives."""
    servers = _audited(facts)
    shown = "; ".join(one.words for one in servers) or "no server takes the audit trail"
    lost = [one for one in servers if one.lost != "0"]
    return (
        Point(
            "CLI: show syslog (facility types, admin state)",
            ", ".join(one.server for one in servers) or "none",
            "a log server on another machine, enabled, with the facility type audit",
            bool(servers),
        ),
        Point(
            "CLI: show syslog (state)",
            shown,
            f"a server that is {' or '.join(SENT)}",
            facts.logging.active and any(one.state in SENT for one in servers),
        ),
        Point("CLI: show syslog (lost)", shown, "nothing lost", bool(servers) and not lost),
    )


def _audit_ruleset(logging: Logging) -> str | None:
    return next((one.ruleset for one in logging.inputs if one.socket == AUDIT_SOCKET), None)


def _forwarded(logging: Logging, what: str, ruleset: str | None) -> Point:
    away = [one for one in logging.forwards if one.ruleset == ruleset and not one.target.startswith(LOCAL)]
    found = ", ".join(f"{one.selector} to {one.target}:{one.port}/{one.protocol}" for one in away)
    return Point(
        f"rsyslogd -N1 -o: forwarding of {what}",
        found or "kept on this machine only",
        "sent to another machine",
        bool(away),
    )


# --- what the gateway's records say ------------------------------------------------------------------------------

Record = Mapping[str, Any]
_WHEN = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")
OF_A_REQUEST = ("request", "outcome", "refused")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one rule wants of each record that it is about."""

    words: str
    about: Callable[[Record], bool]
    holds: Callable[[Record], bool]


def _any(_record: Record) -> bool:
    return True


def _of_a_request(record: Record) -> bool:
    return record.get("event") in OF_A_REQUEST


WANTED: dict[str, Wanted] = {
    "V-251015": Wanted("the kind of event (event)", _any, lambda one: bool(one.get("event"))),
    "V-251016": Wanted("date and time (time)", _any, lambda one: _WHEN.fullmatch(str(one.get("time"))) is not None),
    "V-251017": Wanted("where it occurred (listener)", _of_a_request, lambda one: bool(one.get("listener"))),
    "V-251018": Wanted("where it came from (source)", _of_a_request, lambda one: bool(one.get("source"))),
    "V-251019": Wanted(
        "how it ended (action)",
        lambda one: one.get("event") in ("outcome", "refused"),
        lambda one: bool(one.get("action")),
    ),
    "V-251020": Wanted(
        "who it was (principal), of whoever was let through",
        lambda one: one.get("event") == "outcome" and one.get("action") == "allow" and bool(one.get("device_id")),
        lambda one: bool(one.get("principal")),
    ),
}


def records(lines: Iterable[str]) -> tuple[Record, ...]:
    """The records in the end of the trail; what is no JSON object is one without any field."""
    found: list[Record] = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.MsgspecError:
            found.append({})
    return tuple(found)


def about(rule: str, found: Iterable[Record]) -> tuple[Record, ...]:
    """Those of the records that `rule` is about."""
    return tuple(one for one in found if WANTED[rule].about(one))


def content(rule: str, facts: Offload, found: tuple[Record, ...]) -> Verdict:
    """The trail is sent away (which is all that the check itself asks), and its records say what the rule is about."""
    wanted, mine = WANTED[rule], about(rule, found)
    without = [one for one in mine if not wanted.holds(one)]
    shown = f"{len(mine)} records, {len(without)} without it" + (f", such as {without[0]}" if without else "")
    return Verdict(
        (
            *_sent(facts),
            Point(
                f"tail /var/log/sentry/audit.log: {wanted.words}",
                shown,
                "in every record of its kind",
                bool(mine) and not without,
            ),
        )
    )


# --- SNMP --------------------------------------------------------------------------------------------------------


class SnmpFacts(msgspec.Struct, frozen=True):
    """`show snmp`, as JSON."""

    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Snmp:
    """`show fips`; the appliance's trap receivers; the answers to a user at each security level, and to each older version."""

    shown: str
    receivers: tuple[str, ...]
    levels: Mapping[str, Answer]
    versions: Mapping[str, Answer]


def receivers(shown: SnmpFacts) -> tuple[str, ...]:
    """The trap receivers in `show snmp`."""
    return tuple(value for name, value in shown.facts.items() if name.startswith("traps to "))


def snmp(facts: Snmp) -> Verdict:
    """V-251000: FIPS mode, a receiver, and answers to authenticated and encrypted SNMPv3 alone."""
    right = facts.levels["authPriv"]
    points = [
        Point("CLI: show fips", facts.shown.partition("\n")[0], ENABLED, ENABLED in facts.shown),
        Point(
            "CLI: show snmp (traps to)",
            ", ".join(facts.receivers) or "none",
            "a trap receiver",
            bool(facts.receivers),
            "configured",
        ),
        Point("snmpget -v 3 -l authPriv", right.said or "silence", "an answer", right.answered),
    ]
    others = {f"-v 3 -l {level}": answer for level, answer in facts.levels.items() if level != "authPriv"}
    others |= {f"-v {version} -c public": answer for version, answer in facts.versions.items()}
    points += [
        Point(f"snmpget {how}", answer.said or "silence", "no answer", not answer.answered)
        for how, answer in others.items()
    ]
    return Verdict(tuple(points))
