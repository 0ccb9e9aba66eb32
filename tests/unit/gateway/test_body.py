"""Where a body ends."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.body import Body, BodyError, Chunked, framing
from sentry_runtime.gateway.rewrite import LAST_CHUNK, chunk

pieces = st.lists(st.binary(min_size=1, max_size=50), max_size=8)


def feed(reader: Body, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """The payload and the rest of `data`, which comes in parts."""
    payload = b""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        part, rest = reader.take(data[start:end])
        payload += part
        if reader.done:
            return payload, rest + data[end:]
    return payload, b""


@given(pieces, st.lists(st.integers(0, 1_000), max_size=10), st.binary(max_size=20))
def test_a_chunked_body_in_any_parts(body: list[bytes], cuts: list[int], behind: bytes) -> None:
    """The same payload, and what lies behind is not touched."""
    reader = framing(None)
    data = b"".join(map(chunk, body)) + LAST_CHUNK
    assert feed(reader, data + behind, cuts) == (b"".join(body), behind)
    assert reader.done


@given(st.binary(max_size=60), st.lists(st.integers(0, 1_000), max_size=10), st.binary(max_size=20))
def test_a_body_of_known_length_in_any_parts(body: bytes, cuts: list[int], behind: bytes) -> None:
    """A length of 0 is done from the start."""
    reader = framing(len(body))
    if not body:
        assert reader.done
        return
    assert feed(reader, body + behind, cuts) == (body, behind)
    assert reader.done


@given(st.binary(max_size=60), st.lists(st.integers(0, 1_000), max_size=10))
def test_garbage_is_refused_the_same_in_any_parts(data: bytes, cuts: list[int]) -> None:
    """How it is cut makes no difference to what is read."""

    def outcome(cuts: list[int]) -> tuple[bytes, bytes, bool] | str:
        reader = Chunked()
        try:
            return *feed(reader, data, cuts), reader.done
        except BodyError as error:
            return str(error)

    assert outcome(cuts) == outcome([])


@pytest.mark.parametrize(
    "data",
    [
        *(b"\r\n", b"x\r\n", b"-1\r\n", b"+1\r\n", b" 1\r\n", b"1 \r\n", b"1;a=b\r\n", b"0x1\r\n", b"1\n", b"1" * 30),
        *(b"1\r\nab\r\n", b"1\r\na\n", b"1\r\naX\r\n", b"f" * 16 + b"\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n\n"),
    ],
)
def test_what_is_not_a_chunk_is_refused(data: bytes) -> None:
    """Extensions and trailers among them."""
    with pytest.raises(BodyError):
        Chunked().take(data)
