"""Who gets a session, and when it ends."""

from pathlib import Path

import pytest

from appliance.config.store import StoreError
from appliance.configd import api, sessions
from appliance.configd.sessions import Peer
from tests.unit.appliance.configd.people import privileged, refusal
from tests.unit.appliance.workbench import ACCOUNTS, ALBERT, ALICE, OLGA, PASSWORDS, PORTAL, ROOT, STRANGER, Daemon


def test_root_is_automation_administrator_and_privileged(daemon: Daemon) -> None:
    _peer, session = daemon.open(ROOT)
    assert (session.user, session.role, session.privileged) == ("root", "administrator", True)


@pytest.mark.parametrize(("uid", "user"), [(ALICE, "alice"), (OLGA, "olga"), (ALBERT, "albert")])
def test_an_account_of_the_configuration_gets_its_role_without_privilege(daemon: Daemon, uid: int, user: str) -> None:
    _peer, session = daemon.open(uid)
    assert (session.user, session.role, session.privileged) == (user, ACCOUNTS[user]["role"], False)
    assert session.idle_seconds == 600
    assert len(session.handle) == 64


@pytest.mark.parametrize("uid", [STRANGER, PORTAL, 4711])
def test_anybody_else_is_refused_and_audited(daemon: Daemon, uid: int) -> None:
    assert refusal(daemon.open, uid).kind == "permission"
    entry = daemon.ledger.entries[-1]
    assert (entry.event, entry.result) == ("session.open", "permission")


def test_before_the_first_commit_only_root_gets_a_session(tmp_path: Path) -> None:
    empty = Daemon(tmp_path)
    assert refusal(empty.open, ALICE).kind == "permission"
    peer, session = empty.open(ROOT)
    assert empty.say(peer, api.GetConfig(session=session.handle)) == {}
    assert empty.say(peer, api.ListRevisions(session=session.handle)) == []


def test_the_portal_logs_people_in_and_uses_their_sessions_on_any_connection(daemon: Daemon) -> None:
    login = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.9")
    session = daemon.say(Peer(PORTAL, 1, 1), login, api.Session)
    assert (session.user, session.privileged, session.idle_seconds) == ("alice", False, 900)
    assert daemon.say(Peer(PORTAL, 1, 2), api.Touch(session=session.handle), api.Session).user == "alice"


@pytest.mark.parametrize("uid", [ROOT, ALICE, STRANGER])
def test_only_the_portal_may_log_in_by_password(daemon: Daemon, uid: int) -> None:
    login = api.Login(user="alice", password=PASSWORDS["alice"], source="")
    assert refusal(daemon.say, Peer(uid, 1, 1), login).kind == "permission"


def test_a_unix_account_that_is_no_administrator_cannot_log_in_with_its_right_password(daemon: Daemon) -> None:
    login = api.Login(user="mallory", password=PASSWORDS["mallory"], source="")
    assert refusal(daemon.say, Peer(PORTAL, 1, 1), login).kind == "authentication"


@pytest.mark.parametrize("user", ["alice", "nobody-of-that-name"])
def test_three_wrong_passwords_lock_a_name_whether_or_not_it_exists(daemon: Daemon, user: str) -> None:
    portal = Peer(PORTAL, 1, 1)
    wrong = api.Login(user=user, password="wrong", source="")
    answers = [refusal(daemon.say, portal, wrong) for _ in range(4)]
    assert [answer.kind for answer in answers] == ["authentication"] * 3 + ["locked"]
    assert {answer.message for answer in answers[:3]} == {"user name or password is wrong"}
    right = api.Login(user=user, password=PASSWORDS.get(user, "any"), source="")
    assert refusal(daemon.say, portal, right).kind == "locked"
    daemon.ticks.now += 901
    if user == "alice":
        assert daemon.say(portal, right, api.Session).user == "alice"
    else:
        assert refusal(daemon.say, portal, right).kind == "authentication"


@pytest.mark.parametrize("user", ["alice", "nobody-of-that-name"])
def test_a_refused_log_in_takes_as_long_for_a_name_that_does_not_exist(daemon: Daemon, user: str) -> None:
    before = daemon.ticks.now
    assert (
        refusal(daemon.say, Peer(PORTAL, 1, 1), api.Login(user=user, password="wrong", source="")).kind
        == "authentication"
    )
    assert daemon.ticks.now - before == 3.5


def test_a_session_belongs_to_the_connection_and_the_account_that_opened_it(daemon: Daemon) -> None:
    _peer, session = daemon.open(ALICE, connection=1)
    for peer in (Peer(ALICE, 1, 2), Peer(OLGA, 1, 1), Peer(PORTAL, 1, 1), Peer(ROOT, 1, 1)):
        assert refusal(daemon.say, peer, api.Touch(session=session.handle)).kind == "session"


def test_the_session_after_the_last_allowed_one_is_refused_until_one_ends(daemon: Daemon) -> None:
    opened = [daemon.open(ALICE, connection) for connection in (1, 2, 3)]
    refused = refusal(daemon.open, OLGA, 4)
    assert (refused.kind, refused.message) == (
        "session",
        "the limit of 3 concurrent sessions is reached; end another session first",
    )
    assert daemon.open(ROOT, 5)[1].user == "root"
    peer, session = opened[0]
    daemon.say(peer, api.CloseSession(session=session.handle))
    daemon.open(OLGA, 6)
    daemon.gate.disconnected(2)
    daemon.open(OLGA, 7)


def test_an_idle_session_ends_and_a_used_one_does_not(daemon: Daemon) -> None:
    peer, session = daemon.open(ALICE)
    daemon.ticks.now += 599
    daemon.say(peer, api.Show(session=session.handle, topic="hostname"))
    daemon.ticks.now += 599
    daemon.say(peer, api.Touch(session=session.handle))
    daemon.ticks.now += 600
    daemon.watch.tick()
    assert daemon.ledger.entries[-1].event == "session.idle"
    assert refusal(daemon.say, peer, api.Touch(session=session.handle)).kind == "session"


def test_what_the_portal_asks_by_itself_does_not_keep_a_session_alive(daemon: Daemon) -> None:
    portal = Peer(PORTAL, 1, 1)
    session = daemon.say(portal, api.Login(user="alice", password=PASSWORDS["alice"], source=""), api.Session)
    for _minute in range(14):
        daemon.ticks.now += 60
        daemon.say(portal, api.Show(session=session.handle, topic="hostname"))
    daemon.ticks.now += 60
    show = api.Show(session=session.handle, topic="hostname")
    assert refusal(daemon.say, portal, show).kind == "session"


def test_a_session_ends_when_its_account_goes_or_changes_its_role(daemon: Daemon) -> None:
    olga, albert = daemon.open(OLGA, 1), daemon.open(ALBERT, 2)
    peer, handle = privileged(daemon, ALICE, 3)
    daemon.say(peer, api.DeleteConfig(session=handle, path=("users", "accounts", "olga")))
    daemon.say(peer, api.SetConfig(session=handle, path=("users", "accounts", "albert", "role"), value="operator"))
    daemon.say(peer, api.Commit(session=handle))
    for other, session in (olga, albert):
        touch = api.Touch(session=session.handle)
        assert refusal(daemon.say, other, touch).kind == "session"
    daemon.say(peer, api.Touch(session=handle))


def test_a_changed_password_ends_the_sessions_of_that_account_but_for_the_one_that_changed_it(daemon: Daemon) -> None:
    """Whoever got in with the old one is out. A first password takes nobody's way in."""
    peer, handle = privileged(daemon, ALICE, 1)
    other, second = daemon.open(ALICE, 2)
    third, olga = daemon.open(OLGA, 3)

    def give(user: str, password: str) -> None:
        daemon.say(peer, api.SetPassword(session=handle, user=user, password=password))
        daemon.say(peer, api.Commit(session=handle))

    give("alice", "Alice-Secret-45678")
    daemon.say(other, api.Touch(session=second.handle))
    daemon.say(other, api.CloseSession(session=second.handle))
    daemon.say(peer, api.CloseSession(session=handle))
    peer, handle = privileged(daemon, ALICE, 1)
    other, second = daemon.open(ALICE, 4)
    daemon.clock.now += 86_400  # no password is changed twice on one day
    give("alice", "Alice-Secret-98765")
    daemon.say(peer, api.Touch(session=handle))
    assert refusal(daemon.say, other, api.Touch(session=second.handle)).kind == "session"
    daemon.say(third, api.Touch(session=olga.handle))


def test_a_removed_key_ends_sessions_and_an_added_one_does_not() -> None:
    held = sessions.Sessions()
    bounds = sessions.Bounds(600, 900, 5)
    keys = frozenset({"key one", "key two"})
    one = held.open("alice", "administrator", "cli", Peer(1, 1, 1), source="", bounds=bounds, credentials=keys)
    held.follow({"alice": "administrator"}, {"alice": keys | {"key three"}})
    assert held.all() == (one,)
    held.follow({"alice": "administrator"}, {"alice": frozenset({"key two", "key three"})})
    assert held.all() == ()


def test_the_last_log_in_is_told(daemon: Daemon) -> None:
    assert daemon.open(ALICE, 1)[1].last_login == ""
    daemon.clock.now += 60
    assert daemon.open(ALICE, 2)[1].last_login == "2027-01-15T08:00:00Z from 192.0.2.7"


def test_a_stranger_elsewhere_locks_nobody_out(daemon: Daemon) -> None:
    portal = Peer(PORTAL, 1, 1)
    for _ in range(3):
        refusal(daemon.say, portal, api.Login(user="alice", password="wrong", source="203.0.113.5"))
    right = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.7")
    assert daemon.say(portal, right, api.Session).user == "alice"
    locks = [(one.event, one.user, one.source) for one in daemon.ledger.entries if one.result == "locked"]
    assert locks == [("login.locked", "alice", "203.0.113.5")]


def test_a_log_in_that_cannot_be_remembered_is_one(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr(daemon.store, "set_last_login", full)
    assert daemon.open(ALICE)[1].user == "alice"


def test_one_account_does_not_take_all_sessions_of_the_portal(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PORTAL_SESSIONS_OF_ONE", 2)
    login = api.Login(user="alice", password=PASSWORDS["alice"], source="")
    for _ in range(2):
        daemon.say(Peer(PORTAL, 1, 1), login)
    assert refusal(daemon.say, Peer(PORTAL, 1, 1), login).message == "the limit of 2 sessions of one account is reached"
