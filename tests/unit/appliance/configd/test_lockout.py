"""A commit by which its author would lock themselves out."""

from typing import Any

import pytest

from appliance.config.schema import Schema
from appliance.configd import api, lockout, sessions
from appliance.configd.sessions import Peer
from tests.unit.appliance.configd.people import privileged, refusal
from tests.unit.appliance.workbench import Daemon

BEFORE: dict[str, Any] = {
    "firewall": {"management_networks": ["192.0.2.0/24"]},
    "ssh": {"password_authentication": True},
    "users": {"accounts": {"alice": {"role": "administrator", "ssh_keys": ["one"], "password_hash": "secret:1"}}},
    "interfaces": {
        "mgmt0": {
            "zones": ["management"],
            "addresses": ["198.51.100.2/24", "198.51.100.3/24"],
            "gateway": "198.51.100.1",
        },
        "device0": {"zones": ["device"], "addresses": ["203.0.113.2/24"]},
    },
}


def _interfaces(name: str, **changed: Any) -> dict[str, Any]:
    held = BEFORE["interfaces"]
    return {**BEFORE, "interfaces": {**held, name: {**held[name], **changed}}}


def _alice(**changed: Any) -> dict[str, Any]:
    return {**BEFORE, "users": {"accounts": {"alice": {**BEFORE["users"]["accounts"]["alice"], **changed}}}}


@pytest.mark.parametrize(
    ("after", "path"),
    [
        (BEFORE, None),
        ({**BEFORE, "firewall": {"management_networks": ["192.0.2.0/29", "2001:db8::/32"]}}, None),
        ({**BEFORE, "firewall": {"management_networks": ["203.0.113.0/24"]}}, "firewall.management_networks"),
        ({**BEFORE, "users": {"accounts": {}}}, "users.accounts.alice"),
        (_alice(role="operator"), "users.accounts.alice"),
        (_alice(password_hash="secret:2", ssh_keys=[]), None),
        ({**_alice(ssh_keys=["another"]), "ssh": {"password_authentication": False}}, "users.accounts.alice"),
        (_alice(ssh_keys=["another"], password_hash=None), "users.accounts.alice"),
        (_alice(ssh_keys=["one", "another"], password_hash=None), None),
        (_interfaces("device0", addresses=["203.0.113.9/24"]), None),
        (_interfaces("mgmt0", addresses=["198.51.100.2/24"]), "interfaces.mgmt0"),
        (_interfaces("mgmt0", zones=["device"]), "interfaces.mgmt0"),
        (_interfaces("mgmt0", gateway="198.51.100.9"), "interfaces.mgmt0.gateway"),
        (
            _interfaces("mgmt0", addresses=[*BEFORE["interfaces"]["mgmt0"]["addresses"], "192.0.2.2/24"], gateway=None),
            None,
        ),
    ],
)
def test_a_commit_after_which_its_author_could_not_come_back_needs_a_time_limit(
    after: dict[str, Any], path: str | None
) -> None:
    held = sessions.Sessions().open(
        "alice", "administrator", "cli", Peer(1, 1, 1), source="192.0.2.7", bounds=sessions.Bounds(600, 900, 5)
    )
    problems = list(lockout.guard(held)(Schema(()), BEFORE, after))
    assert [problem.path for problem in problems] == ([path] if path else [])
    assert all("commit confirmed" in problem.allowed for problem in problems)


def test_automation_and_a_terminal_have_no_address_to_lose() -> None:
    after = {**BEFORE, "firewall": {"management_networks": ["203.0.113.0/24"]}, "interfaces": {}}
    held = sessions.Sessions()
    bounds = sessions.Bounds(600, 900, 5)
    automation = held.open("root", "administrator", "automation", Peer(0, 1, 1), source="ctl", bounds=bounds)
    console = held.open("alice", "administrator", "cli", Peer(1, 1, 1), source="/dev/tty1", bounds=bounds)
    for one in (automation, console):
        assert not list(lockout.guard(one)(Schema(()), BEFORE, after))


def test_who_takes_their_own_account_away_is_refused_unless_the_way_back_is_sure(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.SetConfig(session=handle, path=("users", "accounts", "alice", "role"), value="auditor"))
    refused = refusal(daemon.say, peer, api.Commit(session=handle))
    assert (refused.kind, "your own account" in refused.message) == ("lockout", True)
    assert daemon.running()["users"]["accounts"]["alice"]["role"] == "administrator"
    daemon.say(peer, api.Commit(session=handle, confirm_minutes=5))
    assert daemon.running()["users"]["accounts"]["alice"]["role"] == "auditor"
    daemon.clock.now += 301
    daemon.watch.tick()
    assert daemon.running()["users"]["accounts"]["alice"]["role"] == "administrator"
