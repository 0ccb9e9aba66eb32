"""Words of others on the way to a log or a terminal."""

from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.plain import CHARS, plain
from sentry_runtime.uem.link import LinkBusyError, LinkDownError, LinkRefusedError
from sentry_runtime.uem.trail import DETAIL_CHARS, Audit, writer


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the UEM answered 403: no", "the UEM answered 403: no"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("\x1b]0;mine\x07\x1b[2Jall is well", "<1B>]0;mine<7><1B>[2Jall is well"),
        ("one\r\nuem_up", "one<D><A>uem_up"),
        ("\x9b31m", "<9B>31m"),
        ("a\u202eb\u2028c", "a<202E>b<2028>c"),
        ("", ""),
    ],
)
def test_what_moves_a_terminal_is_shown_by_its_number(text: str, shown: str) -> None:
    """Also what an 8-bit terminal takes, and what turns the direction of writing."""
    assert plain(text) == shown


@given(st.text(max_size=2 * CHARS), st.integers(1, CHARS))
def test_it_is_always_printable_and_has_an_end(text: str, most: int) -> None:
    """Whatever it was; and what was fit stays as it is."""
    shown = plain(text, most)
    assert shown.isprintable()
    assert len(shown) <= most
    if text.isprintable() and len(text) <= most:
        assert shown == text
    assert plain(shown, most) == shown


@pytest.mark.parametrize("kind", [LinkRefusedError, LinkBusyError, LinkDownError])
def test_no_error_of_the_link_brings_them_further(kind: type[Exception]) -> None:
    """Wherever it is shown then: the audit trail, `show agent`, a refused command."""
    words = str(kind("the UEM answered 403: \x1b[2J" + "x" * 4_000_000))
    assert words.startswith("the UEM answered 403: <1B>[2Jx")
    assert len(words) == CHARS


def test_an_audit_line_has_none_either() -> None:
    """What a UEM pushes has its own way there."""

    trail = Mock()
    audit: Audit = writer(trail)
    audit("uem_push_refused", detail="unknown field `\x9b31m` " + "x" * 5_000, by="anna\n")
    line = trail.write.call_args.args[0]
    assert line.detail.startswith("unknown field `<9B>31m` ")
    assert (len(line.detail), line.by) == (DETAIL_CHARS, "anna<A>")
