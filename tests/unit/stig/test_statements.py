"""The site's word for a rule: when it counts, and how each report shows it beside what the scan had found."""

import json
from datetime import date
from pathlib import Path

import msgspec
import pytest
from lxml import etree

from stig.answers import Answers, Statement
from stig.reports import ckl, files, oscal, page, xccdf
from stig.results import Result, Scan, count
from stig.rules import Catalogue
from stig.scan import stated

SAID = Statement(status="not_a_finding", justification="Backed up each night.", authority="ISSO", date=date(2026, 1, 2))


def answers(*rules: str) -> Answers:
    """An answer file that says this of these rules."""
    return Answers(
        max_cli_sessions=5, authorised_users=(), management_networks=(), statements=dict.fromkeys(rules, SAID)
    )


@pytest.fixture
def overridden(scanned: Scan) -> Scan:
    """The scan, with one rule that nobody decided stated by the site."""
    results = stated(scanned.results, answers("V-251004"))
    return msgspec.structs.replace(scanned, results=results, counts=count(results))


def result(scan: Scan, rule: str) -> Result:
    """One of its results."""
    return scan.by_rule[rule]


def test_what_nobody_decided_is_decided_by_the_site(scanned: Scan, overridden: Scan) -> None:
    """And what the scan had ended as is kept."""
    before, after = result(scanned, "V-251004"), result(overridden, "V-251004")
    assert (before.status, after.status) == ("not_reviewed", "not_a_finding")
    assert after.override is not None
    assert (after.override.scanned, after.override.authority, after.override.date) == (
        "not_reviewed",
        "ISSO",
        "2026-01-02",
    )
    assert [one for one in overridden.results if one.override] == [after]


def test_a_finding_may_be_overridden_and_stays_seen(scanned: Scan) -> None:
    """With all of its evidence."""
    (after,) = [one for one in stated(scanned.results, answers("V-251006")) if one.rule == "V-251006"]
    assert (after.status, len(after.evidence)) == ("not_a_finding", 2)
    assert after.override is not None
    assert after.override.scanned == "open"


def test_a_look_that_failed_is_nobodys_to_talk_away(scanned: Scan) -> None:
    """And without statements everything stays."""
    assert stated(scanned.results, answers("V-250995")) == scanned.results
    assert stated(scanned.results, None) == scanned.results


def test_every_report_shows_it(overridden: Scan, catalogue: Catalogue, tmp_path: Path) -> None:
    """The words, who said them, and what the scan had ended as; and XCCDF stays valid by its schema (its own test reads it)."""
    words = "Stated by ISSO on 2026-01-02: Backed up each night. The scan itself ended as not reviewed."
    assert words in ckl.render(overridden, catalogue)
    assert words in page.render(overridden, catalogue)
    root = etree.fromstring(xccdf.render(overridden, catalogue.chapters))
    (found,) = root.iterfind(f".//{{{xccdf.XCCDF}}}override")
    assert [one.text for one in found] == ["notchecked", "pass", "Backed up each night."]
    assert found.get("authority") == "ISSO"
    (observed,) = [
        one
        for one in json.loads(oscal.render(overridden, catalogue))["assessment-results"]["results"][0]["observations"]
        if one["title"].startswith("V-251004")
    ]
    assert observed["methods"] == ["EXAMINE"]
    assert words in observed["description"]
    assert files.write(overridden, catalogue, tmp_path)
