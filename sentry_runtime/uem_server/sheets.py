"""Users, labels and devices as CSV (RFC 4180, UTF-8), for people's spreadsheets (pure).

A sheet is read whole or not at all: the first thing that is wrong is named by line and column. A spreadsheet takes a cell
that begins with one of `FORMULA` for a formula and runs it; so such cells get an apostrophe before them, and lose it again
when they are read. So does what stands behind a semicolon: where people write 1,5 for a fraction, a cell ends there.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from sentry_runtime.uem.security import Platform
from sentry_runtime.uem_server.resources import (
    DeviceEntry,
    DeviceId,
    Epoch,
    LabelEntry,
    Labels,
    PostureEntry,
    Principal,
    SoftVersion,
    UserEntry,
    Words,
)

ROWS = 10_000  # in one transaction, some seconds: a larger fleet comes in several sheets
SHEET_BYTES = 8 * 1_048_576  # what so many rows are, the longest words among them
CELL_CHARS = 4_096  # a cell with the most labels is shorter
FORMULA = (
    "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four are wide ones, which spreadsheets of some languages take too
)
SEPARATOR = ";"

_GUARDED = re.compile(f"(^|{SEPARATOR})(?=['{re.escape(FORMULA)}])")
_UNGUARDED = re.compile(f"(^|{SEPARATOR})'(?=['{re.escape(FORMULA)}])")
_PLACE = re.compile(r"(?P<what>.*) - at `\$\.(?P<column>[a-z_]+)[^`]*`", re.DOTALL)
_YES = {"yes": True, "no": False}

Entry = TypeVar("Entry", bound=msgspec.Struct)


class SheetError(ValueError):
    """The sheet is not taken; the message names line and column, what was found and what is allowed."""


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A device as a line of a sheet."""

    device_id: DeviceId
    principal: Principal
    device_type: Words = ""
    note: Words = ""
    registered: bool = True
    labels: Labels = ()
    platform: Platform | None = None
    os_version: SoftVersion | None = None
    compromised: bool | None = None
    encrypted: bool | None = None
    contact: Epoch = 0

    @property
    def posture(self) -> PostureEntry | None:
        """What is reported of it, if anything is."""
        told = PostureEntry(
            platform=self.platform,
            os_version=self.os_version,
            compromised=self.compromised,
            encrypted=self.encrypted,
            contact=self.contact,
        )
        return None if told == PostureEntry() else told


@dataclass(frozen=True, slots=True)
class Line(Generic[Entry]):
    """One line of a sheet, by its number in the file (the head is 1)."""

    number: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Sheet(Generic[Entry]):
    """A kind of sheet: what a line becomes, how its cells are read (text where nothing is said), by which columns no two lines
    may be the same."""

    kind: type[Entry]
    cells: dict[str, Callable[[str], Any]]
    key: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, in their order."""
        return self.kind.__struct_fields__


def guarded(cell: str) -> str:
    """The cell as no spreadsheet takes it for a formula."""
    return _GUARDED.sub(r"\1'", cell)


def unguarded(cell: str) -> str:
    """The cell before it was `guarded`; one that a person wrote stays as it is."""
    return _UNGUARDED.sub(r"\1", cell)


def head(sheet: Sheet[Any]) -> str:
    """The first line."""
    return written([sheet.columns])


def lines(sheet: Sheet[Entry], entries: Iterable[Entry]) -> str:
    """A line for each."""
    return written([_cell(getattr(entry, name)) for name in sheet.columns] for entry in entries)


def written(rows: Iterable[Sequence[str]]) -> str:
    """Rows as CSV, guarded."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows([guarded(cell) for cell in row] for row in rows)
    return text.getvalue()


def read(sheet: Sheet[Entry], body: bytes) -> list[Line[Entry]]:
    """The lines of a sheet. Raises `SheetError`."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise SheetError(f"line {line}: not UTF-8") from None
    rows = _rows(text)
    _, names = next(rows, (1, []))
    _check_head(sheet, names)
    found: list[Line[Entry]] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, row in rows:
        if len(found) >= ROWS:
            raise SheetError(f"line {number}: a sheet has at most {ROWS} lines; more come in another one")
        entry = _entry(sheet, number, dict(zip(names, _full(row, names, number), strict=True)))
        key = tuple(str(getattr(entry, name)) for name in sheet.key)
        if key in seen:
            raise SheetError(f"line {number}, column `{sheet.key[0]}`: the same as in line {seen[key]}")
        seen[key] = number
        found.append(Line(number, entry))
    return found


def device_row(entry: DeviceEntry) -> DeviceRow:
    """A device as a line of a sheet: what an import may say of it."""
    told = entry.posture or PostureEntry()
    return DeviceRow(
        device_id=entry.device_id,
        principal=entry.principal,
        device_type=entry.device_type,
        note=entry.note,
        registered=entry.registered and entry.linked_to is None,
        labels=entry.own_labels,
        platform=told.platform,
        os_version=told.os_version,
        compromised=told.compromised,
        encrypted=told.encrypted,
        contact=told.contact,
    )


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with the number of the line in which each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        for row in reader:
            if row:
                yield number, [unguarded(cell) for cell in row]
            number = reader.line_num + 1
    except csv.Error as error:
        raise SheetError(f"line {number}: not CSV: {error}") from None


def _check_head(sheet: Sheet[Any], names: Sequence[str]) -> None:
    allowed = ", ".join(sheet.columns)
    for name in names:
        if name not in sheet.columns:
            raise SheetError(f"line 1, column `{name[:64]}`: there is no such column; allowed: {allowed}")
        if names.count(name) > 1:
            raise SheetError(f"line 1, column `{name}`: it is there twice")
    for name in sheet.key:
        if name not in names:
            raise SheetError(f"line 1, column `{name}`: it is missing; a sheet has {', '.join(sheet.key)}")


def _full(row: list[str], names: Sequence[str], number: int) -> list[str]:
    if len(row) != len(names):
        raise SheetError(f"line {number}: {len(names)} cells are wanted, found {len(row)}")
    return row


def _entry(sheet: Sheet[Entry], number: int, cells: dict[str, str]) -> Entry:
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        if len(cell) > CELL_CHARS:
            raise SheetError(f"line {number}, column `{name}`: at most {CELL_CHARS} characters, found {len(cell)}")
        if cell or name in sheet.key:
            try:
                values[name] = sheet.cells.get(name, str)(cell)
            except ValueError as error:
                raise SheetError(f"line {number}, column `{name}`: {error}") from None
    try:
        return msgspec.convert(values, sheet.kind)
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        place = f", column `{found['column']}`: {found['what']}" if found else f": {error}"
        raise SheetError(f"line {number}{place}") from None


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case tuple():
            return SEPARATOR.join(value)
        case _:
            return str(value)


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(SEPARATOR) if part.strip())


def _yes(cell: str) -> bool:
    if cell.lower() not in _YES:
        raise ValueError(f"`yes`, `no` or nothing, found {cell[:40]!r}")
    return _YES[cell.lower()]


def _number(cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,16}", cell, re.ASCII):
        raise ValueError(f"a whole number, found {cell[:40]!r}")
    return int(cell)


USERS = Sheet(UserEntry, {"labels": _split}, ("principal",))
LABELS = Sheet(LabelEntry, {"rank": _number}, ("name",))
DEVICES = Sheet(
    DeviceRow,
    {"registered": _yes, "labels": _split, "compromised": _yes, "encrypted": _yes, "contact": _number},
    ("device_id", "principal"),
)
