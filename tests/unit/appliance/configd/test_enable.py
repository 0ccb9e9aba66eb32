"""The enable secret: what it opens, who is locked out of it, and what asks for it again."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from appliance.configd import api, passwords
from appliance.configd.attempts import NAMES
from appliance.configd.client import Refused
from appliance.configd.sessions import Peer
from tests.unit.appliance.configd.people import ENABLE, TREE, privileged, refusal
from tests.unit.appliance.workbench import ALICE, PASSWORDS, PORTAL, Daemon


def test_enable_and_disable(daemon: Daemon) -> None:
    peer, session = daemon.open(ALICE)
    get = api.GetConfig(session=session.handle)
    assert refusal(daemon.say, peer, get).kind == "privilege"
    enable = api.Enable(session=session.handle, secret=ENABLE)
    assert daemon.say(peer, enable, api.Session).privileged
    assert daemon.say(peer, get)["name"] == "box"
    assert not daemon.say(peer, api.Disable(session=session.handle), api.Session).privileged
    assert refusal(daemon.say, peer, get).kind == "privilege"


def test_three_wrong_enable_secrets_lock_it_for_the_account_in_every_session(daemon: Daemon) -> None:
    peer, session = daemon.open(ALICE, 1)
    wrong = api.Enable(session=session.handle, secret="wrong")
    assert [refusal(daemon.say, peer, wrong).kind for _ in range(4)] == ["authentication"] * 3 + ["locked"]
    other, second = daemon.open(ALICE, 2)
    right = api.Enable(session=second.handle, secret=ENABLE)
    assert refusal(daemon.say, other, right).kind == "locked"
    assert [entry.result for entry in daemon.ledger.entries if entry.event == "session.enable"][-2:] == ["locked"] * 2
    daemon.ticks.now += 901
    other, third = daemon.open(ALICE, 3)
    assert daemon.say(other, api.Enable(session=third.handle, secret=ENABLE), api.Session).privileged


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_ends_no_session_and_unlocks_nobody(daemon: Daemon, jump: float) -> None:
    """Sessions and locks live by the time that nobody can set."""
    peer, session = daemon.open(ALICE)
    portal, login = Peer(PORTAL, 1, 2), api.Login(user="alice", password="wrong", source="192.0.2.9")
    for _ in range(3):
        refusal(daemon.say, peer, api.Enable(session=session.handle, secret="wrong"))
        refusal(daemon.say, portal, login)
    daemon.set_clock(jump)
    daemon.watch.tick()
    assert daemon.say(peer, api.Touch(session=session.handle), api.Session).user == "alice"
    assert refusal(daemon.say, peer, api.Enable(session=session.handle, secret=ENABLE)).kind == "locked"
    right = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.9")
    assert refusal(daemon.say, portal, right).kind == "locked"
    daemon.ticks.now += 901
    assert daemon.say(portal, right, api.Session).user == "alice"


def test_three_wrong_enable_secrets_are_audited_as_a_lock(daemon: Daemon) -> None:
    peer, session = daemon.open(ALICE)
    for _ in range(3):
        refusal(daemon.say, peer, api.Enable(session=session.handle, secret="wrong"))
    assert [(one.event, one.user) for one in daemon.ledger.entries if one.result == "locked"] == [
        ("enable.locked", "alice")
    ]


def test_without_an_enable_secret_nobody_goes_privileged(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.commit({**TREE, "cli": {}})
    peer, session = daemon.open(ALICE)
    refused = refusal(daemon.say, peer, api.Enable(session=session.handle, secret=""))
    assert (refused.kind, "no enable secret is set" in refused.message) == ("permission", True)


def test_what_could_take_the_machine_over_needs_the_enable_secret_again_after_five_minutes(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    for verb in (
        api.SetPassword(session=handle, user="olga", password="Olga-Secret-123456"),
        api.SetEnableSecret(session=handle, secret="Another-Secret-12345"),
        api.Power(session=handle, action="reload"),
    ):
        daemon.ticks.now += 301
        refused = refusal(daemon.say, peer, verb)
        assert (refused.kind, "more than 5 minutes ago" in refused.message) == ("privilege", True)
        daemon.say(peer, api.GetConfig(session=handle))
        daemon.say(peer, api.Disable(session=handle))
        daemon.say(peer, api.Enable(session=handle, secret=ENABLE))
        with contextlib.suppress(Refused):  # `Power` asks a systemd that is not there
            daemon.say(peer, verb)
        assert daemon.ledger.entries[-1].result != "privilege"


SENSITIVE = {
    "who gets in": ("users", "accounts", "eve", "role"),
    "the enable secret": ("cli", "enable_secret_hash"),
}


@pytest.mark.parametrize("back", [False, True], ids=["commit", "rollback"])
@pytest.mark.parametrize("what", SENSITIVE)
def test_what_changes_who_gets_in_needs_the_enable_secret_again(daemon: Daemon, what: str, back: bool) -> None:  # noqa: FBT001 - a table
    """Whoever finds a privileged terminal gives nobody an account, and none back to somebody who had one."""
    peer, handle = privileged(daemon)
    path, value = SENSITIVE[what], "operator" if what == "who gets in" else passwords.hashed("Another-Secret-12345")
    daemon.say(peer, api.SetConfig(session=handle, path=path, value=value))
    verb: Any = api.Commit(session=handle)
    if back:
        daemon.say(peer, verb)
        daemon.engine.return_to(1, "tester", "back")
        verb = api.Rollback(session=handle, revision=2)
    daemon.ticks.now += 301
    before = daemon.running()
    refused = refusal(daemon.say, peer, verb)
    assert (refused.kind, "more than 5 minutes ago" in refused.message) == ("privilege", True)
    assert daemon.running() == before
    assert not daemon.say(peer, api.Commit(session=handle, check_only=True), api.Committed).files
    daemon.say(peer, api.Disable(session=handle))
    daemon.say(peer, api.Enable(session=handle, secret=ENABLE))
    assert daemon.say(peer, verb, api.Committed).changed
    assert daemon.running() != before


def test_any_other_commit_asks_for_no_secret(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.ticks.now += 301
    daemon.say(peer, api.SetConfig(session=handle, path=("web", "port"), value=9_443))
    assert daemon.say(peer, api.Commit(session=handle), api.Committed).changed
    assert daemon.say(peer, api.Rollback(session=handle, revision=1), api.Committed).changed


def test_guessing_at_the_log_in_does_not_make_enable_forget_its_failures(daemon: Daemon) -> None:
    peer, session = daemon.open(ALICE, 1)
    wrong = api.Enable(session=session.handle, secret="wrong")
    for _ in range(3):
        refusal(daemon.say, peer, wrong)
    for number in range(NAMES + 1):
        daemon.gate._log_ins.failed(f"name{number}")
    assert refusal(daemon.say, peer, api.Enable(session=session.handle, secret=ENABLE)).kind == "locked"


def test_a_new_enable_secret_counts_after_the_commit(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.SetEnableSecret(session=handle, secret="Another-Secret-12345"))
    daemon.say(peer, api.Commit(session=handle))
    daemon.say(peer, api.Disable(session=handle))
    assert refusal(daemon.say, peer, api.Enable(session=handle, secret=ENABLE)).kind == "authentication"
    assert daemon.say(peer, api.Enable(session=handle, secret="Another-Secret-12345"), api.Session).privileged
