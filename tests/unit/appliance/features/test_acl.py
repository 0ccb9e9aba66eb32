"""Access control lists: what they become, that they only narrow, and that nftables decides as `judge` says."""

import ipaddress
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.features import acl, flows
from appliance.features.base import Tree
from appliance.features.firewall import ruleset
from appliance.plan import InvalidError

HERE = Path(__file__).parent
LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]

NETWORKS = {
    "office": ["10.98.2.1/32"],
    "both": ["10.98.2.0/24", "2001:db8:2::/48"],
    "strangers": ["10.99.0.0/24"],
    "six": ["2001:db8:6::/48"],
}
SERVICES = {"web": {"port": 8443}, "mail": {"port": 443}, "high": {"protocol": "udp", "port": 1024, "last_port": 2048}}
PASSWD = "\n".join(
    f"{name}:x:{uid}:{uid}::/:/bin/false"
    for uid, name in enumerate(
        (
            "root",
            *("_chrony", "Debian-snmp"),
            *(
                f"sentry-{name}"
                for name in (
                    "gateway",
                    "agent",
                    "uem",
                    "portal",
                    "tls-proxy",
                    "alerts",
                    "acme",
                    "offsite",
                    "directory",
                    "log",
                )
            ),
        )
    )
)


def lists(*entries: dict[str, Any], default: str = "permit") -> Callable[[dict[str, Any]], None]:
    """The lab with one list."""

    def change(tree: dict[str, Any]) -> None:
        held = {"networks": NETWORKS, "services": SERVICES, "default_action": default}
        tree["acl"] = {**held, "lists": {"site": {"entries": list(entries)}}}

    return change


# an entry | its rules, without the word that counts
BECOMES: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({"action": "deny"}, ("drop",)),
    ({"action": "permit", "service": "web"}, ("tcp dport 8443 return",)),
    ({"action": "deny", "service": "high", "zone": "device"}, ("iifname @zone_device udp dport 1024-2048 drop",)),
    (
        {"action": "deny", "source": "both", "service": "mail"},
        (
            "ip saddr { 10.98.2.0/24 } tcp dport 443 drop",
            "ip6 saddr { 2001:db8:2::/48 } tcp dport 443 drop",
        ),
    ),
    ({"action": "deny", "source": "six", "destination": "office"}, ()),  # no packet has two families
    (
        {"action": "permit", "source": "office", "service": "mail", "connections_per_minute": 30},
        (
            "ip saddr { 10.98.2.1/32 } tcp dport 443 update @acl_0_ip { ip saddr limit rate 30/minute burst 30 packets } return",
            "ip saddr { 10.98.2.1/32 } tcp dport 443 drop",
        ),
    ),
    (
        {"action": "permit", "service": "mail", "connections_per_minute": 30},
        (
            "tcp dport 443 update @acl_0_ip { ip saddr limit rate 30/minute burst 30 packets } return",
            "tcp dport 443 update @acl_0_ip6 { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate 30/minute burst 30 packets } return",
            "tcp dport 443 drop",
        ),
    ),
)


@pytest.mark.parametrize(("entry", "rules"), BECOMES)
def test_an_entry_becomes_these_rules(entry: dict[str, Any], rules: tuple[str, ...], lab_with: LabWith) -> None:
    chain = acl.chain(lab_with(lists(entry)))
    assert chain is not None
    assert tuple(f"{rule.match} {rule.verdict}".strip() for rule in chain.rules) == rules
    assert all(rule.comment.startswith("acl site 1") for rule in chain.rules)


def test_without_lists_there_is_no_chain(trees: dict[str, Tree]) -> None:
    assert acl.chain(trees["lab"]) is None
    assert "acl" not in ruleset(trees["lab"], flows(trees["lab"]))


def test_lists_are_asked_by_their_order_and_entries_as_they_stand(lab_with: LabWith) -> None:
    def two(tree: dict[str, Any]) -> None:
        first = {"order": 5, "entries": [{"action": "deny", "service": "web"}, {"action": "permit"}]}
        later = {"order": 9, "entries": [{"action": "deny"}]}
        tree["acl"] = {"services": SERVICES, "lists": {"a-later": later, "z-first": first}}

    assert [entry.name for entry in acl.entries(lab_with(two))] == ["z-first 1", "z-first 2", "a-later 1"]


def test_no_list_opens_a_port(lab_with: LabWith) -> None:
    """The chain has no `accept`; what it lets go on meets the same rules as without it."""
    plain = lab_with(lambda _tree: None)
    listed = lab_with(lists({"action": "permit", "connections_per_minute": 9}, {"action": "permit"}, default="deny"))
    text = ruleset(listed, flows(listed))
    chain = text.partition("\tchain acl {")[2].partition("\n\t}\n")[0]
    assert "accept" not in chain
    assert 'counter drop comment "acl default_action"' in chain
    without = text.replace(f"\tchain acl {{{chain}\n\t}}\n\n", "").replace("\t\tjump acl\n", "")
    for family in ("ip", "ip6"):
        head, _set, tail = without.partition(f"\tset acl_0_{family} {{")
        without = head + tail.partition("\t}\n\n")[2]
    comment = "\t# The site's own lists, which narrow what the flows below let in; `return` goes on to those.\n"
    assert without.replace(comment, "") == ruleset(plain, flows(plain))


# the change | where the error is | what it says
REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"action": "deny", "source": "nobody"}, "acl.lists.site.entries.0.source", "nobody, which is not there"),
    ({"action": "deny", "destination": "nobody"}, "acl.lists.site.entries.0.destination", "nobody"),
    ({"action": "deny", "service": "ftp"}, "acl.lists.site.entries.0.service", "ftp"),
    (
        {"action": "deny", "connections_per_minute": 5},
        "acl.lists.site.entries.0.connections_per_minute",
        "5 with action deny",
    ),
    ({"action": "open"}, "acl.lists.site.entries.0.action", "'open'"),
    ({"action": "permit", "zone": "dmz"}, "acl.lists.site.entries.0.zone", "'dmz'"),
    ({"action": "permit", "source": "10.0.0.0/8"}, "acl.lists.site.entries.0.source", "10.0.0.0/8"),
)


@pytest.mark.parametrize(("entry", "where", "found"), REFUSED)
def test_an_entry_that_means_nothing_is_refused(
    entry: dict[str, Any], where: str, found: str, lab_with: LabWith
) -> None:
    with pytest.raises(InvalidError) as refused:
        lab_with(lists(entry))
    assert (refused.value.problems[0].path, found in refused.value.problems[0].found) == (where, True)


def test_a_range_of_ports_goes_upwards(lab_with: LabWith) -> None:
    with pytest.raises(InvalidError, match=r"acl\.services\.x\.last_port"):
        lab_with(lambda tree: tree.update(acl={"services": {"x": {"port": 9, "last_port": 8}}}))


def test_nobody_may_call_a_network_any(lab_with: LabWith) -> None:
    with pytest.raises(InvalidError, match="the name 'any'"):
        lab_with(lambda tree: tree.update(acl={"networks": {"any": ["192.0.2.0/24"]}}))


def test_the_portal_s_networks_lie_within_those_of_management(lab_with: LabWith) -> None:
    tree = lab_with(lambda held: held.update(portal={"networks": ["10.98.2.128/25"]}))
    (flow,) = [flow for flow in flows(tree) if flow.feature == "portal"]
    assert flow.peers == ("10.98.2.128/25",)
    with pytest.raises(InvalidError, match=r"portal\.networks\.0: found 10\.98\.0\.0/16"):
        lab_with(lambda held: held.update(portal={"networks": ["10.98.0.0/16"]}))


# --- nftables --------------------------------------------------------------------------------------------------------

ENTRIES = st.fixed_dictionaries(
    {"action": st.sampled_from(["permit", "deny"])},
    optional={
        "source": st.sampled_from(["any", *NETWORKS]),
        "destination": st.sampled_from(["any", *NETWORKS]),
        "service": st.sampled_from(["any", *SERVICES]),
        "zone": st.sampled_from(["any", "device", "management"]),
    },
)


@given(entries=st.lists(ENTRIES, max_size=6), default=st.sampled_from(["permit", "deny"]), rate=st.integers(0, 60_000))
def test_every_chain_that_can_be_made_names_its_entries(entries: list[dict[str, Any]], default: str, rate: int) -> None:
    """And each rule's last word is one of two."""
    made = [{"source": "any", "destination": "any", "service": "any", "zone": "any", **one} for one in entries]
    for one in made:
        one["connections_per_minute"] = rate if one["action"] == "permit" else 0
    held = {"order": 1, "entries": made}
    tree = {
        "acl": {"networks": NETWORKS, "services": SERVICES, "lists": {"l": held}, "default_action": default},
    }
    chain = acl.chain(tree)
    assert (chain is None) is (not entries and default == "permit")
    if chain is not None:
        assert {rule.verdict for rule in chain.rules} <= {"return", "drop"}
        assert [rule for rule in chain.rules if rule.match.count("update") > 1] == []


def in_namespaces(program: str, tree: Tree, folder: Path) -> Any:
    """Run a program of this folder with the tree's ruleset where it may do no harm; what it prints as JSON."""
    (folder / "rules").write_text(ruleset(tree, flows(tree)))
    (folder / "passwd").write_text(f"{PASSWD}\n")
    files = [str(folder / "rules"), str(folder / "passwd")]
    files += [files[1]] if program == "packets.py" else []
    argv = ["unshare", "--map-root-user", "--net", "--mount", sys.executable, str(HERE / program), *files]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=HERE.parents[3])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_packets_meet_what_judge_says(lab_with: LabWith, tmp_path: Path) -> None:
    """Each probe that the lab's own rules let in is decided by the lists; all others stay closed."""
    tree = lab_with(
        lists(
            {"action": "deny", "source": "office", "service": "web"},
            {"action": "permit", "source": "office"},
            {"action": "permit", "service": "mail", "zone": "device"},
            default="deny",
        )
    )
    found = in_namespaces("packets.py", tree, tmp_path)
    seen = 0
    for zone in ("device", "management"):
        for probe, what in found[zone].items():
            source, _to, target = probe.partition(" > ")
            port = int(target.rpartition(":")[2])
            admitted = any(
                flow.direction == "in" and flow.port == port and flow.zone == zone and _admits(flow.peers, source)
                for flow in flows(tree)
            )
            passes = acl.judge(tree, source, "tcp", port, zone) is None
            assert what == ("open" if admitted and passes else "silent"), probe
            seen += admitted
    assert seen >= 4


def _admits(peers: tuple[str, ...], source: str) -> bool:
    return not peers or acl._holds(tuple(map(ipaddress.ip_network, peers)), source)


def test_a_source_that_comes_too_often_is_dropped_and_others_are_not(lab_with: LabWith, tmp_path: Path) -> None:
    tree = lab_with(lists({"action": "permit", "service": "mail", "connections_per_minute": 3}))
    assert in_namespaces("acl_rate.py", tree, tmp_path) == {
        "10.98.2.1": ["open"] * 3 + ["silent"] * 2,
        "10.99.0.1": ["open"] * 3 + ["silent"] * 2,
    }
