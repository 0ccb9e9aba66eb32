"""Rules of the kernel's audit, as auditctl(8) takes and lists them."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from stig.errors import FactError

ALL = "all"
UNSET = ("auid!=unset", "auid!=-1", "auid!=4294967295")  # three ways to write one thing


@dataclass(frozen=True, slots=True)
class AuditRule:
    """One rule: for which calls it is (`arch` is "" where it says none, `calls` holds `all` where it names none), the file it
    watches with the kinds of access (`rwxa`), and whatever else must hold."""

    arch: str
    calls: frozenset[str]
    path: str
    access: frozenset[str]
    filters: frozenset[str]
    text: str


def rules(lines: Iterable[str]) -> tuple[AuditRule, ...]:
    """The rules in these lines; options of the whole (`-D`, `-b`, `-e`), comments and rules that exclude are none of them."""
    return tuple(rule for rule in map(_rule, lines) if rule is not None)


def option(lines: Iterable[str], letter: str) -> str | None:
    """The value of an option of the whole (`-e 2`); the last counts."""
    found = [words[1] for line in lines if len(words := line.split("#", 1)[0].split()) == 2 and words[0] == f"-{letter}"]
    return found[-1] if found else None


def _rule(line: str) -> AuditRule | None:
    text = line.strip()
    if text.startswith("#") or not text.startswith(("-w", "-a", "-A")):
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise FactError(f"audit rule {text!r}: {error}") from error
    if words[0] != "-w" and set(words[1].split(",")) != {"always", "exit"}:
        return None
    arch, path, access = "", "", "rwxa"
    calls: set[str] = set()
    filters: set[str] = set()
    for flag, value in zip(words[::2], words[1::2], strict=False):
        name, _, wanted = value.partition("=")
        if flag == "-w":
            path = value
        elif flag == "-p":
            access = value
        elif flag == "-S":
            calls |= set(value.split(","))
        elif flag == "-F" and name == "arch":
            arch = wanted
        elif flag == "-F" and name in ("path", "dir"):
            path = wanted
        elif flag == "-F" and name == "perm":
            access = wanted
        elif flag == "-C" or (flag == "-F" and name != "key"):
            filters.add(UNSET[0] if value in UNSET else value)
    return AuditRule(arch, frozenset(calls or {ALL}), path, frozenset(access), frozenset(filters), text)
