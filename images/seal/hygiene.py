"""What a finished image must not hold, as a table of rules; each reads the tree that was taken out of the very file that ships.

A rule gives the places that break it. Lists of what is allowed name everything: what a new package brings shows up here first.
"""

import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from images.seal import apparmor

Look = Callable[[Path], Iterator[str]]

SYSTEM_UIDS = 1000  # an account from here on is a person's
SHELLS = frozenset({"/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/bin/sync", "/usr/bin/false"})
SET_ID = frozenset(
    {
        "usr/bin/chage",
        "usr/bin/chfn",
        "usr/bin/chsh",
        "usr/bin/expiry",
        "usr/bin/gpasswd",
        "usr/bin/mount",
        "usr/bin/newgrp",
        "usr/bin/passwd",
        "usr/bin/ssh-agent",
        "usr/bin/su",
        "usr/bin/sudo",
        "usr/bin/umount",
        "usr/lib/dbus-1.0/dbus-daemon-launch-helper",
        "usr/lib/openssh/ssh-keysign",
        "usr/lib/polkit-1/polkit-agent-helper-1",
        "usr/sbin/unix_chkpwd",
    }
)
WRITABLE = frozenset({"tmp", "var/tmp", "run/lock", "dev/shm", "dev/mqueue"})  # and sticky
# Sockets that systemd listens on by itself; the programs' own are in the units that the scan reads on the running machine.
SOCKETS = frozenset({"dbus.socket", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket"})
TIMERS = frozenset(
    {
        "dailyaidecheck.timer",
        "dpkg-db-backup.timer",
        "e2scrub_all.timer",
        "fstrim.timer",
        "logrotate.timer",
        "systemd-tmpfiles-clean.timer",
    }
)
SECRET_BYTES = 65_536  # a key is small; larger files are programs and data

# Where an image may name a private key without holding one: programs that look for the words, and examples of packages.
_KEYS_NAMED = ("usr/lib/python3", "usr/share/doc", "usr/share/perl")
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}")
_HASH = re.compile(r"^[!*]*$")


@dataclass(frozen=True, slots=True)
class Rule:
    """What must not be there, and the look for it."""

    name: str
    look: Look


def breaches(tree: Path) -> list[str]:
    """A line for each place that breaks a rule, `rule: place`; empty for a clean image."""
    _walk.cache_clear()
    return [f"{rule.name}: {place}" for rule in RULES for place in sorted(rule.look(tree))]


@cache
def _walk(tree: Path) -> tuple[Path, ...]:
    return tuple(sorted(tree.rglob("*")))


def _name(path: Path, tree: Path) -> str:
    return str(path.relative_to(tree))


def _files(tree: Path) -> Iterator[Path]:
    return (path for path in _walk(tree) if path.is_file() and not path.is_symlink())


def _fields(tree: Path, name: str) -> Iterator[list[str]]:
    for line in (tree / "etc" / name).read_text(encoding="utf-8").splitlines():
        yield line.split(":")


def _globs(*patterns: str) -> Look:
    """Nothing of these names may be there."""

    def look(tree: Path) -> Iterator[str]:
        for pattern in patterns:
            yield from (_name(path, tree) for path in tree.glob(pattern))

    return look


def _private_keys(tree: Path) -> Iterator[str]:
    for path in _files(tree):
        name = _name(path, tree)
        small = path.stat().st_size <= SECRET_BYTES
        if small and not name.startswith(_KEYS_NAMED) and _PRIVATE_KEY.search(path.read_bytes()):
            yield name


def _passwords(tree: Path) -> Iterator[str]:
    for fields in _fields(tree, "shadow"):
        if not _HASH.match(fields[1]) or fields[1] == "":
            yield f"etc/shadow: {fields[0]} has a password, or needs none"
    for fields in _fields(tree, "gshadow"):
        if not _HASH.match(fields[1]):
            yield f"etc/gshadow: {fields[0]} has a password"


def _people(tree: Path) -> Iterator[str]:
    for name, _, uid, *_rest in _fields(tree, "passwd"):
        if int(uid) >= SYSTEM_UIDS and name != "nobody":
            yield f"etc/passwd: {name} ({uid})"


def _second_root(tree: Path) -> Iterator[str]:
    for name, _, uid, *_rest in _fields(tree, "passwd"):
        if int(uid) == 0 and name != "root":
            yield f"etc/passwd: {name}"


def _shells(tree: Path) -> Iterator[str]:
    for fields in _fields(tree, "passwd"):
        if fields[6] not in SHELLS:
            yield f"etc/passwd: {fields[0]} has the shell {fields[6] or '/bin/sh'}"


def _machine_id(tree: Path) -> Iterator[str]:
    if (tree / "etc/machine-id").read_bytes():
        yield "etc/machine-id"


def _set_id(tree: Path) -> Iterator[str]:
    for path in _files(tree):
        if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) and _name(path, tree) not in SET_ID:
            yield _name(path, tree)


def _writable(tree: Path) -> Iterator[str]:
    for path in _walk(tree):
        if path.is_symlink() or not path.stat().st_mode & stat.S_IWOTH:
            continue
        if _name(path, tree) not in WRITABLE or not path.stat().st_mode & stat.S_ISVTX:
            yield _name(path, tree)


def _enabled(kind: str, allowed: frozenset[str]) -> Look:
    """Units of this kind that something starts, and that are not allowed."""

    def look(tree: Path) -> Iterator[str]:
        for folder in ("etc/systemd/system", "usr/lib/systemd/system"):
            for path in (tree / folder).glob(f"*.wants/*.{kind}"):
                masked = tree / "etc/systemd/system" / path.name
                off = masked.is_symlink() and str(masked.readlink()) == "/dev/null"
                own = path.name.startswith(("systemd-", "sentry-"))
                if path.name not in allowed and not off and not own:
                    yield _name(path, tree)

    return look


def _below(*folders: str) -> Look:
    """No file may lie below these folders."""

    def look(tree: Path) -> Iterator[str]:
        for folder in folders:
            for path in (tree / folder).rglob("*") if (tree / folder).is_dir() else ():
                if path.is_symlink() or not path.is_dir():
                    yield _name(path, tree)

    return look


def _sudoers(tree: Path) -> Iterator[str]:
    text = (tree / "etc/sudoers").read_text(encoding="utf-8") if (tree / "etc/sudoers").is_file() else ""
    for line in text.splitlines():
        if re.search(r"=\s*\(|NOPASSWD|^@include|^#include", line) and not line.startswith("root "):
            yield f"etc/sudoers: {line}"


def _members(tree: Path) -> Iterator[str]:
    """systemd-sysusers would make, at the next start, whoever a line puts into a group."""
    for path in (tree / "etc/sysusers.d").glob("*.conf"):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] == ["m"] and not words[1].startswith("sentry-"):
                yield f"{_name(path, tree)}: {line}"


def _profiles(tree: Path) -> Iterator[str]:
    yield from (f"{apparmor.PROFILES}/{name}" for name in apparmor.idle(tree))


RULES = (
    Rule("SSH host key", _globs("etc/ssh/ssh_host_*")),
    Rule(
        "key that lets somebody in", _globs("**/authorized_keys", "**/authorized_keys2", "etc/ssh/authorized_keys.d/*")
    ),
    Rule("private key", _private_keys),
    Rule("password", _passwords),
    Rule("account of a person", _people),
    Rule("account to be made", _members),
    Rule("second root", _second_root),
    Rule("shell", _shells),
    Rule("right to become root", _sudoers),
    Rule("machine id", _machine_id),
    Rule(
        "machine's own state",
        _globs("var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "etc/ssl/fipsmodule.cnf"),
    ),
    Rule("log", _below("var/log")),
    Rule("history or leftover", _below("root", "home", "tmp", "var/tmp", "run")),
    Rule("cache of apt", _below("var/cache/apt", "var/lib/apt/lists")),
    Rule("cloud instance", _globs("var/lib/cloud/*", "var/lib/waagent/*")),
    Rule("state of Sentry", _below("var/lib/sentry")),
    Rule("backup of an account file", _globs("etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-")),
    Rule("core dump", _globs("core", "**/core.[0-9]*", "var/lib/systemd/coredump/*")),
    Rule("file with set-user-id or set-group-id", _set_id),
    Rule("place that everybody may write", _writable),
    Rule("socket that systemd listens on", _enabled("socket", SOCKETS)),
    Rule("timer", _enabled("timer", TIMERS)),
    Rule("AppArmor profile of no program", _profiles),
    Rule("trace of the builder", _globs("etc/**/*lab-*", "etc/**/builder*")),
)
