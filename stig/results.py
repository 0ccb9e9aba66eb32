"""The result of a scan as one typed tree; `results.json` is this tree and every other report is made from it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from stig.errors import InputError
from stig.rules import CATEGORIES, Category, Severity, Stig
from stig.verdict import STATUSES, Nature, Status


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, named fields only, nothing unknown."""


class Evidence(_Data, frozen=True, kw_only=True):
    """One point of evidence with the time it was taken (UTC, ISO 8601)."""

    command: str
    found: str
    expected: str
    met: bool
    nature: Nature
    time: str


class Override(_Data, frozen=True, kw_only=True):
    """The site's word for a rule: what the scan itself had ended as, and who decided otherwise why and when (a date)."""

    scanned: Status
    justification: str
    authority: str
    date: str


class Result(_Data, frozen=True, kw_only=True):
    """What one rule ended as. `reason` is why, where no evidence decided it; `reading` how the rule was read; `asked` the
    lines by which an auditor sees the same at the appliance's command line; `mended_by`, where it is open, what mends it."""

    rule: str
    stig: Stig
    rule_id: str
    version_id: str
    severity: Severity
    category: Category
    requirement: str
    status: Status
    reason: str = ""
    reading: str = ""
    evidence: tuple[Evidence, ...] = ()
    asked: tuple[str, ...] = ()
    mended_by: str = ""
    seconds: float = 0.0
    override: Override | None = None


class Asset(_Data, frozen=True, kw_only=True):
    """The machine that was scanned, as checklists describe it; `image` is the root hash (dm-verity, hexadecimal) of what it was
    started from, empty where that is no image."""

    name: str
    address: str
    fqdn: str = ""
    mac: str = ""
    image: str = ""


class Crypto(_Data, frozen=True, kw_only=True):
    """Which cryptographic module answers for the FIPS rules, and what can be said about its validation."""

    module: str
    validation: str


class Scan(_Data, frozen=True, kw_only=True):
    """The whole scan."""

    format: int = 1
    tool: str
    basis: str
    asset: Asset
    crypto: Crypto
    started: str
    finished: str
    seconds: float
    counts: dict[str, int]
    by_category: dict[str, dict[str, int]]
    results: tuple[Result, ...]

    @property
    def by_rule(self) -> dict[str, Result]:
        """The results by their rules."""
        return {result.rule: result for result in self.results}


def count(results: Iterable[Result]) -> dict[str, int]:
    """How many results there are, and how many of each status."""
    rows = tuple(results)
    return {"total": len(rows)} | {status: sum(row.status == status for row in rows) for status in STATUSES}


def count_by_category(results: Iterable[Result]) -> dict[str, dict[str, int]]:
    """`count` for each of CAT I, II and III."""
    rows = tuple(results)
    return {category: count(row for row in rows if row.category == category) for category in CATEGORIES}


def encode(scan: Scan) -> bytes:
    """The tree as indented JSON with a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(scan), indent=2) + b"\n"


def read(path: Path) -> Scan:
    """Read a `results.json`; `InputError` says what is wrong with it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scan)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: is not a scan result: {error}") from error
