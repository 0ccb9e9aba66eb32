"""sudo's policy as `cvtsudoers -f sudoers` writes it: includes followed, one thing on a line (cvtsudoers(1))."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_OPTION = re.compile(r'(?P<no>!?)(?P<name>\w+)(?:\s*[+-]?=\s*(?P<value>"[^"]*"|[^,]*))?(?:,\s*|$)')
_SCOPED = re.compile(
    r"Defaults[@:>!]"
)  # nothing between them (sudoers(5)); "Defaults !option" is an option that is off


@dataclass(frozen=True, slots=True)
class Sudoers:
    """The options that hold for everybody (a switch is `yes` or `no`), who may do what: the user, and the whole line; and the
    lines with options for some users, hosts or commands only."""

    defaults: dict[str, str]
    grants: tuple[tuple[str, str], ...]
    scoped: tuple[str, ...] = ()

    def for_some(self, option: str) -> tuple[str, ...]:
        """Of those, the lines that set this option, on or off."""
        return tuple(line for line in self.scoped if re.search(rf"[\s,!]{re.escape(option)}\b", line))


def sudoers(lines: Iterable[str]) -> Sudoers:
    """The policy in these lines; the last of an option counts."""
    # sudo's own values (sudoers(5)) of what the rules ask about.
    defaults = {
        "targetpw": "no",
        "rootpw": "no",
        "runaspw": "no",
        "authenticate": "yes",
        "timestamp_timeout": "5",
        "use_pty": "no",
    }
    grants: list[tuple[str, str]] = []
    scoped: list[str] = []
    for text in _joined(lines):
        if text.startswith("Defaults"):
            if _SCOPED.match(text):
                scoped.append(" ".join(text.split()))
            else:
                defaults |= dict(_options(text.removeprefix("Defaults").strip()))
        elif "=" in text and not re.match(r"(User|Runas|Host|Cmnd)_Alias\b", text):
            grants.append((text.split()[0], " ".join(text.split())))
    return Sudoers(defaults, tuple(grants), tuple(scoped))


def _joined(lines: Iterable[str]) -> list[str]:
    """Lines without comments; one that ends with a backslash goes on in the next."""
    found, whole = [], ""
    for line in lines:
        text = line.strip()
        if text.startswith("#"):
            continue
        whole += text.removesuffix("\\")
        if not text.endswith("\\"):
            if whole.strip():
                found.append(whole.strip())
            whole = ""
    return found


def _options(text: str) -> Iterable[tuple[str, str]]:
    for match in _OPTION.finditer(text):
        value = match["value"]
        yield match["name"], value.strip().strip('"') if value is not None else ("no" if match["no"] else "yes")
