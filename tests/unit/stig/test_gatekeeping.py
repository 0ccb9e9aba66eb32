"""The checks of V-251008 and V-251010, run by the scanner itself on a machine that answers from a table."""

import json
from collections.abc import Callable

import pytest

from stig.facts import Facts
from stig.recorder import Outcome
from stig.rules import Catalogue
from stig.run import Finished
from stig.scan import CHECKS, run_checks
from tests.unit.stig.conftest import NOON, FakeMachine

RULES = ("V-251008", "V-251010")

Scan = Callable[..., dict[str, Outcome]]


@pytest.fixture
def scan(machine: FakeMachine, facts: Facts, catalogue: Catalogue, recorded: Callable[[str], str]) -> Scan:
    """Scan a machine whose gateway says this of itself and has these rules."""

    def run(gateway: dict[str, str], *rules: dict[str, str], runtime: str = recorded("runtime")) -> dict[str, Outcome]:
        table = {"title": "rules", "columns": [], "rows": list(rules)}
        machine.answers["runtime"] = Finished(0, runtime, "")
        machine.lines["show gateway | json"] = json.dumps({"title": "gateway", "facts": gateway})
        machine.lines["show sentry rules | json"] = json.dumps(table)
        outcomes = run_checks(catalogue, facts, None, clock=lambda: NOON, say=lambda _line: None, folder=CHECKS)
        return {rule: outcomes[rule] for rule in RULES}

    return run


def rule(name: str, action: str, state: str = "in force") -> dict[str, str]:
    """A row of `show sentry rules`."""
    return {"order": "1", "name": name, "action": action, "state": state, "user": "anna"}


def test_while_the_gateway_observes_both_rules_are_open_with_evidence(scan: Scan) -> None:
    """By what the running gateway says of itself."""
    for outcome in scan({"state": "running", "observing_until": "2026-01-31T18:00Z"}).values():
        assert (outcome.status, outcome.reason) == ("open", "observing until 2026-01-31T18:00Z: such devices pass")
        assert [one.nature for one in outcome.evidence if not one.met] == ["effective"]


def test_a_rule_in_force_that_allows_is_a_finding_and_no_other_is(scan: Scan) -> None:
    """Neither an expired one nor a denial."""
    rules = rule("pilot", "allow"), rule("lost", "deny"), rule("old", "allow", "expired")
    for outcome in scan({"observing_until": ""}, *rules).values():
        assert (outcome.status, outcome.reason) == ("open", "pilot")


def test_where_nothing_speaks_against_it_the_rest_is_said_to_be_unseen(scan: Scan) -> None:
    """Half a look is no proof."""
    for outcome in scan({"observing_until": ""}, rule("old", "allow", "expired")).values():
        assert (outcome.status, outcome.evidence) == ("not_reviewed", ())
        assert "--devices" in outcome.reason


def test_a_uem_that_lets_unregistered_devices_in_is_a_finding_of_one_rule(
    scan: Scan, recorded: Callable[[str], str]
) -> None:
    """Only the first is about registration."""
    runtime = json.loads(recorded("runtime"))
    runtime["uem_server"]["auto_block_unregistered"] = False
    found = scan({"observing_until": ""}, runtime=json.dumps(runtime))
    assert [outcome.status for outcome in found.values()] == ["open", "not_reviewed"]


def test_a_grace_for_unregistered_devices_is_a_finding_too(scan: Scan, recorded: Callable[[str], str]) -> None:
    """As long as it lasts they are let in."""
    runtime = json.loads(recorded("runtime"))
    runtime["uem_server"]["unregistered_grace_seconds"] = 60
    found = scan({"observing_until": ""}, runtime=json.dumps(runtime))
    assert [outcome.status for outcome in found.values()] == ["open", "not_reviewed"]


@pytest.mark.parametrize("said", [{"status": "does not answer: no such socket"}, {"state": "running"}])
def test_a_gateway_that_does_not_say_is_an_error(scan: Scan, said: dict[str, str]) -> None:
    """Nothing is known then."""
    for outcome in scan(said).values():
        assert outcome.status == "error"
        assert "CLI 'show gateway'" in outcome.reason
