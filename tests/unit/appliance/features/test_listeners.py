"""Where the gateway listens: balancers, the plain listener, further ports; what is refused, and who is let in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.features import firewall, gateway, listeners, portal
from appliance.features import flows as all_flows
from appliance.features.base import Tree
from appliance.features.tls import certificate_path, key_path
from appliance.plan import InvalidError
from sentry_runtime.gateway.gate import Gate
from sentry_runtime.settings import Listener

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
BALANCERS = {"networks": ["192.0.2.8/32", "2001:db8::/64"]}


def lab_gateway(lab_with: LabWith, **changes: Any) -> Tree:
    """The lab's tree with these settings of the gateway, in the device zone."""
    return lab_with(lambda tree: tree["gateway"].update({"zones": ["device"], **changes}))


def problems(lab_with: LabWith, **changes: Any) -> list[tuple[str, str, str]]:
    """What is wrong with them."""
    with pytest.raises(InvalidError) as refused:
        lab_gateway(lab_with, **changes)
    return [(one.path, one.found, one.allowed) for one in refused.value.problems]


def test_by_default_there_is_one_listener_with_tls_for_everybody(lab_with: LabWith) -> None:
    """On each address, believing nobody."""
    made = listeners.listeners(lab_gateway(lab_with))
    assert made == (Listener(address="10.98.1.2", port=443),)


def test_not_requiring_client_tls_opens_port_80_to_balancers(lab_with: LabWith) -> None:
    """seeds/002: the product's own words for it. The packet filter and the gateway both let nobody else in."""
    tree = lab_gateway(lab_with, require_client_tls=False, balancers=BALANCERS)
    tls, plain = listeners.listeners(tree)
    assert (tls.port, tls.tls, plain.port, plain.tls) == (443, True, 80, False)
    assert plain.balancers == ("192.0.2.8/32", "2001:db8::/64")
    assert Gate.of(plain).tls is False
    rules = [rule.match for flow in all_flows(tree) if flow.feature == "gateway" for rule in firewall.rules(flow)]
    assert rules == [
        "iifname @zone_device ip saddr { 192.0.2.8 } tcp dport 80",
        "iifname @zone_device ip6 saddr { 2001:db8::/64 } tcp dport 80",
        "iifname @zone_device ip saddr { 10.98.1.0/24, 192.0.2.8 } tcp dport 443",
        "iifname @zone_device ip6 saddr { 2001:db8::/64 } tcp dport 443",
    ]


def test_a_port_that_requires_the_proxy_protocol_is_the_balancers(lab_with: LabWith) -> None:
    """Devices are let through to the others only."""
    tree = lab_gateway(lab_with, balancers=BALANCERS, listeners={"tcp": {"port": 8444, "proxy_protocol": "required"}})
    found = {flow.port: flow.peers for flow in listeners.flows(tree)}
    assert found == {443: ("10.98.1.0/24", *BALANCERS["networks"]), 8444: tuple(BALANCERS["networks"])}
    assert [(one.port, one.proxy) for one in listeners.listeners(tree)] == [(443, "refused"), (8444, "required")]


def test_forwarded_addresses_are_not_asked_for_where_the_proxy_protocol_is(lab_with: LabWith) -> None:
    """It has said it already; the data plane would refuse both."""
    balancers = {**BALANCERS, "forwarded_for": True, "proxy_protocol": "required"}
    tree = lab_gateway(lab_with, balancers=balancers, require_client_tls=False)
    made = listeners.listeners(tree)
    assert [(one.proxy, one.forwarded_for) for one in made] == [("required", False), ("refused", True)]
    assert all(Gate.of(one) for one in made)


@pytest.mark.parametrize(
    ("changes", "path", "found", "allowed"),
    [
        ({"require_client_tls": False}, "require_client_tls", "false", "plain HTTP is for balancers only"),
        (
            {"balancers": {"proxy_protocol": "required"}},
            "balancers.proxy_protocol",
            "required",
            "gateway.balancers.networks",
        ),
        (
            {"listeners": {"tcp": {"port": 444, "proxy_protocol": "required"}}},
            "listeners.tcp.proxy_protocol",
            "required",
            "gateway.balancers.networks",
        ),
        ({"balancers": {"forwarded_for": True}}, "balancers.forwarded_for", "true", "gateway.balancers.networks"),
        (
            {"balancers": {"networks": ["0.0.0.0/0"]}},
            "balancers.networks.0",
            "0.0.0.0/0",
            "networks of at least /8: not nearly everybody",
        ),
        (
            {"listeners": {"web": {"port": 8080, "tls": False}}, "balancers": BALANCERS},
            "listeners.web.tls",
            "false while gateway.require_client_tls is true",
            "true, or do not require it",
        ),
        ({"listeners": {"web": {"port": 443}}}, "listeners.web.port", "443, where the gateway", "a port of its own"),
        (
            {"require_client_tls": False, "plain_port": 443, "balancers": BALANCERS},
            "plain_port",
            "443, which is gateway.port, too",
            "a port of its own",
        ),
        ({"listeners": {"web": {"port": 22}}}, "listeners.web.port", "22, where SSH listens", "a port of its own"),
        (
            {"require_client_tls": False, "plain_port": 9090, "balancers": BALANCERS},
            "plain_port",
            "9090, where the UEM's push listens",
            "a port of its own",
        ),
    ],
)
def test_what_would_let_anybody_in_is_refused(
    lab_with: LabWith, changes: dict[str, Any], path: str, found: str, allowed: str
) -> None:
    """Off by default, and refused without balancers; and every port has one listener."""
    ((where, what, instead),) = problems(lab_with, **changes)
    assert where == f"gateway.{path}"
    assert what.startswith(found)
    assert allowed in instead


def test_the_portal_keeps_off_all_the_gateways_ports(lab_with: LabWith) -> None:
    """Not only off 443."""
    ((path, found, _),) = problems(lab_with, listeners={"web": {"port": 8443}})
    assert (path, found) == ("portal.port", "8443, where the gateway listens")


def test_no_port_of_the_gateway_counts_as_management(lab_with: LabWith) -> None:
    """In the lab it answers in the management zone, too: its own account may still reach it over loopback."""
    more = {"zones": ["device", "management"], "listeners": {"web": {"port": 8444}}}
    tree = lab_with(lambda tree: tree["gateway"].update(more))
    (managed, *_) = firewall.guarded(all_flows(tree))
    assert managed.ports == (22, 8443)


def test_443_8443_and_the_uems_port_have_certificates_of_their_own(trees: dict[str, Tree], tmp_path: Path) -> None:
    """Row 136: three services, three certificates with three keys, each in its own service's settings."""
    for tree in trees.values():
        whole = gateway.settings(tree)
        push = whole.agent.uem.push_tls
        assert push is not None
        web = portal.proxy_settings(tree).tls
        found = [(one.certificate, one.key) for one in (whole.gateway.tls, web, push)]
        assert found == [(certificate_path(name), key_path(name)) for name in ("gateway", "portal", "uem-push")]
        assert len(set(found)) == 3
