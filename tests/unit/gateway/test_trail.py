"""The audit trail's buffer: nothing blocks, nothing is lost silently."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime import audit
from sentry_runtime.trail import LINES_PER_FLUSH, Trail


def line(number: int) -> audit.Line:
    """A line that can be told from others."""
    return audit.Line(time="", id=str(number), event="request")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where rsyslog would listen."""
    return tmp_path / "audit.sock"


def listen(path: Path) -> socket.socket:
    """Stand for rsyslog."""
    sink = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink.bind(str(path))
    sink.settimeout(5)
    return sink


async def test_lines_go_out_in_order_without_a_flush(path: Path) -> None:
    """Framed as rsyslog's local socket expects it; empty fields are left out."""
    trail = Trail(str(path), lambda: 0.0)
    with listen(path) as sink:
        for number in range(3):
            trail.write(line(number))
        got = [await asyncio.to_thread(sink.recv, 1_000) for _ in range(3)]
    assert got[0] == b'<134>sentry-audit: {"time":"","id":"0","event":"request"}'
    assert [json.loads(one.partition(b": ")[2])["id"] for one in got] == ["0", "1", "2"]
    assert (trail.written, trail.dropped) == (3, 0)
    trail.close()


async def test_beyond_the_bound_lines_are_counted_and_the_count_is_told(path: Path) -> None:
    """First what waited is sent, in order, with the number of those that are missing."""
    trail = Trail(str(path), lambda: 0.0, buffer_lines=5)
    for number in range(8):
        trail.write(line(number))
    assert trail.flush() is False  # nobody listens
    with listen(path) as sink:
        assert trail.flush() is True
        got = [json.loads(sink.recv(1_000).partition(b": ")[2]) for _ in range(6)]
    assert [one["id"] for one in got if one["event"] == "request"] == ["0", "1", "2", "3", "4"]
    (told,) = [one for one in got if one["event"] == "audit_dropped"]
    assert (told["count"], told["time"]) == (3, "1970-01-01T00:00:00.000Z")
    assert (trail.written, trail.dropped) == (5, 3)
    trail.close()


async def test_closing_sends_what_it_can_and_counts_the_rest(path: Path) -> None:
    """Without rsyslog nothing hangs."""
    trail = Trail(str(path), lambda: 0.0)
    trail.write(line(1))
    trail.close()
    assert (trail.written, trail.dropped) == (0, 1)


async def test_a_full_socket_blocks_nobody(path: Path) -> None:
    """What rsyslog does not take now stays in the buffer."""
    trail = Trail(str(path), lambda: 0.0)
    with listen(path) as sink:
        for number in range(LINES_PER_FLUSH):
            trail.write(line(number))
        while trail.flush() is False and trail.written == 0:
            pass
        seen: list[str] = []
        while len(seen) < LINES_PER_FLUSH:
            seen.append(json.loads(sink.recv(1_000).partition(b": ")[2])["id"])
            trail.flush()
    assert seen == [str(number) for number in range(LINES_PER_FLUSH)]
    trail.close()


async def test_lines_flow_as_fast_as_they_are_taken(path: Path) -> None:
    """The socket's queue may be short: what counts is when there is room, not a clock."""
    trail = Trail(str(path), lambda: 0.0)
    count = 5_000

    def take(sink: socket.socket) -> int:
        return sum(1 for _ in range(count) if sink.recv(1_000))

    with listen(path) as sink:
        taken = asyncio.get_running_loop().run_in_executor(None, take, sink)
        for number in range(count):
            trail.write(line(number))
        async with asyncio.timeout(5):  # at a queue of ten and a timer of 20 ms it would be ten seconds
            assert await taken == count
    assert (trail.written, trail.dropped) == (count, 0)
    trail.close()


async def test_a_line_that_can_never_be_sent_does_not_hold_up_the_others(path: Path) -> None:
    """Longer than any datagram: counted, told of, and gone. What UTF-8 does not have is a question mark."""
    trail = Trail(str(path), lambda: 0.0)
    with listen(path) as sink:
        trail.write(line(1))
        trail.write(audit.Line(time="", id="2", event="request", path="x" * 1_000_000))
        trail.write(audit.Line(time="", id="3", event="request", path="\ud800"))
        trail.write(line(4))
        assert trail.flush() is True
        got = [json.loads(sink.recv(1_000).partition(b": ")[2]) for _ in range(4)]
    assert [one["id"] for one in got if one["event"] == "request"] == ["1", "3", "4"]
    assert [one["path"] for one in got if one["id"] == "3"] == ["?"]
    assert sum(one["count"] for one in got if one["event"] == "audit_dropped") == 1
    assert (trail.written, trail.dropped) == (3, 1)
    trail.close()


@given(st.integers(0, 4_102_444_800_000))
def test_a_time_is_spelled_to_the_millisecond(milliseconds: int) -> None:
    """RFC 3339 in UTC, whichever second was spelled before."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    text = audit.timestamp((milliseconds + 0.5) / 1_000)
    assert text == time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@given(st.builds(audit.Line))
def test_the_rest_of_a_line_is_what_the_whole_line_has(line: audit.Line) -> None:
    """Whatever is in it; what UTF-8 does not have is a question mark in both."""
    rest = audit.members(msgspec.structs.replace(line, time="", id="", event=""))
    whole = msgspec.structs.replace(line, time="t", id="i", event="e")
    assert '{"time":"t","id":"i","event":"e"' + rest + "}" == audit.encode(whole).decode()
