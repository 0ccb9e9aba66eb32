"""The packet filter is read as the kernel reads it, or not at all."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from stig.errors import FactError
from stig.parse.nft import Packet, Ruleset


@pytest.fixture
def tree(recorded: Callable[[str], str]) -> Any:
    """The ruleset of a hardened appliance."""
    return json.loads(recorded("nft"))


@pytest.mark.parametrize(
    ("interface", "source", "port", "answer"),
    [
        ("mgmt0", "10.98.2.1", 8443, "accept"),
        ("mgmt0", "10.98.2.1", 22, "accept"),
        ("mgmt0", "10.98.2.1", 9090, "drop"),
        ("mgmt0", "192.0.2.77", 8443, "drop"),
        ("mgmt0", "2001:db8::77", 8443, "drop"),
        ("device0", "10.98.1.1", 443, "accept"),
        ("device0", "10.98.1.1", 8443, "drop"),
        ("device0", "10.98.2.1", 8443, "drop"),
        ("lo", "10.98.2.2", 8443, "accept"),
    ],
)
def test_a_new_connection_ends_as_in_the_recorded_ruleset(
    tree: Any, interface: str, source: str, port: int, answer: str
) -> None:
    """What the zones' table promises."""
    assert Ruleset(tree).inward(Packet(interface, source, port)) == answer


def small(*rules: list[Any], policy: str = "drop", more: tuple[Any, ...] = ()) -> Ruleset:
    """One input chain with these rules."""
    names = {"family": "inet", "table": "t"}
    chain = {"chain": {**names, "name": "input", "type": "filter", "hook": "input", "policy": policy}}
    return Ruleset(
        {"nftables": [chain, *more, *({"rule": {**names, "chain": "input", "expr": rule}} for rule in rules)]}
    )


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    """One comparison."""
    return {"match": {"op": op, "left": left, "right": right}}


PORT = {"payload": {"protocol": "tcp", "field": "dport"}}
SOURCE = {"payload": {"protocol": "ip", "field": "saddr"}}
PACKET = Packet("mgmt0", "10.0.0.9", 8443)
ACCEPT: dict[str, Any] = {"accept": None}


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ([match(PORT, {"range": [8000, 9000]}), ACCEPT], "accept"),
        ([match(PORT, {"set": [22, {"range": [80, 90]}]}), ACCEPT], "drop"),
        ([match(SOURCE, {"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT], "accept"),
        ([match(SOURCE, {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="), ACCEPT], "drop"),
        ([match(SOURCE, {"set": [{"range": ["10.0.0.1", "10.0.0.8"]}]}), ACCEPT], "drop"),
        ([match({"meta": {"key": "iifname"}}, "mgmt*"), ACCEPT], "accept"),
        ([match({"payload": {"protocol": "udp", "field": "dport"}}, 8443), ACCEPT], "drop"),
        ([match({"payload": {"protocol": "ip6", "field": "saddr"}}, "::/0"), ACCEPT], "drop"),
        ([{"counter": {}}, {"log": {}}, {"limit": {}}, ACCEPT], "accept"),
        ([{"set": {"op": "update", "elem": SOURCE, "set": "@rate", "stmt": [{"limit": {}}]}}, ACCEPT], "accept"),
        ([{"vmap": {"key": PORT, "data": {"set": [[8443, {"drop": None}]]}}}], "drop"),
        ([{"vmap": {"key": PORT, "data": {"set": [[8443, ACCEPT]]}}}], "accept"),
        ([match({"ct": {"key": "state"}}, ["established", "related"], "in"), ACCEPT], "drop"),
        ([{"jump": {"target": "other"}}], "accept"),
    ],
)
def test_a_rule_does_what_it_says(rule: list[Any], answer: str) -> None:
    """Sets, ranges, prefixes, other protocols, maps, states and jumps."""
    other = {"family": "inet", "table": "t"}
    chain = {"chain": {**other, "name": "other"}}
    body = {"rule": {**other, "chain": "other", "expr": [ACCEPT]}}
    assert small(rule, more=(chain, body)).inward(PACKET) == answer


def test_a_machine_without_a_filter_lets_everything_in() -> None:
    """No chain on the input hook means accept."""
    assert Ruleset({"nftables": []}).inward(PACKET) == "accept"


@pytest.mark.parametrize(
    "rule",
    [
        [match({"meta": {"key": "mark"}}, 1), ACCEPT],
        [{"tproxy": {}}],
        [match(PORT, 1, "<"), ACCEPT],
        [match(SOURCE, "@missing"), ACCEPT],
        [{"jump": {"target": "missing"}}],
    ],
)
def test_what_is_not_understood_is_an_error_and_no_guess(rule: list[Any]) -> None:
    """Neither accept nor drop is invented."""
    with pytest.raises(FactError, match="nft"):
        small(rule).inward(PACKET)
