"""Sessions of the portal: the password given again, and one's own password."""

import threading
from typing import Any

import msgspec
import pytest

from appliance.configd import api, passwords
from appliance.configd.sessions import Peer
from appliance.portal.facts import SECTIONS
from tests.unit.appliance.configd.people import portal_session, privileged, refusal
from tests.unit.appliance.workbench import ACCOUNTS, PASSWORDS, PORTAL, Daemon


def test_at_the_portal_who_gives_the_password_again_may_change_who_gets_in(daemon: Daemon) -> None:
    """For five minutes; the log-in itself does not count, and the candidate survives the question."""
    portal, handle = portal_session(daemon)
    daemon.say(portal, api.SetConfig(session=handle, path=("users", "accounts", "olga", "role"), value="auditor"))
    commit = api.Commit(session=handle, comment="olga looks")
    assert refusal(daemon.say, portal, commit).kind == "privilege"
    again = api.Reauthenticate(session=handle, password=PASSWORDS["alice"])
    assert daemon.say(portal, again, api.Session).fresh_seconds == 300
    daemon.ticks.now += 301
    assert refusal(daemon.say, portal, commit).kind == "privilege"
    daemon.say(portal, again)
    daemon.ticks.now += 100
    assert daemon.say(portal, api.Touch(session=handle), api.Session).fresh_seconds == 200
    assert daemon.say(portal, commit, api.Committed).changed
    assert daemon.running()["users"]["accounts"]["olga"]["role"] == "auditor"


def test_at_the_portal_another_setting_needs_no_password(daemon: Daemon) -> None:
    portal, handle = portal_session(daemon)
    daemon.say(portal, api.SetConfig(session=handle, path=("web", "port"), value=9443))
    assert daemon.say(portal, api.Commit(session=handle), api.Committed).changed
    assert refusal(daemon.say, portal, api.Power(session=handle, action="reload")).kind == "privilege"


def test_no_name_can_be_made_that_locks_another_one_at_its_source(daemon: Daemon) -> None:
    portal = Peer(PORTAL, 1, 1)
    for name in ("alice\x00192.0.2.9", "192.0.2.9\x00alice"):
        for source in ("198.51.100.1", "alice"):
            for _ in range(3):
                guess = api.Login(user=name, password="guess", source=source)
                assert refusal(daemon.say, portal, guess).kind == "authentication"
    right = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.9")
    assert daemon.say(portal, right, api.Session).user == "alice"


def test_wrong_passwords_of_a_session_count_as_failed_log_ins_from_its_source(daemon: Daemon) -> None:
    portal, handle = portal_session(daemon)
    wrong = api.Reauthenticate(session=handle, password="guess")
    assert [refusal(daemon.say, portal, wrong).kind for _ in range(4)] == ["authentication"] * 3 + ["locked"]
    right = api.Reauthenticate(session=handle, password=PASSWORDS["alice"])
    assert refusal(daemon.say, portal, right).kind == "locked"
    login = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.9")
    assert refusal(daemon.say, portal, login).kind == "locked"
    assert [(one.event, one.user, one.source) for one in daemon.ledger.entries if one.event == "login.locked"] == [
        ("login.locked", "alice", "192.0.2.9")
    ]
    assert not any("guess" in str(one) for one in daemon.ledger.entries)


def test_only_sessions_of_the_portal_give_their_password_again(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    again = api.Reauthenticate(session=handle, password=PASSWORDS["alice"])
    assert refusal(daemon.say, peer, again).kind == "permission"


def test_a_candidate_that_is_changed_while_its_commit_is_judged_is_not_the_one_that_is_made(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal's sessions have many connections; a taken-over one sends both words at once."""
    portal, handle = portal_session(daemon)
    daemon.say(portal, api.SetConfig(session=handle, path=("web", "port"), value=9443))
    another = api.SetConfig(session=handle, path=("users", "accounts", "olga", "role"), value="administrator")
    slipping_in = threading.Thread(target=lambda: daemon.say(portal, another))
    real = daemon.actions.about

    def about(verb: Any, held: Any) -> str:
        found = real(verb, held)
        if isinstance(verb, api.Commit):
            slipping_in.start()
            slipping_in.join(0.3)
            assert slipping_in.is_alive()  # it waits for its turn
        return found

    monkeypatch.setattr(daemon.actions, "about", about)
    assert daemon.say(portal, api.Commit(session=handle), api.Committed).changed
    slipping_in.join(10)
    assert daemon.running()["web"]["port"] == 9443
    assert daemon.running()["users"]["accounts"]["olga"]["role"] == "operator"


def test_whoever_it_is_sets_their_own_password_and_nothing_else(daemon: Daemon) -> None:
    """Their other sessions end, this one goes on; without the password given again, nothing happens."""
    portal, handle = portal_session(daemon, "albert")
    mine = api.SetOwnPassword(session=handle, password="Albert-Secret-5678")
    assert refusal(daemon.say, portal, mine).kind == "privilege"
    daemon.say(portal, api.Reauthenticate(session=handle, password=PASSWORDS["albert"]))
    short = api.SetOwnPassword(session=handle, password="short")
    assert "shorter than 15 characters" in refusal(daemon.say, portal, short).message
    assert daemon.say(portal, mine, api.Committed).changed
    held = daemon.running()["users"]["accounts"]
    assert passwords.verify("Albert-Secret-5678", daemon.vault.reveal(held["albert"]["password_hash"]))
    assert {name: one["role"] for name, one in held.items()} == {name: one["role"] for name, one in ACCOUNTS.items()}
    assert daemon.say(portal, api.Touch(session=handle), api.Session).user == "albert"
    assert all(one.candidate is None for one in daemon.sessions.all())


def test_ones_own_password_is_not_set_beside_other_changes(daemon: Daemon) -> None:
    portal, handle = portal_session(daemon)
    daemon.say(portal, api.Reauthenticate(session=handle, password=PASSWORDS["alice"]))
    daemon.say(portal, api.SetConfig(session=handle, path=("web", "port"), value=9443))
    mine = api.SetOwnPassword(session=handle, password="Alice-Secret-56789")
    assert refusal(daemon.say, portal, mine).kind == "conflict"
    assert len(daemon.say(portal, api.DiffConfig(session=handle), tuple[api.Change, ...])) == 1


@pytest.mark.parametrize("user", ["alice"])
def test_every_topic_of_the_status_page_is_told_to_the_portal(daemon: Daemon, user: str) -> None:
    portal = Peer(PORTAL, 1, 1)
    session = daemon.say(portal, api.Login(user=user, password=PASSWORDS[user], source=""), api.Session)
    for topic in ("hostname", "version", "uptime", "fips", *(topic for topic, _title in SECTIONS)):
        answer = msgspec.json.decode(
            daemon.gate.answer(portal, msgspec.json.encode(api.Show(session=session.handle, topic=topic))).line,
            type=api.Reply,
        )
        assert answer.refusal is None or answer.refusal.kind == "unavailable", topic
    log = api.Show(session=session.handle, topic="log")  # at the command line only after `enable`
    assert daemon.say(portal, log, api.Shown) is not None
