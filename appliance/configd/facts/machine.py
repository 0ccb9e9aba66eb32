"""Topics about what the machine is made of and how much of it is in use."""

from collections.abc import Iterator

from appliance import __version__
from appliance.configd.api import Facts, Table
from appliance.configd.facts.context import Context, Topic

DISKS = ("df", "-P", "-k", "-l", "-x", "tmpfs", "-x", "devtmpfs", "-x", "overlay", "-x", "efivarfs")
UNITS = ("sentry-gateway", "sentry-agent", "sentry-uem", "sentry-configd", "sentry-portal", "sentry-tls-proxy")
USED = ("MemoryCurrent", "TasksCurrent", "CPUUsageNSec")
PARAMETERS = "/etc/sysctl.d/60-sentry.conf"
NANOSECONDS = 1_000_000_000
KIBIBYTE = 1_024
MEBIBYTE = 1_048_576


def _line(context: Context, path: str) -> str:
    return (context.system.read(path) or "unknown").strip()


def _memory(context: Context) -> dict[str, str]:
    text = context.system.read("/proc/meminfo") or ""
    return {name: value.strip() for name, _colon, value in (line.partition(":") for line in text.splitlines())}


def _processors(context: Context) -> str:
    found = [line for line in (context.system.read("/proc/cpuinfo") or "").splitlines() if line.startswith("processor")]
    return str(len(found)) if found else "unknown"


def system(context: Context, _argument: str) -> Facts:
    """The machine in a few lines: what an administrator reads out to support."""
    kind = context.attempt(["systemd-detect-virt"]).output.strip()
    seconds = (context.system.read("/proc/uptime") or "0").split()[0]
    return Facts(
        title="system",
        facts=(
            ("name", str(context.setting("hostname"))),
            ("Sentry", __version__),
            ("Debian", _line(context, "/etc/debian_version")),
            ("kernel", _line(context, "/proc/sys/kernel/osrelease")),
            ("machine", kind or "unknown"),
            ("processors", _processors(context)),
            ("memory", _memory(context).get("MemTotal", "unknown")),
            ("up (s)", seconds.partition(".")[0]),
            ("machine id", _line(context, "/etc/machine-id")),
        ),
    )


def resources(context: Context, _argument: str) -> Table:
    """Load, memory, disks, sockets and what each of our services uses."""
    load = " ".join(_line(context, "/proc/loadavg").split()[:3])
    memory = _memory(context)
    files = _line(context, "/proc/sys/fs/file-nr").split()
    found = [
        ("load", load, f"{_processors(context)} processors"),
        ("memory free", memory.get("MemAvailable", "unknown"), memory.get("MemTotal", "unknown")),
        ("swap free", memory.get("SwapFree", "unknown"), memory.get("SwapTotal", "unknown")),
        ("open files", files[0], files[-1]),
        *_sockets(context),
        *_disks(context),
        *_services(context),
    ]
    return Table(title="system resources", columns=("resource", "now", "of"), rows=tuple(found))


def _sockets(context: Context) -> Iterator[tuple[str, str, str]]:
    """proc(5), net/sockstat: `TCP: inuse 5 orphan 0 tw 1 alloc 7 mem 1`."""
    for table in ("/proc/net/sockstat", "/proc/net/sockstat6"):
        for line in (context.system.read(table) or "").splitlines():
            words = line.split()
            if words and words[0] in ("TCP:", "TCP6:") and len(words) > 2:
                yield f"{words[0][:-1]} sockets", words[2], ""


def _disks(context: Context) -> Iterator[tuple[str, str, str]]:
    """df(1), POSIX form: file system, blocks, used, free, capacity, mount point."""
    for line in context.attempt(list(DISKS)).output.splitlines()[1:]:
        words = line.split()
        if len(words) >= 6 and words[1].isdigit() and words[3].isdigit():
            free, whole = (int(one) // KIBIBYTE for one in (words[3], words[1]))
            yield f"disk {words[5]} free", f"{free} MiB", f"{whole} MiB"


def _services(context: Context) -> Iterator[tuple[str, str, str]]:
    units = [f"{name}.service" for name in UNITS]
    output = context.system.run(["systemctl", "show", f"--property=Id,{','.join(USED)}", "--", *units])
    for block in output.strip().split("\n\n"):
        unit = dict(line.partition("=")[::2] for line in block.splitlines())
        memory, tasks, time = (unit.get(name, "") for name in USED)
        if unit.get("Id") and memory.isdigit():
            spent = f"{int(time) // NANOSECONDS} s of processor" if time.isdigit() else ""
            yield unit["Id"], f"{int(memory) // MEBIBYTE} MiB, {tasks} tasks", spent


def kparam(context: Context, _argument: str) -> Table:
    """The kernel parameters that the appliance sets, and what the kernel has; in a container some are its host's."""
    rows = []
    for line in (context.system.read(PARAMETERS) or "").splitlines():
        name, _equals, wanted = (part.strip() for part in line.partition("="))
        if not name or name.startswith("#"):
            continue
        has = (context.system.read(f"/proc/sys/{name.replace('.', '/')}") or "not there").split()
        same = has == wanted.split()
        rows.append((name, wanted, " ".join(has), "yes" if same else "no"))
    return Table(
        title="kernel parameters", columns=("parameter", "set to", "the kernel has", "the same"), rows=tuple(rows)
    )


TOPICS = {
    "system": Topic("the machine", system),
    "system-resources": Topic("what of the machine is in use", resources),
    "kparam": Topic("kernel parameters", kparam),
}
