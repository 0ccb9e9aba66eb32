"""The reports: a checklist of the shape its readers expect, a page that needs nothing but itself, both deterministic."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lxml import etree

from stig import results
from stig.errors import InputError, ScanError
from stig.reports import ckl, files, page
from stig.results import Scan
from stig.rules import Catalogue
from stig.summary import lines
from stig.verdict import STATUSES

ASSET = [
    "ROLE",
    "ASSET_TYPE",
    "HOST_NAME",
    "HOST_IP",
    "HOST_MAC",
    "HOST_FQDN",
    "TARGET_COMMENT",
    "TECH_AREA",
    "TARGET_KEY",
    "WEB_OR_DATABASE",
    "WEB_DB_SITE",
    "WEB_DB_INSTANCE",
]
INFO = [
    "version",
    "classification",
    "customname",
    "stigid",
    "description",
    "filename",
    "releaseinfo",
    "title",
    "uuid",
    "notice",
    "source",
]
ATTRIBUTES = [
    "Vuln_Num",
    "Severity",
    "Group_Title",
    "Rule_ID",
    "Rule_Ver",
    "Rule_Title",
    "Vuln_Discuss",
    "IA_Controls",
    "Check_Content",
    "Fix_Text",
    "False_Positives",
    "False_Negatives",
    "Documentable",
    "Mitigations",
    "Potential_Impact",
    "Third_Party_Tools",
    "Mitigation_Control",
    "Responsibility",
    "Security_Override_Guidance",
    "Check_Content_Ref",
    "Weight",
    "Class",
    "STIGRef",
    "TargetKey",
    "STIG_UUID",
    "LEGACY_ID",
    "LEGACY_ID",
]
VULN_END = ["STATUS", "FINDING_DETAILS", "COMMENTS", "SEVERITY_OVERRIDE", "SEVERITY_JUSTIFICATION"]
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def checklist(scanned: Scan, catalogue: Catalogue) -> etree._Element:
    """The checklist, parsed."""
    return etree.fromstring(ckl.render(scanned, catalogue).encode())


def names(element: etree._Element) -> list[str]:
    """The children's names in order."""
    return [str(child.tag) for child in element]


def text(element: etree._Element, path: str) -> str:
    """The text of a child that must be there."""
    found = element.find(path)
    assert found is not None, path
    return found.text or ""


def test_the_checklist_has_the_order_its_schema_fixes(checklist: etree._Element, catalogue: Catalogue) -> None:
    """Checklist schema 2.5: asset first, then one iSTIG for each STIG, each with its data and its rules."""
    assert names(checklist) == ["ASSET", "STIGS"]
    asset, stigs = checklist
    assert names(asset) == ASSET
    assert (text(asset, "ROLE"), text(asset, "ASSET_TYPE"), text(asset, "TECH_AREA")) == ("None", "Computing", "")
    assert text(asset, "WEB_OR_DATABASE") == "false"
    assert text(asset, "HOST_NAME")
    assert names(stigs) == ["iSTIG"] * 3
    assert [len(one.findall("VULN")) for one in stigs] == [len(chapter.rules) for chapter in catalogue.chapters]
    for one in stigs:
        assert names(one) == ["STIG_INFO"] + ["VULN"] * len(one.findall("VULN"))
        assert [text(data, "SID_NAME") for data in one[0]] == INFO
        assert {len(data) for data in one[0] if text(data, "SID_NAME") != "customname"} == {2}
        assert re.fullmatch(UUID, next(text(data, "SID_DATA") for data in one[0] if text(data, "SID_NAME") == "uuid"))


def test_each_rule_has_the_attributes_in_the_viewers_order(checklist: etree._Element, catalogue: Catalogue) -> None:
    """And the statuses, severities and ids that importers match by."""
    for chapter, one in zip(catalogue.chapters, checklist[1], strict=True):
        for rule, vuln in zip(chapter.rules, one.findall("VULN"), strict=True):
            data = vuln.findall("STIG_DATA")
            assert names(vuln) == ["STIG_DATA"] * len(data) + VULN_END
            assert all(names(pair) == ["VULN_ATTRIBUTE", "ATTRIBUTE_DATA"] for pair in data)
            assert [text(pair, "VULN_ATTRIBUTE") for pair in data] == ATTRIBUTES + ["CCI_REF"] * len(rule.ccis)
            values = {text(pair, "VULN_ATTRIBUTE"): text(pair, "ATTRIBUTE_DATA") for pair in data}
            assert values["Vuln_Num"] == rule.id
            assert values["Rule_ID"] == rule.rule_id
            assert values["Severity"] == rule.severity
            assert values["TargetKey"] == chapter.benchmark.target_key
            assert values["Documentable"] == "false"
            assert text(vuln, "STATUS") in ("NotAFinding", "Open", "Not_Applicable", "Not_Reviewed")
            assert text(vuln, "SEVERITY_OVERRIDE") == ""


def test_what_nobody_decided_has_neither_details_nor_comments(checklist: etree._Element, scanned: Scan) -> None:
    """An importer takes a commented Not_Reviewed for an opinion; a broken check says that it broke."""
    vulns = {text(vuln, "STIG_DATA/ATTRIBUTE_DATA"): vuln for vuln in checklist.iter("VULN")}
    for result in scanned.results:
        vuln = vulns[result.rule]
        details, comments = text(vuln, "FINDING_DETAILS"), text(vuln, "COMMENTS")
        if result.status == "not_reviewed":
            assert (text(vuln, "STATUS"), details, comments) == ("Not_Reviewed", "", "")
        elif result.status == "error":
            assert (text(vuln, "STATUS"), comments) == ("Not_Reviewed", "")
            assert "unreachable" in details
        else:
            assert details
            assert "Assessed by equivalence" in comments


def test_the_checklist_is_written_with_tabs_line_feeds_and_closed_elements(scanned: Scan, catalogue: Catalogue) -> None:
    """As STIG Viewer writes it; control characters are not legal in XML and are shown as replaced."""
    written = ckl.render(scanned, catalogue)
    assert "/>" not in written
    assert "\r" not in written
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", written)
    assert "\ufffd[31mred\ufffd" in written
    assert all(
        re.match(r"\t*<", row) for row in written.splitlines() if row.endswith(">") and row.lstrip().startswith("<")
    )
    assert "<TECH_AREA></TECH_AREA>" in written


def test_the_same_scan_gives_the_same_bytes(scanned: Scan, catalogue: Catalogue, tmp_path: Path) -> None:
    """No time, no random number of their own."""
    first = {path.name: path.read_bytes() for path in files.write(scanned, catalogue, tmp_path / "one")}
    second = {path.name: path.read_bytes() for path in files.write(scanned, catalogue, tmp_path / "two")}
    assert first == second
    for name in ("results.json", "sentry.ckl", "sentry.cklb", "xccdf-results.xml", "oscal-results.json", "poam.csv"):
        assert name in first
    assert {"junit.xml", "report.html"} <= set(first)


class Page(HTMLParser):
    """What a page loads and runs, and whether its elements close."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        """Nothing seen yet."""
        super().__init__()
        self.seen: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element and what it would load."""
        self.seen.append(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith("#")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It must be the one that is open."""
        assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(scanned: Scan, catalogue: Catalogue) -> None:
    """No script, no style sheet, font or picture from elsewhere; what a machine said is text, never markup."""
    seen = Page()
    written = page.render(scanned, catalogue)
    seen.feed(written)
    assert seen.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(seen.seen)
    assert seen.loads == []
    assert "url(" not in written
    assert "@import" not in written
    assert "&lt;script&gt;alert(1)" in written
    assert "\x1b" not in written


def test_the_page_says_what_counts(scanned: Scan, catalogue: Catalogue) -> None:
    """Every rule, the basis, the module, the reading, and the reason of what was not decided."""
    written = page.render(scanned, catalogue)
    assert written.count("<details") == len(catalogue.rules)
    for words in ("Assessed by equivalence", "module not validated", "Read so.", "unreachable", "has no clock"):
        assert words in written
    assert "prefers-color-scheme: dark" in written
    # What needs an eye is open at once, the rest folds.
    assert written.count("<details open") == scanned.counts["open"] + scanned.counts["error"]


def test_the_summary_counts_each_category(scanned: Scan) -> None:
    """The rows add up to the rules of the catalogue, and what is open or in error is named."""
    written = lines(scanned)
    rows = {
        row[:8].strip(): [int(number) for number in row[8:].split()]
        for row in written
        if row.startswith(("CAT", "all"))
    }
    assert [rows[f"CAT {category}"][0] for category in ("I", "II", "III")] == [31, 293, 40]
    assert rows["all"] == [
        sum(column) for column in zip(*(rows[f"CAT {one}"] for one in ("I", "II", "III")), strict=True)
    ]
    assert all(sum(row[1:]) == row[0] and len(row) == 1 + len(STATUSES) for row in rows.values())
    assert any("V-251006" in row and row.startswith("open") for row in written)
    assert any("V-250995" in row and row.startswith("error") for row in written)


def test_reports_that_cannot_be_written_are_an_error(scanned: Scan, catalogue: Catalogue, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "scan").write_text("in the way", encoding="utf-8")
    with pytest.raises(ScanError, match="cannot be written"):
        files.write(scanned, catalogue, tmp_path / "scan")


def test_what_is_no_scan_result_is_refused(tmp_path: Path) -> None:
    """With the file and what is wrong in it."""
    (tmp_path / "results.json").write_text('{"tool": 1}', encoding="utf-8")
    with pytest.raises(InputError, match=r"results\.json"):
        results.read(tmp_path / "results.json")
