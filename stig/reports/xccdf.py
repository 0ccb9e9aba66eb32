"""XCCDF 1.2 results (NISTIR 7275r4): for each STIG a file of its own, which is what importers match a checklist by, and one
of all of them for whoever wants all rules in one document.

Each is a `Benchmark` with its rules and one `TestResult`, since tools that make a report of results need the titles. The order of
the elements is the schema's. A message is the only one of its rule, as STIG Manager reads none of several.
"""

from collections.abc import Sequence

from lxml import etree

from stig import VERSION
from stig.reports import texts
from stig.results import Override, Result, Scan
from stig.rules import Catalogue, Chapter, Rule
from stig.verdict import Status

XCCDF = "http://checklists.nist.gov/xccdf/1.2"
DC = "http://purl.org/dc/elements/1.1/"
CHECK_SYSTEM = "urn:sentry:stig:testinfra"
PLATFORM = "cpe:/a:sentry:gateway"
TEST_SYSTEM = f"cpe:/a:sentry:stig:{VERSION}"
ALL = "xccdf_org.sentry_benchmark_all"

_RESULT: dict[Status, str] = {
    "not_a_finding": "pass",
    "open": "fail",
    "not_applicable": "notapplicable",
    "not_reviewed": "notchecked",
    "error": "error",
}
_SCORED = ("pass", "fail", "error")  # what a score is made of; of the others nothing is known, or asked


def render(scan: Scan, chapters: Sequence[Chapter]) -> bytes:
    """The document for these STIGs: under the STIG's own id where it is one."""
    one = chapters[0].benchmark if len(chapters) == 1 else None
    name = f"xccdf_mil.disa.stig_benchmark_{one.id}" if one else ALL
    title = one.title if one else " and ".join(texts.short_title(chapter.benchmark) for chapter in chapters)
    root = etree.Element(_x("Benchmark"), {"id": name}, nsmap={"cdf": XCCDF, "dc": DC})
    etree.SubElement(root, _x("status"), {"date": scan.finished[:10]}).text = "accepted"
    _text(root, "title", title)
    _text(root, "description", texts.origin(chapters))
    etree.SubElement(root, _x("notice"), {"id": "terms-of-use"}).text = texts.remark(scan)
    if one:
        etree.SubElement(root, _x("plain-text"), {"id": "release-info"}).text = one.release
    etree.SubElement(root, _x("platform"), {"idref": PLATFORM})
    _text(root, "version", one.version if one else VERSION)
    metadata = etree.SubElement(root, _x("metadata"))
    publisher = " and ".join(dict.fromkeys(chapter.benchmark.publisher for chapter in chapters))
    source = " and ".join(dict.fromkeys(chapter.benchmark.source for chapter in chapters))
    for kind, text in (
        ("creator", publisher),
        ("publisher", publisher),
        ("contributor", scan.tool),
        ("source", source),
    ):
        etree.SubElement(metadata, f"{{{DC}}}{kind}").text = text
    for chapter in chapters:
        for rule in chapter.rules:
            _rule(root, chapter, rule)
    results = scan.by_rule
    _results(root, name, scan, [(rule, results[rule.id]) for chapter in chapters for rule in chapter.rules])
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8") + b"\n"


def documents(scan: Scan, catalogue: Catalogue) -> dict[str, bytes]:
    """All of them, by the names of their files."""
    each = {f"xccdf-results-{chapter.stig.lower()}.xml": render(scan, [chapter]) for chapter in catalogue.chapters}
    return {"xccdf-results.xml": render(scan, catalogue.chapters), **each}


def _x(name: str) -> str:
    return f"{{{XCCDF}}}{name}"


def _text(parent: etree._Element, name: str, text: str) -> None:
    etree.SubElement(parent, _x(name)).text = texts.clean(text)


def _rule_name(rule: Rule) -> str:
    return f"xccdf_mil.disa.stig_rule_{rule.rule_id}"


def _rule(root: etree._Element, chapter: Chapter, rule: Rule) -> None:
    group = etree.SubElement(root, _x("Group"), {"id": f"xccdf_mil.disa.stig_group_{rule.id}"})
    _text(group, "title", rule.srg)
    attributes = {"id": _rule_name(rule), "selected": "true", "weight": texts.WEIGHT, "severity": rule.severity}
    element = etree.SubElement(group, _x("Rule"), attributes)
    _text(element, "version", rule.version_id)
    _text(element, "title", rule.requirement)
    _text(element, "description", texts.discussion(rule))
    for cci in rule.ccis:
        etree.SubElement(element, _x("ident"), {"system": texts.CCI_SYSTEM}).text = cci
    _text(element, "fixtext", rule.fix)
    check = etree.SubElement(element, _x("check"), {"system": CHECK_SYSTEM})
    etree.SubElement(check, _x("check-content-ref"), {"href": chapter.benchmark.filename, "name": rule.version_id})


def _results(root: etree._Element, benchmark: str, scan: Scan, rows: Sequence[tuple[Rule, Result]]) -> None:
    asset = scan.asset
    host = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in asset.name)
    attributes = {
        "id": f"xccdf_org.sentry_testresult_{host}",
        "start-time": scan.started,
        "end-time": scan.finished,
        "version": VERSION,
        "test-system": TEST_SYSTEM,
    }
    found = etree.SubElement(root, _x("TestResult"), attributes)
    etree.SubElement(found, _x("benchmark"), {"href": f"#{benchmark}", "id": benchmark})
    _text(found, "title", f"{scan.tool}, scan of {asset.name}")
    _text(found, "remark", texts.remark(scan))
    _text(found, "target", asset.name)
    _text(found, "target-address", asset.address)
    facts = etree.SubElement(found, _x("target-facts"))
    address = "ipv6" if ":" in asset.address else "ipv4"
    known = {"host_name": asset.name, "fqdn": asset.fqdn, address: asset.address, "mac": asset.mac}
    for name, text in known.items():
        if text:
            # The type has to be said: it is boolean otherwise.
            fact = {"name": f"urn:xccdf:fact:asset:identifier:{name}", "type": "string"}
            etree.SubElement(facts, _x("fact"), fact).text = texts.clean(text)
    for rule, result in rows:
        _result(found, scan, rule, result)
    scored = [word for word in (_RESULT[result.status] for _, result in rows) if word in _SCORED]
    weight = float(texts.WEIGHT)
    score = {"system": "urn:xccdf:scoring:flat", "maximum": f"{weight * len(scored):.1f}"}
    etree.SubElement(found, _x("score"), score).text = f"{weight * scored.count('pass'):.1f}"


def _result(found: etree._Element, scan: Scan, rule: Rule, result: Result) -> None:
    attributes = {
        "idref": _rule_name(rule),
        "role": "full",
        "time": texts.decided_at(scan, result),
        "severity": rule.severity,
        "version": rule.version_id,
        "weight": texts.WEIGHT,
    }
    element = etree.SubElement(found, _x("rule-result"), attributes)
    _text(element, "result", _RESULT[result.status])
    if result.override:
        _override(element, result, result.override)
    for cci in rule.ccis:
        etree.SubElement(element, _x("ident"), {"system": texts.CCI_SYSTEM}).text = cci
    if said := texts.details(result):
        level = "error" if result.status == "error" else "info"
        etree.SubElement(element, _x("message"), {"severity": level}).text = texts.clean(said)
    check = etree.SubElement(element, _x("check"), {"system": CHECK_SYSTEM})
    etree.SubElement(check, _x("check-content-ref"), {"href": "results.json", "name": rule.version_id})


def _override(element: etree._Element, result: Result, said: Override) -> None:
    given = etree.SubElement(
        element, _x("override"), {"time": f"{said.date}T00:00:00Z", "authority": texts.clean(said.authority)}
    )
    _text(given, "old-result", _RESULT[said.scanned])
    _text(given, "new-result", _RESULT[result.status])
    _text(given, "remark", said.justification)
