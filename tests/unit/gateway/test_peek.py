"""Which responses call for a Provision, by nothing but their heads and the beginning of their bodies."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas.query import COMMANDS
from sentry_runtime.eas.status import status_body
from sentry_runtime.gateway.forward import ResponseHead
from sentry_runtime.gateway.peek import PEEK_BYTES, call, wants

HORDE = bytes.fromhex("03016a00 0007 56 0000 4e 0331343200 01 01")  # FolderSync with the status on the page of Sync


def head(status: int, length: int | None = None, coding: str = "") -> ResponseHead:
    """A response's head."""
    fields = [(b"Content-Encoding", coding.encode())] if coding else []
    return ResponseHead(status, b"", fields, None if length is None else b"%d" % length)


@pytest.mark.parametrize("command", COMMANDS.values())
@pytest.mark.parametrize("status", [140, 142, 143, 144])
def test_each_commands_own_document_calls_by_its_status(command: str, status: int) -> None:
    """Wherever the status stands in it; compressed too."""
    body = status_body(command, status)
    if body is None:
        return
    packed = gzip.compress(body)
    for one, coding in ((body, ""), (body, "identity"), (packed, "gzip"), (packed, "X-GZIP")):
        assert wants(head(200, len(one), coding))
        assert call(head(200, len(one), coding), one) == status
        assert call(head(449, len(one), coding), one) == status


def test_a_449_calls_whatever_its_body() -> None:
    """None, no document, a longer one."""
    for body in (b"", b"<html>", b"x" * 5_000, status_body("Sync", 129) or b""):
        assert wants(head(449, len(body)))
        assert call(head(449, len(body)), body) == 142
    assert call(head(449), HORDE) == 142
    assert call(ResponseHead(449, b"", [], None, has_body=False), b"") == 142


@pytest.mark.parametrize("status", [1, 129, 132, 139, 141, 145, 177])
def test_every_other_status_is_an_answer(status: int) -> None:
    """Also those beside them."""
    body = status_body("FolderSync", status) or b""
    assert call(head(200, len(body)), body) is None


def test_only_the_smallest_bodies_are_waited_for() -> None:
    """And those of unknown size."""
    assert [wants(head(200, size)) for size in (0, 1, PEEK_BYTES, PEEK_BYTES + 1, 10**9)] == [
        *(False, True, True, False, False),
    ]
    assert wants(head(200))
    assert not wants(ResponseHead(200, b"", [], b"9" * 5_000))
    assert not wants(ResponseHead(200, b"", [], None, has_body=False))
    for status in (204, 304, 401, 403, 404, 500, 503):
        assert not wants(head(status, 10))


def test_a_document_that_is_longer_is_an_answer_whatever_it_says() -> None:
    """A status alone is never so long."""
    body = (status_body("FolderSync", 142) or b"") + bytes(PEEK_BYTES)
    assert call(head(200), body) is None


def test_a_compressed_body_is_opened_no_wider_than_it_must() -> None:
    """Nothing that grows, nothing that is cut, nothing of another coding."""
    bomb = gzip.compress(bytes(40_000))
    assert len(bomb) <= PEEK_BYTES
    assert call(head(200, len(bomb), "gzip"), bomb) is None
    body = status_body("FolderSync", 142) or b""
    assert call(head(200, 20, "gzip"), gzip.compress(body)[:-1]) is None
    assert call(head(200, 20, "gzip"), body) is None
    assert call(head(200, 20, "deflate"), body) is None


@given(st.binary(max_size=PEEK_BYTES + 5), st.sampled_from(["", "gzip"]))
def test_any_bytes_are_judged(body: bytes, coding: str) -> None:
    """Without an error, and as an answer unless they say otherwise."""
    assert call(head(200, len(body), coding), body) in (None, 140, 142, 143, 144)
