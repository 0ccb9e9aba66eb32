"""What was typed into a form of settings, as changes of the configuration. What is wrong with a value is configd's to say; here
only what is missing is seen, because configd asks for that no sooner than at the commit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from appliance.config.schema import Rules, Schema
from appliance.portal.forms import OFF, ON, ROWS, Field, Part, Path, Sheet, with_blanks

ABSENT = object()
"""The value of a setting that is to be as if nobody had said anything."""
REMOVE = "remove."
"""Before a secret's field name: the box that removes it."""

MORE = 4  # empty rows at a press of the button
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class Posted(Protocol):
    """A form's fields as they came (`multidict.MultiDictProxy`)."""

    def getall(self, key: str, default: Any, /) -> Any:
        """All values of a name."""

    def __contains__(self, key: object, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Edit:
    """One setting that is to be another; `value` may be `ABSENT`."""

    path: Path
    value: Any


@dataclass(frozen=True, slots=True)
class Read:
    """What a form says: what is to change, the problems that need no configd, and the page with all that was typed."""

    edits: tuple[Edit, ...]
    problems: tuple[str, ...]
    typed: Sheet


def read(schema: Schema, sheet: Sheet, held: Any, posted: Posted) -> Read:
    """Hold what was `posted` against the page and what is configured at its path (masked; None: nothing)."""
    edits: list[Edit] = []
    problems: list[str] = []
    parts = []
    for part in sheet.parts:
        typed = tuple(_typed(schema, field, posted) for field in part.fields)
        parts.append(replace(part, fields=typed))
        if _is_left_out(part, sheet, typed, posted):
            if _below(held, sheet.path, part.path) is not None:
                edits.append(Edit(part.path, ABSENT))
            continue
        for field in typed:
            edit, problem = _edit(schema, sheet, held, field, posted)
            edits += [edit] if edit else []
            problems += [problem] if problem else []
    return Read(tuple(edits), tuple(problems), replace(sheet, parts=tuple(parts)))


def _typed(schema: Schema, field: Field, posted: Posted) -> Field:
    """The field with what was typed; a secret is never sent back."""
    if field.control in ("secret", "secret_lines"):
        return field
    rows = [one for one in posted.getall(field.name, []) if isinstance(one, str)][:ROWS]
    if field.name not in posted:
        return field
    if field.control == "list":
        typed = tuple(one for one in rows if one.strip())
        return replace(field, values=with_blanks(typed, schema.rules_at(field.path) or {}))
    return replace(field, values=(rows[0] if rows else "",))


def with_more_rows(schema: Schema, typed: Sheet, name: str) -> Sheet:
    """The page with more empty rows in the list `name`."""

    def longer(field: Field) -> Field:
        if field.name != name or field.control != "list":
            return field
        return replace(field, values=with_blanks(field.values, schema.rules_at(field.path) or {}, MORE))

    return replace(typed, parts=tuple(replace(part, fields=tuple(map(longer, part.fields))) for part in typed.parts))


def _is_left_out(part: Part, sheet: Sheet, typed: tuple[Field, ...], posted: Posted) -> bool:
    """Whether an optional group is empty as a whole: then it is not there."""
    if not part.optional or part.path == sheet.path:
        return False
    if any(_secret_of(field, posted) or (field.kept and not _is_removed(field, posted)) for field in typed):
        return False
    return not any(value for field in typed for value in field.values)


def _edit(schema: Schema, sheet: Sheet, held: Any, field: Field, posted: Posted) -> tuple[Edit | None, str]:
    """What becomes of one field, and what is wrong with it."""
    rules = schema.rules_at(field.path) or {}
    before = _below(held, sheet.path, field.path)
    if field.name not in posted and f"{REMOVE}{field.name}" not in posted:
        return None, ""
    if field.control in ("secret", "secret_lines"):
        return _edit_secret(field, rules, posted)
    after = _value(field, rules)
    if after is ABSENT and rules.get("required"):
        return None, f"{'.'.join(field.path)}: found nothing; allowed: {field.allowed}"
    return (None if _is_the_same(after, before, rules) else Edit(field.path, after)), ""


def _is_the_same(after: Any, before: Any, rules: Rules) -> bool:
    if after is ABSENT:
        return before is None or ("default" in rules and before == rules["default"])
    return after == before or _same_lines(after, before)


def _edit_secret(field: Field, rules: Rules, posted: Posted) -> tuple[Edit | None, str]:
    text = _secret_of(field, posted)
    if text:
        return Edit(field.path, text), ""
    if _is_removed(field, posted):
        return (Edit(field.path, ABSENT) if field.kept else None), ""
    if rules.get("required") and not field.kept:
        return None, f"{'.'.join(field.path)}: found nothing; allowed: {field.allowed}"
    return None, ""


def _secret_of(field: Field, posted: Posted) -> str:
    if field.control not in ("secret", "secret_lines"):
        return ""
    found = next(iter(posted.getall(field.name, [])), "")
    return found if isinstance(found, str) else ""


def _is_removed(field: Field, posted: Posted) -> bool:
    return f"{REMOVE}{field.name}" in posted


def _value(field: Field, rules: Rules) -> Any:
    """What was typed, in the schema's type where it can be had; configd refuses the rest in its words."""
    if field.control == "list":
        found = [one.strip() for one in field.values if one.strip()]
        return found if found or rules.get("default") == [] or rules.get("required") else ABSENT
    text = field.values[0] if field.control == "lines" else field.values[0].strip()
    if not text.strip():
        return "" if rules.get("default") == "" else ABSENT
    if rules.get("type") == "boolean":
        return {ON: True, OFF: False}.get(text, text)
    if rules.get("type") == "integer" and _WHOLE.fullmatch(text):
        return int(text)
    return text


def _same_lines(after: Any, before: Any) -> bool:
    """A browser sends each line with CR LF (HTML, 4.10.22)."""
    if not isinstance(after, str) or not isinstance(before, str):
        return False
    return after.replace("\r\n", "\n").rstrip() == before.rstrip()


def _below(held: Any, path: Path, target: Path) -> Any:
    """What of `held`, which stands at `path`, stands at `target` below it."""
    for step in target[len(path) :]:
        if not isinstance(held, Mapping):
            return None
        held = held.get(step)
    return held


def merged(sheet: Sheet, held: Any, edits: tuple[Edit, ...]) -> Any:
    """The whole value at the page's path with all the edits in it."""
    if sheet.kind != "group":
        return edits[0].value
    made: dict[str, Any] = dict(held) if isinstance(held, Mapping) else {}
    for edit in edits:
        here = made
        *above, last = edit.path[len(sheet.path) :]
        for step in above:
            inner = here.get(step)
            here[step] = dict(inner) if isinstance(inner, Mapping) else {}
            here = here[step]
        if edit.value is ABSENT:
            here.pop(last, None)
        else:
            here[last] = edit.value
    return made
