"""The kernel's parameters, the modules it must not load, core dumps, and what a keyboard can do to the machine."""

import re
from collections.abc import Iterable, Mapping
from functools import partial

from stig.facts import Facts
from stig.parse import words
from stig.platform.proof import (
    Proof,
    Setting,
    contained,
    exactly,
    found_lines,
    judged,
    listed,
    needs_a_kernel,
    table,
    within,
)
from stig.verdict import Nature, Point, Verdict

OWN = (
    "net.ipv4.",
    "net.ipv6.",
)  # a container with a network of its own has these for itself, and no others (sysctl(2))

HIDDEN = "net.core.bpf_jit_harden"  # the kernel shows it to whoever has CAP_SYS_ADMIN, and to no other

OFF, ON = exactly("0"), exactly("1")
PARAMETERS = (
    Setting("SENTRY-OS-0701", "kernel.dmesg_restrict", ON),
    Setting("SENTRY-OS-0702", "kernel.kptr_restrict", within(1, 2)),
    Setting("SENTRY-OS-0703", "kernel.kexec_load_disabled", ON),
    Setting("SENTRY-OS-0704", "kernel.perf_event_paranoid", within(2, 4)),
    Setting("SENTRY-OS-0705", "kernel.randomize_va_space", exactly("2")),
    Setting("SENTRY-OS-0706", "kernel.unprivileged_bpf_disabled", within(1, 2)),
    Setting("SENTRY-OS-0707", "kernel.yama.ptrace_scope", within(1, 3)),
    Setting("SENTRY-OS-0708", HIDDEN, exactly("2")),
    Setting("SENTRY-OS-0709", "fs.protected_hardlinks", ON),
    Setting("SENTRY-OS-0710", "fs.protected_symlinks", ON),
    Setting("SENTRY-OS-0711", "kernel.core_pattern", exactly("|/bin/false")),
    Setting("SENTRY-OS-0712", "fs.suid_dumpable", OFF),
    Setting("SENTRY-OS-0713", "kernel.sysrq", OFF),
    Setting("SENTRY-OS-0801", "net.ipv4.tcp_syncookies", ON),
    Setting("SENTRY-OS-0802", "net.ipv4.conf.all.accept_redirects", OFF),
    Setting("SENTRY-OS-0803", "net.ipv4.conf.default.accept_redirects", OFF),
    Setting("SENTRY-OS-0804", "net.ipv4.conf.all.accept_source_route", OFF),
    Setting("SENTRY-OS-0805", "net.ipv4.conf.default.accept_source_route", OFF),
    Setting("SENTRY-OS-0806", "net.ipv4.conf.all.log_martians", ON),
    Setting("SENTRY-OS-0807", "net.ipv4.conf.default.log_martians", ON),
    Setting("SENTRY-OS-0808", "net.ipv4.conf.all.rp_filter", ON),
    Setting("SENTRY-OS-0809", "net.ipv4.conf.default.rp_filter", ON),
    Setting("SENTRY-OS-0810", "net.ipv4.conf.all.send_redirects", OFF),
    Setting("SENTRY-OS-0811", "net.ipv4.conf.default.send_redirects", OFF),
    Setting("SENTRY-OS-0812", "net.ipv4.icmp_echo_ignore_broadcasts", ON),
    Setting("SENTRY-OS-0813", "net.ipv4.icmp_ignore_bogus_error_responses", ON),
    Setting("SENTRY-OS-0814", "net.ipv4.ip_forward", OFF),
    Setting("SENTRY-OS-0815", "net.ipv6.conf.all.accept_ra", OFF),
    Setting("SENTRY-OS-0816", "net.ipv6.conf.default.accept_ra", OFF),
    Setting("SENTRY-OS-0817", "net.ipv6.conf.all.accept_redirects", OFF),
    Setting("SENTRY-OS-0818", "net.ipv6.conf.default.accept_redirects", OFF),
    Setting("SENTRY-OS-0819", "net.ipv6.conf.all.accept_source_route", OFF),
    Setting("SENTRY-OS-0820", "net.ipv6.conf.default.accept_source_route", OFF),
    Setting("SENTRY-OS-0821", "net.ipv6.conf.all.forwarding", OFF),
)

MODULES = {
    "SENTRY-OS-0721": ("usb-storage",),
    "SENTRY-OS-0722": ("bluetooth",),
    "SENTRY-OS-0723": ("atm",),
    "SENTRY-OS-0724": ("can",),
    "SENTRY-OS-0725": ("firewire-core",),
    "SENTRY-OS-0726": ("sctp",),
    "SENTRY-OS-0727": ("tipc",),
    "SENTRY-OS-0728": ("cramfs",),
    "SENTRY-OS-0729": ("dccp", "rds", "freevxfs", "hfs", "hfsplus", "jffs2", "udf"),
}
REFUSED = ("/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true")


def parameters(
    rows: tuple[Setting, ...], running: Mapping[str, str], written: Mapping[str, str], *, shared: bool
) -> Verdict:
    """What runs and what the next boot will set; of a kernel that is shared (`shared`) only the latter is the machine's own."""
    points = judged(rows, "systemd-analyze cat-config sysctl.d", written, "configured")
    own = [row for row in rows if not shared or row.name.startswith(OWN)]
    return Verdict((*judged(own, "sysctl -a", running), *points))


def modules(names: Iterable[str], written: Iterable[str], loaded: Iterable[str], *, shared: bool) -> Verdict:
    """None of the modules can be loaded on request, and none is loaded."""
    rows = [line.split() for line in written]
    refused = {
        one[1].replace("_", "-") for one in rows if one[:1] == ["install"] and tuple(one[2:3]) and one[2] in REFUSED
    }
    there = {line.split()[0].replace("_", "-") for line in loaded}
    points: list[Point] = []
    for name in names:
        known = name in refused
        wanted = f"install {name} {REFUSED[0]}"
        points.append(
            Point(
                f"grep -rhs in modprobe.d: {name}", wanted if known else "loads on request", wanted, known, "configured"
            )
        )
        if not shared:
            points.append(
                Point(
                    f"/proc/modules: {name}",
                    "loaded" if name in there else "not loaded",
                    "not loaded",
                    name not in there,
                )
            )
    return Verdict(tuple(points))


def _written(facts: Facts) -> dict[str, str]:
    found = words.assignments(facts.text("sysctl_files").splitlines())
    return {name.removeprefix("-").replace("/", "."): value for name, value in found.items()}


def _running(facts: Facts) -> dict[str, str]:
    rows = (line.partition(" = ") for line in facts.answer("sysctl").output.splitlines())
    found = {name: " ".join(value.split()) for name, equals, value in rows if equals}
    if HIDDEN not in found and not contained(facts):
        found.update((HIDDEN, line) for line in found_lines(facts, "bpf_jit_harden")[:1])
    return found


def _parameters(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    return parameters(rows, _running(facts), _written(facts), shared=contained(facts))


def _modules(names: tuple[str, ...], facts: Facts) -> Verdict:
    return modules(names, found_lines(facts, "module_files"), found_lines(facts, "modules"), shared=contained(facts))


# --- core dumps, the keyboard, memory -------------------------------------------------------------------------------

MANAGER = (
    Setting("SENTRY-OS-0731", "DefaultLimitCORE", OFF),
    Setting("SENTRY-OS-0733", "CtrlAltDelBurstAction", exactly("none")),
)


def manager(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    """What systemd itself was told."""
    values = dict(line.split("=", 1) for line in facts.lines("manager") if "=" in line)
    return Verdict(judged(rows, "systemctl show", values))


def core_limit(facts: Facts) -> Verdict:
    """Nobody's programs leave a core dump: PAM sets a hard limit of zero for everybody, and nothing lifts it for anybody."""
    rows = [line.split("#", 1)[0].split() for line in found_lines(facts, "limits")]
    core = [row for row in rows if len(row) == 4 and row[2] == "core"]
    general = any(row[0] == "*" and row[1] in ("hard", "-") and row[3] == "0" for row in core)
    lifted = [" ".join(row) for row in core if row[3] != "0"]
    found = listed(" ".join(row) for row in core)
    return Verdict(
        (
            Point(
                "grep -rhs in limits.conf and limits.d: core",
                found,
                "* hard core 0, and no other",
                general and not lifted,
            ),
        )
    )


def no_execute(facts: Facts) -> Verdict:
    """The processor can keep data from being run, and says so."""
    flags = facts.text("processor").partition(":")[2].split()
    return Verdict(
        (Point("grep flags /proc/cpuinfo: nx", "there" if "nx" in flags else "missing", "there", "nx" in flags),)
    )


ARGUMENTS = {
    "SENTRY-OS-1201": (("audit", "1"),),
    "SENTRY-OS-1202": (("audit_backlog_limit", "8192"),),
    "SENTRY-OS-1203": (("vsyscall", "none"),),
    "SENTRY-OS-1204": (("init_on_free", "1"),),
}


def arguments(wanted: Iterable[tuple[str, str]], facts: Facts) -> Verdict:
    """What the kernel was started with."""
    needs_a_kernel(facts, "its kernel's arguments are")
    given = dict(word.partition("=")[::2] for word in facts.text("kernel_arguments").split())
    nature: Nature = "effective"
    return Verdict(
        tuple(
            Point(f"/proc/cmdline: {name}", given.get(name, "not given"), value, given.get(name) == value, nature)
            for name, value in wanted
        )
    )


_GUARDS = re.compile(r"set superusers|password").match


def boot_password(facts: Facts) -> Verdict:
    """Whoever stands at the console cannot change how the machine starts, be the menu in /boot or on an image's ESP."""
    needs_a_kernel(facts, "its boot loader is")
    rows = found_lines(facts, "boot_loader") or tuple(filter(_GUARDS, found_lines(facts, "boot_menu")))
    named = any(row.startswith("set superusers") for row in rows)
    hashed = any(row.startswith("password_pbkdf2") for row in rows)
    found = listed(row.split()[0] if row.startswith("password") else row for row in rows)
    return Verdict(
        (Point("grub.cfg: superusers and password", found, "set superusers, and password_pbkdf2", named and hashed),)
    )


PROOFS = (
    *table(PARAMETERS, _parameters),
    *(Proof(rule, partial(_modules, names)) for rule, names in MODULES.items()),
    *table(MANAGER, manager),
    Proof("SENTRY-OS-0732", core_limit),
    Proof("SENTRY-OS-0734", no_execute),
    *(Proof(rule, partial(arguments, wanted)) for rule, wanted in ARGUMENTS.items()),
    Proof("SENTRY-OS-1205", boot_password),
)
