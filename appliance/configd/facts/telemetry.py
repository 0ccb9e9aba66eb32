"""Topics about what leaves the machine to be watched elsewhere: the log's way to its servers, and SNMP.

Of the log, what rsyslog counts itself (impstats) and what the kernel has of its connections: that a server is configured
says nothing of whether a line has ever reached it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.configd.api import Facts, Table
from appliance.configd.facts.context import Context, Topic, word
from appliance.features import snmp, snmp_users, syslog
from appliance.features.syslog import Server

STATISTICS_LINES = 400  # a set of counters has about forty
PROBLEM_LINES = 200
PROBLEM_CHARACTERS = 160  # of one; what is beyond repeats what came before
BEGIN, END = "BEGIN", "END"
COLUMNS = (
    "server", "address", "protocol", "facility types", "level", "admin state",
    "state", "waiting", "on disk", "lost", "last problem",
)  # fmt: skip
# What rsyslog says on the way to a reason and after one: what it lacks and does not need, that it tries, that it gave up.
_CONSEQUENCE = re.compile(
    r"^\S+ (Warning: (Certificate|Key) file|action '|omfwd: \[wrkr|SSL_ERROR_"
    r"|nsd_ossl: (TLS Connection|Information)|nsd_ossl:TLS session)"
)
_SOURCE = re.compile(r" *\[v\d[^]]*\]$")
_COUNTERS = re.compile(r"^[^{]*: (\{.*\}|BEGIN|END)$")


class Counters(msgspec.Struct, frozen=True):
    """One line of impstats, of which these are looked at (rsyslog's names for an action and for a queue)."""

    name: str = ""
    origin: str = ""
    size: int = 0
    lost: int = msgspec.field(default=0, name="discarded.full")
    spared: int = msgspec.field(default=0, name="discarded.nf")
    suspended: int = 0
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for one server, in memory and on disk, and what did not fit."""

    waiting: int = 0
    on_disk: int = 0
    lost: int = 0


def counters(text: str) -> tuple[Counters, ...]:
    """The newest complete set in impstats' file: `<date>: <record>` lines between BEGIN and END."""
    held: list[str] = []
    complete: list[str] = []
    for line in text.splitlines():
        found = _COUNTERS.fullmatch(line.strip())
        said = found[1] if found else ""
        if BEGIN in line and not said.startswith("{"):
            held = []
        elif END in line and not said.startswith("{"):
            complete, held = held, []
        elif said:
            held.append(said)
    return tuple(one for one in map(_counters, complete) if one is not None)


def _counters(record: str) -> Counters | None:
    try:
        return msgspec.json.decode(record, type=Counters)
    except msgspec.MsgspecError:  # a line that was cut; the next set is whole
        return None


def queue(name: str, listed: Iterable[Counters]) -> Queue | None:
    """The queue of the server `name`; None where rsyslog has none of that name."""
    by_name = {one.name: one for one in listed if one.origin == "core.queue"}
    memory, disk = by_name.get(f"{name} queue"), by_name.get(f"{name} queue[DA]")
    if memory is None:
        return None
    on_disk = disk.size if disk else 0
    lost = sum(one.lost + one.spared for one in (memory, disk) if one)
    return Queue(memory.size + on_disk, on_disk, lost)


def state(server: Server, held: Queue | None, *, connected: bool) -> str:
    """What becomes of the next line for `server`, in a word."""
    if not server.enabled:
        return "disabled"
    if held is None:
        return "not known yet"
    if server.transport == "udp":
        return "sent unseen"
    if not connected:
        return "away" if held.waiting else "nothing sent yet"
    return "catching up" if held.on_disk else "connected"


def problem(server: Server, listed: Iterable[Server], said: Iterable[str]) -> str:
    """The last reason rsyslog gave for not reaching `server`; empty where it gave none.

    Some of its lines name no server: they are about the one that was named last.
    """
    about, last = "", ""
    for line in said:
        about = next((one.name for one in listed if _is_named(one, line)), about)
        if about == server.name and not _CONSEQUENCE.search(line):
            last = line
    return _SOURCE.sub("", last)[:PROBLEM_CHARACTERS]


def _is_named(server: Server, line: str) -> bool:
    return any(
        name in line for name in (f"'{server.name}'", f"'{server.address}'", f" {server.address}:{server.port} ")
    )


def connections(listing: str) -> frozenset[int]:
    """The remote ports of rsyslogd's established connections, in what `ss -Htnp state established` prints."""
    rows = [line.split() for line in listing.splitlines() if '"rsyslogd"' in line]
    return frozenset(int(row[3].rpartition(":")[2]) for row in rows if len(row) > 3)


def log_servers(context: Context, _argument: str) -> Table:
    """The log servers: what each gets, how it is, what waits for it and what is lost."""
    listed = syslog.servers(context.tree) if context.setting("syslog", default=None) else ()
    found = counters(_tail(context, syslog.STATISTICS, STATISTICS_LINES))
    said = _tail(context, syslog.PROBLEMS, PROBLEM_LINES).splitlines()
    established = (
        connections(context.attempt(["ss", "-Htnp", "state", "established"]).output) if listed else frozenset()
    )
    rows = tuple(
        _row(server, queue(server.name, found), problem(server, listed, said), connected=server.port in established)
        for server in listed
    )
    return Table(title="log servers", columns=COLUMNS, rows=rows)


def _row(server: Server, held: Queue | None, why: str, *, connected: bool) -> tuple[str, ...]:
    now = state(server, held, connected=connected)
    shown = held or Queue()
    return (
        server.name,
        f"{server.address}:{server.port}",
        server.protocol,
        word(server.kinds),
        server.level,
        "enabled" if server.enabled else "disabled",
        now,
        str(shown.waiting),
        str(shown.on_disk),
        str(shown.lost),
        why if now not in ("connected", "disabled", "sent unseen") else "",
    )


def _tail(context: Context, path: str, lines: int) -> str:
    return context.attempt(["tail", "-n", str(lines), "--", path]).output


# --- SNMP --------------------------------------------------------------------------------------------------------


def snmp_agent(context: Context, _argument: str) -> Facts:
    """Whether SNMP answers, for whom, and where traps go; of users, what they are held to and never a key."""
    settings: Mapping[str, Any] = context.setting("snmp", default={})
    state = context.attempt(["systemctl", "is-active", snmp.UNIT]).output.strip() or "unknown"
    listing = context.attempt(["ss", "-Hlnup", f"sport = :{snmp.PORT}"]).output
    listening = [row.split()[3] for row in listing.splitlines() if len(row.split()) > 3]
    return Facts(
        title="snmp",
        facts=(
            ("SNMP", "enabled" if settings.get("enabled") else "disabled"),
            ("protocol", "v3 only; v1 and v2c are refused (V-251000)"),
            ("service", state),
            ("listens on", word(listening) or "nothing"),
            ("engine id", snmp_users.engine_id(context.system) or "none yet"),
            ("managers", word(settings.get("managers", ())) or "none"),
            *(
                (f"user {name}", f"authPriv, {one['auth']}, {one['privacy']}")
                for name, one in _named(settings, "users")
            ),
            *((f"traps to {name}", _receiver(one)) for name, one in _named(settings, "traps")),
            ("link up/down traps", word(bool(settings.get("link_traps")))),
        ),
    )


def _named(settings: Mapping[str, Any], group: str) -> list[tuple[str, Any]]:
    return sorted(settings.get(group, {}).items())


def _receiver(one: Mapping[str, Any]) -> str:
    return f"{one['address']}:{one['port']} as {one['user']}"


TOPICS = {
    "syslog": Topic("the log servers, how they are, and what waits for them", log_servers),
    "snmp": Topic("whether SNMP answers, for whom, and where traps go", snmp_agent),
}
