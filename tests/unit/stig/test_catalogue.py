"""The catalogue holds every rule once, completely, and agrees with the checks."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from stig import answers, rules, written
from stig.errors import InputError
from stig.platform import PROOFS, SITE_PROOFS
from stig.rules import Catalogue
from stig.scan import CHECKS
from stig.written import PRODUCT, ProductChapter

REPO = Path(__file__).parents[3]
CHECKED = (
    {f"V-{number}" for number in (*range(250982, 250988), *range(250988, 250997))}
    | {f"V-{number}" for number in (250997, 250998, 250999, 251000, 251001, 251002, 251003, *range(251005, 251009))}
    | {
        f"V-{number}"
        for number in (251010, 251011, 251012, 251013, 251014, *range(251015, 251023), *range(251024, 251029))
    }
    | {f"V-{number}" for number in (251030, 251031, 251032, 251034, 251035, *range(251036, 251040))}
)


def product(catalogue: Catalogue) -> list[rules.Rule]:
    """The rules that are DISA's."""
    return [rule for chapter in catalogue.chapters if chapter.stig != "GPOS" for rule in chapter.rules]


def test_all_58_rules_are_there(catalogue: Catalogue) -> None:
    """26 of the NDM STIG, 32 of the ALG STIG, without a gap in the numbers."""
    sizes = {chapter.stig: len(chapter.rules) for chapter in catalogue.chapters}
    assert (sizes["NDM"], sizes["ALG"]) == (26, 32)
    assert [rule.id for rule in product(catalogue)] == [f"V-{number}" for number in range(250982, 251040)]


def test_the_severities_are_those_of_the_stigs(catalogue: Catalogue) -> None:
    """Seven CAT I, 34 CAT II, 17 CAT III; every CAT I is a rule of the NDM STIG."""
    mine = product(catalogue)
    assert Counter(rule.category for rule in mine) == {"I": 7, "II": 34, "III": 17}
    assert {catalogue.chapter_of(rule.id).stig for rule in mine if rule.category == "I"} == {"NDM"}


def test_a_rules_identifiers_belong_together() -> None:
    """The id of every release carries the rule's own number, and the SRG is of the chapter's kind."""
    for name in PRODUCT:
        chapter = written.read(rules.FOLDER / name, ProductChapter)
        for rule in chapter.rules:
            for identity in (rule.rule_ids.V1R1, rule.rule_ids.V2R1, rule.rule_ids.V3R1):
                assert re.fullmatch(rf"SV-{rule.id.removeprefix('V-')}r\d+_rule", identity)
            assert f"-{chapter.stig}-" in rule.srg
            assert rule.cci.V1R1, rule.id
            assert rule.cci.V3R1, rule.id
            assert rule.nist, rule.id


def test_what_is_automated_is_what_has_a_check(catalogue: Catalogue) -> None:
    """One mark for each rule that gives no reason for not being reviewed, and none besides."""
    marks = Counter(
        mark
        for path in CHECKS.glob("test_*.py")
        for mark in re.findall(r'mark\.stig\("(V-\d+)"\)', path.read_text(encoding="utf-8"))
    )
    marks.update(one.rule for one in PROOFS)
    marks.update(one.rule for one in SITE_PROOFS)
    automated = {rule.id for rule in catalogue.rules if rule.not_reviewed is None}
    assert set(marks) == automated
    assert {name for name in marks if name.startswith("V-")} == CHECKED
    assert set(marks.values()) == {1}


def test_every_other_rule_says_why_it_is_not_reviewed(catalogue: Catalogue) -> None:
    """A sentence, not a word."""
    reasons = [rule.not_reviewed for rule in catalogue.rules if rule.not_reviewed is not None]
    assert sum(rule.not_reviewed is not None for rule in product(catalogue)) == 58 - len(CHECKED)
    assert all(len(reason) > 40 and reason.endswith(".") for reason in reasons)


@pytest.mark.parametrize(
    ("found", "replacement", "says"),
    [
        ("severity: medium", "severity: grave", "severity"),
        ("id: V-250983", "id: V-250982", "V-250982 appears twice"),
        ("nist: [AC-10]", "nits: [AC-10]", "nits"),
        ("V3R1: SV-250982r1028209_rule", "V3R1: SV-250982r1028209", "V3R1"),
    ],
)
def test_a_wrong_catalogue_is_refused_with_the_place(tmp_path: Path, found: str, replacement: str, says: str) -> None:
    """Unknown keys, wrong values and doubled identifiers are errors that name what is wrong."""
    folder = tmp_path / "catalogue"
    shutil.copytree(rules.FOLDER, folder)
    text = (folder / "ndm.yaml").read_text(encoding="utf-8")
    assert found in text
    (folder / "ndm.yaml").write_text(text.replace(found, replacement, 1), encoding="utf-8")
    with pytest.raises(InputError, match=says):
        written.load(folder)


def test_a_manual_rule_without_a_reason_is_refused(tmp_path: Path) -> None:
    """Nobody may turn a rule that a person decides into one that silently has no result."""
    folder = tmp_path / "catalogue"
    shutil.copytree(rules.FOLDER, folder)
    text = (folder / "ndm.yaml").read_text(encoding="utf-8").replace("kind: test", "kind: manual", 1)
    (folder / "ndm.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="V-250982 is of kind manual"):
        written.load(folder)


def test_the_labs_answers_can_be_read() -> None:
    """The answer file in the repository is a valid one."""
    found = answers.load(REPO / "sites" / "lab-answers.yml", written.load())
    assert found.authorised_users == ("admin",)
    assert found.max_cli_sessions == 5
    assert found.alert_recipients == ("isso@lab.test", "issm@lab.test", "sca@lab.test")


def test_the_answers_of_the_site_that_meets_every_rule_can_be_read(tmp_path: Path) -> None:
    """Its statements are of rules that are there; the authorities it names are made by the lab."""
    text = (REPO / "sites" / "stig-answers.yml").read_text(encoding="utf-8")
    path = tmp_path / "answers.yml"
    path.write_text(text.replace("../build/lab/approved-cas.pem", "cas.pem"), encoding="utf-8")
    (tmp_path / "cas.pem").write_text("")
    found = answers.load(path, written.load())
    assert set(found.statements) >= {"V-251004", "V-251009", "V-251023", "V-251033"}
    assert found.needed_ports == {"device": (443,), "management": (22, 443, 8443), "backend": ()}


def test_a_statement_about_no_rule_is_refused(tmp_path: Path) -> None:
    """A mistyped number would silently answer for nothing."""
    path = tmp_path / "answers.yml"
    said = "{status: open, justification: x, authority: y, date: 2026-01-02}"
    path.write_text(
        f"max_cli_sessions: 5\nauthorised_users: [admin]\nmanagement_networks: []\nstatements: {{V-1: {said}}}\n"
    )
    with pytest.raises(InputError, match="statements: rule V-1 is not in the catalogue"):
        answers.load(path, written.load())


@pytest.mark.parametrize("line", ["max_cli_sessions: 11", "max_cli_sessions: 0", "max_cli_sessions: 5\nbanners: x"])
def test_a_wrong_answer_file_is_refused(tmp_path: Path, line: str) -> None:
    """Out of range and unknown keys alike."""
    path = tmp_path / "answers.yml"
    path.write_text(f"authorised_users: [admin]\nmanagement_networks: [10.0.0.0/8]\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"answers\.yml"):
        answers.load(path, written.load())
