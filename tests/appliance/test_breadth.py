"""On the running appliance: commands that act on its network, lists in its packet filter, and automation's modules."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from images.paths import REPO, Layout
from images.run import run
from tests.appliance.terminal import Terminal, connected
from tests.lab import Lab
from tests.screen import PROMPT

pytestmark = pytest.mark.appliance

TOPICS = (
    "system", "statichost", "ip domain-name", "kparam", "sentry statistics", "sentry servers", "sentry system-resources",
    "sentry connectivity",
)  # fmt: skip
PRIVILEGED = ("acl", "portalacl", "tech", "sentry config-properties", "sentry config-properties gateway")
PATIENCE = 2.0  # until a connection counts as dropped


def privileged(lab: Lab, *lines: str, check: bool = True) -> str:
    """Lines after `enable`; what was printed."""
    done = lab.cli("enable", lab.enable_secret, *lines, check=check)
    return done.stdout + done.stderr


def data(text: str) -> list[dict[str, str]]:
    """The rows of an answer in JSON, whatever was said around it."""
    answer, _end = json.JSONDecoder().raw_decode(text, text.index("{"))
    rows: list[dict[str, str]] = answer["rows"]
    return rows


@pytest.fixture
def restored(lab: Lab) -> Iterator[None]:
    """Whatever a test commits, the revision from before runs again afterwards."""
    number = data(privileged(lab, "show revisions | json"))[0]["revision"]
    yield
    privileged(lab, "configure terminal", f"rollback {number}", check=False)


def answers(address: str, port: int) -> bool:
    """Whether a connection is taken."""
    try:
        socket.create_connection((address, port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("topic", TOPICS)
def test_what_anybody_may_see(lab: Lab, topic: str) -> None:
    assert lab.cli(f"show {topic}").stdout.strip()
    assert {"facts", "rows", "lines"} & set(json.loads(lab.cli(f"show {topic} | json").stdout))


@pytest.mark.parametrize("topic", PRIVILEGED)
def test_what_only_the_privileged_see(lab: Lab, topic: str) -> None:
    assert "give `enable` first" in lab.cli(f"show {topic}", check=False).stderr
    assert "gateway" in privileged(lab, f"show {topic}") or topic == "acl"


def test_the_bundle_for_support_is_whole_and_holds_no_secret(lab: Lab) -> None:
    text = privileged(lab, "show tech")
    assert text.count("== ") > 25
    assert "FIPS 140 mode is" in text
    assert "hostname = gateway.lab.test" in text
    for secret in (lab.enable_secret, lab.admin.password, "$6$", "secret:", "PRIVATE KEY", "Lab administrator"):
        assert secret not in text, secret
    failed = [line for line in text.splitlines() if line.startswith("cannot be told")]
    assert all("chronyc" in line for line in failed), failed  # chrony does not run in a container


def test_the_way_to_the_next_host_has_one_hop(lab: Lab) -> None:
    rows = json.loads(lab.cli("traceroute 10.98.2.1 | json").stdout)["rows"]
    assert [(row["hop"], row["address"]) for row in rows] == [("1", "10.98.2.1")]
    assert rows[0]["answer"].endswith(" ms")


def test_a_way_to_nowhere_says_why(lab: Lab) -> None:
    rows = json.loads(lab.cli("traceroute 203.0.113.1 | json").stdout)["rows"]
    assert "unreachable" in rows[-1]["answer"].lower()


def test_neighbours_are_forgotten_and_learnt_again(lab: Lab) -> None:
    lab.cli("ping 10.98.2.1")
    forgotten = privileged(lab, "clear arp-cache")
    assert "10.98.2.1" in forgotten
    assert "10.98.2.1" in lab.cli("show ip arp").stdout  # our own session's answers ask for it again


def test_the_kernel_has_what_the_appliance_sets_or_says_that_it_has_not(lab: Lab) -> None:
    rows = {row["parameter"]: row for row in json.loads(lab.cli("show kparam | json").stdout)["rows"]}
    assert len(rows) > 25
    for name in ("net.ipv4.conf.all.rp_filter", "net.ipv4.ip_forward"):
        kernel = lab.root("cat", f"/proc/sys/{name.replace('.', '/')}").stdout.strip()
        assert rows[name]["the kernel has"] == kernel
        assert (rows[name]["the same"] == "yes") is (kernel == rows[name]["set to"])


def test_a_clock_that_cannot_be_set_stays(lab: Lab) -> None:
    """A container may not; a machine whose chrony follows a server refuses."""
    before = time.time()
    said = privileged(lab, "configure terminal", "clock set 2030-01-01T00:00:00Z", check=False)
    assert "% " in said
    assert abs(float(lab.root("date", "+%s").stdout) - before) < 60


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_narrows_what_the_kernel_lets_in(lab: Lab, restored: None) -> None:
    """A port of the flows goes silent for whom an entry denies, the others stay, and the counters are the kernel's."""
    assert answers(lab.addresses.management, 8443)
    privileged(
        lab, "configure terminal", "acl services web port 8443", "acl networks here 10.98.2.1/32",
        "acl lists site entries 0 action deny", "acl lists site entries 0 source here",
        "acl lists site entries 0 service web", "commit comment a list",
    )  # fmt: skip
    assert not answers(lab.addresses.management, 8443)
    assert answers(lab.addresses.management, 22)
    assert answers(lab.addresses.device, 443)
    chain = json.loads(lab.root("nft", "-j", "list", "chain", "inet", "sentry", "acl").stdout)["nftables"]
    (rule,) = [item["rule"] for item in chain if "rule" in item]
    assert rule["comment"] == "acl site 1"
    assert {"drop": None} in rule["expr"]
    shown = data(privileged(lab, "show acl | json"))
    assert shown[0]["entry"] == "site 1"
    assert int(shown[0]["packets"]) > 0


def test_a_permit_opens_nothing(lab: Lab, restored: None) -> None:
    privileged(
        lab, "configure terminal", "acl lists site entries 0 action permit", "acl lists site entries 0 source any",
        "commit comment a permit",
    )  # fmt: skip
    assert not answers(lab.addresses.management, 9090)
    assert not answers(lab.addresses.device, 22)
    assert answers(lab.addresses.management, 22)


def test_a_list_that_would_cut_its_author_off_is_refused(lab: Lab) -> None:
    said = privileged(
        lab, "configure terminal", "acl lists site entries 0 action deny", "acl lists site entries 0 zone management",
        "commit", check=False,
    )  # fmt: skip
    assert "that keeps out 10.98.2.1" in said
    assert answers(lab.addresses.management, 22)


def test_the_portal_answers_its_own_networks_only(lab: Lab, restored: None) -> None:
    privileged(lab, "configure terminal", "portal networks 10.98.2.128/25", "commit")
    assert not answers(lab.addresses.management, 8443)
    assert answers(lab.addresses.management, 22)


# --- interfaces ------------------------------------------------------------------------------------------------------


def test_management_is_served_in_its_own_zone_alone(lab: Lab) -> None:
    """Row 138: two interfaces, and neither 22 nor 8443 on the one for devices."""
    assert [answers(lab.addresses.management, port) for port in (22, 8443)] == [True, True]
    assert [answers(lab.addresses.device, port) for port in (22, 8443)] == [False, False]


def test_an_interface_is_shut_down_and_brought_up_again(lab: Lab, restored: None) -> None:
    def flags(name: str) -> list[str]:
        (link,) = json.loads(lab.root("ip", "-json", "link", "show", "dev", name).stdout)
        found: list[str] = link["flags"]
        return found

    shut = privileged(
        lab,
        "configure terminal",
        "no gateway zones device",
        "interface device0",
        "shutdown",
        "exit",
        "commit",
        check=False,
    )
    assert "Revision" in shut, shut
    assert "UP" not in flags("device0")
    privileged(lab, "configure terminal", "gateway zones device", "interface device0", "no shutdown", "exit", "commit")
    assert "UP" in flags("device0")
    assert "10.98.1.2" in lab.root("ip", "-json", "address", "show", "dev", "device0").stdout


def test_a_vlan_comes_up_or_the_old_configuration_stands(lab: Lab, restored: None) -> None:
    """Whether the kernel has 802.1Q is the host's matter; either way the machine is as its configuration says."""
    before = privileged(lab, "show running-config")
    said = privileged(
        lab, "configure terminal", "interface vlan 20", "physical interface backend0", "zones backend",
        "ip address 10.98.20.2/24", "exit", "commit", check=False,
    )  # fmt: skip
    there = "vlan20" in lab.root("ip", "-json", "link", "show").stdout
    assert there is ("Revision" in said), said
    if not there:
        assert "the old revision stands again" in said
        assert privileged(lab, "show running-config") == before
        assert not lab.root("find", "/etc/systemd/network", "-name", "*vlan20*").stdout


# --- set-up, and automation ------------------------------------------------------------------------------------------


def test_setup_run_again_keeps_everything(lab: Lab) -> None:
    with connected(lab) as client:
        terminal = Terminal(client)
        terminal.expect(PROMPT)
        terminal.do("enable", r"secret:\Z")
        terminal.answer(lab.enable_secret)
        terminal.do("setup", r"account \[admin\]:\Z")
        questions = (
            r"another password\? \[yes/no\]", r"another enable secret\? \[yes/no\]", r"\[gateway\.lab\.test\]:",
            r"\[mgmt0\]:", r"\[management\]:", r"\[10\.98\.2\.2/24\]:", r"router \[\]:", r"\[10\.98\.2\.0/24\]:",
            r"\[10\.98\.2\.1\]:", r"\[lab\.test\]:", r"\[10\.98\.2\.1,10\.98\.3\.1\]:", r"\[embedded\]:",
        )  # fmt: skip
        for question in questions:
            terminal.send("\r")
            terminal.expect(rf"{question}\s*\Z")
        terminal.send("\r")
        assert "Nothing is different from what runs." in terminal.expect(PROMPT)


def test_facts_for_automation(lab: Lab) -> None:
    told = json.loads(lab.root("/usr/lib/sentry/bin/sentry-configctl", "facts", "version", "system", "nonsense").stdout)
    assert dict(told["version"]["facts"])["Sentry"]
    assert dict(told["system"]["facts"])["name"] == "gateway.lab.test"
    assert "found the topic 'nonsense'" in told["nonsense"]["problem"]


def test_the_fleet_s_playbook_changes_confirms_and_reports_and_the_second_time_changes_nothing(
    lab: Lab, layout: Layout, restored: None
) -> None:
    """A part of a tree over what runs, with a time limit that the role confirms over a new connection."""
    first = configure(layout, {"portal": {"idle_minutes": 7}})
    assert "changed: portal.idle_minutes" in first
    assert "Confirm the commit over a new one" in first
    assert "waiting" in lab.cli("show confirmation").stdout
    assert "no" in lab.cli("show confirmation").stdout.split()
    assert "portal idle_minutes 7" in privileged(lab, "show running-config")
    second = configure(layout, {"portal": {"idle_minutes": 7}})
    assert "changed: nothing" in second
    assert "changed=0" in second


def test_a_refused_setting_stops_the_playbook_before_anything_is_changed(lab: Lab, layout: Layout) -> None:
    before = privileged(lab, "show revisions")
    said = configure(layout, {"portal": {"idle_minutes": 99}}, check=False)
    assert "portal.idle_minutes: found 99" in said
    assert "Configure the appliances" not in said
    assert privileged(lab, "show revisions") == before


def configure(layout: Layout, settings: dict[str, Any], *, check: bool = True) -> str:
    """What `playbooks/configure.yml` says."""
    given = {"management_settings": settings, "management_confirm_minutes": 5}
    argv: list[str | Path] = [
        REPO / ".venv" / "bin" / "ansible-playbook",
        "-i",
        layout.inventory,
        "playbooks/configure.yml",
    ]
    environment = {"ANSIBLE_SSH_ARGS": "-T -o ControlMaster=auto -o ControlPersist=5s", "ANSIBLE_FORCE_COLOR": "0"}
    return run([*argv, "-e", json.dumps(given)], cwd=REPO, env=environment, check=check, seconds=180).stdout
