"""The counts of a scan as lines for people."""

from textwrap import shorten

from stig.results import Scan
from stig.rules import CATEGORIES
from stig.verdict import STATUSES

REASON_CHARACTERS = 160  # a line or two; the reports hold the whole

HEADINGS = {
    "total": "total",
    "not_a_finding": "not a finding",
    "open": "open",
    "not_applicable": "n/a",
    "not_reviewed": "not reviewed",
    "error": "error",
}


def lines(scan: Scan) -> list[str]:
    """A row for each category and one of sums, then what is open or in error, then the module."""
    columns = ("total", *STATUSES)
    head = f"{'':<9}" + "".join(f"{HEADINGS[name]:>15}" for name in columns)
    rows = [(f"CAT {category}", scan.by_category[category]) for category in CATEGORIES] + [("all", scan.counts)]
    table = [f"{name:<9}" + "".join(f"{counts[column]:>15}" for column in columns) for name, counts in rows]
    bad = [
        f"{result.status:<6} CAT {result.category:<3} {result.rule}  {shorten(result.reason, REASON_CHARACTERS)}"
        for result in scan.results
        if result.status in ("open", "error")
    ]
    module = f"FIPS module: {scan.crypto.module}: {scan.crypto.validation}"
    return [f"STIG scan of {scan.asset.name} at {scan.finished}, {scan.seconds} s", head, *table, *bad, module]
