"""Edits of a candidate, commits, and the return of those that nobody confirms."""

import msgspec
import pytest

from appliance.configd import api, passwords
from tests.unit.appliance.configd.people import portal_session, privileged, refusal
from tests.unit.appliance.workbench import ALBERT, ALICE, OLGA, Daemon


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


def test_two_revisions_are_compared(daemon: Daemon) -> None:
    portal, handle = portal_session(daemon)
    daemon.say(portal, api.SetConfig(session=handle, path=("web", "port"), value=9443))
    daemon.say(portal, api.Commit(session=handle))
    compare = api.CompareRevisions(session=handle, before=1, after=2)
    (change,) = daemon.say(portal, compare, tuple[api.Change, ...])
    assert (change.path, change.before, change.after) == (("web", "port"), 8443, 9443)
    assert refusal(daemon.say, portal, api.CompareRevisions(session=handle, before=1, after=9)).kind == "invalid"


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
