"""Our rules of the operating system as data: every requirement of the SRG is answered, and what others read of them is right."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from stig import __main__ as cli
from stig import rules, written
from stig.errors import InputError
from stig.platform import accounts, audit, kernel, passwords, software, ssh
from stig.reports import manual, oscal, reference
from stig.rules import Catalogue, Chapter
from stig.written import PLATFORM, REQUIREMENTS

REPO = Path(__file__).parents[3]
SCHEMA = Path("/usr/share/openscap/schemas/xccdf/1.1/xccdf-schema.xsd")  # of Debian's openscap-common
REQUIREMENT_COUNT = 202  # of release V3R3; one of its 203 entries repeats another's id
UNMAPPED = {
    "SRG-OS-000313-GPOS-00124",
    "SRG-OS-000550-GPOS-00100",
    "SRG-OS-000835-GPOS-00305",
}  # new in V3R3, their CCIs unknown
NAMES = {"x": manual.XCCDF}


@pytest.fixture
def chapter(catalogue: Catalogue) -> Chapter:
    """Our benchmark."""
    return catalogue.chapter("GPOS")


def test_every_requirement_of_the_srg_is_there_and_answered(chapter: Chapter) -> None:
    """By a rule, or by a reason why none does; never by both."""
    assert len(chapter.requirements) == REQUIREMENT_COUNT
    answered = {name for rule in chapter.rules for name in rule.srgs}
    refused = {one.id for one in chapter.requirements if one.not_applicable}
    assert answered | refused == {one.id for one in chapter.requirements}
    assert not answered & refused
    assert all(len(one.not_applicable or "x" * 41) > 40 for one in chapter.requirements)


def test_identifiers_lead_to_controls(chapter: Chapter) -> None:
    """Each rule has CCIs, and each of their controls is one that OSCAL knows."""
    assert {one.id for one in chapter.requirements if not one.cci} == UNMAPPED
    for rule in chapter.rules:
        assert rule.ccis, rule.id
        assert all(oscal.control(name) for name in rule.nist)
    assert [rule.id for rule in chapter.rules] == sorted(rule.id for rule in chapter.rules)


def test_a_rule_without_a_model_has_the_severity_of_its_requirement(chapter: Chapter) -> None:
    """Where a model is named, the severity is the model's."""
    severity = {one.id: one.severity for one in chapter.requirements}
    for rule in written.read(rules.FOLDER / PLATFORM, written.PlatformChapter).rules:
        assert rule.like or rule.severity == severity[rule.srg[0]], rule.id


def test_what_mends_a_rule_is_a_file_of_this_project(chapter: Chapter) -> None:
    """A role's or a feature's."""
    named = {rule.mended_in for rule in chapter.rules if rule.mended_in}
    assert named
    assert [name for name in sorted(named) if not (REPO / name).is_file()] == []


def test_the_check_texts_name_what_the_tables_look_at(catalogue: Catalogue) -> None:
    """A value's name stands in the words an assessor reads."""
    tables = (
        accounts.LOGIN,
        accounts.DEFAULTS,
        passwords.QUALITY,
        passwords.FAILURES,
        ssh.SERVER,
        ssh.CLIENT,
        audit.DAEMON,
    )
    named = {(one.rule, one.name) for table in (*tables, kernel.PARAMETERS, kernel.MANAGER) for one in table}
    named |= {(one.rule, one.path) for one in (*audit.FILES, *audit.COMMANDS)}
    named |= {(one.rule, call) for one in audit.CALLS for call in one.calls}
    named |= {
        (rule, name)
        for table in (software.ABSENT, software.PRESENT, software.CLOSED)
        for rule, names in table.items()
        for name in names
    }
    named |= {(rule, name) for table in (software.RUNNING, software.OF_THE_KERNEL) for rule, name in table.items()}
    named |= {(rule, name) for rule, names in kernel.MODULES.items() for name in names}
    assert [(rule, name) for rule, name in sorted(named) if name not in catalogue.rule(rule).check] == []


def test_the_page_is_the_catalogues(chapter: Chapter) -> None:
    """`python -m stig reference > docs/platform-rules.md` makes it anew."""
    assert (REPO / "docs" / "platform-rules.md").read_text(encoding="utf-8") == reference.render(chapter)


def test_our_benchmark_is_a_manual_stig(chapter: Chapter, tmp_path: Path) -> None:
    """Valid by the schema of XCCDF 1.1, with what importers read: STIG Manager takes the release from the first plain-text, and
    asks each rule for a fixtext."""
    assert SCHEMA.is_file(), "openscap-common is not installed: .ci/setup tests"
    path = tmp_path / "os-xccdf.xml"
    assert cli.main(["benchmark", str(path)]) == 0
    done = subprocess.run(
        ["xmllint", "--nonet", "--noout", "--schema", str(SCHEMA), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    root = etree.parse(path).getroot()
    assert root.get("id") == chapter.benchmark.id
    assert re.match(r"Release:\s+(\S+)\s+Benchmark Date:\s+(.*)", root.findtext("x:plain-text", namespaces=NAMES) or "")
    assert root.xpath("string(x:status/@date)", namespaces=NAMES) == "2026-11-26"
    groups = root.findall("x:Group", NAMES)
    assert [group.get("id") for group in groups] == [rule.id for rule in chapter.rules]
    for rule, group in zip(chapter.rules, groups, strict=True):
        one = group.find("x:Rule", NAMES)
        assert one is not None
        assert (one.get("id"), one.get("severity")) == (rule.rule_id, rule.severity)
        assert [ident.text for ident in one.iterfind("x:ident", NAMES)] == list(rule.ccis)
        assert one.findtext("x:fixtext", namespaces=NAMES) == rule.fix
        assert one.findtext("x:check/x:check-content", namespaces=NAMES) == rule.check
        said = re.search(r"<VulnDiscussion>(.*)</VulnDiscussion>", one.findtext("x:description", "", NAMES), re.DOTALL)
        assert said is not None
        assert all(name in said[1] or len(rule.srgs) == 1 for name in rule.srgs)
    assert max(len(rule.rule_id) for rule in chapter.rules) <= 45  # STIG Manager cuts there


@pytest.mark.parametrize(
    ("file", "found", "replacement", "says"),
    [
        (PLATFORM, "srg: [SRG-OS-000104-GPOS-00051]", "srg: [SRG-OS-9]", "SENTRY-OS-0107 names SRG-OS-9, which"),
        (PLATFORM, "id: SENTRY-OS-0102", "id: SENTRY-OS-0101", "SENTRY-OS-0101 appears twice"),
        (PLATFORM, "id: SENTRY-OS-0102", "id: V-250982", r"rules\[1\]\.id"),
        (PLATFORM, "like: UBTU-24-400000", "like: CIS-1", r"\.like"),
        (REQUIREMENTS, "id: SRG-OS-000002-GPOS-00002", "id: SRG-OS-000001-GPOS-00001", "appears twice"),
        (REQUIREMENTS, "about: temporary accounts end", "not_applicable: x\n    about: accounts", "said not to apply"),
        (REQUIREMENTS, "not_applicable:", "about: ", "has neither a rule nor a reason"),
    ],
)  # fmt: skip
def test_a_wrong_catalogue_is_refused(tmp_path: Path, file: str, found: str, replacement: str, says: str) -> None:
    """With the place and what is allowed there."""
    folder = tmp_path / "catalogue"
    shutil.copytree(rules.FOLDER, folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert found in text
    (folder / file).write_text(text.replace(found, replacement, 1), encoding="utf-8")
    with pytest.raises(InputError, match=says):
        written.load(folder)
