"""What the kernel's audit writes down, and how it is kept.

The kernel's audit belongs to the host of a container: there the rules that would be loaded are all that can be seen.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from stig.facts import Facts
from stig.parse import rsyslog
from stig.parse.audit import ALL, AuditRule, option, rules
from stig.platform.proof import (
    Proof,
    Setting,
    Want,
    contained,
    exactly,
    found_lines,
    judged,
    needs_a_kernel,
    table,
    within,
)
from stig.verdict import Nature, Point, Verdict

PEOPLE = frozenset(("auid>=1000", "auid!=unset"))  # whoever logged in as a person, whatever they have become since
ARCHITECTURES = ("b64", "b32")
# An input of rsyslog's that reads what auditd writes (RainerScript names are of either case).
_READ = re.compile(r'(?i)input\([^)]*type="imfile"[^)]*file="/var/log/audit/audit\.log"')
WRITTEN, LOADED = "grep -rhs in /etc/audit/rules.d", "auditctl -l"


@dataclass(frozen=True, slots=True)
class Watched:
    """Access to a file, or to what is below a folder."""

    rule: str
    path: str
    access: str = "wa"

    @property
    def expected(self) -> tuple[str, ...]:
        """The rule that does it, as auditctl takes it."""
        return (f"-w {self.path} -p {self.access}",)

    def by(self, known: Iterable[AuditRule]) -> tuple[AuditRule | None, ...]:
        """The rule that does it; None: there is none."""
        return (next((one for one in known if self._holds(one)), None),)

    def _holds(self, one: AuditRule) -> bool:
        inside = self.path == one.path or self.path.startswith(f"{one.path.rstrip('/')}/")
        return (
            bool(one.path)
            and inside
            and frozenset(self.access) <= one.access
            and ALL in one.calls
            and one.filters <= PEOPLE
        )


@dataclass(frozen=True, slots=True)
class Called:
    """Calls of the kernel, by programs of both widths; once for each of `under`, which are filters such as `exit=-EPERM`."""

    rule: str
    calls: tuple[str, ...]
    under: tuple[tuple[str, ...], ...] = ((),)

    @property
    def expected(self) -> tuple[str, ...]:
        """The rules that do it."""
        return tuple(
            f"-a always,exit -F arch={arch} -S {call} {' '.join(under)}".rstrip()
            for call in self.calls
            for arch in ARCHITECTURES
            for under in self.under
        )

    def by(self, known: Iterable[AuditRule]) -> tuple[AuditRule | None, ...]:
        """The rule that does each of them."""
        held = tuple(known)
        return tuple(
            next((one for one in held if self._holds(one, call, arch, under)), None)
            for call in self.calls
            for arch in ARCHITECTURES
            for under in self.under
        )

    def _holds(self, one: AuditRule, call: str, arch: str, under: tuple[str, ...]) -> bool:
        asked = one.arch in ("", arch) and (call in one.calls or ALL in one.calls)
        return asked and not one.path and one.filters <= PEOPLE | frozenset(under)


FILES = (
    Watched("SENTRY-OS-0501", "/etc/passwd"),
    Watched("SENTRY-OS-0502", "/etc/group"),
    Watched("SENTRY-OS-0503", "/etc/shadow"),
    Watched("SENTRY-OS-0504", "/etc/gshadow"),
    Watched("SENTRY-OS-0505", "/etc/security/opasswd"),
    Watched("SENTRY-OS-0506", "/etc/sudoers"),
    Watched("SENTRY-OS-0507", "/etc/sudoers.d"),
    Watched("SENTRY-OS-0508", "/var/log/journal"),
    Watched("SENTRY-OS-0509", "/var/log/wtmp"),
    Watched("SENTRY-OS-0510", "/run/utmp"),
    Watched("SENTRY-OS-0511", "/var/log/btmp"),
    Watched("SENTRY-OS-0512", "/run/sentry-tally"),
    Watched("SENTRY-OS-0513", "/var/log/lastlog"),
    Watched("SENTRY-OS-0514", "/var/log/sudo.log"),
    Watched("SENTRY-OS-0515", "/etc/pam.d"),
    Watched("SENTRY-OS-0516", "/etc/ssh"),
    Watched("SENTRY-OS-0517", "/etc/audit"),
    Watched("SENTRY-OS-0518", "/etc/sentry"),
    Watched("SENTRY-OS-0519", "/usr/lib/sentry"),
)
COMMANDS = tuple(
    Watched(rule, path, "x")
    for rule, path in (
        ("SENTRY-OS-0531", "/usr/bin/su"),
        ("SENTRY-OS-0532", "/usr/bin/sudo"),
        ("SENTRY-OS-0533", "/usr/bin/sudoedit"),
        ("SENTRY-OS-0534", "/usr/bin/chfn"),
        ("SENTRY-OS-0535", "/usr/bin/chsh"),
        ("SENTRY-OS-0536", "/usr/bin/newgrp"),
        ("SENTRY-OS-0537", "/usr/bin/passwd"),
        ("SENTRY-OS-0538", "/usr/bin/gpasswd"),
        ("SENTRY-OS-0539", "/usr/bin/chage"),
        ("SENTRY-OS-0540", "/usr/sbin/usermod"),
        ("SENTRY-OS-0541", "/usr/bin/mount"),
        ("SENTRY-OS-0542", "/usr/bin/umount"),
        ("SENTRY-OS-0543", "/usr/bin/ssh-agent"),
        ("SENTRY-OS-0544", "/usr/lib/openssh/ssh-keysign"),
        ("SENTRY-OS-0545", "/usr/bin/chcon"),
        ("SENTRY-OS-0546", "/usr/bin/setfacl"),
        ("SENTRY-OS-0547", "/usr/bin/chacl"),
        ("SENTRY-OS-0548", "/usr/sbin/apparmor_parser"),
        ("SENTRY-OS-0549", "/usr/sbin/unix_update"),
        ("SENTRY-OS-0550", "/usr/sbin/pam_timestamp_check"),
        ("SENTRY-OS-0551", "/usr/bin/crontab"),
        ("SENTRY-OS-0552", "/usr/bin/kmod"),
        ("SENTRY-OS-0553", "/usr/sbin/modprobe"),
        ("SENTRY-OS-0554", "/usr/sbin/fdisk"),
    )
)
DENIED = (("exit=-EACCES",), ("exit=-EPERM",))
CALLS = (
    Called("SENTRY-OS-0561", ("execve",), (("uid!=euid", "euid=0"), ("gid!=egid", "egid=0"))),
    Called("SENTRY-OS-0562", ("chmod", "fchmod", "fchmodat")),
    Called("SENTRY-OS-0563", ("chown", "fchown", "fchownat", "lchown")),
    Called("SENTRY-OS-0564", ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr")),
    Called("SENTRY-OS-0565", ("unlink", "unlinkat", "rename", "renameat", "rmdir")),
    Called("SENTRY-OS-0566", ("creat", "open", "openat", "open_by_handle_at", "truncate", "ftruncate"), DENIED),
    Called("SENTRY-OS-0567", ("init_module", "finit_module")),
    Called("SENTRY-OS-0568", ("delete_module",)),
    Called("SENTRY-OS-0569", ("adjtimex", "settimeofday", "clock_settime")),
    Called("SENTRY-OS-0570", ("mount", "umount2")),
)

RECORDED: tuple[Watched | Called, ...] = (*FILES, *COMMANDS, *CALLS)


def recorded(asked: Watched | Called, written: Iterable[AuditRule], loaded: Iterable[AuditRule] | None) -> Verdict:
    """A rule writes it down: among those that are loaded at boot and, unless they are unknown (None), those the kernel has."""
    return Verdict(
        (
            *_points(asked, WRITTEN, written, "configured"),
            *(() if loaded is None else _points(asked, LOADED, loaded, "effective")),
        )
    )


def _points(asked: Watched | Called, command: str, known: Iterable[AuditRule], nature: Nature) -> tuple[Point, ...]:
    return tuple(
        Point(command, "no rule" if one is None else one.text, expected, one is not None, nature)
        for expected, one in zip(asked.expected, asked.by(known), strict=True)
    )


def _recorded(asked: Watched | Called, facts: Facts) -> Verdict:
    loaded = None if contained(facts) else rules(facts.lines("audit_loaded"))
    return recorded(asked, rules(found_lines(facts, "audit_rules")), loaded)


# --- the audit as a whole -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whole:
    """An option of the whole: its letter in the rules, its name in `auditctl -s`, and what it must be."""

    rule: str
    letter: str
    status: str
    want: Want


WHOLE = (
    Whole("SENTRY-OS-0403", "e", "enabled", exactly("2")),
    Whole("SENTRY-OS-0404", "b", "backlog_limit", within(8192)),
    Whole("SENTRY-OS-0405", "f", "failure", within(1, 2)),
)


def whole(row: Whole, written: str | None, running: str | None, *, shared: bool) -> Verdict:
    """So in the rules, and so in the kernel."""
    file = Point(
        f"{WRITTEN}: -{row.letter}", written or "not set", row.want.words, row.want.holds(written), "configured"
    )
    kernel = Point(f"auditctl -s: {row.status}", running or "not set", row.want.words, row.want.holds(running))
    return Verdict((file,) if shared else (file, kernel))


def _whole(row: Whole, facts: Facts) -> Verdict:
    shared = contained(facts)
    status = {} if shared else dict(line.split(None, 1) for line in facts.lines("audit_status") if " " in line)
    return whole(row, option(found_lines(facts, "audit_rules"), row.letter), status.get(row.status), shared=shared)


# --- the daemon that keeps the records ------------------------------------------------------------------------------


def _share(least: int) -> Want:
    """So many percent of the disk, or more."""

    def holds(found: str | None) -> bool:
        number = (found or "").removesuffix("%")
        return (found or "").endswith("%") and number.isdigit() and int(number) >= least

    return Want(f"at least {least}%", holds)


TELLING = exactly("SYSLOG", "EMAIL", "EXEC", "SINGLE", "HALT")
DAEMON = (
    Setting("SENTRY-OS-0411", "local_events", exactly("yes")),
    Setting("SENTRY-OS-0412", "write_logs", exactly("yes")),
    Setting("SENTRY-OS-0413", "log_format", exactly("ENRICHED")),
    Setting("SENTRY-OS-0414", "name_format", exactly("HOSTNAME", "FQD", "NUMERIC")),
    Setting("SENTRY-OS-0415", "flush", exactly("INCREMENTAL_ASYNC", "INCREMENTAL", "DATA", "SYNC")),
    Setting("SENTRY-OS-0415", "freq", within(1, 100)),
    Setting("SENTRY-OS-0416", "max_log_file_action", exactly("ROTATE")),
    Setting("SENTRY-OS-0416", "max_log_file", within(8)),
    Setting("SENTRY-OS-0416", "num_logs", within(5, 999)),
    Setting("SENTRY-OS-0417", "space_left", _share(25)),
    Setting("SENTRY-OS-0418", "space_left_action", TELLING),
    Setting("SENTRY-OS-0419", "admin_space_left", _share(5)),
    Setting("SENTRY-OS-0419", "admin_space_left_action", TELLING),
    Setting("SENTRY-OS-0420", "disk_full_action", TELLING),
    Setting("SENTRY-OS-0421", "disk_error_action", TELLING),
)


def daemon(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    """What auditd reads when it starts."""
    values = dict(line.replace(" ", "").split("=", 1) for line in facts.lines("auditd") if "=" in line)
    return Verdict(judged(rows, "cat /etc/audit/auditd.conf", values, "configured"))


def sent_on(lines: Iterable[str], rsyslog_text: str) -> Verdict:
    """What auditd keeps goes to rsyslog too, by a plugin of auditd's or because rsyslog reads its file; it sends it on to where
    the site keeps its records."""
    rows = (line.partition(":") for line in lines)
    active = {path.rpartition("/")[2] for path, _, text in rows if text.replace(" ", "") == "active=yes"}
    told = sorted(active & {"syslog.conf", "au-remote.conf"})
    away = rsyslog.forwards(rsyslog_text)
    told += ["rsyslog reads audit.log"] if away and _READ.search(rsyslog.uncommented(rsyslog_text)) else []
    command = "grep -rs ^active /etc/audit/plugins.d; rsyslogd -N1 -o: inputs"
    expected = "syslog.conf, au-remote.conf, or rsyslog reads audit.log and forwards"
    return Verdict((Point(command, ", ".join(told) or "neither", expected, bool(told), "configured"),))


def own_file_system(facts: Facts) -> Verdict:
    """A week of records has a place of its own, which nothing else can fill."""
    needs_a_kernel(facts, "its file systems are")
    there = any(line.split()[1] == "/var/log/audit" for line in facts.lines("mounts"))
    return Verdict(
        (
            Point(
                "cat /proc/1/mounts: /var/log/audit",
                "a file system of its own" if there else "a folder among others",
                "a file system of its own",
                there,
            ),
        )
    )


PROOFS = (
    *(Proof(row.rule, partial(_recorded, row)) for row in RECORDED),
    *(Proof(row.rule, partial(_whole, row)) for row in WHOLE),
    *table(DAEMON, daemon),
    Proof("SENTRY-OS-0422", lambda facts: sent_on(found_lines(facts, "audit_plugins"), facts.text("rsyslog"))),
    Proof("SENTRY-OS-0423", own_file_system),
)
