"""The plan of action and milestones (POA&M) as CSV: a row for each open rule, with the columns that eMASS imports. Who does what
by when is the site's to fill in."""

import csv
import io

from stig.reports import texts
from stig.results import Result, Scan
from stig.rules import Catalogue, Rule

COLUMNS = (
    "Control Vulnerability Description",
    "Security Control Number (NC/NA controls only)",
    "Office/Org",
    "Security Checks",
    "Resources Required",
    "Scheduled Completion Date",
    "Milestone with Completion Dates",
    "Milestone Changes",
    "Source Identifying Vulnerability",
    "Status",
    "Comments",
    "Raw Severity",
    "Devices Affected",
    "Mitigations",
    "Predisposing Conditions",
    "Severity",
    "Relevance of Threat",
    "Threat Description",
    "Likelihood",
    "Impact",
    "Impact Description",
    "Residual Risk Level",
    "Recommendations",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
CELL_CHARACTERS = 32_000  # a spreadsheet's cell holds 32,767


def render(scan: Scan, catalogue: Catalogue) -> bytes:
    """The whole file, in UTF-8 with the mark by which spreadsheets know it."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\r\n")
    rows.writeheader()
    for result in scan.results:
        if result.status == "open":
            rows.writerow({name: cell(value) for name, value in _row(scan, catalogue, result).items()})
    return text.getvalue().encode("utf-8-sig")


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula, whatever a machine said."""
    shown = texts.clean(text)[:CELL_CHARACTERS]
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _row(scan: Scan, catalogue: Catalogue, result: Result) -> dict[str, str]:
    rule: Rule = catalogue.rule(result.rule)
    asset, benchmark = scan.asset, catalogue.chapter_of(rule.id).benchmark
    return {
        "Control Vulnerability Description": f"{rule.id}: {rule.requirement}",
        "Security Control Number (NC/NA controls only)": ", ".join(rule.nist),
        "Security Checks": f"{rule.rule_id} ({rule.version_id}), {', '.join(rule.ccis)}",
        "Source Identifying Vulnerability": f"{texts.reference(benchmark)}; {scan.tool}, {scan.finished}",
        "Status": "Ongoing",
        "Comments": texts.unmet(result),
        "Raw Severity": result.category,
        "Devices Affected": ", ".join(part for part in (asset.name, asset.fqdn, asset.address) if part),
        "Recommendations": rule.fix,
    }
