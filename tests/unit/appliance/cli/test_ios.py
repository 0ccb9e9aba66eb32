"""The words of other routers: each changes the same setting as its own words, and `no` takes it back."""

from typing import Any

import pytest

from appliance.configd import tools
from appliance.configd.api import Table
from tests.unit.appliance.cli.desk import SECRET, Configd, Run

START = f"enable\n{SECRET}\nconfigure terminal\n"


def candidate(cli: Run, *lines: str) -> list[str]:
    """What the lines change: the lines of `diff`."""
    done = cli(stdin=START + "".join(f"{line}\n" for line in (*lines, "diff")))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


# the lines | what they change
CHANGES: tuple[tuple[tuple[str, ...], list[str]], ...] = (
    (("ip name-server 192.0.2.53",), ["+ dns servers 192.0.2.53"]),
    (("ip domain-name lab.test",), ["+ dns search lab.test"]),
    (("statichost mail.lab.test 192.0.2.10",), ["+ dns static_hosts mail.lab.test 192.0.2.10"]),
    (("ip route 0.0.0.0 0.0.0.0 192.0.2.1",), ["+ interfaces mgmt0 gateway 192.0.2.1"]),
    (
        ("ip route 198.51.100.0/24 192.0.2.1", "ip route 203.0.113.0 255.255.255.0 192.0.2.1"),
        [
            "+ interfaces mgmt0 routes 0 to 198.51.100.0/24",
            "+ interfaces mgmt0 routes 0 via 192.0.2.1",
            "+ interfaces mgmt0 routes 1 to 203.0.113.0/24",
            "+ interfaces mgmt0 routes 1 via 192.0.2.1",
        ],
    ),
    (
        ("ip route 198.51.100.0/24 192.0.2.1", "ip route 198.51.100.0/24 192.0.2.9"),
        ["+ interfaces mgmt0 routes 0 to 198.51.100.0/24", "+ interfaces mgmt0 routes 0 via 192.0.2.9"],
    ),
    (("username bob role operator",), ["+ users accounts bob role operator"]),
    (("int mgmt0", "shut"), ["- interfaces mgmt0 enabled true", "+ interfaces mgmt0 enabled false"]),
    (("int mgmt0", "ip address 198.51.100.2 255.255.255.0"), ["+ interfaces mgmt0 addresses 198.51.100.2/24"]),
    (("int mgmt0", "no ip address 192.0.2.2 255.255.255.0"), ["- interfaces mgmt0 addresses 192.0.2.2/24"]),
    (("ntp server 192.0.2.9",), ["+ ntp servers 192.0.2.9"]),
    (("hostname gw2.example.test",), ["- hostname gw1.example.test", "+ hostname gw2.example.test"]),
)


@pytest.mark.parametrize(("lines", "changes"), CHANGES, ids=[lines[-1] for lines, _changes in CHANGES])
def test_a_line_changes_its_setting(lines: tuple[str, ...], changes: list[str], cli: Run) -> None:
    found = candidate(cli, *lines)
    assert [each for each in changes if each not in found] == []


# a line | the one that takes it back
BACK = (
    ("ip name-server 192.0.2.53", "no ip name-server 192.0.2.53"),
    ("ip domain-name lab.test", "no ip domain-name lab.test"),
    ("statichost mail.lab.test 192.0.2.10", "no statichost mail.lab.test"),
    ("ip route 0.0.0.0/0 192.0.2.1", "no ip route 0.0.0.0 0.0.0.0 192.0.2.1"),
    ("ip route 198.51.100.0/24 192.0.2.1", "no ip route 198.51.100.0/24 192.0.2.1"),
    ("username bob role operator", "no username bob"),
    ("interface mgmt0\nshutdown", "no shutdown"),
    ("interface mgmt0\nip address 198.51.100.2/24", "no ip address 198.51.100.2/24"),
)


@pytest.mark.parametrize(("line", "back"), BACK)
def test_no_takes_it_back(line: str, back: str, cli: Run) -> None:
    assert candidate(cli, line, back) == ["The candidate changes nothing."]


def test_a_vlan_is_made_in_three_lines(cli: Run) -> None:
    found = candidate(
        cli, "interface vlan 20", "physical interface mgmt0", "ip address 198.51.100.2/24", "zones backend"
    )
    assert {"+ interfaces vlan20 vlan id 20", "+ interfaces vlan20 vlan parent mgmt0"} <= set(found)
    assert "+ interfaces vlan20 addresses 198.51.100.2/24" in found


# a line | what it is refused with
REFUSED = (
    ("ip route 198.51.100.0/24 203.0.113.1", "allowed: one on a network of an interface: 192.0.2.0/24"),
    ("ip route 198.51.100.7/24 192.0.2.1", "allowed: a network and its router"),
    ("ip route 198.51.100.0 255.255.255.0 nowhere", "allowed: a network and its router"),
    ("no ip route 198.51.100.0/24 192.0.2.1", "Found no route to 198.51.100.0/24"),
    ("ip name-server 300.0.0.1", "allowed: an IPv4 or IPv6 address"),
    ("ip domain-name bad_name", "allowed: a DNS name"),
    ("statichost mail.lab.test here", "allowed: an IPv4 or IPv6 address"),
    ("username root role operator", "allowed: a lower-case letter"),
    ("interface vlan 4095", "allowed: a whole number from 1 to 4094"),
    ("no username nobody", "users.accounts.nobody: found nothing configured"),
)


@pytest.mark.parametrize(("line", "allowed"), REFUSED)
def test_a_wrong_line_says_what_is_allowed(line: str, allowed: str, cli: Run) -> None:
    done = cli(stdin=f"{START}{line}\n")
    assert done.returncode == 1
    assert allowed in done.stderr


def test_the_last_way_to_manage_cannot_be_shut_down(cli: Run, configd: Configd) -> None:
    done = cli(stdin=f"{START}interface mgmt0\nshutdown\ncommit\n")
    assert "no interface with zone management that is enabled" in done.stderr
    assert configd.daemon.running()["interfaces"]["mgmt0"]["enabled"] is True


def test_a_list_that_keeps_its_author_out_needs_a_time_limit(cli: Run, configd: Configd) -> None:
    """`SSH_CONNECTION` says 198.51.100.7; that address may manage here."""
    lines = (
        "firewall management_networks 198.51.100.0/24\ncommit\n"
        "acl networks here 198.51.100.7/32\nacl lists mine entries 0 action deny\nacl lists mine entries 0 source here\n"
    )
    refused = cli(stdin=f"{START}{lines}commit\n")
    assert "an entry (mine 1) that keeps out 198.51.100.7" in refused.stderr
    assert configd.daemon.running()["acl"]["lists"] == {}
    lines = lines.partition("commit\n")[2]
    done = cli(stdin=f"{START}{lines}commit confirmed 5\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine" in configd.daemon.running()["acl"]["lists"]


def test_a_network_tool_asks_configd_and_shows_what_it_says(
    cli: Run, configd: Configd, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def trace(host: str, _attempt: Any) -> Table:
        asked.append(host)
        return Table(title="way", columns=("hop", "address", "answer"), rows=(("1", "192.0.2.1", "on the way"),))

    monkeypatch.setattr(tools, "trace", trace)
    done = cli("-c", "traceroute far.example")
    assert done.stdout.splitlines()[-1] == "1    192.0.2.1  on the way"
    assert asked == ["far.example"]
