"""The grammar by itself, on a tree of four commands."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.grammar import (
    AmbiguousWordError,
    Argument,
    BadArgumentError,
    GrammarError,
    IncompleteLineError,
    Node,
    Pipe,
    SecretOnLineError,
    UnknownWordError,
    choices,
    inside_quote,
    match,
    quote,
    tokenize,
)

Tree = tuple[Node[str], ...]


def word(text: str, *following: Node[str], action: str | None = None) -> Node[str]:
    return Node(word=text, help=f"Help of {text}", action=action, children=lambda _text: following)


def argument(given_: Argument, *following: Node[str], action: str | None = None) -> Node[str]:
    return Node(word="<>", help="Help", argument=given_, action=action, children=lambda _text: following)


def _number(text: str) -> str | None:
    return None if text.isdigit() else f"Found {text!r}; allowed: digits."


TREE: Tree = (
    word(
        "show",
        word("version", action="version"),
        word("FIPS", action="fips"),
        word("ip", word("route", action="route")),
    ),
    word("shutdown", action="shutdown"),
    word("interface", argument(Argument("NAME", suggest=lambda: ("mgmt0", "mgmt1")), action="enter")),
    word("interfaces", action="list"),
    word("wait", argument(Argument("seconds", refuse=_number), action="wait")),
    word("say", argument(Argument("text", rest=True), action="say")),
    word("password", argument(Argument("secret", secret=True)), action="password"),
)


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("show version", "version"),
        ("  sho  ver ", "version"),
        ("SHOW fips", "fips"),
        ("show Fi", "fips"),
        ("sho ip rou", "route"),
        ("interfaces", "list"),
        ("int mgmt0", "enter"),
        ("password", "password"),
    ],
)
def test_words_may_be_shortened_and_in_any_case(line: str, action: str) -> None:
    assert match(TREE, line)[0].action == action


@pytest.mark.parametrize(
    ("line", "error", "position", "candidates"),
    [
        ("sh", AmbiguousWordError, 0, ("show", "shutdown")),
        ("shw version", UnknownWordError, 0, tuple(node.word for node in TREE)),
        ("show  verbose", UnknownWordError, 6, ("version", "FIPS", "ip")),
        ("show", IncompleteLineError, 5, ("version", "FIPS", "ip")),
        ("show version now", UnknownWordError, 13, ("<cr>",)),
        ("wait long", BadArgumentError, 5, ("<seconds>",)),
        ("password hunter2", SecretOnLineError, 9, ()),
        ('say "so', GrammarError, 4, ()),
        ("show version |", IncompleteLineError, 15, ("include", "json")),
        ("show version | more", UnknownWordError, 15, ("include", "json")),
        ("show version | include", IncompleteLineError, 23, ("<WORD>",)),
        ("show version | json now", UnknownWordError, 20, ()),
        ("| json", IncompleteLineError, 0, tuple(node.word for node in TREE)),
    ],
)
def test_a_wrong_line_is_refused_at_the_word_at_fault_with_what_may_stand_there(
    line: str, error: type[GrammarError], position: int, candidates: tuple[str, ...]
) -> None:
    with pytest.raises(error) as raised:
        match(TREE, line)
    shown = tuple(node.shown for node in TREE) if candidates[:1] == ("show",) and len(candidates) > 2 else candidates
    assert (raised.value.position, raised.value.candidates) == (position, shown)


def test_arguments_are_taken_as_typed_and_quotes_hold_blanks_together() -> None:
    assert match(TREE, 'interface "a b"')[0].values == {"NAME": "a b"}
    assert match(TREE, "say  what |json  is".replace("|", ""))[0].values == {"text": "what json is"}


def test_an_argument_that_looks_like_a_keyword_can_be_quoted() -> None:
    with pytest.raises(UnknownWordError):
        match(TREE, '"show" version')


@pytest.mark.parametrize(
    ("line", "pipe"),
    [
        ("show version", Pipe()),
        ("show version | json", Pipe("json")),
        ("show version | inc foo", Pipe("include", "foo")),
        ('show version | include "a b"', Pipe("include", "a b")),
    ],
)
def test_a_pipe_filters(line: str, pipe: Pipe) -> None:
    assert match(TREE, line)[1] == pipe


@pytest.mark.parametrize(
    ("line", "begun", "words"),
    [
        ("", "", ["show", "shutdown", "interface", "interfaces", "wait", "say", "password"]),
        ("sh", "sh", ["show", "shutdown"]),
        ("sho ", "", ["version", "FIPS", "ip"]),
        ("show f", "f", ["FIPS"]),
        ("show version ", "", ["<cr>"]),
        ("interface ", "", ["<NAME>", "mgmt0", "mgmt1"]),
        ("interface mgmt1", "mgmt1", ["<NAME>", "mgmt1"]),
        ("password ", "", ["<secret>", "<cr>"]),
        ("say one two", "two", ["<text>"]),
        ("show version | ", "", ["include", "json"]),
        ("show version | include ", "", ["<WORD>"]),
        ("show version | json ", "", ["<cr>"]),
        ("nonsense", "nonsense", []),
    ],
)
def test_help_lists_what_may_stand_at_the_cursor_also_inside_a_word(line: str, begun: str, words: list[str]) -> None:
    found_begun, found = choices(TREE, line)
    assert (found_begun, [each.word for each in found]) == (begun, words)


def test_help_after_a_wrong_word_says_so() -> None:
    with pytest.raises(UnknownWordError):
        choices(TREE, "nonsense ")


def test_only_words_complete_place_holders_are_help() -> None:
    assert [each.word for each in choices(TREE, "interface ")[1] if each.completes] == ["mgmt0", "mgmt1"]


@given(st.text(max_size=40))
def test_what_is_quoted_is_one_word_again(text: str) -> None:
    assert [token.text for token in tokenize(quote(text))] == [text]


@given(st.text(alphabet='ab "\\|?\n', max_size=30))
def test_no_line_does_more_than_be_refused(line: str) -> None:
    for ask in (lambda: match(TREE, line), lambda: choices(TREE, line)):
        with contextlib.suppress(GrammarError):
            assert ask()


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(GrammarError, match="at most 65536"):
        match(TREE, "x" * 65_537)


@pytest.mark.parametrize(
    ("line", "inside"), [("say", False), ('say "a', True), ('say "a"', False), ('say "a\\"', True)]
)
def test_inside_a_quote_a_question_mark_is_text(line: str, inside: bool) -> None:  # noqa: FBT001
    assert inside_quote(line) is inside
