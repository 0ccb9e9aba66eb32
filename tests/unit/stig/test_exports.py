"""The reports for other tools: the shapes that they match by, texts that a machine has made hostile, and nothing decided that
nobody decided."""

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lxml import etree

from stig.errors import InputError
from stig.reports import cklb, files, junit, oscal, poam, xccdf
from stig.results import Scan
from stig.rules import Catalogue

SCHEMA = Path("/usr/share/openscap/schemas/xccdf/1.2/xccdf_1.2.xsd")  # of Debian's openscap-common
NAMES = {"c": xccdf.XCCDF}


@pytest.fixture
def checklist(scanned: Scan, catalogue: Catalogue) -> Any:
    """The checklist of STIG Viewer 3, read."""
    return json.loads(cklb.render(scanned, catalogue))


def test_the_checklist_for_viewer_3_has_what_importers_match_by(checklist: Any, catalogue: Catalogue) -> None:
    """STIG Manager takes a STIG by its id, version and release, and a review by the rule's whole id."""
    assert checklist["cklb_version"] == "1.0"
    assert checklist["target_data"]["host_name"]
    for chapter, stig in zip(catalogue.chapters, checklist["stigs"], strict=True):
        named = (chapter.benchmark.id, chapter.benchmark.version, chapter.benchmark.release)
        assert (stig["stig_id"], stig["version"], stig["release_info"]) == named
        assert stig["size"] == len(stig["rules"]) == len(chapter.rules)
        for rule, one in zip(chapter.rules, stig["rules"], strict=True):
            assert (one["group_id"], one["rule_id_src"]) == (rule.id, rule.rule_id)
            assert f"{one['rule_id']}_rule" == rule.rule_id
            assert (one["ccis"], one["severity"], one["overrides"]) == (list(rule.ccis), rule.severity, {})
    every = [one["uuid"] for stig in checklist["stigs"] for one in stig["rules"]]
    assert len(set(every)) == len(catalogue.rules)


def test_the_checklist_for_viewer_3_says_nothing_of_what_nobody_decided(checklist: Any, scanned: Scan) -> None:
    """And of a check that broke, that it broke."""
    rules = {one["group_id"]: one for stig in checklist["stigs"] for one in stig["rules"]}
    for result in scanned.results:
        one = rules[result.rule]
        if result.status == "not_reviewed":
            assert (one["status"], one["finding_details"], one["comments"]) == ("not_reviewed", "", "")
        elif result.status == "error":
            assert (one["status"], one["comments"]) == ("not_reviewed", "")
            assert "unreachable" in one["finding_details"]
        else:
            assert one["status"] == result.status
            assert one["finding_details"]
            assert "Assessed by equivalence" in one["comments"]


def test_xccdf_results_are_valid(scanned: Scan, catalogue: Catalogue, tmp_path: Path) -> None:
    """By the schema of XCCDF 1.2, each of the documents."""
    assert SCHEMA.is_file(), "openscap-common is not installed: .ci/setup tests"
    for name, text in xccdf.documents(scanned, catalogue).items():
        (tmp_path / name).write_bytes(text)
        argv = ["xmllint", "--nonet", "--noout", "--schema", str(SCHEMA), str(tmp_path / name)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_xccdf_results_have_each_rule_once_under_the_stigs_own_names(scanned: Scan, catalogue: Catalogue) -> None:
    """One message at most, since importers read none of several; none where nobody decided."""
    words = {"not_a_finding": "pass", "open": "fail", "error": "error"}
    words |= {"not_applicable": "notapplicable", "not_reviewed": "notchecked"}
    for chapter in catalogue.chapters:
        root = etree.fromstring(xccdf.render(scanned, [chapter]))
        assert root.get("id") == f"xccdf_mil.disa.stig_benchmark_{chapter.benchmark.id}"
        found = {one.get("idref"): one for one in root.iterfind(".//c:rule-result", NAMES)}
        results = scanned.by_rule
        assert set(found) == {f"xccdf_mil.disa.stig_rule_{rule.rule_id}" for rule in chapter.rules}
        for rule in chapter.rules:
            one, result = found[f"xccdf_mil.disa.stig_rule_{rule.rule_id}"], results[rule.id]
            assert one.findtext("c:result", namespaces=NAMES) == words[result.status]
            assert len(one.findall("c:message", NAMES)) == (result.status != "not_reviewed")
            assert [ident.text for ident in one.iterfind("c:ident", NAMES)] == list(rule.ccis)
        score = root.find(".//c:score", NAMES)
        assert score is not None
        mine = [results[rule.id].status for rule in chapter.rules]
        counted = sum(status in ("not_a_finding", "open", "error") for status in mine)
        assert (score.text, score.get("maximum")) == (f"{10.0 * mine.count('not_a_finding')}", f"{10.0 * counted}")


def test_what_a_machine_says_of_itself_breaks_no_document(scanned: Scan, catalogue: Catalogue) -> None:
    """Characters that no XML may have, in what it calls its module and itself."""
    crypto = msgspec.structs.replace(scanned.crypto, module="OpenSSL\x00\x1b[31m")
    hostile = msgspec.structs.replace(
        scanned, crypto=crypto, asset=msgspec.structs.replace(scanned.asset, fqdn="a\x07b")
    )
    for name, text in files.render(hostile, catalogue).items():
        if name.endswith((".xml", ".ckl")):
            etree.fromstring(text)


def test_the_document_of_all_of_them_is_nobodys_benchmark(scanned: Scan, catalogue: Catalogue) -> None:
    """No importer shall take it for one of them."""
    root = etree.fromstring(xccdf.render(scanned, catalogue.chapters))
    assert root.get("id") == xccdf.ALL
    assert len(root.findall(".//c:rule-result", NAMES)) == len(catalogue.rules)


@pytest.mark.parametrize(
    ("name", "identity", "statement"),
    [
        ("AC-3", "ac-3", "ac-3_smt"),
        ("AC-11 a", "ac-11", "ac-11_smt.a"),
        ("AC-17 (2)", "ac-17.2", "ac-17.2_smt"),
        ("IA-5 (1) (h)", "ia-5.1", "ia-5.1_smt.h"),
        ("IA-5 (2) (a) (2)", "ia-5.2", "ia-5.2_smt.a.2"),
        ("CP-9 (b)", "cp-9", "cp-9_smt.b"),
    ],
)
def test_controls_have_oscals_names(name: str, identity: str, statement: str) -> None:
    """Of NIST's catalogue of 800-53."""
    assert oscal.control(name) == (identity, statement)


def test_what_is_no_control_is_refused() -> None:
    """A mistake in the catalogue of rules."""
    with pytest.raises(InputError, match="no control"):
        oscal.control("AC3")


def test_oscal_says_what_was_seen_and_what_follows(scanned: Scan, catalogue: Catalogue) -> None:
    """An observation for each decided rule; a statement of a control is not satisfied by one open rule of its."""
    result = json.loads(oscal.render(scanned, catalogue))["assessment-results"]["results"][0]
    decided = {one.rule for one in scanned.results if one.status in ("not_a_finding", "open")}
    assert len(result["observations"]) == len(decided)
    seen = {one["uuid"] for one in result["observations"]}
    states = {one["target"]["target-id"]: one["target"]["status"]["state"] for one in result["findings"]}
    for one in result["findings"]:
        assert {each["observation-uuid"] for each in one["related-observations"]} <= seen
    rules = {rule.id: rule for rule in catalogue.rules}
    for one in scanned.results:
        for name in rules[one.rule].nist:
            statement = oscal.control(name)[1]
            if one.status == "open":
                assert states[statement] == "not-satisfied"
            elif one.status in ("error", "not_reviewed"):
                assert states.get(statement) != "satisfied"


def test_build_servers_see_each_rule_as_a_case(scanned: Scan, catalogue: Catalogue) -> None:
    """JUnit's XML: the counts of each suite are those of its cases."""
    root = etree.fromstring(junit.render(scanned, catalogue))
    assert len(root.findall("testsuite/testcase")) == len(catalogue.rules)
    for suite in root:
        for name, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name, "")) == len(suite.findall(f"testcase/{outcome}"))
    broken = root.find("testsuite/testcase/error")
    assert broken is not None
    assert "unreachable" in str(broken.get("message"))


def test_each_open_rule_is_a_row_of_the_plan(scanned: Scan, catalogue: Catalogue) -> None:
    """With what was found; and no cell is a formula."""
    text = poam.render(scanned, catalogue).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    opened = [result for result in scanned.results if result.status == "open"]
    assert opened
    assert [row["Control Vulnerability Description"].split(":")[0] for row in rows] == [one.rule for one in opened]
    assert all(set(row) == set(poam.COLUMNS) for row in rows)
    assert all("found" in row["Comments"] for row in rows)
    assert all(row["Raw Severity"] in ("I", "II", "III") for row in rows)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "=cmd|' /C calc'!A0"])
def test_a_spreadsheet_takes_nothing_for_a_formula(text: str) -> None:
    """Whatever a machine or a device has said."""
    assert poam.cell(text).startswith("'")
