"""Forms from the schema: what a page of settings holds and how each setting is shown (`appliance.portal.reading` takes it back).

A page stands at one path of the configuration. Its group's own values and lists are its fields, small groups below are parts of
it, and everything else (larger groups, named instances, lists of groups) has a page of its own, to which it links.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from appliance.config import words
from appliance.config.paths import Kind, describe
from appliance.config.schema import Rules, Schema, child_rules, secret
from appliance.features import values

Path = tuple[str, ...]
Control = Literal["text", "number", "choice", "lines", "secret", "secret_lines", "list"]

PART_FIELDS = 8  # a group of up to so many plain settings stands on its parent's page
BLANKS = 1  # empty rows at the end of a list, to add to it; more come by a button
LONG_SECRET = 1_024  # a secret that may be longer than this is a key with its lines
ROWS = 400  # of one list: more than the longest one that a schema allows
NAMES_OF_A_ROW = 4  # settings of an instance that the list of instances shows
SHOWN = (
    500  # instances on one page: what can be drawn in a moment; of 10,000 certificates, the others are opened by name
)
ON, OFF = "on", "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One setting of a form. `values` is what is shown: one text, or the rows of a list; of a secret, nothing.

    `default` is what holds where nothing is typed; `choices` are values with what is shown for them. `kept`: a secret is set.
    """

    name: str
    path: Path
    label: str
    help: str
    control: Control
    allowed: str
    default: str = ""
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    low: int | None = None
    high: int | None = None
    characters: int | None = None
    values: tuple[str, ...] = ("",)
    kept: bool = False
    wrong_rows: frozenset[int] = frozenset()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Settings that belong together. `path` is that of their group; `optional`: it may be left out as a whole."""

    path: Path
    label: str
    help: str
    fields: tuple[Field, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A page below this one; `count` is how much is there (None: not counted)."""

    path: Path
    label: str
    help: str
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A named instance, or an item of a list of groups: its first settings in short."""

    name: str
    path: Path
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A page of settings. `kind` is that of its path (`appliance.config.paths.Node`); `instances` stand under
    `columns`; `more` are there besides."""

    path: Path
    kind: Kind
    label: str
    help: str
    allowed: str
    parts: tuple[Part, ...] = ()
    links: tuple[Link, ...] = ()
    columns: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    more: int = 0
    problems: tuple[str, ...] = ()

    @property
    def fields(self) -> Iterator[Field]:
        """All fields of all parts."""
        return (field for part in self.parts for field in part.fields)


def sheet(schema: Schema, path: Path, held: Any) -> Sheet | None:
    """The page at `path`, where `held` (masked) is configured, None: nothing. None for a path that the schema does not know."""
    here = describe(schema, path) if path else None
    rules = schema.rules_at(path)
    if here is None or rules is None:
        return None
    made = Sheet(path=path, kind=here.kind, label=_label(path, here.label), help=here.help, allowed=here.allowed)
    if here.kind == "group":
        return replace(made, parts=tuple(_parts(path, rules, held)), links=tuple(_links(path, rules, held)))
    if here.kind in ("named", "table"):
        inner = rules["valuesrules"] if here.kind == "named" else rules["schema"]
        columns, instances = _instances(path, inner, held)
        more = max(0, len(held or ()) - SHOWN)
        return replace(made, columns=columns, instances=instances, more=more)
    part = Part(path=path, label=here.label, help="", fields=(_field(path, path[-1:], rules, held),))
    return replace(made, parts=(part,))


def _label(path: Path, label: str) -> str:
    return label if label else path[-1].replace("_", " ")


# --- parts, links and instances --------------------------------------------------------------------------------------


def _parts(path: Path, rules: Rules, held: Any) -> Iterator[Part]:
    inside = held if isinstance(held, Mapping) else {}
    inner: Mapping[str, Rules] = rules.get("schema", {})
    own = tuple(_field((*path, name), (name,), one, inside.get(name)) for name, one in inner.items() if is_plain(one))
    if own:
        yield Part(path=path, label="", help="", fields=own)
    for name, one in inner.items():
        if is_part(one):
            group = inside.get(name)
            below = group if isinstance(group, Mapping) else {}
            meta = one.get("meta", {})
            yield Part(
                path=(*path, name),
                label=str(meta.get("label", name)),
                help=str(meta.get("help", "")),
                fields=tuple(
                    _field((*path, name, word), (name, word), each, below.get(word), absent=group is None)
                    for word, each in one.get("schema", {}).items()
                ),
                optional="default" not in one and not one.get("required"),
            )


def is_plain(rules: Rules) -> bool:
    """Whether these are the rules of one value, or of a list of values."""
    if rules.get("type") == "list":
        return bool(rules.get("schema", {}).get("type") != "dict")
    return rules.get("type") != "dict"


def is_part(rules: Rules) -> bool:
    """Whether a group is small enough to stand on its parent's page."""
    inner = rules.get("schema")
    if rules.get("type") != "dict" or not isinstance(inner, Mapping) or len(inner) > PART_FIELDS:
        return False
    return all(is_plain(one) for one in inner.values())


def _links(path: Path, rules: Rules, held: Any) -> Iterator[Link]:
    inside = held if isinstance(held, Mapping) else {}
    for name, one in rules.get("schema", {}).items():
        if is_plain(one) or is_part(one):
            continue
        below, meta = inside.get(name), one.get("meta", {})
        counted = isinstance(one.get("valuesrules"), Mapping) or one.get("type") == "list"
        count = len(below or ()) if counted else None
        label = str(meta.get("label", name))
        yield Link(path=(*path, name), label=label, help=str(meta.get("help", "")), count=count)


def _instances(path: Path, inner: Rules, held: Any) -> tuple[tuple[str, ...], tuple[Instance, ...]]:
    """The headings, and what of each instance stands below them."""
    fields = inner["schema"] if inner.get("type") == "dict" and isinstance(inner.get("schema"), Mapping) else None
    short = [name for name, one in (fields or {}).items() if is_plain(one) and not _is_long(one)][:NAMES_OF_A_ROW]
    if fields is None:
        columns: tuple[str, ...] = (str(inner.get("meta", {}).get("label", "Value")),)
    else:
        columns = tuple(str(fields[name].get("meta", {}).get("label", name)) for name in short)

    def cells(one: Any) -> tuple[str, ...]:
        return (shown(one),) if fields is None else tuple(shown(one.get(name)) for name in short)

    if isinstance(held, Mapping):
        items: Iterable[tuple[str, Any]] = sorted(held.items())[:SHOWN]
    else:
        items = ((str(number), one) for number, one in enumerate((held or ())[:SHOWN]))
    return columns, tuple(Instance(name=name, path=(*path, name), cells=cells(one)) for name, one in items)


def _is_long(rules: Rules) -> bool:
    return secret(rules) or bool(rules.get("coerce") is values.text_lines)


def shown(value: Any) -> str:
    """A value in a cell."""
    if isinstance(value, bool):
        return ON if value else OFF
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return "" if value is None else str(value)


# --- fields ----------------------------------------------------------------------------------------------------------


def _field(path: Path, below: Path, rules: Rules, held: Any, *, absent: bool = False) -> Field:
    """The field of one setting. `absent`: its optional group is not there, so it shows nothing, not its default."""
    meta = rules.get("meta", {})
    control = _control(rules)
    items: Rules = rules.get("schema", {}) if control == "list" else rules
    required = bool(rules.get("required")) and not absent
    default = "" if secret(rules) else shown(rules.get("default"))
    return Field(
        name=".".join(("f", *below)),
        path=path,
        label=str(meta.get("label", path[-1].replace("_", " "))),
        help=str(meta.get("help", "")),
        control=control,
        allowed=words.allowed(rules),
        default=default if len(default) < 200 else "",
        required=required,
        choices=_choices(rules, items, control, empty=absent or (not required and rules.get("default") is None)),
        low=rules.get("min"),
        high=rules.get("max"),
        characters=items.get("maxlength") if isinstance(items.get("maxlength"), int) else None,
        values=() if secret(rules) else _values(control, rules, held),
        kept=secret(rules) and held is not None,
    )


def _control(rules: Rules) -> Control:
    if rules.get("type") == "list":
        return "list"
    if secret(rules):
        return "secret_lines" if rules.get("maxlength", 0) > LONG_SECRET else "secret"
    if rules.get("type") == "boolean" or "allowed" in rules:
        return "choice"
    if rules.get("type") == "integer":
        return "number"
    return "lines" if rules.get("coerce") is values.text_lines else "text"


def _choices(rules: Rules, items: Rules, control: Control, *, empty: bool) -> tuple[tuple[str, str], ...]:
    blank = (("", ""),) if control == "list" else (("", "not set"),) if empty else ()
    if rules.get("type") == "boolean":
        return (*blank, (ON, ON), (OFF, OFF))
    found = tuple((str(one), str(one)) for one in items.get("allowed", ()))
    return (*blank, *found) if found else ()


def _values(control: Control, rules: Rules, held: Any) -> tuple[str, ...]:
    if control == "list":
        return with_blanks(tuple(map(shown, held or ())), rules)
    return (shown(held),)


def with_blanks(rows: tuple[str, ...], rules: Rules, number: int = BLANKS) -> tuple[str, ...]:
    """The rows of a list and some empty ones, but not more than the list may have."""
    room = max(0, int(rules.get("maxlength", ROWS)) - len(rows))
    return (*rows, *("",) * min(number, room)) or ("",)


# --- what is wrong ---------------------------------------------------------------------------------------------------


def with_problems(made: Sheet, problems: Iterable[str]) -> Sheet:
    """`made` with each problem (`path: found ...; allowed: ...`) beside the field that it is about; the others above the form."""
    beside: dict[str, list[str]] = {}
    rows: dict[str, set[int]] = {}
    above: list[str] = []
    for problem in problems:
        place, _, said = problem.partition(": ")
        field = next((one for one in made.fields if _is_at(place, ".".join(one.path))), None)
        if field is None:
            above.append(problem)
        else:
            item = place.removeprefix(".".join(field.path)).strip(".")
            number = f"item {int(item) + 1}: " if item.isdecimal() else ""
            rows.setdefault(field.name, set()).update({int(item)} if item.isdecimal() else range(len(field.values)))
            beside.setdefault(field.name, []).append(f"{number}{said}")

    def told(field: Field) -> Field:
        wrong = frozenset(rows.get(field.name, ()))
        return replace(field, problems=tuple(beside.get(field.name, ())), wrong_rows=wrong)

    parts = tuple(replace(part, fields=tuple(map(told, part.fields))) for part in made.parts)
    return replace(made, parts=parts, problems=tuple(above))


def _is_at(place: str, path: str) -> bool:
    return place == path or place.startswith(f"{path}.")


def trail(schema: Schema, path: Path) -> tuple[tuple[Path, str], ...]:
    """The pages above a page, with their labels: the names of instances are their own."""
    found = []
    for length in range(1, len(path)):
        here, rules = path[:length], schema.rules_at(path[: length - 1]) or {"type": "dict", "schema": schema.root}
        is_name = rules.get("type") == "list" or (
            child_rules(rules, here[-1]) is rules.get("valuesrules") and here[-1] not in rules.get("schema", {})
        )
        node = describe(schema, here)
        found.append((here, name_of(schema, here) if is_name or node is None else node.label))
    return tuple(found)


def name_of(schema: Schema, path: Path) -> str:
    """What an instance is called: its own name, or its place in its list, counted from one."""
    above = schema.rules_at(path[:-1]) or {}
    return f"item {int(path[-1]) + 1}" if above.get("type") == "list" and path[-1].isdecimal() else path[-1]
