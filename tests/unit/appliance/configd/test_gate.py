"""What is no message, what is written down of each verb, and an error that nobody foresaw."""

from typing import Any

import msgspec
import pytest

from appliance.configd import api
from appliance.configd.sessions import Peer
from tests.unit.appliance.configd.people import privileged, refusal
from tests.unit.appliance.workbench import STRANGER, Daemon


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
