"""What configd shows, as the templates take it."""

from dataclasses import dataclass
from typing import Literal

from appliance.configd.api import Facts, Shown, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A topic: rows of facts, a table, or lines."""

    title: str
    kind: Literal["facts", "table", "text"]
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()


def block(found: Shown) -> Block:
    """configd's answer, for a template."""
    if isinstance(found, Facts):
        return Block(title=found.title, kind="facts", rows=found.facts)
    if isinstance(found, Table):
        return Block(title=found.title, kind="table", columns=found.columns, rows=found.rows)
    return Block(title=found.title, kind="text", lines=found.lines)


def records(found: Shown) -> tuple[dict[str, str], ...]:
    """A table's rows by their columns; none where it is no table."""
    if not isinstance(found, Table):
        return ()
    return tuple(dict(zip(found.columns, row, strict=True)) for row in found.rows)


def pairs(found: Shown) -> dict[str, str]:
    """Facts by their names; none where it is none."""
    return dict(found.facts) if isinstance(found, Facts) else {}


def first_line(found: Shown) -> str:
    """The topic in one line: its first fact, row or line."""
    if isinstance(found, Facts):
        return found.facts[0][1] if found.facts else ""
    if isinstance(found, Table):
        return ", ".join(found.rows[0]) if found.rows else ""
    return found.lines[0] if found.lines else ""
