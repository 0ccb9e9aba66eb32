"""One request head: what is read, and where it ends. The forms that are refused stand in the smuggling corpus."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.head import KEPT_BYTES, KEPT_HEADS, Head, HeadError, Heads, end_of_head, parse

START = b"POST /Microsoft-Server-ActiveSync?Cmd=Ping HTTP/1.1\r\n"


def head(*lines: bytes, start: bytes = START) -> bytes:
    """A head of these lines."""
    return start + b"".join(line + b"\r\n" for line in (b"Host: a", *lines)) + b"\r\n"


def test_what_is_read() -> None:
    """Fields in order as sent; the deciding ones by name."""
    got = parse(head(b"Content-Length: 12", b"X-Note:  a b\t", b"X-Note: c"))
    assert (got.method, got.path, got.query, got.minor) == ("POST", "/Microsoft-Server-ActiveSync", b"Cmd=Ping", 1)
    assert (got.length, got.keep_alive, got.expects_continue) == (12, True, False)
    assert [value for name, value in got.fields if name == b"X-Note"] == [b"a b", b"c"]
    assert got.single == {b"host": b"a", b"content-length": b"12"}


@pytest.mark.parametrize(
    ("lines", "minor", "wanted"),
    [
        ((), b"1", (0, True, False)),
        ((b"Connection: close",), b"1", (0, False, False)),
        ((b"Connection: keep-alive, Close",), b"1", (0, False, False)),
        ((b"Connection: keep-alive",), b"0", (0, False, False)),
        ((b"Transfer-Encoding: Chunked",), b"1", (None, True, False)),
        ((b"Expect: 100-Continue",), b"1", (0, True, True)),
        ((b"Expect: 100-continue",), b"0", (0, False, False)),
        ((b"Connection: upgrade", b"Upgrade: h2c"), b"1", (0, True, False)),
    ],
)
def test_how_the_message_goes_on(lines: tuple[bytes, ...], minor: bytes, wanted: tuple[int | None, bool, bool]) -> None:
    """The body's length, whether the connection stays, whether the client waits; an offered upgrade is not taken up."""
    got = parse(head(*lines, start=START.replace(b"1\r\n", minor + b"\r\n")))
    assert (got.length, got.keep_alive, got.expects_continue) == wanted


def test_the_end_of_a_head() -> None:
    """Behind the empty line, or not there yet."""
    data = head(b"X: y")
    assert end_of_head(data + b"body", 1_000) == len(data)
    for size in range(len(data)):
        assert end_of_head(data[:size], 1_000) == 0


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"ab", b"\r\n\r\n"]), max_size=12), st.sets(st.integers(1, 40)))
def test_a_head_that_comes_in_pieces_ends_where_it_would_in_one(parts: list[bytes], cuts: set[int]) -> None:
    """What was scanned before is not looked at again, and nothing is missed for it: the same end, or the same refusal."""

    def outcome(pieces: list[bytes]) -> int | str:
        seen = 0
        for piece in pieces:
            try:
                end = end_of_head(piece, 30, seen)
            except HeadError as error:
                return error.reason
            if end:
                return end
            seen = len(piece)
        return 0

    data = b"".join(parts)
    pieces = [data[:cut] for cut in sorted(cuts) if cut < len(data)] + [data]
    assert outcome(pieces) == outcome([data])


def test_a_head_is_bounded() -> None:
    """At the bound, whether the end is in sight beyond it or not."""
    data = head(b"X: " + b"y" * 100)
    assert end_of_head(data, len(data)) == len(data)
    for bound in (10, len(data) - 1):
        with pytest.raises(HeadError) as caught:
            end_of_head(data, bound)
        assert caught.value.status == 431


@pytest.mark.parametrize(
    "data", [b"POST / HTTP/1.1\n", b"POST / HTTP/1.1\r\nHost: a\n", b"POST / HTTP/1.1\rHost", b"\n"]
)
def test_a_line_end_that_is_not_crlf_is_seen_at_once(data: bytes) -> None:
    """Without waiting for an end of the head that will not come."""
    with pytest.raises(HeadError, match="line_end"):
        end_of_head(data, 1_000)


def test_too_many_fields_are_refused() -> None:
    """100 at most."""
    assert len(parse(head(*(b"X: y" for _ in range(99)))).fields) == 100
    with pytest.raises(HeadError):
        parse(head(*(b"X: y" for _ in range(100))))


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_with_one_host(data: bytes) -> None:
    """No other error."""
    try:
        got = parse(data + b"\r\n\r\n")
    except HeadError:
        return
    assert isinstance(got, Head)
    assert b"host" in got.single


@given(st.sampled_from([b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x0b", b"\x7f", b"\xff"]), st.integers(0, 200))
def test_one_stray_byte_never_makes_a_second_field_of_framing(stray: bytes, at: int) -> None:
    """Wherever it falls, what is read has at most the one length that was sent, and no coding."""
    data = head(b"Content-Length: 3", b"X-Note: Transfer-Encoding: chunked")
    data = data[: at % len(data)] + stray + data[at % len(data) :]
    try:
        end = end_of_head(data, 10_000)
        got = parse(data[:end]) if end else None
    except HeadError:
        return
    assert got is None or got.length in (0, 3)


BOUND = 8_192
SAID = [
    head(),
    head(b"Content-Length: 4"),
    head(b"X: y"),
    head(b"X: y" * 1_000),
    head(b"Connection: X-Forwarded-For"),
    head(b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    b"\r\n\r\n",
]


@given(st.lists(st.sampled_from(SAID), max_size=20), st.integers(1, 600))
def test_heads_that_repeat_are_read_as_if_each_were_the_first(said: list[bytes], size: int) -> None:
    """In pieces of any size: the same head and the same end, or the same refusal."""
    heads = Heads()
    for raw in said:
        data, scanned = bytearray(), 0
        wanted: Head | str = ""
        got: Head | str = ""
        for at in range(0, len(raw), size):
            data += raw[at : at + size]
            try:
                wanted = parse(bytes(data[:end])) if (end := end_of_head(data, BOUND, scanned)) else ""
            except HeadError as error:
                wanted = str(error)
            try:
                found = heads.read(data, BOUND, scanned)
                got = "" if found is None else found[0]
                assert found is None or found[1] == len(raw)
            except HeadError as error:
                got = str(error)
            assert got == wanted
            scanned = len(data)
            if isinstance(got, str) and got:
                break


def test_a_head_that_repeats_is_kept_unless_it_is_long() -> None:
    """Of a few, and of short ones only: what is kept costs memory on each of thousands of connections."""
    heads = Heads()

    def read(raw: bytes) -> Head:
        found = heads.read(bytearray(raw + b"body"), BOUND)
        assert found is not None
        return found[0]

    first = read(head(b"X: 0"))
    assert read(head(b"X: 0")) is first
    long = head(b"X: " + b"y" * KEPT_BYTES)
    assert read(long) is not read(long)
    for number in range(KEPT_HEADS):
        read(head(b"X: %d" % number))
    assert len(heads._kept) <= KEPT_HEADS
