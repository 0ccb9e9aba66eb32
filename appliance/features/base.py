"""What a feature is: one top-level key of the configuration, and everything that follows from it.

A feature is data and pure functions; the engine (`appliance.apply`) does the input and output. Adding a feature means
writing one file beside this one, its templates and its tests.
"""

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Tree = Mapping[str, Any]
"""A validated, normalised configuration: every default is filled in, secrets are references (`secret:<digest>`)."""

Zone = Literal["device", "management", "backend"]


@dataclass(frozen=True, slots=True)
class File:
    """What a rendered file holds and whose it is."""

    text: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True)
class Flow:
    """One network flow the appliance needs; nftables and the port checks are rendered from these.

    `peers` are networks or addresses on the other side (empty: anybody in the zone); `zone` None means every zone;
    `user` names the local account an outgoing flow is limited to.
    """

    feature: str
    direction: Literal["in", "out"]
    protocol: Literal["tcp", "udp"]
    port: int
    zone: Zone | None = None
    peers: tuple[str, ...] = ()
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A daemon's own checker for rendered files.

    `argv` is run with every `{/absolute/path}` item replaced by where that file was staged; a non-zero exit refuses the
    commit with what the checker printed.
    """

    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """Rendered paths this check looks at; it runs only when one of them changed. Empty: always."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit that must take notice when one of `paths` changed; `*` in a path stands for a name."""

    name: str
    action: Literal["reload", "restart"]
    paths: tuple[str, ...]

    def concerned(self, touched: Iterable[str]) -> frozenset[str]:
        """Those of the `touched` paths that this unit must take notice of."""
        return frozenset(path for path in touched for pattern in self.paths if fnmatch.fnmatchcase(path, pattern))


class System(Protocol):
    """The machine as a reconciling feature sees it (`appliance.system` is the real one, tests have their own)."""

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """Run a command with root's fixed PATH; returns what it printed; raises `CommandError` on a non-zero exit."""

    def read(self, path: str) -> str | None:
        """The text of a file, or None where there is none."""

    def secret(self, reference: str) -> str:
        """The value behind a `secret:<digest>` reference."""


def _nothing(_tree: Tree) -> dict[str, File]:
    return {}


def _no_flows(_tree: Tree) -> tuple[Flow, ...]:
    return ()


def _no_errors(_tree: Tree) -> Iterable["Problem"]:
    return ()


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a value: where, what was found and what is allowed, in the reader's words."""

    path: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}; allowed: {self.allowed}"


def _no_change_errors(_before: Tree, _after: Tree) -> Iterable[Problem]:
    return ()


def _no_errors_here(_tree: Tree, _system: System) -> Iterable[Problem]:
    return ()


@dataclass(frozen=True, slots=True)
class Feature:
    """One top-level key of the configuration."""

    name: str
    """The key, also the word in the CLI."""
    label: str
    """One line for people."""
    schema: Mapping[str, Any]
    """The Cerberus rules of the key's value. `meta` holds `label`, `help` and, for passwords and the like, `secret: True`."""
    default: Any = None
    """The value when the key is absent; None means that the key is required."""
    verify: Callable[[Tree], Iterable[Problem]] = _no_errors
    """Rules across fields and features, over the whole normalised tree."""
    render: Callable[[Tree], Mapping[str, File]] = _nothing
    """Absolute path -> file, from the whole tree; pure."""
    flows: Callable[[Tree], tuple[Flow, ...]] = _no_flows
    checks: tuple[Check, ...] = ()
    units: tuple[Unit, ...] = ()
    reconcile: Callable[[Tree, System], bool] | None = None
    """Brings what has no file of its own (accounts, the kernel's host name) in step; idempotent; says whether it changed
    anything. It runs after the files are in place and before units reload; with the old tree it undoes itself."""
    verify_change: Callable[[Tree, Tree], Iterable[Problem]] = _no_change_errors
    """Rules on what may follow on what: the running tree and the one to come. A return by itself is not asked."""
    on_machine: Callable[[Tree, System], Iterable[Problem]] = _no_errors_here
    """What of this machine forbids the tree. Asked before anything is written; it only looks."""
    unsettled: Callable[[Tree, System], str] | None = None
    """What of the machine is not as the tree says although the units took notice; empty when all is. It only looks, and is
    asked until it says nothing or the time is up: then the commit fails with its words."""
    facts: tuple[str, ...] = ()
    """Names of the `show` topics (see `appliance.configd.facts`) that belong to this feature."""
