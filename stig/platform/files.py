"""Who owns files, who may change them, and what must not lie anywhere."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from stig.commands import LIBRARIES, PROGRAMS
from stig.errors import FactError
from stig.facts import Facts
from stig.platform.proof import Proof, found_lines, listed
from stig.verdict import Point, Verdict

_LINE = re.compile(r"([0-7]{1,4}) (\S+) (\S+) ([a-zA-Z?]) (/.*)")
WRITABLE_BY_OTHERS = 0o022
WRITABLE_BY_ALL, STICKY = 0o002, 0o1000
SYSTEM_IDS = 1_000  # login.defs GID_MIN: the system's groups have lower numbers

# Programs that lend the rights of their owner or group, and why each stays; the role os_hardening takes the bit off the others.
LENDING = {
    "/usr/bin/sudo": "the automation account's way to root",
    "/usr/bin/su": "which PAM keeps to root",
    "/usr/sbin/unix_chkpwd": "by which PAM checks a password",
    "/usr/bin/ssh-agent": "so that no debugger reads its keys",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper": "which only the bus may start",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One file as `find` lists it; `kind` is `f`, `d` or `l`."""

    mode: int
    owner: str
    group: str
    kind: str
    path: str

    def __str__(self) -> str:
        return f"{self.path} {self.mode:04o} {self.owner}:{self.group}"


def parsed(lines: Iterable[str]) -> tuple[Listed, ...]:
    """The files of such a listing, in the order of their paths. `FactError` for a line that is none (a name with a line feed)."""
    found = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise FactError(f"a list of files: cannot read {line!r}")
        mode, owner, group, kind, path = match.groups()
        found.append(Listed(int(mode, 8), owner, group, kind, path))
    return tuple(sorted(found, key=lambda one: one.path))


def mode_points(command: str, files: Iterable[Listed], mode: int, owner: str, *groups: str) -> tuple[Point, ...]:
    """A point for each file: no permission beyond `mode`, this owner, and one of these groups (the owner's, where none is named).
    One point that is not met where there is no file at all."""
    allowed = groups or (owner,)
    expected = f"{mode:04o} or less, {owner}:{'|'.join(allowed)}"
    points = tuple(
        Point(
            command,
            str(one),
            expected,
            not one.mode & 0o7777 & ~mode and one.owner == owner and one.group in allowed,
        )
        for one in files
    )
    return points or (Point(command, "no such file", expected, met=False),)


# --- the system's programs and libraries ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """That nobody but the system can change a part of it: `kind` files or directories below `below` of which `wrong` is true."""

    rule: str
    kind: str
    below: tuple[str, ...]
    expected: str
    wrong: Callable[[Listed, frozenset[str]], bool]


def _writable(one: Listed, _groups: frozenset[str]) -> bool:
    return bool(one.mode & WRITABLE_BY_OTHERS)


def _owned(one: Listed, _groups: frozenset[str]) -> bool:
    return one.owner != "root"


def _grouped(one: Listed, groups: frozenset[str]) -> bool:
    return one.group not in groups


MODE, OWNER, GROUP = "mode 0755 or less", "owned by root", "of the group root, or another of the system"
KEPT = (
    Kept("SENTRY-OS-0601", "f", LIBRARIES, MODE, _writable),
    Kept("SENTRY-OS-0602", "f", LIBRARIES, OWNER, _owned),
    Kept("SENTRY-OS-0603", "f", LIBRARIES, GROUP, _grouped),
    Kept("SENTRY-OS-0604", "d", LIBRARIES, MODE, _writable),
    Kept("SENTRY-OS-0605", "d", LIBRARIES, OWNER, _owned),
    Kept("SENTRY-OS-0606", "d", LIBRARIES, GROUP, _grouped),
    Kept("SENTRY-OS-0607", "f", PROGRAMS, MODE, _writable),
    Kept("SENTRY-OS-0608", "f", PROGRAMS, OWNER, _owned),
    Kept("SENTRY-OS-0609", "f", PROGRAMS, GROUP, _grouped),
    Kept("SENTRY-OS-0610", "d", PROGRAMS, MODE, _writable),
    Kept("SENTRY-OS-0611", "d", PROGRAMS, OWNER, _owned),
    Kept("SENTRY-OS-0612", "d", PROGRAMS, GROUP, _grouped),
)


def kept(row: Kept, loose: Iterable[Listed], groups: frozenset[str]) -> Verdict:
    """None of what is not plainly root's is wrong in this respect. `groups` are the system's."""
    wrong = [
        str(one) for one in loose if one.kind == row.kind and one.path.startswith(row.below) and row.wrong(one, groups)
    ]
    what = "files" if row.kind == "f" else "directories"
    return Verdict((Point(f"find {' '.join(row.below)}: {what} not {row.expected}", listed(wrong), "none", not wrong),))


def system_groups(rows: Iterable[str]) -> frozenset[str]:
    """The groups with a number of the system's, in `getent group`."""
    found = [row.split(":") for row in rows]
    return frozenset(row[0] for row in found if row[2].isdigit() and int(row[2]) < SYSTEM_IDS)


def _kept(row: Kept, facts: Facts) -> Verdict:
    return kept(row, parsed(found_lines(facts, "loose")), system_groups(facts.lines("groups")))


# --- anywhere -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Odd:
    """What must not lie anywhere on the machine."""

    rule: str
    what: str
    wrong: Callable[[Listed], bool]


def _is_lending(one: Listed) -> bool:
    return one.kind == "f" and bool(one.mode & 0o6000) and one.path not in LENDING


ODD = (
    Odd(
        "SENTRY-OS-0613",
        "directories everybody writes to without a sticky bit",
        lambda one: one.kind == "d" and bool(one.mode & WRITABLE_BY_ALL) and not one.mode & STICKY,
    ),
    Odd(
        "SENTRY-OS-0614",
        "directories everybody writes to that are not the system's",
        lambda one: one.kind == "d" and bool(one.mode & WRITABLE_BY_ALL) and one.owner != "root",
    ),
    Odd(
        "SENTRY-OS-0615", "files everybody writes to", lambda one: one.kind == "f" and bool(one.mode & WRITABLE_BY_ALL)
    ),
    Odd("SENTRY-OS-0616", "files of a user who is not there", lambda one: one.owner.isdigit()),
    Odd("SENTRY-OS-0617", "files of a group that is not there", lambda one: one.group.isdigit()),
    Odd("SENTRY-OS-0618", f"programs that lend rights, but for {', '.join(LENDING)}", _is_lending),
    Odd(
        "SENTRY-OS-0619",
        "files that name hosts whose users are trusted",
        lambda one: re.search(r"/(\.[rs]hosts|s?hosts\.equiv)$", one.path) is not None,
    ),
)


def odd(row: Odd, files: Iterable[Listed]) -> Verdict:
    """None of these is there."""
    wrong = [str(one) for one in files if row.wrong(one)]
    return Verdict((Point(f"find /: {row.what}", listed(wrong), "none", not wrong),))


# --- files by name --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Named:
    """Files that may be no more open than this. `fact` lists them; `of` picks those the rule is about."""

    rule: str
    fact: str
    of: Callable[[Listed], bool]
    mode: int
    groups: tuple[str, ...] = ("root",)
    owner: str = "root"


def _is(*paths: str) -> Callable[[Listed], bool]:
    return lambda one: one.path in paths


def _below(folder: str, kind: str) -> Callable[[Listed], bool]:
    return lambda one: one.kind == kind and (one.path == folder or one.path.startswith(f"{folder}/"))


def _of_kind(kind: str) -> Callable[[Listed], bool]:
    return lambda one: one.kind == kind


def _is_of_the_audit(one: Listed) -> bool:
    return one.path.startswith("/etc/audit/") and one.path.endswith((".conf", ".rules"))


HASHES = ("root", "shadow")
_TOOLS = ("auditctl", "auditd", "augenrules", "aureport", "ausearch", "rsyslogd")
NAMED = (
    Named("SENTRY-OS-0621", "stated", _is("/etc/passwd", "/etc/passwd-", "/etc/group", "/etc/group-"), 0o644),
    Named("SENTRY-OS-0622", "stated", _is("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"), 0o640, HASHES),
    Named("SENTRY-OS-0623", "stated", _is("/etc/sudoers"), 0o440),
    Named("SENTRY-OS-0624", "stated", _is("/etc/security/opasswd"), 0o600),
    Named("SENTRY-OS-0625", "stated", _is("/usr/bin/journalctl"), 0o750, ("root", "systemd-journal")),
    Named("SENTRY-OS-0626", "stated", _is("/var/log"), 0o755, ("root", "adm", "syslog")),
    Named("SENTRY-OS-0627", "stated", _is("/var/log/syslog"), 0o640, ("adm",), "sentry-log"),
    Named("SENTRY-OS-0628", "journal", _of_kind("d"), 0o2750, ("systemd-journal",)),
    Named("SENTRY-OS-0629", "journal", _of_kind("f"), 0o640, ("systemd-journal",)),
    Named("SENTRY-OS-0431", "stated", _is_of_the_audit, 0o640),
    Named("SENTRY-OS-0432", "audit_logs", _of_kind("d"), 0o750, ("root", "adm")),
    Named("SENTRY-OS-0434", "stated", _is(*(f"/usr/sbin/{name}" for name in _TOOLS)), 0o755),
)  # fmt: skip


def named(row: Named, files: Iterable[Listed]) -> Verdict:
    """Each of them is its owner's and no more open than the rule says."""
    there = [one for one in files if row.of(one)]
    return Verdict(mode_points("find (mode, owner, group)", there, row.mode, row.owner, *row.groups))


LOGINS = (
    "/var/log/wtmp",
    "/var/log/wtmp.db",
    "/var/log/btmp",
    "/var/log/lastlog",
)  # which programs of users read; the rule of DISA leaves them out


def logs(files: Iterable[Listed]) -> Verdict:
    """No log is read by everybody, or written by anyone but its writer."""
    wrong = [str(one) for one in files if one.mode & 0o7777 & ~0o640 and one.path not in LOGINS]
    return Verdict((Point("find /var/log -type f: files more open than 0640", listed(wrong), "none", not wrong),))


def audit_logs(files: Iterable[Listed], group: str) -> Verdict:
    """The records of the kernel's audit are read by root, and by the group that auditd was told."""
    there = [one for one in files if one.kind == "f"]
    mode = 0o600 if group == "root" else 0o640
    wrong = [
        str(one)
        for one in there
        if one.mode & 0o7777 & ~mode or one.owner != "root" or one.group not in ("root", group)
    ]
    return Verdict(
        (
            Point("auditd.conf: log_group", group, "root or adm", group in ("root", "adm"), "configured"),
            Point(
                f"find /var/log/audit -type f: files more open than {mode:04o} root:{group}",
                listed(wrong),
                "none",
                not wrong,
            ),
        )
    )


def homes(files: Iterable[Listed], accounts: Mapping[str, str]) -> Verdict:
    """Each person's folder is there, theirs, and closed to everybody else. `accounts`: folder -> user."""
    there = {one.path: one for one in files}
    points = [
        Point(
            "getent passwd; find /home",
            str(there[path]) if path in there else f"{path} is missing",
            f"0750 or less, owned by {user}",
            path in there and not there[path].mode & 0o7777 & ~0o750 and there[path].owner == user,
        )
        for path, user in sorted(accounts.items())
    ]
    return Verdict(
        tuple(points) or (Point("getent passwd", "nobody has a folder", "no folder that others may enter", met=True),)
    )


def _homes(facts: Facts) -> Verdict:
    rows = [row.split(":") for row in facts.lines("accounts")]
    people = {
        row[5]: row[0]
        for row in rows
        if (row[2] == "0" or SYSTEM_IDS <= int(row[2]) < 65_534) and row[5].startswith(("/home/", "/root"))
    }
    return homes(parsed(found_lines(facts, "homes")), people)


def _audit_logs(facts: Facts) -> Verdict:
    settings = dict(line.replace(" ", "").split("=", 1) for line in facts.lines("auditd") if "=" in line)
    return audit_logs(parsed(found_lines(facts, "audit_logs")), settings.get("log_group", "root"))


def _odd(row: Odd, facts: Facts) -> Verdict:
    return odd(row, parsed(found_lines(facts, "odd")))


def _named(row: Named, facts: Facts) -> Verdict:
    return named(row, parsed(found_lines(facts, row.fact)))


PROOFS = (
    *(Proof(row.rule, partial(_kept, row)) for row in KEPT),
    *(Proof(row.rule, partial(_odd, row)) for row in ODD),
    *(Proof(row.rule, partial(_named, row)) for row in NAMED),
    Proof("SENTRY-OS-0630", lambda facts: logs(parsed(found_lines(facts, "logs")))),
    Proof("SENTRY-OS-0433", _audit_logs),
    Proof("SENTRY-OS-0109", _homes),
)
