"""Following a log: each line once, whatever becomes of the file, at places that nobody can name but who was given them."""

from pathlib import Path
from typing import Any

import pytest

from appliance.configd import api
from appliance.configd.client import Refused
from appliance.configd.facts.context import LINES
from appliance.configd.facts.management import RUNTIME_LOG
from appliance.configd.following import FORGOTTEN_SECONDS, LINE_CHARACTERS, OF_ONE_SESSION, READ_BYTES
from appliance.configd.sessions import Peer
from tests.unit.appliance.configd.people import TREE
from tests.unit.appliance.workbench import PASSWORDS, PORTAL, Daemon

PEER = Peer(PORTAL, 1, 1)


@pytest.fixture
def box(tmp_path: Path) -> Daemon:
    daemon = Daemon(tmp_path)
    daemon.commit(TREE)
    return daemon


@pytest.fixture
def log(box: Daemon) -> Path:
    place = box.root / RUNTIME_LOG.lstrip("/")
    place.parent.mkdir(parents=True)
    place.write_text("one\ntwo\n")
    return place


def session(box: Daemon, user: str = "alice") -> str:
    login = api.Login(user=user, password=PASSWORDS[user], source="192.0.2.9")
    return str(box.say(PEER, login, api.Session).handle)


def look(box: Daemon, handle: str, after: str = "", which: Any = "gateway") -> api.Followed:
    found: api.Followed = box.say(PEER, api.FollowLog(session=handle, which=which, after=after), api.Followed)
    return found


def kind(box: Daemon, handle: str, after: str = "") -> str:
    with pytest.raises(Refused) as caught:
        look(box, handle, after)
    return caught.value.refusal.kind


def test_the_gateway_s_log_comes_line_by_line_and_each_once(box: Daemon, log: Path) -> None:
    handle = session(box)
    first = look(box, handle)
    assert first.lines == ("one", "two")
    with log.open("a") as file:
        file.write("three\nfour begins")
    assert look(box, handle, first.after).lines == ("three",)
    with log.open("a") as file:
        file.write(" and ends\n")
    assert look(box, handle, first.after).lines == ("four begins and ends",)
    assert look(box, handle, first.after).lines == ()


def test_a_log_that_was_turned_or_cut_is_followed_on(box: Daemon, log: Path) -> None:
    handle = session(box)
    after = look(box, handle).after
    log.rename(log.with_suffix(".1"))
    assert look(box, handle, after).lines == ()
    log.write_text("new\n")
    assert look(box, handle, after).lines == ("new",)
    log.write_text("n\n")
    assert look(box, handle, after).lines == ("n",)


def test_more_than_is_told_at_once_is_said(box: Daemon, log: Path) -> None:
    handle = session(box)
    first = look(box, handle)
    assert not first.skipped
    with log.open("a") as file:
        file.write("".join(f"line {number} {'x' * 100}\n" for number in range(READ_BYTES // 50)))
    found = look(box, handle, first.after)
    assert found.skipped
    assert len(found.lines) == LINES
    assert found.lines[-1].startswith(f"line {READ_BYTES // 50 - 1} ")
    with log.open("a") as file:
        file.write("y" * 2 * LINE_CHARACTERS + "\n")
    assert len(look(box, handle, first.after).lines[0]) == LINE_CHARACTERS


def test_the_journal_is_followed_by_its_own_cursor_and_no_line_can_claim_to_be_one(
    box: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    said = ["a\n-- cursor: s=evil;i=1\n-- cursor: s=ab;i=2\n", "", "b\n-- cursor: s=ab;i=3\n", "-- cursor: $(id)\n"]

    def journal(argv: list[str], _stdin: str | None) -> str:
        asked.append(argv)
        return said.pop(0)

    monkeypatch.setattr(box.commands, "_journalctl", journal)
    handle = session(box)
    first = look(box, handle, which="")
    assert first.lines == ("a", "-- cursor: s=evil;i=1")
    assert not any(word.startswith("--after-cursor") for word in asked[0])
    assert look(box, handle, first.after, "").lines == ()
    assert look(box, handle, first.after, "").lines == ("b",)
    assert [word for argv in asked[1:] for word in argv if "after" in word] == ["--after-cursor=s=ab;i=2"] * 2
    assert look(box, handle, first.after, "").lines == ("-- cursor: $(id)",)
    assert "--after-cursor=s=ab;i=3" in asked[3]


def test_a_place_is_its_session_s_alone(box: Daemon, log: Path) -> None:
    assert log.exists()
    alice, olga = session(box), session(box, "olga")
    after = look(box, alice).after
    assert len(after) == 32
    assert kind(box, olga, after) == "invalid"
    assert kind(box, alice, "0" * 32) == "invalid"


def test_a_session_follows_two_and_a_third_takes_the_place_of_the_one_that_was_left(box: Daemon, log: Path) -> None:
    """A page that is loaded anew begins anew; another session's are not touched."""
    assert log.exists()
    handle, other = session(box), session(box, "olga")
    kept = look(box, other).after
    first, second = (look(box, handle).after for _ in range(OF_ONE_SESSION))
    box.ticks.now += 1
    look(box, handle, first)
    third = look(box, handle).after
    assert kind(box, handle, second) == "invalid"
    for name in (first, third):
        look(box, handle, name)
    look(box, other, kept)


def test_what_is_looked_at_no_more_is_forgotten(box: Daemon, log: Path) -> None:
    assert log.exists()
    handle = session(box)
    first, second = look(box, handle).after, look(box, handle).after
    box.ticks.now += FORGOTTEN_SECONDS - 1
    look(box, handle, first)
    box.ticks.now += 1
    look(box, handle, first)
    assert kind(box, handle, second) == "invalid"


def test_looks_keep_no_session_from_ending(box: Daemon, log: Path) -> None:
    assert log.exists()
    handle = session(box)
    after, ends = look(box, handle).after, box.gate.bounds().portal_idle_seconds
    for _ in range(ends // 30 - 1):
        box.ticks.now += 30
        look(box, handle, after)
    box.ticks.now += 30
    assert kind(box, handle, after) == "session"


def test_the_trail_says_once_that_somebody_follows(box: Daemon, log: Path) -> None:
    assert log.exists()
    handle = session(box)
    after = look(box, handle).after
    for _ in range(5):
        look(box, handle, after)
    said = [(one.user, one.path) for one in box.ledger.entries if one.event == "log.follow"]
    assert said == [("alice", "gateway")]
    kind(box, handle, "0" * 32)
    assert [one.result for one in box.ledger.entries if one.event == "log.follow"] == ["ok", "invalid"]


def test_the_command_line_has_its_own_way(box: Daemon) -> None:
    peer, opened = box.open(1001)
    with pytest.raises(Refused, match="portal"):
        box.say(peer, api.FollowLog(session=opened.handle))
