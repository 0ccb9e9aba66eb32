"""VLANs, interfaces that are shut down, and the kernel's links brought in step with both."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.features import flows, interfaces, links
from appliance.features.base import Tree
from appliance.features.firewall import ruleset
from appliance.features.links import Vlan, Wanted
from appliance.plan import InvalidError

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
VLAN = {"zones": ["backend"], "addresses": ["10.98.20.2/24"], "vlan": {"parent": "backend0", "id": 20}}


@dataclass
class Kernel:
    """Links as ip(8) shows and changes them; networkd follows a file of ours for the names in `ours`."""

    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    ran: list[str] = field(default_factory=list)

    def add(self, name: str, *, up: bool = True, vlan: Vlan | None = None) -> None:
        """A link that is there already."""
        self.held[name] = {"ifname": name, "ifindex": len(self.held) + 1, "flags": ["UP"] if up else []}
        if vlan is not None:
            info = {
                "info_kind": "vlan",
                "info_data": {"protocol": "802.1Q", "id": vlan.number, "flags": ["REORDER_HDR"]},
            }
            self.held[name] |= {"link": vlan.parent, "linkinfo": info}

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        if argv[1] == "-json":
            return json.dumps(list(self.held.values()))
        self.ran.append(" ".join(argv))
        match argv[2:]:
            case ["delete", "dev", name]:
                del self.held[name]
            case ["add", "link", parent, "name", name, "type", "vlan", "id", number]:
                self.add(name, up=False, vlan=Vlan(parent, int(number)))
                self.ours.add(name)
            case ["set", "dev", name, state]:
                self.held[name]["flags"] = ["UP"] if state == "up" else []
            case _:
                raise AssertionError(argv)
        return ""

    def read(self, path: str) -> str | None:
        index = int(path.removeprefix(links.STATE))
        name = next(name for name, link in self.held.items() if link["ifindex"] == index)
        file = f"{links.FILES}{name}.network" if name in self.ours else "/etc/systemd/network/other.network"
        return f"ADMIN_STATE=configured\nNETWORK_FILE={file}\n"

    def secret(self, reference: str) -> str:
        raise AssertionError(reference)


# --- rendering -------------------------------------------------------------------------------------------------------


def test_a_vlan_is_a_device_of_its_own_and_named_where_it_lies(lab_with: LabWith) -> None:
    tree = lab_with(lambda held: held["interfaces"].update(vlan20=dict(VLAN)))
    files = interfaces.render(tree)
    device = files["/etc/systemd/network/50-sentry-vlan20.netdev"].text
    assert device.endswith("[NetDev]\nName=vlan20\nKind=vlan\n\n[VLAN]\nId=20\n")
    assert "\nVLAN=vlan20\n" in files["/etc/systemd/network/50-sentry-backend0.network"].text
    assert "Address=10.98.20.2/24" in files["/etc/systemd/network/50-sentry-vlan20.network"].text
    assert len([path for path in files if path.endswith(".netdev")]) == 1
    (unit,) = interfaces.FEATURE.units
    assert unit.concerned(files) == set(files)


def test_an_interface_that_is_shut_down_stays_so_over_a_start_and_carries_no_zone(lab_with: LabWith) -> None:
    tree = lab_with(
        lambda held: held["interfaces"].update(spare0={"zones": ["device"], "addresses": [], "enabled": False})
    )
    text = interfaces.render(tree)["/etc/systemd/network/50-sentry-spare0.network"].text
    assert "[Link]\nActivationPolicy=down\nRequiredForOnline=no\n" in text
    assert interfaces.in_zone(tree, "device") == ("device0",)
    assert "spare0" not in ruleset(tree, flows(tree))


def test_services_listen_on_no_address_that_is_shut_down(lab_with: LabWith) -> None:
    def second(held: dict[str, Any]) -> None:
        held["interfaces"]["mgmt1"] = {"zones": ["management"], "addresses": ["10.98.9.2/24"], "enabled": False}

    assert interfaces.listen_addresses(lab_with(second), ("management",)) == ("10.98.2.2",)


def test_one_that_is_shut_down_may_have_the_address_that_another_has_now(lab_with: LabWith) -> None:
    """It is there to take over."""

    def twin(held: dict[str, Any], *, enabled: bool) -> None:
        held["interfaces"]["twin0"] = {**held["interfaces"]["device0"], "enabled": enabled}

    lab_with(lambda held: twin(held, enabled=False))
    with pytest.raises(InvalidError, match="every address once"):
        lab_with(lambda held: twin(held, enabled=True))


# what the operator writes | where the error is | what it says
REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"mgmt0": {"enabled": False}}, "interfaces", "no interface with zone management that is enabled"),
    ({"v": {**VLAN, "vlan": {"parent": "eth9", "id": 1}}}, "interfaces.v.vlan.parent", "eth9"),
    ({"v": VLAN, "w": {**VLAN, "addresses": ["10.98.21.2/24"]}}, "interfaces.w.vlan.id", "20, which v has"),
    (
        {"v": VLAN, "w": {"zones": ["backend"], "addresses": ["10.98.21.2/24"], "vlan": {"parent": "v", "id": 3}}},
        "interfaces.w.vlan.parent",
        "v",
    ),
    ({"v": {**VLAN, "mtu": 9000}}, "interfaces.v.mtu", "9000"),
    ({"x0": {"zones": [], "addresses": ["10.98.30.2/24"]}}, "interfaces.x0.zones", "no zone"),
    ({"x0": {"zones": ["device"]}}, "interfaces.x0", "neither addresses nor dhcp"),
    ({"x0": {"zones": []}}, "interfaces.x0", "neither addresses nor dhcp"),
    (
        {"x0": {"zones": [], "enabled": False}, "v": {**VLAN, "vlan": {"parent": "x0", "id": 3}}},
        "interfaces.v.vlan.parent",
        "x0, which is shut down",
    ),
)


@pytest.mark.parametrize(("changed", "where", "found"), REFUSED)
def test_what_could_not_work_is_refused_by_name(
    changed: dict[str, Any], where: str, found: str, lab_with: LabWith
) -> None:
    def change(held: dict[str, Any]) -> None:
        for name, one in changed.items():
            held["interfaces"][name] = {**held["interfaces"].get(name, {}), **one}

    with pytest.raises(InvalidError) as refused:
        lab_with(change)
    assert (refused.value.problems[0].path, found in refused.value.problems[0].found) == (where, True)


def test_an_interface_may_do_nothing_but_carry_vlans(lab_with: LabWith) -> None:
    """Untagged packets on it are nobody's: no zone has it."""

    def trunk(held: dict[str, Any]) -> None:
        held["interfaces"]["trunk0"] = {"zones": []}
        held["interfaces"]["vlan7"] = {**VLAN, "vlan": {"parent": "trunk0", "id": 7}}

    tree = lab_with(trunk)
    assert all("trunk0" not in interfaces.in_zone(tree, zone) for zone in interfaces.ZONES)


# --- the kernel ------------------------------------------------------------------------------------------------------


def test_vlans_come_and_change_and_go_and_nobody_elses(lab_with: LabWith) -> None:
    kernel = Kernel()
    for name in ("device0", "mgmt0", "backend0"):
        kernel.add(name)
    kernel.add("theirs", vlan=Vlan("backend0", 99))
    tree = lab_with(lambda held: held["interfaces"].update(vlan20=dict(VLAN)))
    assert interfaces.reconcile(tree, kernel)
    assert not interfaces.reconcile(lab_with(lambda held: held["interfaces"].update(vlan20=dict(VLAN))), kernel) or (
        kernel.ran[-1] == "ip link set dev vlan20 up"
    )
    kernel.ran.clear()
    other = lab_with(lambda held: held["interfaces"].update(vlan20={**VLAN, "vlan": {"parent": "backend0", "id": 21}}))
    assert interfaces.reconcile(other, kernel)
    assert kernel.ran == ["ip link delete dev vlan20", "ip link add link backend0 name vlan20 type vlan id 21"]
    kernel.ran.clear()
    assert interfaces.reconcile(lab_with(lambda _held: None), kernel)
    assert kernel.ran == ["ip link delete dev vlan20"]
    assert "theirs" in kernel.held


def test_a_link_is_switched_only_when_it_is_not_so() -> None:
    kernel = Kernel()
    kernel.add("a", up=True)
    kernel.add("b", up=False)
    assert links.reconcile({"a": Wanted(up=False), "b": Wanted(up=True), "absent": Wanted(up=True)}, kernel)
    assert kernel.ran == ["ip link set dev a down", "ip link set dev b up"]
    assert not links.reconcile({"a": Wanted(up=False), "b": Wanted(up=True)}, kernel)


def test_other_kinds_of_links_are_passed_over() -> None:
    """They have other things where a VLAN has its number."""
    kernel = Kernel()
    kernel.add("br0")
    kernel.held["br0"]["linkinfo"] = {"info_kind": "bridge", "info_data": {"id": "8000.0", "forward_delay": 1500}}
    assert not links.reconcile({"br0": Wanted(up=True)}, kernel)


VLANS = st.dictionaries(
    st.sampled_from(["v1", "v2", "v3"]),
    st.builds(
        Wanted,
        up=st.booleans(),
        vlan=st.builds(Vlan, st.sampled_from(["a", "b"]), st.integers(1, 3)),
    ),
)


@given(st.lists(VLANS, min_size=1, max_size=5))
def test_whatever_was_before_the_links_end_as_configured(history: list[dict[str, Wanted]]) -> None:
    """At the second look at the latest: a VLAN that was just made is brought up by networkd, or then."""
    kernel = Kernel()
    kernel.add("a")
    kernel.add("b")
    for wanted in history:
        links.reconcile(wanted, kernel)
    links.reconcile(history[-1], kernel)
    assert not links.reconcile(history[-1], kernel)
    made = {name: link for name, link in kernel.held.items() if "linkinfo" in link}
    assert made.keys() == history[-1].keys()
    for name, one in history[-1].items():
        assert Vlan(made[name]["link"], made[name]["linkinfo"]["info_data"]["id"]) == one.vlan
        assert (made[name]["flags"] == ["UP"]) is one.up


def test_a_commit_waits_until_what_is_shut_down_is_down(lab_with: LabWith) -> None:
    def shut(held: dict[str, Any]) -> None:
        held["interfaces"]["spare0"] = {"zones": ["device"], "addresses": ["10.98.8.2/24"], "enabled": False}

    tree = lab_with(shut)
    addresses = {"device0": "10.98.1.2", "mgmt0": "10.98.2.2", "backend0": "10.98.3.2"}
    shown: list[dict[str, Any]] = [
        {"ifname": name, "flags": ["UP", "LOWER_UP"], "addr_info": [{"local": one, "prefixlen": 24}]}
        for name, one in addresses.items()
    ]
    spare: dict[str, Any] = {"ifname": "spare0", "flags": ["UP"], "addr_info": []}

    class Shown(Kernel):
        def run(self, argv: list[str], *, stdin: str | None = None) -> str:
            assert argv == ["ip", "-json", "address", "show"]
            return json.dumps([*shown, spare])

    assert interfaces.unsettled(tree, Shown()) == "still up, although shut down: spare0"
    spare["flags"] = []
    assert interfaces.unsettled(tree, Shown()) == ""
