"""JUnit's XML, as build servers show it: a suite for each STIG and a case for each rule.

A rule that is open is a failure, a check that broke is an error, and what nobody decided is skipped, with the reason.
"""

from lxml import etree

from stig.reports import texts
from stig.results import Result, Scan
from stig.rules import Catalogue
from stig.verdict import Status

_OUTCOME: dict[Status, str] = {
    "open": "failure",
    "error": "error",
    "not_applicable": "skipped",
    "not_reviewed": "skipped",
}


def render(scan: Scan, catalogue: Catalogue) -> bytes:
    """The whole file."""
    root = etree.Element("testsuites", {"name": texts.clean(scan.tool)})
    for chapter in catalogue.chapters:
        rows = [result for result in scan.results if result.stig == chapter.stig]
        suite = etree.SubElement(root, "testsuite", {"name": chapter.benchmark.id, **_counts(rows)})
        suite.set("timestamp", scan.started.removesuffix("Z"))
        suite.set("hostname", texts.clean(scan.asset.name))
        for result in rows:
            _case(suite, result)
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8") + b"\n"


def _counts(rows: list[Result]) -> dict[str, str]:
    outcomes = [_OUTCOME.get(result.status) for result in rows]
    return {
        "tests": str(len(rows)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
        "time": f"{sum(result.seconds for result in rows):.1f}",
    }


def _case(suite: etree._Element, result: Result) -> None:
    names = {"classname": f"{result.stig}.CAT {result.category}", "name": f"{result.rule} {result.version_id}"}
    case = etree.SubElement(suite, "testcase", {**names, "time": f"{result.seconds:.1f}"})
    if outcome := _OUTCOME.get(result.status):
        message = result.reason or result.requirement
        element = etree.SubElement(case, outcome, {"message": texts.clean(message)})
        element.text = texts.clean(texts.details(result))
