"""The audit trail's buffer: nothing blocks, nothing is lost silently."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime import audit
from sentry_runtime.trail import LINE_BYTES, LINES_PER_WRITE, Trail
from tests.trail_sink import TrailSink


def line(number: int) -> audit.Line:
    """A line that can be told from others."""
    return audit.Line(time="", id=str(number), event="request")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where rsyslog would listen."""
    return tmp_path / "audit.sock"


@pytest.fixture
def sink(path: Path) -> Iterator[TrailSink]:
    """Stand for rsyslog."""
    made = TrailSink(str(path))
    yield made
    made.close()


async def until(trail: Trail, sink: TrailSink, last: int) -> list[int]:
    """The numbers of all lines, as soon as the one of number `last` has come; then the trail is closed."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        sink.take()
        if sink.raw and f'"id":"{last}"'.encode() in sink.raw[-1]:
            done.set()

    loop.add_reader(sink, read)
    try:
        async with asyncio.timeout(5):
            await done.wait()
    finally:
        loop.remove_reader(sink)
    trail.close()
    return [int(one["id"]) for one in sink.lines()]


async def test_lines_go_out_in_order_without_a_flush(path: Path, sink: TrailSink) -> None:
    """Framed as rsyslog expects it of a stream; empty fields are left out."""
    trail = Trail(str(path), lambda: 0.0)
    for number in range(3):
        trail.write(line(number))
    assert await until(trail, sink, 2) == [0, 1, 2]
    assert sink.raw[0] == b'<134>sentry-audit: {"time":"","id":"0","event":"request"}'
    assert (trail.written, trail.dropped) == (3, 0)


async def test_beyond_the_bound_lines_are_counted_and_the_count_is_told(path: Path) -> None:
    """First the number of those that are missing, then what waited, in order."""
    trail = Trail(str(path), lambda: 0.0, buffer_lines=5)
    for number in range(8):
        trail.write(line(number))
    assert trail.flush() is False  # nobody listens
    sink = TrailSink(str(path))
    assert trail.flush() is True
    got = sink.lines()
    assert [one["id"] for one in got if one["event"] == "request"] == ["0", "1", "2", "3", "4"]
    (told,) = [one for one in got if one["event"] == "audit_dropped"]
    assert (told["count"], told["time"]) == (3, "1970-01-01T00:00:00.000Z")
    assert (trail.written, trail.dropped) == (5, 3)
    trail.close()
    sink.close()


async def test_closing_sends_what_it_can_and_counts_the_rest(path: Path) -> None:
    """Without rsyslog nothing hangs; with one that does not read, what the kernel has taken counts as written."""
    trail = Trail(str(path), lambda: 0.0)
    trail.write(line(1))
    trail.close()
    assert (trail.written, trail.dropped) == (0, 1)
    sink = TrailSink(str(path))
    trail = Trail(str(path), lambda: 0.0)
    for number in range(10_000):
        trail.write(line(number))
    trail.close()
    assert trail.written > LINES_PER_WRITE
    assert trail.written + trail.dropped == 10_000
    whole = [one["id"] for one in sink.lines()]
    assert whole == [str(number) for number in range(trail.written)]
    sink.close()


async def test_a_full_socket_blocks_nobody(path: Path, sink: TrailSink) -> None:
    """What rsyslog does not take now stays here, and each line arrives whole."""
    trail = Trail(str(path), lambda: 0.0)
    count = 10_000  # far more than the kernel has room for
    for number in range(count):
        trail.write(line(number))
    for _ in range(count):
        if trail.flush():
            break
    assert trail.written < count
    assert await until(trail, sink, count - 1) == list(range(count))


async def test_lines_flow_as_fast_as_they_are_taken(path: Path, sink: TrailSink) -> None:
    """The kernel has little room: what counts is when there is some, not a clock."""
    trail = Trail(str(path), lambda: 0.0)
    count = 20_000
    for number in range(count):
        trail.write(line(number))
    await until(trail, sink, count - 1)  # with a timer of half a second it would be a minute
    assert (trail.written, trail.dropped) == (count, 0)


async def test_a_line_that_was_cut_comes_again_whole(path: Path) -> None:
    """rsyslog ends in the middle of one: the next rsyslog gets it from its start, and all that follow."""
    trail = Trail(str(path), lambda: 0.0)
    first = TrailSink(str(path))
    count = 10_000
    for number in range(count):
        trail.write(line(number))
    assert trail.flush() is False
    assert trail.flush() is False
    first.take()
    half = len(first.raw)
    assert 0 < half < count
    first.close()
    assert trail.flush() is False
    second = TrailSink(str(path))
    got = await until(trail, second, count - 1)
    assert got == list(range(got[0], count))
    assert got[0] <= half
    second.close()


async def test_a_line_that_can_never_be_sent_does_not_hold_up_the_others(path: Path, sink: TrailSink) -> None:
    """Longer than rsyslog takes: counted, told of, and gone. What UTF-8 does not have is a question mark."""
    trail = Trail(str(path), lambda: 0.0)
    trail.write(line(1))
    trail.write(audit.Line(time="", id="2", event="request", path="x" * LINE_BYTES))
    trail.write(audit.Line(time="", id="3", event="request", path="\ud800"))
    trail.write(line(4))
    assert trail.flush() is True
    got = sink.lines()
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
