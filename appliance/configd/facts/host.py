"""Topics about the machine itself."""

import datetime

from appliance import __version__
from appliance.apply import stamp
from appliance.configd.api import Facts, Table, Text
from appliance.configd.clock import followed
from appliance.configd.facts.context import LINES, Context, Topic, tail

SERVICES = (
    "sentry-gateway.service",
    "sentry-agent.service",
    "sentry-uem.service",
    "sentry-configd.service",
    "sentry-portal.service",
    "sentry-tls-proxy.service",
    "sentry-alerts.service",
    "sentry-acme.service",
    "sentry-offsite.service",
    "sentry-directory.service",
    "ssh.service",
    "chrony.service",
    "nftables.service",
    "rsyslog.service",
    "snmpd.service",
)
MEMORY = ("MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "SwapFree")
BANNER = "/etc/sentry/banner.txt"


def _line(context: Context, path: str) -> str:
    return (context.system.read(path) or "unknown").strip()


def version(context: Context, _argument: str) -> Facts:
    """What runs here."""
    listed = (
        ("Sentry", __version__),
        ("Debian", _line(context, "/etc/debian_version")),
        ("kernel", _line(context, "/proc/sys/kernel/osrelease")),
        ("OpenSSL", context.system.run(["openssl", "version"]).strip()),
        ("configuration", f"revision {context.running.number}" if context.running else "none yet"),
    )
    return Facts(title="version", facts=listed)


def hostname(context: Context, _argument: str) -> Facts:
    """The kernel's name and the configured one."""
    names = (
        ("host name", _line(context, "/proc/sys/kernel/hostname")),
        ("configured", str(context.setting("hostname"))),
    )
    return Facts(title="hostname", facts=names)


def clock(context: Context, _argument: str) -> Facts:
    """The time and whether it is kept by NTP."""
    server = followed(context.attempt)
    source = f"yes, {server[0]} (stratum {server[1]})" if server else "no"
    return Facts(title="clock", facts=(("time", stamp(context.now)), ("synchronised", source)))


def uptime(context: Context, _argument: str) -> Facts:
    """How long the machine runs, and its load."""
    seconds = float(_line(context, "/proc/uptime").split()[0])
    load = " ".join(_line(context, "/proc/loadavg").split()[:3])
    running = str(datetime.timedelta(seconds=int(seconds)))
    return Facts(title="uptime", facts=(("up", running), ("since", stamp(context.now - seconds)), ("load", load)))


def banner(context: Context, _argument: str) -> Text:
    """The log-in banner."""
    return Text(title="banner", lines=tail(context.system.read(BANNER) or "no banner is configured"))


def memory(context: Context, _argument: str) -> Facts:
    """The kernel's account of memory."""
    fields = dict(line.partition(":")[::2] for line in _line(context, "/proc/meminfo").splitlines())
    return Facts(title="memory", facts=tuple((name, fields[name].strip()) for name in MEMORY if name in fields))


def processes(context: Context, _argument: str) -> Table:
    """The largest processes; by name only, because arguments may tell what nobody should read here."""
    output = context.system.run(["ps", "-eo", "pid,user:32,rss,etime,comm", "--sort=-rss", "--no-headers"])
    found = tuple(tuple(line.split(None, 4)) for line in output.splitlines()[:LINES])
    return Table(title="processes", columns=("pid", "user", "memory (KiB)", "running", "program"), rows=found)


def services(context: Context, _argument: str) -> Table:
    """Our units and those we depend on."""
    wanted = "--property=Id,ActiveState,SubState,UnitFileState,NRestarts"
    blocks = context.system.run(["systemctl", "show", wanted, "--", *SERVICES]).strip().split("\n\n")
    units = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    found = tuple(
        (
            unit.get("Id", ""),
            unit.get("ActiveState", ""),
            unit.get("SubState", ""),
            unit.get("UnitFileState", ""),
            unit.get("NRestarts", ""),
        )
        for unit in units
    )
    return Table(title="services", columns=("unit", "state", "detail", "at boot", "restarts"), rows=found)


TOPICS = {
    "version": Topic("what runs here", version),
    "hostname": Topic("the host name", hostname),
    "clock": Topic("the time", clock),
    "uptime": Topic("how long the machine runs", uptime),
    "banner": Topic("the log-in banner", banner),
    "memory": Topic("memory in use", memory),
    "processes": Topic("the largest processes", processes),
    "services": Topic("the services and their state", services),
}
