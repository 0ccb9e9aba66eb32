"""How old passwords are, and accounts unused: remembered beside the revisions, and what follows for sessions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.store import Ages, Kept, LastLogin, Use
from appliance.configd import ages, api, passwords
from appliance.configd.ages import DAY, Past, brought, locked, password_seconds, warning
from appliance.configd.sessions import Peer
from tests.unit.appliance.configd.people import portal_session, refusal
from tests.unit.appliance.workbench import ALICE, FEATURES, OLGA, PASSWORDS, PORTAL, USERS, Daemon

T = 1_800_000_000.0
NEW = "Another-Secret-12345"


def tree(days: int = 60, **held: str) -> dict[str, Any]:
    """A configuration with these accounts' passwords (references)."""
    accounts = {
        name: {"role": "administrator", **({"password_hash": one} if one else {})} for name, one in held.items()
    }
    return {"users": {"accounts": accounts, "password_policy": {"lifetime_days": days}}}


def revision(when: str, **held: str) -> Kept:
    return Kept(number=1, when=when, user="x", comment="", tree=tree(60, **held), files=())


def past(*kept: Kept, **log_ins: str) -> Past:
    """What else the store knows: these revisions, and when each account logged in last."""
    last = {user: LastLogin(when=when, source="") for user, when in log_ins.items()}
    return Past(lambda: kept, lambda: last)


# --- what is remembered ----------------------------------------------------------------------------------------------


def test_a_password_is_known_from_the_kept_revisions_or_from_now_on() -> None:
    kept = revision("2027-01-02T00:00:00Z", ada="a"), revision("2027-01-01T00:00:00Z", ada="a")
    known = brought(Ages(), tree(ada="a", zoe="z"), past(*kept), T)
    assert known.passwords == {"a": 1_798_761_600.0, "z": T}


def test_what_is_known_outlives_the_revisions_and_a_rollback_brings_its_age_back() -> None:
    known = brought(Ages(passwords={"a": T, "b": T + DAY}), tree(ada="a"), past(), T + 40 * DAY)
    assert known.passwords == {"a": T, "b": T + DAY}
    assert brought(known, tree(ada="a"), past(), T + 41 * DAY) is known
    changed = brought(known, tree(ada="c"), past(revision("2027-01-01T00:00:00Z", ada="a")), T + 41 * DAY)
    assert changed.passwords == {"a": T, "c": T + 41 * DAY}  # b is in no revision any more
    assert brought(changed, tree(ada="a"), past(), T + 50 * DAY).passwords["a"] == T


def test_while_the_clock_is_behind_nothing_ends_and_nothing_is_forgotten() -> None:
    """A machine without a clock of its own starts years ago, until a time server has set it."""
    whole = {**tree(ada="a")}
    known = brought(Ages(passwords={"a": T}), whole, past(ada="2027-01-01T00:00:00Z"), T)
    behind = brought(known, whole, past(), T - 900 * DAY)
    assert behind is known
    assert password_seconds(behind, whole, "ada", T - 900 * DAY) == 60 * DAY
    assert locked(behind, accounts_of(35, ada="operator"), T - 900 * DAY) == frozenset()


@pytest.mark.parametrize(
    ("held", "days", "seconds"),
    [
        ({"ada": "a"}, 60, 10 * DAY),
        ({"ada": "a"}, 50, 0.0),
        ({"ada": "a"}, 0, None),
        ({"ada": ""}, 60, None),
        ({}, 60, None),
    ],
)
def test_for_how_long_a_password_may_stay(held: dict[str, str], days: int, seconds: float | None) -> None:
    assert password_seconds(Ages(passwords={"a": T}), tree(days, **held), "ada", T + 50 * DAY) == seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ()),
        (7 * DAY + 1, ()),
        (7 * DAY, ("your password ends in 7 days; set a new one before that",)),
        (1.5 * DAY, ("your password ends in a day; set a new one before that",)),
        (DAY / 2, ("your password ends in less than a day; set a new one before that",)),
        (0.0, ()),
    ],
)
def test_a_week_before_people_are_told(seconds: float | None, words: tuple[str, ...]) -> None:
    assert warning(seconds) == words


# --- accounts that nobody uses ---------------------------------------------------------------------------------------


def test_an_account_is_unused_since_its_last_log_in_or_since_it_is_known() -> None:
    known = brought(Ages(), tree(ada="a", zoe="z"), past(ada="2027-01-01T00:00:00Z"), T)
    assert (known.uses["ada"].unused, known.uses["ada"].logged_in) == (1_798_761_600.0, 1_798_761_600.0)
    assert (known.uses["zoe"].unused, known.uses["zoe"].logged_in) == (T, 0.0)


def test_a_new_way_in_is_as_good_as_a_log_in_and_an_account_that_is_gone_is_forgotten() -> None:
    known = brought(Ages(), tree(ada="a", zoe="z"), past(), T)
    later = brought(known, tree(ada="b", zoe="z"), past(), T + 40 * DAY)
    assert {user: use.unused for user, use in later.uses.items()} == {"ada": T + 40 * DAY, "zoe": T}
    assert brought(later, tree(ada="b"), past(), T + 40 * DAY).uses.keys() == {"ada"}


def accounts_of(days: int, **roles: str) -> dict[str, Any]:
    held = {user: {"role": role} for user, role in roles.items()}
    return {"users": {"accounts": held, "password_policy": {"inactive_days": days}}}


def used(unused: float, logged_in: float = 0.0) -> Use:
    return Use(ways="", unused=unused, logged_in=logged_in)


OLD = T - 35 * DAY


@pytest.mark.parametrize(
    ("days", "uses", "found"),
    [
        (35, {"ada": used(T, T), "olga": used(OLD, OLD), "vera": used(OLD + 1, OLD + 1)}, {"olga"}),
        (0, {"ada": used(T, T), "olga": used(OLD, OLD)}, set()),
        # nobody came for a year: the administrator who was here last may come again
        (35, {"ada": used(OLD - DAY, OLD - DAY), "zoe": used(OLD, OLD), "olga": used(OLD, OLD)}, {"ada", "olga"}),
        # an account that was made and never used takes nothing from the administrator who was really here
        (35, {"ada": used(OLD - DAY, OLD - DAY), "zoe": used(OLD)}, {"zoe"}),
        (35, {}, set()),
    ],
)
def test_which_accounts_are_locked(days: int, uses: dict[str, Use], found: set[str]) -> None:
    whole = accounts_of(days, ada="administrator", zoe="administrator", olga="operator", vera="auditor")
    assert locked(Ages(uses=uses), whole, T) == found


# --- through configd -------------------------------------------------------------------------------------------------

POLICY: dict[str, Any] = {
    "type": "dict",
    "default": {},
    "schema": {name: {"type": "integer"} for name in ("change_hours", "lifetime_days", "inactive_days")},
}


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """The small appliance, whose passwords live for 60 days: those of alice and albert; olga has none."""
    fields = {**USERS.schema["schema"], "password_policy": POLICY}
    users = replace(USERS, schema={"type": "dict", "schema": fields})
    made = Daemon(tmp_path, tuple(users if one is USERS else one for one in FEATURES))
    accounts = {
        "alice": {"role": "administrator", "password_hash": passwords.hashed(PASSWORDS["alice"])},
        "albert": {"role": "auditor", "password_hash": passwords.hashed(PASSWORDS["albert"])},
        "olga": {"role": "operator"},
    }
    made.commit({"name": "box", "users": {"accounts": accounts, "password_policy": {"lifetime_days": 60}}})
    return made


def later(daemon: Daemon, days: float) -> None:
    daemon.clock.now += days * DAY


def look(daemon: Daemon) -> None:
    """Have configd see what is new, as it does once a minute."""
    daemon.ticks.now += 61
    daemon.gate.tick()


def test_until_the_last_day_everything_is_served_and_then_a_new_password_alone(daemon: Daemon) -> None:
    later(daemon, 59.9)
    _, session = daemon.open(ALICE)
    assert not session.password_ended
    assert session.notices == ("your password ends in less than a day; set a new one before that",)
    later(daemon, 0.1)
    peer, session = daemon.open(ALICE, 2)
    assert (session.password_ended, session.notices) == (True, ())
    show = api.Show(session=session.handle, topic="timeout")
    assert "older than it may be" in refusal(daemon.say, peer, show).message
    mine = api.SetOwnPassword(session=session.handle, password=NEW, current=PASSWORDS["alice"])
    assert daemon.say(peer, mine, api.Committed).changed
    assert not daemon.say(peer, api.Touch(session=session.handle), api.Session).password_ended
    assert daemon.say(peer, show, api.Shown) is not None
    reference = daemon.running()["users"]["accounts"]["alice"]["password_hash"]
    assert passwords.verify(NEW, daemon.vault.reveal(reference))


def test_at_the_command_line_the_password_as_it_is_comes_with_the_new_one(daemon: Daemon) -> None:
    """A key alone gets nobody a password, and guesses are counted."""
    later(daemon, 61)
    peer, session = daemon.open(ALICE)
    for current in ("", "guess", "guess"):
        guess = api.SetOwnPassword(session=session.handle, password=NEW, current=current)
        assert refusal(daemon.say, peer, guess).kind == "authentication"
    mine = api.SetOwnPassword(session=session.handle, password=NEW, current=PASSWORDS["alice"])
    assert refusal(daemon.say, peer, mine).kind == "locked"
    assert not any("guess" in str(one) or PASSWORDS["alice"] in str(one) for one in daemon.ledger.entries)


def test_a_stranger_who_fails_at_the_portal_keeps_nobody_from_a_new_password(daemon: Daemon) -> None:
    later(daemon, 61)
    for number in range(30):
        login = api.Login(user="alice", password="guess", source=f"192.0.2.{number}")
        assert refusal(daemon.say, Peer(PORTAL, 1, 1), login).kind in ("authentication", "locked")
    peer, session = daemon.open(ALICE, 2)
    mine = api.SetOwnPassword(session=session.handle, password=NEW, current=PASSWORDS["alice"])
    assert daemon.say(peer, mine, api.Committed).changed


def test_a_rollback_brings_back_a_password_that_has_ended_and_a_new_one_may_be_set_at_once(daemon: Daemon) -> None:
    """By the revisions it is a moment old, and the policy lets nobody change one of today."""
    whole = daemon.running()
    later(daemon, 61)
    peer, session = daemon.open(ALICE)
    daemon.say(
        peer, api.SetOwnPassword(session=session.handle, password=NEW, current=PASSWORDS["alice"]), api.Committed
    )
    daemon.commit(whole)
    peer, session = daemon.open(ALICE, 2)
    assert session.password_ended
    mine = api.SetOwnPassword(session=session.handle, password="A-Third-Secret-678", current=PASSWORDS["alice"])
    assert daemon.say(peer, mine, api.Committed).changed
    again = api.SetOwnPassword(session=session.handle, password="A-Fourth-Secret-678", current="A-Third-Secret-678")
    assert "changed less than 24 h ago" in refusal(daemon.say, peer, again).message


def test_who_cannot_set_one_by_a_fault_of_the_machine_is_served_to_mend_it(daemon: Daemon) -> None:
    later(daemon, 61)
    peer, session = daemon.open(ALICE)
    show = api.Show(session=session.handle, topic="timeout")
    daemon.commands.failing = {"systemctl"}
    for password, kind in (("short", "invalid"), (NEW, "apply")):
        assert refusal(daemon.say, peer, show).kind == "permission"
        mine = api.SetOwnPassword(session=session.handle, password=password, current=PASSWORDS["alice"])
        assert refusal(daemon.say, peer, mine).kind == kind
    daemon.commands.failing = set()
    assert daemon.say(peer, show, api.Shown) is not None
    look(daemon)
    assert not daemon.say(peer, api.Touch(session=session.handle), api.Session).password_ended
    assert daemon.open(ALICE, 2)[1].password_ended
    assert [one.user for one in daemon.ledger.entries if one.event == "password.excused"] == ["alice"]


def test_a_session_that_is_open_when_the_password_ends_ends_with_it_unless_it_has_changes_in_hand(
    daemon: Daemon,
) -> None:
    peer, session = daemon.open(ALICE)
    busy, other = portal_session(daemon, "alice")
    daemon.say(busy, api.SetConfig(session=other, path=("web", "port"), value=9001))
    for _ in range(12):  # nobody is idle
        later(daemon, 5.1)
        daemon.say(peer, api.Touch(session=session.handle), api.Session)
        daemon.say(busy, api.Touch(session=other), api.Session)
        look(daemon)
    assert daemon.say(peer, api.Touch(session=session.handle), api.Session).password_ended
    assert not daemon.say(busy, api.Touch(session=other), api.Session).password_ended
    daemon.say(busy, api.Discard(session=other))
    look(daemon)
    assert daemon.say(busy, api.Touch(session=other), api.Session).password_ended


def test_at_the_portal_the_password_given_again_goes_before_it(daemon: Daemon) -> None:
    later(daemon, 61)
    portal, handle = portal_session(daemon, "albert")
    mine = api.SetOwnPassword(session=handle, password=NEW)
    assert refusal(daemon.say, portal, mine).kind == "privilege"
    assert refusal(daemon.say, portal, api.Show(session=handle, topic="timeout")).kind == "permission"
    daemon.say(portal, api.Reauthenticate(session=handle, password=PASSWORDS["albert"]))
    assert daemon.say(portal, mine, api.Committed).changed
    assert not daemon.say(portal, api.Touch(session=handle), api.Session).password_ended


def test_who_has_no_password_and_automation_have_none_that_ends(daemon: Daemon) -> None:
    later(daemon, 400)
    for uid in (1002, 0):
        peer, session = daemon.open(uid)
        assert not session.password_ended
        assert daemon.say(peer, api.Show(session=session.handle, topic="timeout"), api.Shown) is not None
    automation = api.SetOwnPassword(session=session.handle, password=NEW, current="any")
    assert "no account of the configuration" in refusal(daemon.say, peer, automation).message


def test_the_age_outlives_configd_and_more_commits_than_are_kept(daemon: Daemon) -> None:
    daemon.open(ALICE)
    whole = daemon.running()
    for number in range(52):
        later(daemon, 1)
        daemon.commit({**whole, "web": {**whole["web"], "port": 9000 + number}})
    daemon.restart()
    assert len(daemon.store.numbers()) == 50
    later(daemon, 7.9)
    assert not daemon.open(ALICE, 2)[1].password_ended
    later(daemon, 0.2)
    assert daemon.open(ALICE, 3)[1].password_ended


def test_a_password_that_nobody_uses_is_seen_within_a_minute(daemon: Daemon) -> None:
    daemon.ticks.now += ages.DAY
    daemon.gate.tick()
    assert len(daemon.store.ages().passwords) == 2


def test_a_memory_that_is_damaged_begins_anew_by_the_revisions_and_keeps_nobody_out(daemon: Daemon) -> None:
    daemon.open(ALICE)
    (daemon.folder / "config" / "ages.json").write_text("nonsense")
    daemon.restart()
    later(daemon, 59)
    assert not daemon.open(ALICE, 2)[1].password_ended
    later(daemon, 1.1)
    assert daemon.open(ALICE, 3)[1].password_ended


def test_another_administrator_who_sets_it_anew_ends_it_too(daemon: Daemon) -> None:
    later(daemon, 61)
    albert = {"role": "auditor", "password_hash": passwords.hashed(NEW)}
    held = daemon.running()["users"]
    daemon.commit({**daemon.running(), "users": {**held, "accounts": {**held["accounts"], "albert": albert}}})
    login = api.Login(user="albert", password=PASSWORDS["albert"], source="192.0.2.9")
    assert not daemon.say(Peer(PORTAL, 1, 1), login, api.Session).password_ended


# --- accounts that nobody uses, through configd ----------------------------------------------------------------------


@pytest.fixture
def idle(daemon: Daemon) -> Daemon:
    """Accounts are locked after 35 days; alice and olga were here at the beginning."""
    held = daemon.running()
    daemon.commit({**held, "users": {**held["users"], "password_policy": {"inactive_days": 35}}})
    for connection, uid in enumerate((ALICE, OLGA), 1):
        peer, session = daemon.open(uid, connection)
        daemon.say(peer, api.CloseSession(session=session.handle))
    return daemon


def test_an_account_that_nobody_used_opens_no_session_whatever_the_way_in(idle: Daemon) -> None:
    later(idle, 34.9)
    portal_session(idle, "albert")
    later(idle, 0.1)
    said = refusal(idle.open, OLGA, 3)
    assert said.kind == "locked"
    assert "nobody has logged in to it for 35 days; another administrator unlocks it" in said.message
    login = api.Login(user="olga", password=PASSWORDS["olga"], source="192.0.2.9")
    assert refusal(idle.say, Peer(PORTAL, 1, 4), login).kind == "locked"
    assert portal_session(idle, "albert")
    assert idle.open(ALICE, 5)[1].role == "administrator"  # the last one who was here


def test_whoever_is_logged_in_for_days_or_since_before_the_clock_was_set_is_not_unused(idle: Daemon) -> None:
    later(idle, -400)  # a machine without a clock of its own
    peer, session = idle.open(OLGA, 3)
    later(idle, 400 + 36)
    look(idle)
    assert idle.say(peer, api.Touch(session=session.handle), api.Session).user == "olga"
    assert idle.open(OLGA, 4)[1].user == "olga"
    assert ages.locked(idle.store.ages(), idle.running(), idle.clock.now) == {"albert"}


def test_a_clock_that_was_ahead_for_a_log_in_keeps_nobody_the_last_one_for_ever() -> None:
    whole = tree(60, ada="a", zoe="z")
    whole["users"]["password_policy"]["inactive_days"] = 35
    uses = {
        "zoe": Use(ways="", unused=T - 90 * DAY, logged_in=T + 4_000 * DAY),
        "ada": Use(ways="", unused=T + 1, logged_in=T + 1),
    }
    assert locked(Ages(uses=uses), whole, T + 2) == {"zoe"}


def test_a_new_password_unlocks_it(idle: Daemon) -> None:
    later(idle, 36)
    assert refusal(idle.open, OLGA, 3).kind == "locked"
    held = idle.running()
    olga = {"role": "operator", "password_hash": passwords.hashed(NEW)}
    idle.commit({**held, "users": {**held["users"], "accounts": {**held["users"]["accounts"], "olga": olga}}})
    assert idle.open(OLGA, 4)[1].user == "olga"


def test_the_audit_trail_says_once_that_an_account_became_locked_and_people_see_it(idle: Daemon) -> None:
    look(idle)
    later(idle, 36)
    for _ in range(3):
        look(idle)
    said = [(one.event, one.user) for one in idle.ledger.entries if one.event == "account.locked"]
    assert said == [("account.locked", "albert"), ("account.locked", "olga")]
    peer, session = idle.open(0, 9)
    table = idle.say(peer, api.Show(session=session.handle, topic="users"), api.Shown)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert {user: row["locked"] for user, row in rows.items()} == {"alice": "no", "albert": "yes", "olga": "yes"}
    assert rows["albert"]["last log-in"] == "never"
    assert rows["olga"]["last log-in"] == "2027-01-15T08:00:00Z"


def test_log_ins_of_before_the_update_count(idle: Daemon) -> None:
    """An appliance that begins to remember knows the last log-ins already."""
    (idle.folder / "config" / "ages.json").unlink()
    idle.restart()
    later(idle, 35)
    assert refusal(idle.open, OLGA, 3).kind == "locked"
    assert portal_session(idle, "albert")  # he never logged in: his time begins now


def test_automation_and_the_machines_own_services_are_no_accounts(idle: Daemon) -> None:
    later(idle, 400)
    for uid in (0, 901, 903):
        assert idle.open(uid, uid + 10)[1].handle
