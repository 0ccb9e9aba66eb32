"""What a commit would do, before it does anything: the checked tree, the changes, the files and who must take notice."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance import render
from appliance.config.diff import diff
from appliance.config.schema import Schema, dotted
from appliance.config.secrets import Vault, conceal, too_long, unmask
from appliance.config.store import Kept
from appliance.configd.api import Change
from appliance.features.base import File, Problem, Unit
from appliance.system import Held, Machine

CHANGES_TOLD = 8  # of the settings of a commit that failed; the first commit changes all there are
SERVICES = {"ssh": "ssh.service", "gateway": "sentry-gateway.service", "portal": "sentry-tls-proxy.service"}
"""The services whose ports are probed after a commit, by the feature that declares their flows: without 22 and 8443
nobody could mend a mistake, without 443 no device is served."""


class InvalidError(ValueError):
    """A configuration the schema or the rules between features refuse; `problems` says where and why."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class SelfLockout(Problem):
    """What a commit would take from the very session that asks for it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`write` are the paths whose content, mode or owner is not what `files` says, `remove` those no longer rendered. `brought`
    and `returned` are what no setting renders and what differs from what is there."""

    tree: dict[str, Any]
    changes: tuple[Change, ...]
    files: Mapping[str, tuple[str, File]]
    write: tuple[str, ...]
    remove: tuple[str, ...]
    units: tuple[Unit, ...]
    ports: Mapping[int, str]
    brought: Mapping[str, File] = field(default_factory=dict)
    returned: Mapping[str, Held | None] = field(default_factory=dict)

    def told(self) -> str:
        """Which settings this plan changes, as a part of a sentence about what went wrong; empty where it changes none."""
        names = [dotted(change.path) for change in self.changes]
        more = f" and {len(names) - CHANGES_TOLD} more" if len(names) > CHANGES_TOLD else ""
        return f"in the commit: {', '.join(names[:CHANGES_TOLD])}{more}; " if names else ""

    @property
    def touched(self) -> tuple[str, ...]:
        """Every path this plan changes."""
        return (*self.write, *self.remove, *self.besides)

    @property
    def besides(self) -> tuple[str, ...]:
        """Those of them that no setting renders."""
        return (*self.brought, *self.returned)


def accept(schema: Schema, tree: object, before: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    """`tree` as somebody sent it, checked and completed, its secrets swapped for references.

    `before` is what masks refer to. Raises `InvalidError`.
    """
    plain, problems = unmask(schema, tree, before, vault)
    checked = schema.check(plain)
    problems += checked.problems or too_long(schema, checked.tree)
    if problems:
        raise InvalidError(problems)
    referring: dict[str, Any] = conceal(schema, checked.tree, vault)
    between = schema.across(referring)
    if between:
        raise InvalidError(between)
    return referring


def plan(
    schema: Schema,
    tree: dict[str, Any],
    current: Kept | None,
    machine: Machine,
    *,
    brings: Mapping[str, File] | None = None,
    returns: Mapping[str, Held | None] | None = None,
    tells: Iterable[str] = (),
) -> Plan:
    """The plan for an accepted `tree`, and for files beside it, of which the units `tells` must take notice. Raises
    `RenderError`, `MachineError`."""
    files = render.render_owned(tree, schema.features)
    write = tuple(path for path, (_feature, file) in files.items() if not machine.matches(path, file))
    rendered_before = current.files if current else ()
    remove = tuple(path for path in rendered_before if path not in files and machine.held(path) is not None)
    brought = {path: file for path, file in (brings or {}).items() if not machine.matches(path, file)}
    returned = {path: held for path, held in (returns or {}).items() if machine.held(path) != held}
    told = tuple(tells) if brought or returned else ()
    return Plan(
        tree=tree,
        changes=diff(current.tree if current else {}, tree),
        files=files,
        write=write,
        remove=remove,
        units=_units(schema, {*write, *remove}, told),
        ports=_ports(schema, tree),
        brought=brought,
        returned=returned,
    )


def _units(schema: Schema, touched: set[str], told: Iterable[str]) -> tuple[Unit, ...]:
    """Who must take notice, each once and in the features' order; a restart is more than a reload. Behind them those that are
    told of files that no setting renders: for these a reload is enough, where the unit has one."""
    units: dict[str, Unit] = {}
    listed = [unit for feature in schema.features for unit in feature.units]
    for unit in listed:
        if unit.concerned(touched) and (unit.name not in units or unit.action == "restart"):
            units[unit.name] = unit
    for name in told:
        ways = sorted((unit for unit in listed if unit.name == name), key=lambda unit: unit.action != "reload")
        if ways and name not in units:
            units[name] = ways[0]
    return tuple(units.values())


def _ports(schema: Schema, tree: Mapping[str, Any]) -> dict[int, str]:
    flows = render.flows(tree, schema.features)
    return {
        flow.port: SERVICES[flow.feature]
        for flow in flows
        if flow.direction == "in" and flow.protocol == "tcp" and flow.feature in SERVICES
    }
