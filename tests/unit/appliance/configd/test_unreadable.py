"""Lines that are no message are answered and audited, whatever is wrong with them."""

from pathlib import Path

import msgspec
import pytest

from appliance.configd import api
from appliance.configd.sessions import Peer
from tests.unit.appliance.workbench import STRANGER, Daemon


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b'{"do":"\xff"}\n', b'{"a":' + b"[" * 100_000 + b"\n", b'{"do":"session.open","a":"\xc3"}\n'],
    ids=["empty", "no object", "no UTF-8", "nested", "no UTF-8 in a member nobody knows"],
)
def test_a_line_that_is_no_message_is_refused_and_audited(tmp_path: Path, line: bytes) -> None:
    """And the next one of the same peer is served."""
    daemon = Daemon(tmp_path)
    peer = Peer(STRANGER, 7, 1)
    reply = msgspec.json.decode(daemon.gate.answer(peer, line).line, type=api.Reply)
    assert reply.refusal is not None
    assert reply.refusal.kind == "invalid"
    assert daemon.ledger.entries[-1].result == "invalid"
