"""What is printed: for people, for programs, and never an instruction to the terminal."""

import json

import pytest

from appliance.cli import output
from appliance.cli.grammar import Pipe
from appliance.configd import api

HOSTILE = "\x1b]0;owned\x07\x9b2J\r\x08\u202e\u2028\ud800a"


@pytest.mark.parametrize("kind", ["", "include"])
@pytest.mark.parametrize(
    "shown",
    [
        api.Text(title="log", lines=(HOSTILE,)),
        api.Facts(title="device", facts=((HOSTILE, HOSTILE), ("two", f"lines\n{HOSTILE}"))),
        api.Table(title="devices", columns=("id",), rows=((HOSTILE,),)),
    ],
)
def test_no_character_from_outside_reaches_the_terminal_as_a_control(shown: api.Shown, kind: str) -> None:
    lines = list(output.through(output.shown(shown), Pipe(kind, "owned" if kind else "")))
    assert lines
    assert all(line.isprintable() for line in lines)
    assert "\\x1b]0;owned" in "".join(lines)


def test_json_escapes_what_it_holds() -> None:
    lines = list(output.through(output.shown(api.Text(title="log", lines=("\x1b\x7f\u202e",))), Pipe("json")))
    text = "\n".join(lines)
    assert text.isascii()
    assert "\x1b" not in text
    assert "\x7f" not in text
    assert json.loads(text)["lines"] == ["\x1b\x7f\u202e"]


def test_facts_stand_in_two_columns() -> None:
    facts = output.facts((("name", "gw1"), ("a longer name", "one\ntwo")))
    assert facts.lines == ("name           gw1", "a longer name  one", "               two")


def test_a_table_is_aligned_and_an_empty_one_says_so() -> None:
    assert output.table(("id", "state"), (("x", "allowed"), ("longer", ""))).lines == (
        "id      state",
        "------  -------",
        "x       allowed",
        "longer",
    )
    assert output.table(("id",), (), title="devices").lines == ("devices: none",)


def test_rows_become_objects_in_json() -> None:
    assert output.table(("id",), (("x",),), title="t").data == {"title": "t", "columns": ["id"], "rows": [{"id": "x"}]}


def test_include_keeps_the_lines_with_the_word_whatever_its_case() -> None:
    text = output.shown(api.Text(title="", lines=("One", "two", "tWo ONE")))
    assert list(output.through(text, Pipe("include", "one"))) == ["One", "tWo ONE"]
