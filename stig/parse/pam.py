"""PAM service files as the library reads them: includes followed, modules in order (pam.d(5))."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from stig.errors import FactError

DEPTH = 16  # Linux-PAM gives up on deeper includes too
_LINE = re.compile(r"-?(?P<kind>auth|account|password|session)\s+(?P<control>\[[^\]]*\]|\S+)\s+(?P<rest>.+)")


@dataclass(frozen=True, slots=True)
class Module:
    """One line of a stack."""

    kind: str
    control: str
    name: str
    arguments: tuple[str, ...]


def files(grepped: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The service files in what `grep -rs "" /etc/pam.d` prints: service -> its lines."""
    found: dict[str, list[str]] = {}
    for line in grepped:
        path, _, text = line.partition(":")
        found.setdefault(PurePosixPath(path).name, []).append(text)
    return {name: tuple(lines) for name, lines in found.items()}


def stack(services: Mapping[str, tuple[str, ...]], service: str, kind: str, depth: int = 0) -> tuple[Module, ...]:
    """The modules of one kind in one service, in order; `FactError` when a file it includes is missing."""
    if depth > DEPTH:
        raise FactError(f"/etc/pam.d/{service}: includes more than {DEPTH} deep")
    if service not in services:
        raise FactError(f"/etc/pam.d/{service} is missing")
    found: list[Module] = []
    for raw in services[service]:
        line = raw.split("#", 1)[0].strip()
        if line.startswith("@include"):
            found.extend(stack(services, line.split()[1], kind, depth + 1))
            continue
        match = _LINE.fullmatch(line)
        if match is None or match["kind"] != kind:
            continue
        name, *arguments = match["rest"].split()
        if match["control"] in ("include", "substack"):
            found.extend(stack(services, name, kind, depth + 1))
        else:
            found.append(Module(kind, match["control"], PurePosixPath(name).stem, tuple(arguments)))
    return tuple(found)
