"""Who gets a session, what it may do, and what is written down."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from appliance.config.schema import Schema
from appliance.config.store import StoreError
from appliance.configd import api, lockout, passwords, roles, sessions
from appliance.configd.attempts import NAMES
from appliance.configd.client import Refused
from appliance.configd.gate import SESSIONLESS
from appliance.configd.sessions import Peer
from appliance.portal.facts import SECTIONS
from sentry_runtime import control
from sentry_runtime.control import (
    AssignPolicy,
    CancelWipe,
    ClearRedirects,
    ControlError,
    Explain,
    ExplainedStep,
    Explanation,
    Flag,
    OrderWipe,
)
from sentry_runtime.devices.record import Reason, Wipe, WipeKind, WipeMark
from tests.unit.appliance.workbench import (
    ACCOUNTS,
    ALBERT,
    ALICE,
    OLGA,
    PASSWORDS,
    PORTAL,
    ROOT,
    STRANGER,
    Daemon,
)

ENABLE = "Enable-Secret-12345"
TREE: dict[str, Any] = {
    "name": "box",
    "users": {"accounts": ACCOUNTS},
    "cli": {"idle_minutes": 10, "enable_secret_hash": passwords.hashed(ENABLE)},
    "ssh": {"max_sessions": 3},
}


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    made = Daemon(tmp_path)
    made.commit(TREE)
    return made


def refusal(call: Callable[..., object], *arguments: object) -> api.Refusal:
    with pytest.raises(Refused) as refused:
        call(*arguments)
    return refused.value.refusal


def privileged(daemon: Daemon, uid: int = ALICE, connection: int = 1) -> tuple[Peer, str]:
    peer, session = daemon.open(uid, connection)
    daemon.say(peer, api.Enable(session=session.handle, secret=ENABLE))
    return peer, session.handle


# --- who gets a session ------------------------------------------------------------------------------------------


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


# --- who would lock themselves out -------------------------------------------------------------------------------

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


@pytest.mark.parametrize("step", ["²", "9" * 5_000, "-1", "0x1"])
def test_an_index_that_is_none_is_invalid(daemon: Daemon, step: str) -> None:
    peer, handle = privileged(daemon)
    for verb in (
        api.SetConfig(session=handle, path=("web", "words", step), value="a"),
        api.DeleteConfig(session=handle, path=("web", "words", step)),
        api.SetConfig(session=handle, path=("web", "port"), value=step),
        api.SetConfig(session=handle, path=("web", "port"), value=f"-{step}"),
    ):
        assert refusal(daemon.say, peer, verb).kind == "invalid"


def test_the_last_log_in_is_told(daemon: Daemon) -> None:
    assert daemon.open(ALICE, 1)[1].last_login == ""
    daemon.clock.now += 60
    assert daemon.open(ALICE, 2)[1].last_login == "2027-01-15T08:00:00Z from 192.0.2.7"


# --- enable ------------------------------------------------------------------------------------------------------


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


def test_a_stranger_elsewhere_locks_nobody_out(daemon: Daemon) -> None:
    portal = Peer(PORTAL, 1, 1)
    for _ in range(3):
        refusal(daemon.say, portal, api.Login(user="alice", password="wrong", source="203.0.113.5"))
    right = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.7")
    assert daemon.say(portal, right, api.Session).user == "alice"
    locks = [(one.event, one.user, one.source) for one in daemon.ledger.entries if one.result == "locked"]
    assert locks == [("login.locked", "alice", "203.0.113.5")]


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


# --- roles -------------------------------------------------------------------------------------------------------

SESSION_VERBS = [verb for verb in get_args(api.Verb) if verb not in SESSIONLESS]
READERS = {
    api.CompareRevisions,
    api.SearchDevices,
    api.ReadSoftware,
    api.Enable,
    api.Disable,
    api.Touch,
    api.CloseSession,
    api.GetConfig,
    api.ReadConfig,
    api.ReadMetrics,
    api.ListRevisions,
    api.Show,
    api.Explain,
}
OPERATORS = READERS | {
    api.ControlService,
    api.Maintain,
    api.PurgeRevocation,
    api.PersistDevices,
    api.CheckIn,
    api.DeviceAction,
    api.DevicePolicy,
    api.FlagDevice,
    api.ClearRedirects,
    api.SendTestAlert,
    api.Ping,
    api.Lookup,
    api.Trace,
    api.ClearNeighbours,
    api.FindDevice,
}
UNPRIVILEGED = {api.Enable, api.Disable, api.Touch, api.CloseSession, api.Show, api.Ping, api.Lookup, api.Explain}
AUDITED = {
    api.ReadFact,
    api.StartScan,
    api.ReadReport,
}  # an assessor's: of auditors and administrators, and of no operator
UNPRIVILEGED |= {api.Trace, api.SearchDevices, api.ReadSoftware, *AUDITED}
THE_PORTALS: set[type] = {api.Reauthenticate, api.ReauthenticateCertificate, api.SetOwnPassword, api.FollowLog}


def test_every_verb_of_a_session_is_in_the_table_and_nothing_else_is() -> None:
    assert set(roles.RULES) == set(SESSION_VERBS)
    assert len(SESSION_VERBS) == 68


def test_every_verb_is_implemented(daemon: Daemon) -> None:
    assert set(daemon.actions.table) | set(daemon.gate._own) == set(SESSION_VERBS)


@pytest.mark.parametrize("verb", SESSION_VERBS, ids=lambda verb: verb.__struct_config__.tag)
def test_who_may_use_a_verb(verb: type) -> None:
    allowed = {
        (role, privileged)
        for role in roles.EVERYBODY
        for privileged in (True, False)
        if roles.refusal(verb, roles.Standing(role=role, privileged=privileged)) is None
    }
    may = (
        {"administrator"} | ({"operator"} if verb in OPERATORS else set()) | ({"auditor"} if verb in READERS else set())
    )
    if verb in AUDITED:
        may = {"administrator", "auditor"}
    if verb in THE_PORTALS | {api.LookAtHealth}:  # and the alert service's
        may = set()
    how = {True, False} if verb in UNPRIVILEGED else {True}
    assert allowed == {(role, privileged) for role in may for privileged in how}


def test_a_verb_that_is_in_no_table_is_refused() -> None:
    refused = roles.refusal(object, roles.Standing(role="administrator", privileged=True))
    assert refused is not None
    assert refused.kind == "permission"


NOT_PORTAL = {
    api.Enable,
    api.Disable,
    api.ReplaceConfig,
    api.SetClock,
    api.LookAtHealth,
    api.ReadConfig,
    api.MergeConfig,
    api.ReadMetrics,
    api.ExportBackup,
    api.RestoreBackup,
    api.ReadFact,
}
RISKY = {
    api.SetPassword,
    api.SetOwnPassword,
    api.SetEnableSecret,
    api.UploadCertificate,
    api.UploadPkcs12,
    api.RenewCertificate,
    api.EnrolSentry,
    api.UpdateSoftware,
    api.RollBackSoftware,
    api.RevokeToken,
    api.Power,
}
"""What the portal does only with a password that was given a moment ago, whatever it is about."""


PORTAL_ONLY = {api.Reauthenticate, api.FollowLog}


def served(**standing: Any) -> set[type]:
    where = roles.Standing(manner="portal", **standing)
    return {verb for verb in SESSION_VERBS if roles.refusal(verb, where) is None}


def test_at_the_portal_a_role_is_enough_for_what_is_not_risky() -> None:
    """Its sessions have no `enable`; and nothing that none of its pages asks for."""
    again: set[type] = THE_PORTALS - {api.SetOwnPassword}
    readers, operators = READERS | again | AUDITED, OPERATORS | again
    assert served(role="auditor") == readers - NOT_PORTAL
    assert served(role="operator") == operators - NOT_PORTAL
    assert served(role="administrator") == set(SESSION_VERBS) - NOT_PORTAL - RISKY


@pytest.mark.parametrize(("seconds", "fresh"), [(None, False), (0.0, True), (299.0, True), (300.0, False)])
def test_what_is_risky_asks_for_the_password_again(seconds: float | None, *, fresh: bool) -> None:
    """`enable` of another session is no substitute."""
    standing: dict[str, Any] = {"role": "administrator", "reauthenticated_seconds": seconds, "privileged": True}
    assert (served(**standing) >= RISKY) is fresh
    where = roles.Standing(manner="portal", **standing)
    for verb, about in roles.RISKY:
        refused = roles.refusal(verb, where, about=about)
        assert (refused is None) is fresh
        assert refused is None or refused.kind == "privilege"
    assert roles.refusal(api.Commit, where) is None
    assert roles.refusal(api.DeviceAction, where, about="block") is None


def portal_session(daemon: Daemon, user: str = "alice") -> tuple[Peer, str]:
    portal = Peer(PORTAL, 1, 1)
    login = api.Login(user=user, password=PASSWORDS[user], source="192.0.2.9")
    return portal, daemon.say(portal, login, api.Session).handle


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


def test_what_a_session_does_one_at_a_time_is_what_changes_something(daemon: Daemon) -> None:
    looks = {api.GetConfig, api.DiffConfig, api.ListRevisions, api.CompareRevisions, api.Show, api.Touch}
    assert not looks & roles.EDITS
    acts = {api.DeviceAction, api.ControlService, api.Maintain, api.StartCapture}
    assert {verb for verb, _about in roles.RISKY} - acts <= roles.EDITS


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


def test_two_revisions_are_compared(daemon: Daemon) -> None:
    portal, handle = portal_session(daemon)
    daemon.say(portal, api.SetConfig(session=handle, path=("web", "port"), value=9443))
    daemon.say(portal, api.Commit(session=handle))
    compare = api.CompareRevisions(session=handle, before=1, after=2)
    (change,) = daemon.say(portal, compare, tuple[api.Change, ...])
    assert (change.path, change.before, change.after) == (("web", "port"), 8443, 9443)
    assert refusal(daemon.say, portal, api.CompareRevisions(session=handle, before=1, after=9)).kind == "invalid"


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


def test_operators_restart_services_and_administrators_stop_them(daemon: Daemon) -> None:
    stop: dict[str, Any] = {"service": "gateway", "action": "stop"}
    peer, handle = privileged(daemon, OLGA, 1)
    assert refusal(daemon.say, peer, api.ControlService(session=handle, **stop)).message == (
        "the role operator may not do this; allowed: administrator"
    )
    peer, handle = privileged(daemon, ALICE, 2)
    daemon.say(peer, api.ControlService(session=handle, **stop), api.Facts)
    assert daemon.commands.acted()[-1] == "stop -- sentry-gateway.service"


def test_operators_quiesce_the_gateway_and_administrators_drain_it(daemon: Daemon) -> None:
    """Each is an order to the gateway; what it answers is its state."""
    orders: list[tuple[str, object]] = []

    def call(path: str, request: object, _type: object = None) -> object:
        orders.append((path, request))
        return {"state": "quiesced"} if isinstance(request, control.Status) else None

    daemon.actions._call = call
    peer, handle = privileged(daemon, OLGA, 1)
    done = daemon.say(peer, api.Maintain(session=handle, action="quiesce"), api.Facts)
    assert dict(done.facts) == {"state": "quiesced"}
    drain = api.Maintain(session=handle, action="drain")
    assert refusal(daemon.say, peer, drain).message == "the role operator may not do this; allowed: administrator"
    daemon.say(peer, api.Maintain(session=handle, action="resume"), api.Facts)
    peer, handle = privileged(daemon, ALICE, 2)
    daemon.say(peer, api.Maintain(session=handle, action="drain"), api.Facts)
    status = control.Status()
    sent = [control.Quiesce(), status, control.Resume(), status, control.Drain(), status]
    assert orders == [("/run/sentry-gateway/control.sock", one) for one in sent]


def test_a_purge_of_revocation_names_who_asked_for_it(daemon: Daemon) -> None:
    """The agent writes it down."""
    peer, handle = privileged(daemon, OLGA)
    daemon.say(peer, api.PurgeRevocation(session=handle))
    assert daemon.asked[-1] == ("/run/sentry-agent/agent.sock", control.PurgeRevocation(by="olga"))


def test_the_device_list_is_persisted_by_the_agent(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says how much it is."""
    orders: list[control.Request] = []

    def call(_socket: str, request: control.Request, _kind: object) -> control.Persisted:
        orders.append(request)
        return control.Persisted(devices=7, bytes=20_480)

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, handle = privileged(daemon, OLGA)
    facts = daemon.say(peer, api.PersistDevices(session=handle), api.Facts)
    assert facts.facts == (("devices", "7"), ("bytes on the disk", "20480"))
    assert orders == [control.Persist()]


@pytest.mark.parametrize("mode", ["embedded", "core", "epmm"])
def test_outside_of_mode_cloud_a_check_in_is_not_applicable(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """It is said, and nobody is asked."""
    tree = {**daemon.actions.candidates.running(), "uem": {"mode": mode}}
    monkeypatch.setattr(daemon.actions.candidates, "running", lambda: tree)
    peer, handle = privileged(daemon, OLGA)
    asked = list(daemon.asked)
    said = refusal(daemon.say, peer, api.CheckIn(session=handle))
    assert (said.kind, said.message.partition(":")[0]) == ("invalid", "not applicable")
    assert f"the UEM mode {mode}" in said.message
    assert daemon.asked == asked


def test_a_forced_check_in_says_what_came_of_it(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """In mode cloud, by the agent."""
    tree = {**daemon.actions.candidates.running(), "uem": {"mode": "cloud"}}
    monkeypatch.setattr(daemon.actions.candidates, "running", lambda: tree)
    orders: list[control.Request] = []

    def call(_socket: str, request: control.Request, _kind: object) -> control.CheckedIn:
        orders.append(request)
        return control.CheckedIn(compliance=1, actions=2, inventory=3)

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, handle = privileged(daemon, OLGA)
    facts = daemon.say(peer, api.CheckIn(session=handle), api.Facts)
    assert [value for _, value in facts.facts] == ["1", "2", "3"]
    assert orders == [control.CheckIn()]


def test_an_administrator_enrols_the_gateway_and_has_it_renewed(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes to the agent and nowhere else; what is none does not even get there, and is not repeated."""
    orders: list[control.Request] = []

    def call(_socket: str, request: control.Request, _kind: object = None) -> dict[str, str]:
        orders.append(request)
        return {"enrolment": "enrolled as edge"}

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, handle = privileged(daemon)
    facts = daemon.say(peer, api.EnrolSentry(session=handle, token="t" * 43), api.Facts)
    assert facts.facts == (("enrolment", "enrolled as edge"),)
    daemon.say(peer, api.EnrolSentry(session=handle), api.Facts)
    asked = [one for one in orders if not isinstance(one, control.Status)]
    assert asked == [control.Enrol(token="t" * 43, by="alice"), control.RenewEnrolment()]
    refused = refusal(daemon.say, peer, api.EnrolSentry(session=handle, token="half a token"))
    assert (refused.kind, "half" in refused.message) == ("invalid", False)
    assert len(orders) == 4


def test_the_uems_word_on_a_token_reaches_the_administrator(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was said."""

    def call(_socket: str, _request: control.Request, _kind: object = None) -> None:
        raise control.ControlError("unavailable: the UEM answered 403: not enrolled", "unavailable")

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, handle = privileged(daemon)
    refused = refusal(daemon.say, peer, api.EnrolSentry(session=handle, token="t" * 43))
    assert (refused.kind, refused.message) == ("invalid", "the UEM answered 403: not enrolled")


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


def test_an_operator_with_privilege_still_cannot_edit(daemon: Daemon) -> None:
    peer, handle = privileged(daemon, OLGA)
    refused = refusal(daemon.say, peer, api.SetConfig(session=handle, path=("name",), value="evil"))
    assert (refused.kind, refused.message) == (
        "permission",
        "the role operator may not do this; allowed: administrator",
    )


def test_who_is_here_is_told_to_the_privileged_only(daemon: Daemon) -> None:
    peer, session = daemon.open(ALBERT)
    assert refusal(daemon.say, peer, api.Show(session=session.handle, topic="sessions")).kind == "privilege"


# --- editing -----------------------------------------------------------------------------------------------------


def test_an_edit_is_seen_in_the_candidate_and_runs_after_the_commit(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.SetConfig(session=handle, path=("web", "port"), value="9443"))
    assert daemon.say(peer, api.GetConfig(session=handle, view="candidate", path=("web", "port"))) == 9443
    assert daemon.say(peer, api.GetConfig(session=handle, path=("web", "port"))) == 8443
    changes = daemon.say(peer, api.DiffConfig(session=handle), tuple[api.Change, ...])
    assert changes == (api.Change(path=("web", "port"), before=8443, after=9443),)
    done = daemon.say(peer, api.Commit(session=handle, comment="port"), api.Committed)
    assert (done.changed, done.revision, done.changes) == (True, 2, changes)
    assert daemon.say(peer, api.DiffConfig(session=handle), tuple[api.Change, ...]) == ()
    assert daemon.say(peer, api.ListRevisions(session=handle), tuple[api.Revision, ...])[0].user == "alice"


def test_a_wrong_value_is_refused_at_once_and_the_candidate_stays(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    refused = refusal(daemon.say, peer, api.SetConfig(session=handle, path=("web", "port"), value="many"))
    assert refused.kind == "invalid"
    assert refused.problems == ("web.port: found 'many'; allowed: a whole number from 1 to 65535",)
    assert daemon.say(peer, api.DiffConfig(session=handle), tuple[api.Change, ...]) == ()


def test_the_second_of_two_sessions_that_edit_at_once_is_told(daemon: Daemon) -> None:
    first, second = privileged(daemon, ALICE, 1), privileged(daemon, ALICE, 2)
    for number, (peer, handle) in enumerate((first, second)):
        daemon.say(peer, api.SetConfig(session=handle, path=("web", "port"), value=7000 + number))
    daemon.say(first[0], api.Commit(session=first[1]))
    refused = refusal(daemon.say, second[0], api.Commit(session=second[1]))
    assert (refused.kind, "changed meanwhile by alice (revision 2)" in refused.message) == ("conflict", True)
    daemon.say(second[0], api.Discard(session=second[1]))
    assert daemon.say(second[0], api.GetConfig(session=second[1], view="candidate"))["web"]["port"] == 7000


def test_secrets_go_in_and_never_come_out(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.SetConfig(session=handle, path=("web", "token"), value="hunter22"))
    daemon.say(peer, api.Commit(session=handle))
    seen = [
        daemon.gate.answer(peer, msgspec.json.encode(verb)).line
        for verb in (
            api.GetConfig(session=handle),
            api.GetConfig(session=handle, view="candidate", path=("web", "token")),
            api.DiffConfig(session=handle),
            api.Rollback(session=handle, revision=1),
        )
    ]
    assert not any(b"hunter22" in answer or b"secret:" in answer or b"$6$" in answer for answer in seen)
    assert b"********" in seen[0]
    assert not any("hunter22" in str(entry) for entry in daemon.ledger.entries)


def test_the_mask_sent_back_leaves_a_secret_as_it_is(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.SetConfig(session=handle, path=("web", "token"), value="hunter22"))
    daemon.say(peer, api.Commit(session=handle))
    tree = daemon.say(peer, api.GetConfig(session=handle))
    daemon.say(peer, api.ReplaceConfig(session=handle, tree={**tree, "name": "other"}))
    changes = daemon.say(peer, api.DiffConfig(session=handle), tuple[api.Change, ...])
    assert changes == (api.Change(path=("name",), before="box", after="other"),)


def test_a_password_is_judged_hashed_and_put_into_the_candidate(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    refused = refusal(daemon.say, peer, api.SetPassword(session=handle, user="olga", password="short"))
    assert (refused.kind, refused.message) == ("invalid", "The password is shorter than 15 characters")
    daemon.say(peer, api.SetPassword(session=handle, user="olga", password="Olga-Secret-123456"))
    daemon.say(peer, api.Commit(session=handle))
    held = daemon.vault.reveal(daemon.running()["users"]["accounts"]["olga"]["password_hash"])
    assert passwords.verify("Olga-Secret-123456", held)
    assert [argv for argv in daemon.commands.log if argv[0] == "pwscore"] == [["pwscore", "olga"]] * 2


def test_a_password_for_nobody_is_refused(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    refused = refusal(daemon.say, peer, api.SetPassword(session=handle, user="eve", password="x" * 20))
    assert refused.message == "found no account 'eve'; allowed: albert, alice, olga"


def test_a_new_enable_secret_counts_after_the_commit(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.SetEnableSecret(session=handle, secret="Another-Secret-12345"))
    daemon.say(peer, api.Commit(session=handle))
    daemon.say(peer, api.Disable(session=handle))
    assert refusal(daemon.say, peer, api.Enable(session=handle, secret=ENABLE)).kind == "authentication"
    assert daemon.say(peer, api.Enable(session=handle, secret="Another-Secret-12345"), api.Session).privileged


# --- unconfirmed commits -----------------------------------------------------------------------------------------


def test_a_commit_nobody_confirmed_goes_back_and_every_session_is_told(daemon: Daemon) -> None:
    witness, session = daemon.open(ALBERT, 2)
    peer, handle = privileged(daemon, ALICE, 1)
    daemon.say(peer, api.SetConfig(session=handle, path=("name",), value="trial"))
    daemon.say(peer, api.Commit(session=handle, confirm_minutes=5))
    told = daemon.say(witness, api.Touch(session=session.handle), api.Session).notices
    assert told == ("revision 2 by alice returns to the one before at 2027-01-15T08:05:00Z unless confirmed",)
    daemon.clock.now += 299
    daemon.watch.tick()
    assert daemon.running()["name"] == "trial"
    daemon.clock.now += 1
    daemon.watch.tick()
    assert daemon.running()["name"] == "box"
    assert daemon.text("/etc/name") == "box\n"
    notice = "revision 2 was not confirmed in time: revision 1 is running again"
    assert daemon.say(witness, api.Touch(session=session.handle), api.Session).notices == (notice,)
    assert daemon.say(witness, api.Touch(session=session.handle), api.Session).notices == ()
    assert notice in daemon.open(OLGA, 3)[1].notices
    assert [(one.user, one.detail) for one in daemon.ledger.entries if one.event == "config.returned"] == [
        ("configd", notice)
    ]


def test_a_confirmed_commit_stays(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.SetConfig(session=handle, path=("name",), value="trial"))
    daemon.say(peer, api.Commit(session=handle, confirm_minutes=5))
    daemon.say(peer, api.Confirm(session=handle))
    daemon.clock.now += 301
    daemon.watch.tick()
    assert daemon.running()["name"] == "trial"


def test_a_return_that_fails_is_said_and_tried_again_a_minute_later(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.SetConfig(session=handle, path=("web", "port"), value="9443"))
    daemon.say(peer, api.Commit(session=handle, confirm_minutes=1))
    daemon.clock.now += 61
    daemon.commands.dies_after = {"web.service"}
    daemon.watch.tick()
    assert daemon.running()["web"]["port"] == 9443
    assert "could not be brought back" in daemon.say(peer, api.Touch(session=handle), api.Session).notices[-1]
    daemon.commands.dies_after = set()
    daemon.watch.tick()
    assert daemon.running()["web"]["port"] == 9443
    daemon.ticks.now += 60
    daemon.watch.tick()
    assert daemon.running()["web"]["port"] == 8443


# --- actions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["-f", "a b", "$(reboot)", "a;b", "", "a" * 254, "host\n", "../x", "a|b", "%s"])
def test_a_host_that_is_no_name_or_address_starts_nothing(daemon: Daemon, host: str) -> None:
    peer, session = daemon.open(ALICE)
    daemon.commands.log.clear()
    for verb in (api.Ping, api.Lookup, api.Trace):
        assert refusal(daemon.say, peer, verb(session=session.handle, host=host)).kind == "invalid"
    assert daemon.commands.log == []


def test_services_are_controlled_by_their_own_names(daemon: Daemon) -> None:
    peer, handle = privileged(daemon, OLGA)
    daemon.commands.log.clear()
    done = daemon.say(peer, api.ControlService(session=handle, service="gateway", action="restart"), api.Facts)
    assert daemon.commands.acted() == ["restart -- sentry-gateway.service"]
    assert dict(done.facts)["state"] == "active"


@pytest.mark.parametrize("principal", ["Bob@Lab.test", "CORP\\Bob"])
def test_a_device_action_reaches_the_uem_as_typed_with_who_asked_for_it(daemon: Daemon, principal: str) -> None:
    peer, handle = privileged(daemon, OLGA)
    daemon.say(peer, api.DeviceAction(session=handle, action="block", device_id="ABC123", principal=principal))
    path, request = daemon.asked[-1]
    assert path == "/run/sentry-uem/admin.sock"
    assert (request.device_id, request.principal, request.state, request.note, request.by) == (
        "ABC123",
        principal,
        "blocked",
        "by olga",
        "olga",
    )


@pytest.mark.parametrize(
    ("kind", "then"), [("invalid", "invalid"), ("unknown", "invalid"), ("unavailable", "unavailable")]
)
def test_what_the_uem_says_against_a_device_action_is_the_refusal(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, kind: str, then: str
) -> None:
    def refuse(*_: object) -> None:
        raise ControlError(f"{kind}: found 'b c'", kind)

    monkeypatch.setattr(daemon.actions, "_call", refuse)
    peer, handle = privileged(daemon, OLGA)
    said = refusal(
        daemon.say, peer, api.DeviceAction(session=handle, action="register", device_id="A", principal="b c")
    )
    assert said.kind == then
    assert "found 'b c'" in said.message


def test_a_device_of_another_vendors_uem_is_managed_there(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    peer, handle = privileged(daemon, OLGA)
    tree = {**daemon.actions.candidates.running(), "uem": {"mode": "epmm"}}
    monkeypatch.setattr(daemon.actions.candidates, "running", lambda: tree)
    for action in ("allow", "wipe", "cancel-wipe"):
        asked = api.DeviceAction(session=handle, action=action, device_id="A", principal="bob")
        said = refusal(daemon.say, peer, asked)
        assert (said.kind, "found the UEM mode epmm" in said.message) == ("invalid", True)
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("device", "principal", "note"), [("../x", "bob", ""), ("A", "", ""), ("A", "b\tc", ""), ("A", "bob", "a\nb")]
)
def test_a_malformed_device_action_is_refused(daemon: Daemon, device: str, principal: str, note: str) -> None:
    peer, handle = privileged(daemon, OLGA)
    action = api.DeviceAction(session=handle, action="allow", device_id=device, principal=principal, note=note)
    assert refusal(daemon.say, peer, action).kind == "invalid"
    assert daemon.asked == []


def test_redirections_are_cleared_in_the_gateway_one_or_all(daemon: Daemon) -> None:
    peer, handle = privileged(daemon, OLGA)
    for device, principal, about in (("PHONE1", "LAB\\anna", "PHONE1 LAB\\anna"), ("", "", "all")):
        asked = api.ClearRedirects(session=handle, device_id=device, principal=principal)
        assert daemon.say(peer, asked) == 0
        path, request = daemon.asked[-1]
        assert (path, request) == (
            "/run/sentry-gateway/control.sock",
            ClearRedirects(device_id=device, principal=principal),
        )
        assert (daemon.ledger.entries[-1].event, daemon.ledger.entries[-1].path) == ("redirects.clear", about)


@pytest.mark.parametrize(("device", "principal"), [("A", ""), ("", "bob"), ("../x", "bob"), ("A", "b\tc")])
def test_half_a_device_clears_nothing(daemon: Daemon, device: str, principal: str) -> None:
    peer, handle = privileged(daemon, OLGA)
    action = api.ClearRedirects(session=handle, device_id=device, principal=principal)
    assert refusal(daemon.say, peer, action).kind == "invalid"
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [
        ("wipe", WipeKind.DEVICE, "the device is refused until it is removed or the wipe is cancelled"),
        ("wipe-account", WipeKind.ACCOUNT, "from 16.1 on: a device that comes with an older version is blocked"),
    ],
)
def test_a_wipe_is_ordered_at_the_uem_and_said_in_words(
    daemon: Daemon, action: Any, kind: WipeKind, words: str
) -> None:
    peer, handle = privileged(daemon, OLGA)
    order = api.DeviceAction(session=handle, action=action, device_id="ABC123", principal="bob@lab.test", note="lost")
    said = daemon.say(peer, order, str)
    assert words in said
    assert daemon.asked[-1] == (
        "/run/sentry-uem/admin.sock",
        OrderWipe(device_id="ABC123", principal="bob@lab.test", kind=kind, note="lost", by="olga"),
    )
    line = daemon.ledger.entries[-1]
    assert (line.event, line.user, line.path) == ("device.action", "olga", f"{action} ABC123 bob@lab.test")


@pytest.mark.parametrize(
    ("marks", "words"),
    [((), "It had not been handed out."), ((WipeMark.HANDED_OUT,), "the device may wipe itself all the same")],
)
def test_a_cancelled_wipe_says_whether_it_may_happen_all_the_same(
    daemon: Daemon, marks: tuple[WipeMark, ...], words: str
) -> None:
    peer, handle = privileged(daemon, OLGA)
    daemon.told[CancelWipe] = Wipe(kind=WipeKind.DEVICE, order=3, marks=marks)
    cancel = api.DeviceAction(session=handle, action="cancel-wipe", device_id="ABC123", principal="bob@lab.test")
    assert words in daemon.say(peer, cancel, str)
    assert daemon.asked[-1][1] == CancelWipe(device_id="ABC123", principal="bob@lab.test", by="olga")


def test_a_wipe_needs_privilege_and_an_operator(daemon: Daemon) -> None:
    order = {"action": "wipe", "device_id": "ABC123", "principal": "bob@lab.test"}
    peer, session = daemon.open(OLGA)
    assert refusal(daemon.say, peer, api.DeviceAction(session=session.handle, **order)).kind == "privilege"  # type: ignore[arg-type]
    assert daemon.asked == []


@pytest.mark.parametrize("holds", [True, False])
def test_what_is_wrong_with_a_device_reaches_the_uem_with_who_said_so(daemon: Daemon, holds: bool) -> None:  # noqa: FBT001 - a table
    peer, handle = privileged(daemon, OLGA)
    verb = api.FlagDevice(session=handle, cause="compromised", holds=holds, device_id="ABC123", principal="CORP\\Bob")
    daemon.say(peer, verb)
    assert daemon.asked[-1] == (
        "/run/sentry-uem/admin.sock",
        Flag(device_id="ABC123", principal="CORP\\Bob", cause=Reason.COMPROMISED, holds=holds, by="olga"),
    )
    bad = api.FlagDevice(session=handle, cause="policy", holds=holds, device_id="../x", principal="bob")
    assert refusal(daemon.say, peer, bad).kind == "invalid"


EXPLAINED = Explanation(
    device_id="PHONE1",
    principal="bob",
    action="block",
    reasons=("unregistered",),
    softened=(),
    decided_by="blocked",
    rule="",
    answer="HTTP 403",
    steps=(ExplainedStep(row="blocked", asks="nothing lets it pass", saw="blocked, unregistered", applies=True),),
    notes=(),
)


def test_a_device_is_explained_by_the_gateway_with_the_names_as_typed(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which form of a name is the one is for the gateway to say; anybody with a session may ask."""
    asked: list[tuple[str, Any]] = []

    def call(path: str, request: Any, _kind: Any) -> Explanation:
        asked.append((path, request))
        return EXPLAINED

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, session = daemon.open(ALICE)
    verb = api.Explain(session=session.handle, device_id="phone1", principal="CORP\\Bob", source="192.0.2.1")
    assert daemon.say(peer, verb, Explanation) == EXPLAINED
    assert asked == [
        ("/run/sentry-gateway/control.sock", Explain(device_id="phone1", principal="CORP\\Bob", source="192.0.2.1"))
    ]


@pytest.mark.parametrize(("kind", "then"), [("invalid", "invalid"), ("", "unavailable")])
def test_what_the_gateway_says_against_an_explanation_is_the_refusal(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, kind: str, then: str
) -> None:
    """A name that is none, or a gateway that does not run."""

    def refuse(*_: object) -> None:
        raise ControlError(f"{kind or 'control.sock'}: no such thing", kind)

    monkeypatch.setattr(daemon.actions, "_call", refuse)
    peer, session = daemon.open(ALICE)
    said = refusal(daemon.say, peer, api.Explain(session=session.handle, device_id="A", principal="b"))
    assert (said.kind, "no such thing" in said.message) == (then, True)


@pytest.mark.parametrize("names", [{"device_id": "A\tB"}, {"principal": "b" * 321}, {"source": "x\n"}])
def test_a_malformed_question_does_not_reach_the_gateway(daemon: Daemon, names: dict[str, Any]) -> None:
    """Control characters and lines without end."""
    peer, session = daemon.open(ALICE)
    verb = api.Explain(session=session.handle, **{"device_id": "A", "principal": "b", **names})
    assert refusal(daemon.say, peer, verb).kind == "invalid"
    assert daemon.asked == []


@pytest.mark.parametrize("policy", ["strict", None])
def test_a_policy_is_assigned_and_taken_back_at_the_uem_with_who_asked_for_it(
    daemon: Daemon, policy: str | None
) -> None:
    peer, handle = privileged(daemon, OLGA)
    daemon.say(peer, api.DevicePolicy(session=handle, device_id="ABC123", principal="CORP\\Bob", policy=policy))
    path, request = daemon.asked[-1]
    assert path == "/run/sentry-uem/admin.sock"
    assert request == AssignPolicy(device_id="ABC123", principal="CORP\\Bob", policy=policy, by="olga")
    assert daemon.ledger.entries[-1].path == f"{policy or '(default)'} ABC123 CORP\\Bob"


@pytest.mark.parametrize(
    ("device", "principal", "policy"),
    [("../x", "bob", "a"), ("A", "", "a"), ("A", "bob", "a\nb"), ("A", "bob", "a" * 33)],
)
def test_a_malformed_assignment_is_refused(daemon: Daemon, device: str, principal: str, policy: str) -> None:
    peer, handle = privileged(daemon, OLGA)
    verb = api.DevicePolicy(session=handle, device_id=device, principal=principal, policy=policy)
    assert refusal(daemon.say, peer, verb).kind == "invalid"
    assert daemon.asked == []


def test_power_asks_systemd_and_does_not_wait(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.Power(session=handle, action="reload"))
    assert daemon.commands.log[-1] == ["systemctl", "--no-block", "reboot"]


# --- messages and audit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'{"verb":"nope"}', b'{"verb":"session.touch"}', b'{"verb":"session.open","uid":0}']
)
def test_what_is_no_message_is_refused_and_audited(daemon: Daemon, line: bytes) -> None:
    reply = msgspec.json.decode(daemon.gate.answer(Peer(STRANGER, 7, 1), line).line, type=api.Reply)
    assert reply.refusal is not None
    assert reply.refusal.kind == "invalid"
    assert (daemon.ledger.entries[-1].event, daemon.ledger.entries[-1].user) == ("malformed", "mallory")


def test_every_verb_leaves_one_line_of_audit_with_who_where_and_what(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.ledger.entries.clear()
    daemon.say(peer, api.SetConfig(session=handle, path=("web", "port"), value=9443))
    daemon.say(peer, api.Commit(session=handle, comment="why"))
    daemon.say(peer, api.Show(session=handle, topic="hostname"))
    daemon.say(peer, api.Touch(session=handle))
    daemon.say(peer, api.CloseSession(session=handle))
    assert [(one.event, one.user, one.role, one.source, one.path, one.result) for one in daemon.ledger.entries] == [
        ("config.set", "alice", "administrator", "192.0.2.7 pid 1", "web.port", "ok"),
        ("config.commit", "alice", "administrator", "192.0.2.7 pid 1", "why", "ok"),
        ("state.show", "alice", "administrator", "192.0.2.7 pid 1", "hostname", "ok"),
        ("session.close", "alice", "administrator", "192.0.2.7 pid 1", "", "ok"),
    ]


def test_an_error_nobody_foresaw_is_a_refusal_and_configd_goes_on(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer, handle = privileged(daemon)

    def explode(_verb: Any, _held: Any) -> None:
        raise ZeroDivisionError("private words")

    monkeypatch.setitem(daemon.actions.table, api.Show, explode)
    refused = refusal(daemon.say, peer, api.Show(session=handle, topic="hostname"))
    assert (refused.kind, "private words" in refused.message) == ("unavailable", False)
    assert "private words" in caplog.text
    assert daemon.say(peer, api.GetConfig(session=handle, path=("name",))) == "box"
