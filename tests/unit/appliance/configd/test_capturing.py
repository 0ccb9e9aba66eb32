"""Captures as configd starts and ends them: by whom, on what, one at a time, and what becomes of the file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.capture.request import PLACE, RESULT, UNIT, Request
from appliance.configd import api, facts
from appliance.configd.client import Refused
from appliance.configd.passwords import hashed
from appliance.configd.sessions import Peer
from appliance.support.shelf import MOST_FILES
from tests.unit.appliance.cli.desk import SECRET, SITE, accepted, without_effects
from tests.unit.appliance.workbench import ALBERT, ALICE, OLGA, PASSWORDS, PORTAL, Daemon


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    daemon = Daemon(tmp_path, features=without_effects())
    roles = {"alice": "administrator", "olga": "operator", "albert": "auditor"}
    accounts = {name: {"role": role, "password_hash": hashed(PASSWORDS[name])} for name, role in roles.items()}
    tree = {**SITE, "users": {"accounts": accounts}, "cli": {"enable_secret_hash": hashed(SECRET)}}
    daemon.commit(daemon.schema.fill(accepted(daemon, tree)))
    real = daemon.commands._systemctl

    def systemctl(argv: list[str], stdin: str | None) -> str:
        if argv[1] == "stop":
            daemon.commands.units[argv[-1]] = "inactive"
            return ""
        return real(argv, stdin)

    monkeypatch.setattr(daemon.commands, "_systemctl", systemctl)
    return daemon


def privileged(daemon: Daemon, uid: int = ALICE) -> tuple[Peer, str]:
    peer, session = daemon.open(uid)
    daemon.say(peer, api.Enable(session=session.handle, secret=SECRET))
    return peer, session.handle


def refused(call: Callable[[], Any]) -> api.Refusal:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.refusal


def start(daemon: Daemon, **fields: Any) -> api.Facts:
    peer, handle = privileged(daemon)
    done: api.Facts = daemon.say(peer, api.StartCapture(session=handle, interface="mgmt0", **fields), api.Facts)
    return done


def captures(daemon: Daemon, data: bytes = b"packets") -> Path:
    """As the unit does."""
    place = daemon.root / RESULT.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def ends(daemon: Daemon) -> None:
    daemon.commands.units[UNIT] = "inactive"
    daemon.capturing.tick(daemon.gate.note)


def last(daemon: Daemon) -> tuple[str, str, str]:
    entry = daemon.ledger.entries[-1]
    return entry.event, entry.user, entry.detail


def test_a_capture_is_started_by_a_unit_and_its_file_waits_when_it_has_ended(box: Daemon) -> None:
    done = start(box, protocol="tcp", port=443, seconds=30)
    assert dict(done.facts)["capturing"] == "mgmt0 tcp port 443 30 s headers"
    request = msgspec.json.decode(box.text(PLACE) or "", type=Request)
    assert (request.interface, request.protocol, request.port, request.seconds) == ("mgmt0", "tcp", 443, 30)
    assert (request.whole, request.user) == (False, "alice")
    assert (box.root / PLACE.lstrip("/")).stat().st_mode & 0o777 == 0o640
    assert f"start -- {UNIT}" in box.commands.acted()
    place = captures(box)
    box.capturing.tick(box.gate.note)
    assert box.shelf.all() == ()  # it runs
    ends(box)
    (laid,) = box.shelf.all()
    assert (laid.kind, laid.size) == ("capture", 7)
    assert not place.exists()
    assert box.text(PLACE) is None
    assert last(box) == ("capture.end", "alice", f"mgmt0 tcp port 443 30 s headers: {laid.name}")


def test_what_runs_is_told(box: Daemon) -> None:
    assert dict(facts.show("capture", "", box.context()).facts)["running"] == "no"  # type: ignore[union-attr]
    start(box)
    told = dict(facts.show("capture", "", box.context()).facts)  # type: ignore[union-attr]
    assert (told["running"], told["by"]) == ("mgmt0 any 60 s headers", "alice")


def test_somebody_ends_it(box: Daemon) -> None:
    start(box)
    captures(box)
    peer, handle = privileged(box)
    made = box.say(peer, api.StopCapture(session=handle), api.Download)
    assert made.kind == "capture"
    assert [one.name for one in box.shelf.all()] == [made.name]
    assert refused(partial(box.say, peer, api.StopCapture(session=handle))).kind == "conflict"


def test_there_is_one_at_a_time(box: Daemon) -> None:
    start(box)
    assert refused(partial(start, box)).kind == "conflict"


def test_one_that_captured_nothing_is_told_and_the_next_one_may_begin(box: Daemon) -> None:
    start(box)
    ends(box)
    assert last(box) == ("capture.end", "alice", "mgmt0 any 60 s headers: nothing was captured")
    start(box)


def test_what_a_capture_left_that_configd_did_not_see_the_end_of_is_put_away(box: Daemon) -> None:
    captures(box)
    ends(box)
    assert len(box.shelf.all()) == 1
    assert last(box)[1:2] == ("configd",)


@pytest.mark.parametrize("kind", ["link", "hard link", "folder"])
def test_what_is_not_the_capture_s_own_file_is_not_read(box: Daemon, tmp_path: Path, kind: str) -> None:
    """Its account may be somebody else's by then, and configd is root."""
    start(box)
    secret = tmp_path / "shadow"
    secret.write_text("root:hash")
    place = captures(box)
    place.unlink()
    if kind == "link":
        place.symlink_to(secret)
    elif kind == "hard link":
        place.hardlink_to(secret)
    else:
        place.mkdir()
    box.commands.units[UNIT] = "inactive"
    if kind == "folder":
        place.rmdir()
        place.symlink_to(tmp_path)
    box.capturing.tick(box.gate.note)
    assert box.shelf.all() == ()
    assert "its file is lost" in last(box)[2]
    assert secret.read_text() == "root:hash"
    assert not place.exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"interface": "lo"}, "allowed: mgmt0"),
        ({"interface": "mgmt0", "host": "mail.example.test"}, "allowed: an IPv4 or IPv6 address"),
        ({"interface": "mgmt0", "port": 70_000}, "allowed: 1 to 65535"),
        ({"interface": "mgmt0", "seconds": 3_600}, "allowed: 1 to 300"),
    ],
)
def test_what_may_not_be_captured(box: Daemon, fields: dict[str, Any], said: str) -> None:
    peer, handle = privileged(box)
    refusal = refused(partial(box.say, peer, api.StartCapture(session=handle, **fields)))
    assert refusal.kind == "invalid"
    assert said in refusal.message
    assert box.text(PLACE) is None


def test_where_no_file_more_may_lie_none_is_begun(box: Daemon) -> None:
    for _ in range(MOST_FILES):
        box.shelf.put("bundle", b"x")
    assert "files that wait" in refused(partial(start, box)).message
    assert box.text(PLACE) is None


def test_a_file_for_which_there_is_no_room_any_more_waits_until_there_is(box: Daemon) -> None:
    start(box)
    place = captures(box)
    names = [box.shelf.put("bundle", b"x").name for _ in range(MOST_FILES)]
    for _ in range(3):
        ends(box)
    assert place.exists()
    assert [one.detail for one in box.ledger.entries if one.event == "capture.end"] == [last(box)[2]]
    assert "waits for room" in last(box)[2]
    assert "files that wait" in refused(partial(start, box)).message
    assert place.exists()
    box.shelf.drop(names[0])
    ends(box)
    assert [one.kind for one in box.shelf.all()].count("capture") == 1
    assert not place.exists()


def test_only_administrators_capture(box: Daemon) -> None:
    for uid in (OLGA, ALBERT):
        peer, handle = privileged(box, uid)
        for verb in (api.StartCapture(session=handle, interface="mgmt0"), api.StopCapture(session=handle)):
            assert refused(partial(box.say, peer, verb)).kind == "permission"


def test_whole_packets_ask_again_who_one_is(box: Daemon) -> None:
    """At the portal for the password, at the command line for an enable secret that was given a moment ago."""
    portal = Peer(PORTAL, 1, 1)
    handle = box.say(
        portal, api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.9"), api.Session
    ).handle
    whole = api.StartCapture(session=handle, interface="mgmt0", whole=True)
    assert refused(partial(box.say, portal, whole)).kind == "privilege"
    box.say(portal, api.Reauthenticate(session=handle, password=PASSWORDS["alice"]))
    box.say(portal, whole)
    assert msgspec.json.decode(box.text(PLACE) or "", type=Request).whole
    ends(box)
    peer, session = privileged(box)
    box.ticks.now += 301
    late = api.StartCapture(session=session, interface="mgmt0", whole=True)
    assert refused(partial(box.say, peer, late)).kind == "privilege"
    box.say(peer, api.StartCapture(session=session, interface="mgmt0"))


def test_the_trail_says_who_captured_what(box: Daemon) -> None:
    start(box, host="192.0.2.10", port=25, protocol="tcp")
    entry = next(one for one in box.ledger.entries if one.event == "capture.start")
    assert (entry.user, entry.path, entry.result) == ("alice", "mgmt0 tcp 192.0.2.10 25 60 s", "ok")
