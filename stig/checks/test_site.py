"""What is compared with the site's own word on release, ports and routes."""

import msgspec
import pytest

from stig.answers import Answers
from stig.errors import FactError
from stig.facts import Facts
from stig.judge import site as judge
from stig.probe import network
from stig.recorder import NotReviewed, Prove


class _Sheet(msgspec.Struct, frozen=True):
    facts: dict[str, str]


def _named(value: object, key: str, what: str) -> None:
    if value is None:
        raise NotReviewed(f"needs {key} in the site's answer file: {what}")


@pytest.mark.stig("V-251007")
def test_the_release_is_supported(facts: Facts, answers: Answers, prove: Prove) -> None:
    """It is among those the site has found to be."""
    _named(answers.supported_releases, "supported_releases", "the releases that whoever maintains them still supports")
    running = facts.cli_data("show version", _Sheet).facts.get("Sentry", "")
    prove(judge.release(running, answers.supported_releases or ()))


@pytest.mark.stig("V-251022")
def test_needed_ports_answer_and_no_others(facts: Facts, answers: Answers, prove: Prove) -> None:
    """In every zone, from outside."""
    _named(answers.needed_ports, "needed_ports", "by zone, the TCP ports that must answer there")
    zones = facts.machine.target.zones
    tried = _listening(facts)
    prove(judge.ports(judge.Reach(tried, network.reached(zones, tried)), answers.needed_ports or {}))


def _listening(facts: Facts) -> tuple[int, ...]:
    """TCP ports that something listens on, wherever."""
    found = set()
    for line in facts.lines("listening"):
        fields = line.split()
        if len(fields) < 5 or not fields[4].rpartition(":")[2].isdigit():
            raise FactError(f"ss -Htuln: cannot read {line!r}")
        if fields[0] == "tcp":
            found.add(int(fields[4].rpartition(":")[2]))
    return tuple(sorted(found))


@pytest.mark.stig("V-251034")
def test_every_route_is_approved(facts: Facts, answers: Answers, prove: Prove) -> None:
    """Those by a next hop, of both families."""
    _named(answers.approved_routes, "approved_routes", "network and next hop of each route")
    found = [f"{one['dst']} via {one['gateway']}" for name in ("routes", "routes6") for one in _hops(facts, name)]
    prove(judge.routes(found, answers.approved_routes or ()))


def _hops(facts: Facts, name: str) -> list[dict[str, str]]:
    tree = facts.tree(name)
    if not isinstance(tree, list):
        raise FactError(f"{facts.command(name)}: expected a list of routes")
    return [one for one in tree if "gateway" in one]
