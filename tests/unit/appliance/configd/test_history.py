"""Which passwords an account had, and how soon it may have another."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.store import Kept
from appliance.configd import api, history, passwords
from appliance.configd.accounts import PasswordRules, password_path, password_rules
from appliance.configd.client import Refused
from appliance.configd.passwords import PasswordError
from tests.unit.appliance.workbench import ACCOUNTS, ALICE, FEATURES, USERS, Daemon

PATH = password_path("ada")


def kept(*hashes: str) -> list[Kept]:
    """Revisions an hour apart, given oldest first, returned newest first."""
    made = [
        Kept(
            number=number,
            when=f"2026-01-01T{number:02}:00:00Z",
            user="x",
            comment="",
            tree={"users": {"accounts": {"ada": {"password_hash": one} if one else {}}}},
            files=(),
        )
        for number, one in enumerate(hashes)
    ]
    return made[::-1]


def at(hour: int) -> float:
    """Seconds since the epoch."""
    return 1_767_225_600.0 + hour * history.HOUR


# the passwords in the revisions, oldest first | what is known of them, newest first
KNOWN: tuple[tuple[tuple[str, ...], dict[str, float]], ...] = (
    ((), {}),
    (("", ""), {}),
    (("a",), {"a": at(0)}),
    (("a", "a", "b", "b"), {"b": at(2), "a": at(0)}),
    (("a", "b", "a"), {"a": at(2), "b": at(1)}),
    (("a", "", "b"), {"b": at(2), "a": at(0)}),
)


@pytest.mark.parametrize(("hashes", "known"), KNOWN)
def test_the_passwords_are_known_with_the_time_they_came(hashes: tuple[str, ...], known: dict[str, float]) -> None:
    found = history.references(kept(*hashes), PATH)
    assert list(found.items()) == list(known.items())


def test_one_of_the_last_is_refused_and_an_older_one_is_not() -> None:
    held = {name: passwords.hashed(f"password of {name}") for name in "abc"}
    rules = PasswordRules(max_length=128, remember=2, change_hours=0, lifetime_days=0, inactive_days=0)
    for name in "ab":
        with pytest.raises(PasswordError, match="one of the last 2 passwords"):
            history.refuse_old(f"password of {name}", "abc", rules, held.__getitem__)
    history.refuse_old("password of c", "abc", rules, held.__getitem__)
    history.refuse_old("another one", "abc", rules, held.__getitem__)


def test_a_password_is_kept_for_its_hours() -> None:
    rules = PasswordRules(max_length=128, remember=2, change_hours=24, lifetime_days=0, inactive_days=0)
    with pytest.raises(PasswordError, match=r"less than 24 h ago; .* in 1\.0 h"):
        history.refuse_soon({"b": at(2), "a": at(-90)}, rules, at(25))
    history.refuse_soon({"b": at(2)}, rules, at(26))
    history.refuse_soon({}, rules, at(26))


def test_the_rules_are_the_running_configurations_or_the_usual_ones() -> None:
    usual = PasswordRules(max_length=128, remember=5, change_hours=24, lifetime_days=0, inactive_days=0)
    assert password_rules({}) == usual
    policy = {"max_length": 40, "remember": 0, "change_hours": 1, "lifetime_days": 60, "inactive_days": 35}
    assert password_rules({"users": {"password_policy": policy}}) == PasswordRules(40, 0, 1, 60, 35)


# --- through configd -------------------------------------------------------------------------------------------------

POLICY: dict[str, Any] = {
    "type": "dict",
    "default": {},
    "schema": {name: {"type": "integer"} for name in ("max_length", "remember", "change_hours")},
}
FIRST, SECOND, THIRD = "First-Password-12345", "Second-Password-1234", "Third-Password-12345"


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """The small appliance with a password policy."""
    fields = {**USERS.schema["schema"], "password_policy": POLICY}
    users = replace(USERS, schema={"type": "dict", "schema": fields})
    made = Daemon(tmp_path, tuple(users if one is USERS else one for one in FEATURES))
    made.commit({"name": "box", "users": {"accounts": ACCOUNTS}})
    return made


def change(daemon: Daemon, user: str, password: str) -> None:
    """Alice sets a password and commits it."""
    peer, session = daemon.open(ALICE)
    held = daemon.sessions.all()[-1]
    held.privileged, held.privileged_since = True, daemon.ticks()
    daemon.say(peer, api.SetPassword(session=session.handle, user=user, password=password))
    daemon.say(peer, api.Commit(session=session.handle), api.Committed)
    daemon.say(peer, api.CloseSession(session=session.handle))


def test_ones_own_password_is_changed_once_a_day_and_another_administrator_need_not_wait(
    daemon: Daemon,
) -> None:
    change(daemon, "alice", FIRST)
    with pytest.raises(Refused, match="less than 24 h ago"):
        change(daemon, "alice", SECOND)
    change(daemon, "olga", FIRST)
    change(daemon, "olga", SECOND)
    daemon.clock.now += 24 * history.HOUR
    change(daemon, "alice", SECOND)


def test_a_password_that_was_there_before_is_refused_in_any_role(daemon: Daemon) -> None:
    for password in (FIRST, SECOND, THIRD):
        change(daemon, "olga", password)
    for password in (FIRST, THIRD):
        with pytest.raises(Refused, match="one of the last 5 passwords"):
            change(daemon, "olga", password)


def test_one_that_is_too_long_is_refused_without_being_repeated(daemon: Daemon) -> None:
    with pytest.raises(Refused, match=r"found a password of 129 characters; allowed: at most 128") as refused:
        change(daemon, "olga", "aB3-" * 32 + "x")
    assert "aB3-" not in str(refused.value)
