"""The report a person reads: one HTML file, no script, nothing loaded from elsewhere, light and dark."""

from pathlib import Path

import jinja2

from stig.difference import Difference
from stig.reports import texts
from stig.reports.texts import clean
from stig.results import Result, Scan
from stig.rules import CATEGORIES, Catalogue
from stig.verdict import STATUSES, Status

TEMPLATES = Path(__file__).parent / "templates"
WORDS: dict[Status, str] = {
    "not_a_finding": "Not a finding",
    "open": "Open",
    "not_applicable": "Not applicable",
    "not_reviewed": "Not reviewed",
    "error": "Error",
}
# What needs a person's eye comes first.
ORDER: tuple[Status, ...] = ("open", "error", "not_a_finding", "not_applicable", "not_reviewed")


def render(scan: Scan, catalogue: Catalogue, since: Difference | None = None) -> str:
    """The whole page; `since`: with what has changed since an earlier scan."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    groups = [(category, _sorted(scan, category)) for category in CATEGORIES]
    page = environment.get_template("report.html.j2").render(
        scan=scan,
        since=since,
        origin=texts.origin(catalogue.chapters),
        groups=groups,
        rules={rule.id: rule for rule in catalogue.rules},
        benchmarks=[chapter.benchmark for chapter in catalogue.chapters],
        words=WORDS,
        statuses=STATUSES,
        categories=CATEGORIES,
        statement=texts.statement,
    )
    return page if page.endswith("\n") else f"{page}\n"


def _sorted(scan: Scan, category: str) -> list[Result]:
    rows = [result for result in scan.results if result.category == category]
    return sorted(rows, key=lambda result: (ORDER.index(result.status), result.rule))
