"""A scan gives every rule exactly one result, and what breaks ends as an error, never as a pass or a finding."""

import dataclasses
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from stig.answers import Answers
from stig.devices import Device, Devices, Pair
from stig.errors import ScanError
from stig.facts import Facts
from stig.recorder import Outcome
from stig.results import encode, read
from stig.rules import Catalogue
from stig.run import Finished
from stig.scan import asset, complete, run_checks, scan
from tests.unit.stig.conftest import NOON, FakeMachine

HEAD = """
import pytest
from stig.errors import FactError
from stig.recorder import NotApplicable
from stig.verdict import Point, Verdict

GOOD = Verdict((Point("look", "this", "this", True),))
BAD = Verdict((Point("look", "that", "this", False), Point("look", "this", "this", True)))
"""


def ran(
    folder: Path, catalogue: Catalogue, facts: Facts, *, answers: Answers | None = None
) -> Callable[[str], dict[str, Outcome]]:
    """Run a module of checks made of `body`."""

    def run(body: str) -> dict[str, Outcome]:
        (folder / f"test_{abs(hash(body))}.py").write_text(HEAD + textwrap.dedent(body), encoding="utf-8")
        return run_checks(catalogue, facts, answers, clock=lambda: NOON, say=lambda _line: None, folder=folder)

    return run


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("prove(GOOD)", "not_a_finding", ""),
        ("prove(BAD)", "open", "that"),
        ("pass", "error", "without recording a verdict"),
        ("assert 1 == 2", "error", "AssertionError"),
        ("raise KeyError('x')", "error", "KeyError"),
        ("raise FactError('no route to 10.0.0.9')", "error", "no route to 10.0.0.9"),
        ("prove(GOOD); raise FactError('then it broke')", "error", "then it broke"),
        ("pytest.skip('tired')", "error", "tired"),
        ("pytest.fail('so')", "error", "so"),
        ("raise NotApplicable('has no portal')", "not_applicable", "has no portal"),
        ("facts.text('nft')", "error", "SSH failed"),
        ("facts.cli('show fips')", "error", "CLI 'show fips'"),
    ],
)
def test_a_check_ends_as_it_deserves(
    tmp_path: Path, catalogue: Catalogue, facts: Facts, body: str, status: str, reason: str
) -> None:
    """Only a recorded verdict decides; every exception, skip and silence is an error with its reason."""
    check = f"""
    @pytest.mark.stig("V-250995")
    def test_it(facts, prove):
        {body}
    """
    outcome = ran(tmp_path, catalogue, facts)(check)["V-250995"]
    assert outcome.status == status
    assert reason in outcome.reason
    assert bool(outcome.evidence) == (status in ("not_a_finding", "open"))


def test_a_check_that_needs_answers_is_not_reviewed_without_them(
    tmp_path: Path, catalogue: Catalogue, facts: Facts
) -> None:
    """Nothing is guessed for the site."""
    check = """
    @pytest.mark.stig("V-251003")
    def test_it(answers, prove):
        prove(GOOD)
    """
    outcome = ran(tmp_path, catalogue, facts)(check)["V-251003"]
    assert (outcome.status, "answer file" in outcome.reason) == ("not_reviewed", True)


def test_evidence_carries_the_time_and_its_nature(tmp_path: Path, catalogue: Catalogue, facts: Facts) -> None:
    """The injected clock's, so that two scans can be compared."""
    check = """
    @pytest.mark.stig("V-250995")
    def test_it(prove):
        prove(BAD)
    """
    evidence = ran(tmp_path, catalogue, facts)(check)["V-250995"].evidence
    assert [(one.found, one.met, one.nature, one.time) for one in evidence] == [
        ("that", False, "effective", "2026-01-02T12:00:00Z"),
        ("this", True, "effective", "2026-01-02T12:00:00Z"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "def test_it(prove):\n    prove(GOOD)\n",
        '@pytest.mark.stig("V-250995")\ndef test_a(prove): prove(GOOD)\n'
        '@pytest.mark.stig("V-250995")\ndef test_b(prove): prove(GOOD)\n',
        "import nothing_of_that_name\n",
    ],
)
def test_checks_that_cannot_be_trusted_end_the_scan(
    tmp_path: Path, catalogue: Catalogue, facts: Facts, body: str
) -> None:
    """No mark, two checks for one rule, or a module that cannot be imported."""
    with pytest.raises(ScanError):
        ran(tmp_path, catalogue, facts)(body)


def test_a_machine_nobody_can_reach_gives_errors_only(
    machine: FakeMachine, catalogue: Catalogue, tmp_path: Path
) -> None:
    """A result for each: an error for the automated ones, not reviewed for the others, none that says pass or open."""
    answers = Answers(
        max_cli_sessions=5,
        authorised_users=("admin",),
        management_networks=("10.0.0.0/8",),
        approved_authorities=tmp_path / "none.pem",
        supported_releases=("1.2.3",),
        needed_ports={},
        designated_servers=("10.0.0.1",),
        approved_routes=(),
        uem_addresses=(),
    )
    pair = Pair(certificate=tmp_path / "none.pem", key=tmp_path / "none.key")
    one = Device(device_id="PHONE1")
    tried_with = Devices(
        user="anna",
        identity=pair,
        revoked=pair,
        unmapped=pair,
        stranger=pair,
        registered=one,
        compromised=one,
        unregistered=one,
    )
    machine.target = dataclasses.replace(machine.target, devices=tried_with)
    found = scan(machine, catalogue, answers, clock=lambda: NOON, say=lambda _line: None)
    automated = sum(rule.not_reviewed is None for rule in catalogue.rules)
    assert found.counts == {
        "total": len(catalogue.rules),
        "not_a_finding": 0,
        "open": 0,
        "not_applicable": 0,
        "not_reviewed": len(catalogue.rules) - automated,
        "error": automated,
    }
    assert all(result.reason for result in found.results)
    (tmp_path / "results.json").write_bytes(encode(found))
    assert read(tmp_path / "results.json") == found


def test_a_missing_or_surplus_result_ends_the_scan(catalogue: Catalogue) -> None:
    """A scan that evaluated fewer rules than it has must not look like one that found nothing."""
    automated = {rule.id: Outcome("not_a_finding") for rule in catalogue.rules if rule.not_reviewed is None}
    assert len(complete(catalogue, automated)) == len(catalogue.rules)
    with pytest.raises(ScanError, match="V-250982"):
        complete(catalogue, {rule: outcome for rule, outcome in automated.items() if rule != "V-250982"})
    with pytest.raises(ScanError, match="V-251029"):
        complete(catalogue, {**automated, "V-251029": Outcome("not_a_finding")})


def test_a_fact_is_fetched_once(machine: FakeMachine, facts: Facts) -> None:
    """However many rules ask for it."""
    machine.answers["nft"] = Finished(0, '{"nftables": []}', "")
    assert facts.tree("nft") == facts.tree("nft") == {"nftables": []}
    assert len(machine.asked) == 1


HASH = "ab" * 32


@pytest.mark.parametrize(
    ("line", "image"),
    [(f"ro roothash={HASH} hash-offset=1", HASH), ("ro quiet", ""), (None, "")],
)
def test_the_machine_is_described_with_the_image_it_was_started_from(
    facts: Facts, machine: FakeMachine, line: str | None, image: str
) -> None:
    """A host that is no image, and a machine that does not tell, have none."""
    if line is not None:
        machine.answers["kernel_arguments"] = Finished(0, f"{line}\n", "")
    assert asset(facts).image == image
