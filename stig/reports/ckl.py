"""The checklist of STIG Viewer 2 (`.ckl`, DISA's checklist schema 2.5): one file, one `iSTIG` for each STIG.

Element order, tabs, LF and `<X></X>` are as STIG Viewer 2.17 writes them: readers depend on all four. A rule nobody
decided has neither details nor comments, since importers take a commented one for a decided one; its reason stands in
the other reports.
"""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from stig.reports import texts
from stig.reports.texts import clean
from stig.results import Result, Scan
from stig.rules import Benchmark, Catalogue, Chapter, Rule
from stig.verdict import Status

_STATUS: dict[Status, str] = {
    "not_a_finding": "NotAFinding",
    "open": "Open",
    "not_applicable": "Not_Applicable",
    "not_reviewed": "Not_Reviewed",
    "error": "Not_Reviewed",
}


def render(scan: Scan, catalogue: Catalogue) -> str:
    """The whole file."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<!--{clean(scan.tool)}-->", "<CHECKLIST>"]
    lines += [f"\t{line}" for line in _asset(scan, catalogue)]
    lines.append("\t<STIGS>")
    for chapter in catalogue.chapters:
        lines += [f"\t\t{line}" for line in _stig(scan, chapter)]
    lines += ["\t</STIGS>", "</CHECKLIST>"]
    return "\n".join(lines) + "\n"


def _element(name: str, text: str = "") -> str:
    return f"<{name}>{escape(clean(text))}</{name}>"


def _asset(scan: Scan, catalogue: Catalogue) -> Iterator[str]:
    """The machine. It has one target key; the first STIG's stands here, each rule names its own."""
    yield "<ASSET>"
    rows = (
        ("ROLE", "None"),
        ("ASSET_TYPE", "Computing"),
        ("HOST_NAME", scan.asset.name),
        ("HOST_IP", scan.asset.address),
        ("HOST_MAC", scan.asset.mac),
        ("HOST_FQDN", scan.asset.fqdn),
        ("TARGET_COMMENT", texts.remark(scan)),
        ("TECH_AREA", ""),
        ("TARGET_KEY", catalogue.chapters[0].benchmark.target_key),
        ("WEB_OR_DATABASE", "false"),
        ("WEB_DB_SITE", ""),
        ("WEB_DB_INSTANCE", ""),
    )
    for name, text in rows:
        yield "\t" + _element(name, text)
    yield "</ASSET>"


def _stig(scan: Scan, chapter: Chapter) -> Iterator[str]:
    benchmark = chapter.benchmark
    identity = texts.checklist_identity(scan, benchmark)
    yield "<iSTIG>"
    yield "\t<STIG_INFO>"
    for name, text in _info(chapter, identity):
        yield "\t\t<SI_DATA>"
        yield "\t\t\t" + _element("SID_NAME", name)
        if text is not None:
            yield "\t\t\t" + _element("SID_DATA", text)
        yield "\t\t</SI_DATA>"
    yield "\t</STIG_INFO>"
    results = scan.by_rule
    for rule in chapter.rules:
        for line in _vuln(scan, benchmark, identity, rule, results[rule.id]):
            yield f"\t{line}"
    yield "</iSTIG>"


def _info(chapter: Chapter, identity: str) -> tuple[tuple[str, str | None], ...]:
    benchmark = chapter.benchmark
    return (
        ("version", benchmark.version),
        ("classification", "UNCLASSIFIED"),
        ("customname", None),
        ("stigid", benchmark.id),
        ("description", texts.origin([chapter])),
        ("filename", benchmark.filename),
        ("releaseinfo", benchmark.release),
        ("title", benchmark.title),
        ("uuid", identity),
        ("notice", "terms-of-use"),
        ("source", benchmark.source),
    )


def _vuln(scan: Scan, benchmark: Benchmark, identity: str, rule: Rule, result: Result) -> Iterator[str]:
    yield "<VULN>"
    for name, text in _data(benchmark, identity, rule):
        yield "\t<STIG_DATA>"
        yield "\t\t" + _element("VULN_ATTRIBUTE", name)
        yield "\t\t" + _element("ATTRIBUTE_DATA", text)
        yield "\t</STIG_DATA>"
    yield "\t" + _element("STATUS", _STATUS[result.status])
    yield "\t" + _element("FINDING_DETAILS", texts.details(result))
    yield "\t" + _element("COMMENTS", texts.comments(scan, result))
    yield "\t" + _element("SEVERITY_OVERRIDE")
    yield "\t" + _element("SEVERITY_JUSTIFICATION")
    yield "</VULN>"


def _data(benchmark: Benchmark, identity: str, rule: Rule) -> tuple[tuple[str, str], ...]:
    """The attributes in STIG Viewer's order. `Security_Override_Guidance` is how the format spells it."""
    return (
        ("Vuln_Num", rule.id),
        ("Severity", rule.severity),
        ("Group_Title", rule.srg),
        ("Rule_ID", rule.rule_id),
        ("Rule_Ver", rule.version_id),
        ("Rule_Title", rule.requirement),
        ("Vuln_Discuss", texts.discussion(rule)),
        ("IA_Controls", ""),
        ("Check_Content", rule.check),
        ("Fix_Text", rule.fix),
        ("False_Positives", ""),
        ("False_Negatives", ""),
        ("Documentable", "false"),
        ("Mitigations", ""),
        ("Potential_Impact", ""),
        ("Third_Party_Tools", ""),
        ("Mitigation_Control", ""),
        ("Responsibility", ""),
        ("Security_Override_Guidance", ""),
        ("Check_Content_Ref", "M"),
        ("Weight", texts.WEIGHT),
        ("Class", "Unclass"),
        ("STIGRef", texts.reference(benchmark)),
        ("TargetKey", benchmark.target_key),
        ("STIG_UUID", identity),
        ("LEGACY_ID", ""),
        ("LEGACY_ID", ""),
        *(("CCI_REF", cci) for cci in rule.ccis),
    )
