"""The name in a bearer token."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.bearer import NAME_CLAIMS, BearerError, name


def token(payload: bytes, *, header: bytes = b"e30", signature: bytes = b"c2ln") -> bytes:
    """A token with this payload."""
    return b".".join((header, base64.urlsafe_b64encode(payload).rstrip(b"="), signature))


def claims(**given: object) -> bytes:
    """A token with these claims."""
    return token(json.dumps(given).encode())


@pytest.mark.parametrize("first", range(len(NAME_CLAIMS)))
def test_the_first_claim_of_the_table_counts(first: int) -> None:
    """Whatever stands where in the token."""
    given = {claim: claim for claim in reversed(NAME_CLAIMS[first:])}
    assert name(claims(sub="x", **given)) == NAME_CLAIMS[first]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "token_opaque"),
        (b"opaque", "token_opaque"),
        (b"a.b", "token_opaque"),
        (b"a.b.c.d.e", "token_opaque"),  # an encrypted one
        (b"a.b=.c", "token_opaque"),
        (b"a.b c.d", "token_opaque"),
        (b".e30.c", "token_opaque"),
        (b"a..c", "token_opaque"),
        (b"a.A.c", "token_malformed"),
        (token(b"{"), "token_malformed"),
        (token(b"\xff"), "token_malformed"),
        (token(b"[]"), "token_malformed"),
        (token(b"null"), "token_malformed"),
        (token(b"[" * 10_000), "token_malformed"),
        (token(b'{"upn":"\\ud800"}'), "token_malformed"),
        (claims(), "token_without_name"),
        (claims(sub="anna"), "token_without_name"),
        (claims(upn=""), "token_malformed"),
        (claims(upn=None, email="anna@lab.test"), "token_malformed"),
        (claims(upn=["anna"]), "token_malformed"),
    ],
)
def test_what_is_refused(sent: bytes, reason: str) -> None:
    """A claim that is there and is no name is not passed over for the next one."""
    with pytest.raises(BearerError, match=f"^{reason}$"):
        name(sent)


@given(st.binary(max_size=100))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    """Never anything else."""
    for sent in (payload, token(payload)):
        with contextlib.suppress(BearerError):
            assert name(sent)
