"""The packet filter: which rule follows from which flow, and that nft takes every ruleset we can make."""

import ipaddress
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.features import FEATURES, flows
from appliance.features.base import Flow, Tree
from appliance.features.firewall import answers, rules, ruleset

from .conftest import SITES

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]

# flow | the matches it becomes
BECOMES: tuple[tuple[Flow, tuple[str, ...]], ...] = (
    (Flow("gateway", "in", "tcp", 443, "device"), ("iifname @zone_device tcp dport 443",)),
    (
        Flow("ssh", "in", "tcp", 22, "management", ("10.0.0.0/8", "2001:db8::/32")),
        (
            "iifname @zone_management ip saddr { 10.0.0.0/8 } tcp dport 22",
            "iifname @zone_management ip6 saddr { 2001:db8::/32 } tcp dport 22",
        ),
    ),
    (Flow("dns", "out", "udp", 53, peers=("192.0.2.1",)), ("ip daddr { 192.0.2.1 } udp dport 53",)),
    (
        Flow("backends", "out", "tcp", 443, "backend", ("192.0.2.9",), "sentry-gateway"),
        ('oifname @zone_backend ip daddr { 192.0.2.9 } tcp dport 443 meta skuid "sentry-gateway"',),
    ),
    (Flow("ntp", "out", "udp", 123, user="_chrony"), ('udp dport 123 meta skuid "_chrony"',)),
)


@pytest.mark.parametrize(("flow", "matches"), BECOMES)
def test_a_flow_becomes_these_rules(flow: Flow, matches: tuple[str, ...]) -> None:
    """Zone, peers by family, port, user; the comment names the feature."""
    assert tuple(rule.match for rule in rules(flow)) == matches
    assert {rule.comment for rule in rules(flow)} == {flow.feature}


def test_peers_of_one_family_do_not_open_the_other() -> None:
    """A flow limited to IPv4 peers has no rule that an IPv6 packet could match."""
    (rule,) = rules(Flow("ssh", "in", "tcp", 22, "management", ("10.0.0.0/8",)))
    assert "ip saddr" in rule.match


def test_a_service_may_go_on_talking_but_not_start() -> None:
    """The way back of an inward flow: same zone and peers, its source port, and no SYN."""
    (rule,) = answers(Flow("ssh", "in", "tcp", 22, "management", ("10.0.0.0/8",)))
    assert rule.match == "oifname @zone_management ip daddr { 10.0.0.0/8 } tcp sport 22 tcp flags & (syn | ack) == ack"
    assert answers(Flow("dns", "out", "tcp", 53)) == ()


NETWORKS = st.one_of(
    st.builds(
        lambda address, prefix: str(ipaddress.ip_network((address, prefix), strict=False)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda address, prefix: str(ipaddress.ip_network((address, prefix), strict=False)),
        st.integers(2**64, 2**128 - 1),
        st.integers(0, 128),
    ),
)


@given(st.lists(NETWORKS, min_size=1, max_size=12))
def test_the_sets_match_exactly_the_peers_and_never_overlap(peers: list[str]) -> None:
    """nft refuses a set whose intervals overlap; what is left out must lie within what stays."""
    wanted = [ipaddress.ip_network(peer) for peer in peers]
    found = [
        ipaddress.ip_network(item)
        for rule in rules(Flow("x", "in", "tcp", 1, peers=tuple(peers)))
        for item in rule.match.partition("{ ")[2].partition(" }")[0].split(", ")
    ]
    for one in found:
        assert not any(one is not other and one.version == other.version and one.overlaps(other) for other in found)
    for want in wanted:
        assert any(want.version == one.version and want.subnet_of(one) for one in found)  # type: ignore[arg-type]
    size = {version: sum(one.num_addresses for one in found if one.version == version) for version in (4, 6)}
    most = {version: sum(one.num_addresses for one in wanted if one.version == version) for version in (4, 6)}
    assert size[4] <= most[4]
    assert size[6] <= most[6]


@pytest.mark.parametrize("name", SITES)
def test_every_declared_flow_has_its_rule_and_no_rule_is_without_a_flow(name: str, trees: dict[str, Tree]) -> None:
    """The comments in the ruleset are the features that declared flows, and DHCP's interfaces."""
    text = ruleset(trees[name], flows(trees[name]))
    said = [line.rpartition("comment ")[2].strip('"') for line in text.splitlines() if "accept comment" in line]
    declared = [rule.comment for flow in set(flows(trees[name])) for rule in (*rules(flow), *answers(flow))]
    dhcp = [interface for interface in trees[name]["interfaces"].values() if interface["dhcp"] != "none"]
    assert sorted(said) == sorted(declared + ["interfaces"] * (2 * len(dhcp)))
    assert text.count("policy drop;") == 3


def test_two_features_with_the_same_peers_keep_their_own_rules(lab_with: LabWith) -> None:
    """Two backends on one address and port are one flow; on two ports they are two."""

    def second(tree: dict[str, Any]) -> None:
        tree["backends"]["servers"]["same"] = {"host": "10.98.3.10"}
        tree["backends"]["servers"]["other"] = {"host": "10.98.3.10", "port": 8443}

    tree = lab_with(second)
    assert ruleset(tree, flows(tree)).count('comment "backends"') == 2


def test_a_named_backend_is_limited_to_its_static_address(lab_with: LabWith) -> None:
    """`dns.static_hosts` is what a name can be held to without asking DNS."""

    def by_name(tree: dict[str, Any]) -> None:
        tree["backends"]["servers"]["mail"]["host"] = "mail.lab.test"

    tree = lab_with(by_name)
    assert "@zone_backend ip daddr { 10.98.3.10 } tcp dport 443 meta skuid" in ruleset(tree, flows(tree))


def test_redirections_may_lead_into_the_listed_networks_and_nowhere_else(lab_with: LabWith) -> None:
    """On the usual port and those of the backends, for the gateway's account; without listed hosts there is no such flow."""

    def redirecting(tree: dict[str, Any]) -> None:
        tree["backends"]["servers"]["other"] = {"host": "10.98.3.11", "port": 8443}
        tree["backends"] |= {"redirect_hosts": [".lab.test"], "redirect_networks": ["10.98.4.0/24", "10.98.5.0/24"]}

    tree = lab_with(redirecting)
    found = [line.strip() for line in ruleset(tree, flows(tree)).splitlines() if "10.98.4.0" in line]
    assert [line.partition(" counter")[0] for line in found] == [
        f'oifname @zone_backend ip daddr {{ 10.98.4.0/23 }} tcp dport {port} meta skuid "sentry-gateway"'
        for port in (443, 8443)
    ]
    without = lab_with(lambda held: held["backends"].update(redirect_networks=["10.98.4.0/24"]))
    assert "10.98.4.0" not in ruleset(without, flows(without))


def test_management_ports_are_never_open_to_everybody(trees: dict[str, Tree]) -> None:
    """22 and the portal's port come with source networks, in the management zone only (V-250983)."""
    for tree in trees.values():
        ports = {22, tree["portal"]["port"]}
        inward = [flow for flow in flows(tree) if flow.direction == "in" and flow.port in ports]
        assert len(inward) == 2
        assert all(flow.zone == "management" and flow.peers for flow in inward)


def test_nothing_goes_out_without_a_peer_or_a_user(trees: dict[str, Tree]) -> None:
    """Each way out is limited to addresses, or at least to the one account that needs it."""
    for tree in trees.values():
        outward = [flow for flow in flows(tree) if flow.direction == "out"]
        assert len(outward) >= 3
        assert all(flow.peers or flow.user for flow in outward)


def test_the_registry_has_every_feature_once_and_in_the_order_of_application() -> None:
    """Accounts before certificates (their groups), the firewall before what listens."""
    order = [feature.name for feature in FEATURES]
    assert len(set(order)) == len(order)
    places: Mapping[str, int] = {name: place for place, name in enumerate(order)}
    assert places["users"] < places["certificates"] < places["gateway"]
    assert places["interfaces"] < places["firewall"] < places["ssh"]


def test_routers_are_heard_where_dhcpv6_needs_them_and_nowhere_else(trees: dict[str, Tree], lab_with: LabWith) -> None:
    """A router advertisement gives routes to whoever sends one first."""
    assert "nd-router-advert" not in ruleset(trees["lab"], ())
    with_dhcp = lab_with(lambda tree: tree["interfaces"]["backend0"].update(dhcp="ipv6"))
    (heard,) = [line.strip() for line in ruleset(with_dhcp, ()).splitlines() if "nd-router-advert" in line]
    assert heard == 'iifname { "backend0" } icmpv6 type nd-router-advert ip6 hoplimit 255 accept'


# --- nft itself, in namespaces of its own -------------------------------------------------------------------------

PASSWD = (
    "root:x:0:0::/root:/bin/sh\n_chrony:x:101:101::/:/usr/sbin/nologin\nsentry-gateway:x:993:993::/:/usr/sbin/nologin\n"
    "sentry-agent:x:992:992::/:/bin/false\nsentry-uem:x:991:991::/:/bin/false\nsentry-portal:x:990:990::/:/bin/false\n"
    "sentry-tls-proxy:x:986:986::/:/bin/false\nsentry-log:x:989:989::/:/bin/false\nDebian-snmp:x:988:988::/:/bin/false\nsentry-alerts:x:987:987::/:/bin/false\n"
    "sentry-acme:x:985:985::/:/bin/false\nsentry-offsite:x:984:984::/:/bin/false\n"
    "sentry-directory:x:983:983::/:/bin/false\n"
)


@pytest.fixture
def nft(tmp_path: Path) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """Runs a shell line with `$RULES` and the accounts of an appliance, in namespaces where it may do no harm."""

    def run(text: str, line: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "rules").write_text(text)
        (tmp_path / "passwd").write_text(PASSWD)
        script = f"mount --bind {tmp_path}/passwd /etc/passwd && RULES={tmp_path}/rules && {line}"
        argv = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c", script]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.mark.parametrize("name", SITES)
def test_nft_accepts_the_ruleset(
    name: str, trees: dict[str, Tree], nft: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    """The very check a commit makes."""
    done = nft(ruleset(trees[name], flows(trees[name])), "nft -c -f $RULES")
    assert done.returncode == 0, done.stderr


def test_nft_accepts_everywhere_as_a_network(
    lab_with: LabWith, nft: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    """A site may list all of the Internet for its provider's servers."""

    def everywhere(tree: dict[str, Any]) -> None:
        tree["backends"] |= {"redirect_hosts": [".lab.test"], "redirect_networks": ["0.0.0.0/0", "::/0"]}

    tree = lab_with(everywhere)
    done = nft(ruleset(tree, flows(tree)), "nft -c -f $RULES")
    assert done.returncode == 0, done.stderr


def test_nft_refuses_a_broken_ruleset(
    trees: dict[str, Tree], nft: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    """So that the test above means something."""
    text = ruleset(trees["lab"], flows(trees["lab"])).replace("zone_device tcp", "zone_devices tcp", 1)
    broken = text.replace("@zone_management", "@zone_nowhere", 1)
    assert nft(broken, "nft -c -f $RULES").returncode != 0


def test_loading_replaces_whatever_rules_there_were(
    trees: dict[str, Tree], nft: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    """An open table of somebody else's does not survive, and loading twice is loading once."""
    text = ruleset(trees["lab"], flows(trees["lab"]))
    done = nft(text, "nft add table inet open && nft -f $RULES && nft -f $RULES && nft list tables")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["table inet sentry", ""]
