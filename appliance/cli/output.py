"""What a command has to say, as lines for people and as data for programs, and how it is made safe to print.

Device names, log lines and user agents come from outside: every control character in them is escaped, so that nothing
printed can move the cursor, retitle a terminal or hide text.
"""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.cli.grammar import Pipe
from appliance.configd import api
from sentry_runtime.control import Explanation

TAB = "        "  # as a terminal would, at worst a little wider
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # controls, bidi overrides, surrogates, line separators


@dataclass(frozen=True, slots=True)
class Output:
    """One answer in both forms."""

    lines: tuple[str, ...]
    data: Any


def safe(text: str) -> str:
    r"""`text` with every character that could act on a terminal written as `\x1b` or `\u202e`; tabs become blanks."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_safe_character, text))


def _safe_character(character: str) -> str:
    if character == "\t":
        return TAB
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(result: api.Shown) -> Output:
    """A fact sheet, a table or lines from configd."""
    if isinstance(result, api.Facts):
        return facts(result.facts, title=result.title)
    if isinstance(result, api.Table):
        return table(result.columns, result.rows, title=result.title)
    return Output(result.lines, {"title": result.title, "lines": list(result.lines)})


def facts(pairs: Sequence[tuple[str, str]], *, title: str = "") -> Output:
    """Named facts, the values in one column."""
    width = max((len(name) for name, _value in pairs), default=0)
    lines: list[str] = []
    for name, value in pairs:
        first, *more = value.splitlines() or [""]
        lines.append(f"{name:<{width}}  {first}".rstrip())
        lines += [f"{'':<{width}}  {line}".rstrip() for line in more]
    return Output(tuple(lines), {"title": title, "facts": dict(pairs)})


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> Output:
    """Rows under headings; a table without rows says so."""
    data = {"title": title, "columns": list(columns), "rows": [dict(zip(columns, row, strict=True)) for row in rows]}
    if not rows:
        return Output((f"{title or 'Table'}: none",), data)
    safe_rows = [[safe(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(columns), *safe_rows]) for at in range(len(columns))]
    return Output(tuple(_row(row, widths) for row in [columns, ["-" * width for width in widths], *safe_rows]), data)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def explained(said: Explanation) -> Output:
    """A verdict, what of it stands in the audit trail, and the way to it."""
    facts_shown = [
        ("device", said.device_id),
        ("user", said.principal),
        ("verdict", said.action),
        ("reasons", ", ".join(said.reasons)),
        ("would have blocked", ", ".join(said.softened)),
        ("decided by", said.decided_by),
        ("rule", said.rule),
        ("the device gets", said.answer),
        *(("note", note) for note in said.notes),
    ]
    steps = [("*" if step.applies else "", step.row, step.asks, step.saw) for step in said.steps]
    above = facts([(name, value) for name, value in facts_shown if value])
    below = table(("decides", "row", "asks", "saw"), steps)
    return Output((*above.lines, "", *below.lines), msgspec.to_builtins(said))


def through(output: Output, pipe: Pipe) -> Iterable[str]:
    """The lines to print after `| json` or `| include WORD` (which ignores case), each safe for a terminal."""
    if pipe.kind == "json":
        # ASCII only: every control and format character is escaped by JSON itself, except DEL.
        return json.dumps(output.data, indent=2).replace("\x7f", "\\u007f").split("\n")
    lines = [safe(line) for line in output.lines]
    if pipe.kind == "include":
        return [line for line in lines if pipe.word.lower() in line.lower()]
    return lines
