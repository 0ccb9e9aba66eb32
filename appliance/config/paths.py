"""Settings by path: read, set, remove and describe one, as the CLI and the portal do.

Every function takes a tree and gives a new one; nothing is changed in place.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from appliance.config import words
from appliance.config.schema import Rules, Schema, child_rules, children, dotted, is_index, secret
from appliance.features.base import Problem

Path = tuple[str, ...]
Kind = Literal["group", "named", "list", "table", "value"]

_WHOLE = re.compile(r"-?[0-9]{1,18}")  # within 64 bits; no setting is larger
DEPTH = 12  # of a path; the deepest setting lies five below the root
SWITCH = {
    "on": True,
    "true": True,
    "yes": True,
    "enable": True,
    "off": False,
    "false": False,
    "no": False,
    "disable": False,
}


class PathError(ValueError):
    """A path or value the schema does not know or allow; `problem` says what was found and what is allowed."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass(frozen=True, slots=True)
class Node:
    """What the schema says of one path: enough for grammar, help, completion and forms.

    `kind`: `group` has the fields `children`; `named` holds instances whose names the user chooses (`allowed` says how
    they may be called, `children` are the fields of each); `list` holds values; `table` holds groups with `children`;
    `value` is one setting. `type` is Cerberus's word (of a list: of its items). `choices` are all allowed words, if few.
    """

    path: Path
    kind: Kind
    label: str
    help: str
    type: str
    children: tuple[str, ...]
    allowed: str
    choices: tuple[str, ...]
    default: Any
    required: bool
    secret: bool


def describe(schema: Schema, path: Iterable[str] = ()) -> Node | None:
    """What the schema says of `path`; None where it knows no such setting. The empty path is the whole tree."""
    path = tuple(path)
    rules = schema.rules_at(path)
    if rules is None:
        return None
    kind, inner = _kind(rules)
    meta = rules.get("meta", {})
    default = "********" if secret(rules) and rules.get("default") is not None else rules.get("default")
    named = rules.get("keysrules", {"type": "string"})
    return Node(
        path=path,
        kind=kind,
        label=str(meta.get("label", path[-1] if path else "configuration")),
        help=str(meta.get("help", "")),
        type=_type(inner if kind == "list" else rules),
        children=children(inner),
        allowed=words.allowed(named if kind == "named" else rules),
        choices=_choices(inner if kind == "list" else rules),
        default=default,
        required=bool(rules.get("required")),
        secret=secret(rules) or secret(inner),
    )


def _kind(rules: Rules) -> tuple[Kind, Rules]:
    """The kind of a setting, and the rules in which its children stand."""
    if isinstance(rules.get("valuesrules"), Mapping):
        return "named", rules["valuesrules"]
    if rules.get("type") == "dict":
        return "group", rules
    if rules.get("type") == "list":
        items = rules.get("schema", {})
        return ("table", items) if items.get("type") == "dict" else ("list", items)
    return "value", rules


def _type(rules: Rules) -> str:
    kind = rules.get("type", "string")
    return kind if isinstance(kind, str) else next(iter(kind), "string")


def _choices(rules: Rules) -> tuple[str, ...]:
    if rules.get("type") == "boolean":
        return ("true", "false")
    return tuple(map(str, rules.get("allowed", ())))


def get(tree: Any, path: Iterable[str]) -> Any:
    """The value at `path`; raises `PathError` naming the place where the tree ends."""
    path = tuple(path)
    for depth, step in enumerate(path):
        here = _step(tree, step)
        if here is _ABSENT:
            there = words.names(map(str, tree)) if isinstance(tree, Mapping) else "no setting below a value"
            raise PathError(
                Problem(dotted(path[: depth + 1]), "nothing configured", there or "nothing is configured here")
            )
        tree = here
    return tree


def put(schema: Schema, tree: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of `tree` with `value` at `path`, words turned into what the schema wants (`"8443"`, `"on"`, `"a,b"`).

    Raises `PathError` for an unknown path. The value itself is judged by `problems_at`.
    """
    rules = _known(schema, path)
    changed = deepcopy(dict(tree))
    here: Any = changed
    for depth in range(len(path) - 1):
        here = _enter(schema, here, path[: depth + 1])
    value = coerce(rules, value)
    if not isinstance(here, list):
        here[path[-1]] = value
    elif _index(path[-1]) < len(here):
        here[_index(path[-1])] = value
    elif _index(path[-1]) == len(here):
        here.append(value)
    else:
        raise PathError(Problem(dotted(path), f"item {path[-1]}", f"an item from 0 to {len(here)}"))
    return changed


def _enter(schema: Schema, here: Any, path: Path) -> Any:
    """One level down, to the last step of `path`, making what is not there yet: a list where the schema has one."""
    step = path[-1]
    if isinstance(here, list):
        if _index(step) == len(here):
            here.append({})
        if _index(step) >= len(here):
            raise PathError(Problem(dotted(path), f"item {step}", f"an item from 0 to {len(here)}"))
        return here[_index(step)]
    if not isinstance(here.get(step), dict | list):
        rules = schema.rules_at(path) or {}
        here[step] = [] if rules.get("type") == "list" else {}
    return here[step]


def merged(tree: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `tree` with `patch` laid over it: groups one by one, anything else whole, None takes a setting back
    (RFC 7396)."""
    made = deepcopy(dict(tree))
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, Mapping):
            below = made.get(key)
            made[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            made[key] = deepcopy(value)
    return made


def remove(schema: Schema, tree: Mapping[str, Any], path: Path, item: Any = None) -> dict[str, Any]:
    """A copy of `tree` without the value at `path` or, where `item` is given, without that item of the list there."""
    rules = _known(schema, path)
    changed = deepcopy(dict(tree))
    holder = get(changed, path[:-1])
    if _step(holder, path[-1]) is _ABSENT:
        raise PathError(Problem(dotted(path), "nothing configured", "a setting that is there"))
    if item is not None:
        _remove_item(holder[_index(path[-1]) if isinstance(holder, list) else path[-1]], rules, path, item)
    elif isinstance(holder, list):
        del holder[_index(path[-1])]
    else:
        del holder[path[-1]]
    return changed


def _remove_item(values: Any, rules: Rules, path: Path, item: Any) -> None:
    wanted = coerce(rules.get("schema", {}), item)
    if not isinstance(values, list) or wanted not in values:
        shown = words.names(map(str, values)) if isinstance(values, list) else "a list"
        raise PathError(
            Problem(dotted(path), words.found(item, secret=secret(rules)), shown or "nothing: the list is empty")
        )
    values.remove(wanted)


def problems_at(schema: Schema, tree: Mapping[str, Any], path: Path) -> tuple[Problem, ...]:
    """What is wrong at or below `path`. A setting that is still missing is no problem here: the commit asks for it."""
    shown = dotted(path)
    problems = schema.check(tree).problems
    return tuple(
        problem
        for problem in problems
        if (problem.path == shown or problem.path.startswith(f"{shown}.") or shown.startswith(f"{problem.path}."))
        and problem.found != "nothing"
    )


def coerce(rules: Rules, value: Any) -> Any:
    """A word of the CLI as the type the schema wants; what cannot be turned is left for the schema to refuse."""
    kind = _type(rules)
    if kind == "list" and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if kind == "list" and isinstance(value, list | tuple):
        return [coerce(rules.get("schema", {}), part) for part in value]
    if not isinstance(value, str):
        return value
    if kind == "boolean":
        return SWITCH.get(value.lower(), value)
    if kind in ("integer", "number") and _WHOLE.fullmatch(value):
        return int(value)
    if kind in ("float", "number"):
        return _float(value)
    return value


def _float(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _known(schema: Schema, path: Path) -> Rules:
    if not 0 < len(path) <= DEPTH:
        raise PathError(Problem(dotted(path[:DEPTH]), f"a path of {len(path)} words", f"1 to {DEPTH} words"))
    rules: Rules = {"type": "dict", "schema": schema.root}
    for depth, step in enumerate(path):
        inner = child_rules(rules, step)
        if inner is None:
            names = children(rules)
            allowed = words.nearest(step, names) if names else "no setting below a value"
            raise PathError(Problem(dotted(path[: depth + 1]), "an unknown setting", allowed))
        rules = inner
    return rules


_ABSENT = object()


def _step(tree: Any, step: str) -> Any:
    if isinstance(tree, Mapping):
        return tree.get(step, _ABSENT)
    if isinstance(tree, list) and is_index(step) and int(step) < len(tree):
        return tree[int(step)]
    return _ABSENT


def _index(step: str) -> int:
    return int(step)
