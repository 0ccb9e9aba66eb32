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
    found = [
        words[1] for line in lines if len(words := line.split("#", 1)[0].split()) == 2 and words[0] == f"-{letter}"
    ]
    return found[-1] if found else None


def _rule(line: str) -> AuditRule | None:
    words = _words(line)
    if words is None:
        return None
    one: dict[str, list[str]] = {"calls": [], "filters": []}
    for flag, value in zip(words[::2], words[1::2], strict=False):
        name, _, wanted = value.partition("=")
        if flag == "-S":
            one["calls"] += value.split(",")
        elif (flag, name) in _FIELDS or flag in _FLAGS:
            field = _FIELDS.get((flag, name)) or _FLAGS[flag]
            one[field] = [wanted if flag == "-F" else value]
        elif flag == "-C" or (flag == "-F" and name != "key"):
            one["filters"].append(UNSET[0] if value in UNSET else value)
    return AuditRule(
        "".join(one.get("arch", [])),
        frozenset(one["calls"] or {ALL}),
        "".join(one.get("path", [])),
        frozenset("".join(one.get("access", ["rwxa"]))),
        frozenset(one["filters"]),
        line.strip(),
    )


_FLAGS = {"-w": "path", "-p": "access"}
_FIELDS = {("-F", "arch"): "arch", ("-F", "path"): "path", ("-F", "dir"): "path", ("-F", "perm"): "access"}


def _words(line: str) -> list[str] | None:
    """The words of a rule that records; None for anything else."""
    text = line.strip()
    if not text.startswith(("-w", "-a", "-A")):
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise FactError(f"audit rule {text!r}: {error}") from error
    records = words[0] == "-w" or set(words[1].split(",")) == {"always", "exit"}
    return words if records else None
