"""The parity table: what it names is there, what is not there has its reason, and no reason outlives its cause."""

import re
from pathlib import Path

import pytest

from appliance import parity
from appliance.cli import ios, table
from appliance.cli.command import Mode, build
from appliance.cli.grammar import match
from appliance.config.reference import settings
from appliance.config.schema import Schema
from appliance.configd import facts
from appliance.features import FEATURES
from appliance.parity import PARTS, Row
from appliance.portal import places
from appliance.portal.routes import routes
from appliance.rest.operations import BY_NAME
from tests.unit.appliance.cli.test_table import grammar

REPO = Path(__file__).parents[3]
ROWS = [row for part in PARTS for row in part.rows]
NAMES = [f"{part.title}: {row.what}" for part in PARTS for row in part.rows]
SAMPLES = {"minutes": "5", "vlan": "5", "revision": "1", "lines": "0", "days": "5", "port": "1", "seconds": "5"}


def typed(syntax: str) -> str:
    """A line that the syntax stands for: the first of several words, and something for each argument."""
    words = (SAMPLES.get(part.strip("<>"), "x") if "<" in part else part.split("|")[0] for part in syntax.split())
    return " ".join(words)


def test_the_committed_page_is_what_the_table_says_today() -> None:
    """`python -m appliance.parity > docs/parity.md` after a change."""
    assert (REPO / "docs" / "parity.md").read_text() == parity.page()


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_no_cell_is_empty(row: Row) -> None:
    assert len(parity.cli_cell(row)) > 3
    assert len(parity.ansible_cell(row)) > 3
    assert len(parity.portal_cell(row)) > 3
    assert len(parity.rest_cell(row)) > 3


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_what_is_named_is_there_or_has_its_reason(row: Row) -> None:
    assert not parity.missing(row) or row.until, parity.missing(row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.until], ids=lambda row: row.what)
def test_a_reason_goes_when_its_cause_is_gone(row: Row) -> None:
    """Then the row names what is there, and `until` is to be removed."""
    assert parity.missing(row) or not (row.settings or row.commands)


@pytest.mark.parametrize(
    "syntax", sorted({each for row in ROWS for name in row.commands for each in parity.commands_of(name)})
)
def test_every_command_parses_in_the_grammar_of_some_mode(syntax: str) -> None:
    line = typed(syntax)
    assert any(_parses(mode, line) for mode in Mode), line


def _parses(mode: Mode, line: str) -> bool:
    try:
        match(grammar(mode), line)
    except ValueError:
        return False
    return True


def test_every_operation_of_rest_is_in_some_row_and_every_row_names_operations_that_are_there() -> None:
    """But what the whole configuration is written with, which stands at every setting, and what tells about the API itself."""
    named = {name for names in parity.REST.values() for name in names}
    assert named <= set(BY_NAME)
    assert set(BY_NAME) - named == {"read_config", "merge_config", "facts", "topics", "openapi", "docs"} - named
    assert {name for row in ROWS for name in row.commands if name in parity.REST} == set(parity.REST)
    assert set(parity.NO_REST) <= {row.what for row in ROWS}


def test_every_setting_is_a_command_of_config_mode() -> None:
    """And so a key of `appliance_config`, which takes what the schema takes."""
    words = {node.word for node in grammar(Mode.CONFIG)}
    named = {setting for row in ROWS for setting in row.settings if parity.has_setting(setting)}
    assert len(named) > 30
    assert {setting.partition(".")[0] for setting in named} <= words


def test_every_topic_that_ansible_is_pointed_to_is_one_of_configds() -> None:
    known = {*facts.TOPICS, *parity.CONFIGURATION.values()}
    cells = [parity.ansible_cell(row) for row in ROWS]
    said = {word for cell in cells for word in re.findall(r"`appliance_facts`: ([^;]+)", cell)}
    topics = {topic for listed in said for topic in listed.split(", ")}
    assert len(topics) > 30
    assert topics <= known


def test_every_page_that_is_named_is_served_by_the_portal() -> None:
    """And no reason stands where a page has come."""
    cells = [parity.portal_cell(row) for row in ROWS]
    named = {word.partition("?")[0] for cell in cells for word in re.findall(r"`(/[^`]*)`", cell)}
    served = {route.path for route in routes(Schema(FEATURES))}
    features = {f"/settings/{feature.name}" for feature in FEATURES}
    assert len(named) > 20
    assert named <= served | features
    assert {*places.PAGES.values()} <= served
    assert not [words for words in (*places.PAGES, *places.NONE) if not _starts_some(words)]


def _starts_some(words: str) -> bool:
    return any(each == words or each.startswith(f"{words} ") for each in parity.syntaxes())


def test_every_setting_of_the_schema_is_in_some_row() -> None:
    """A new feature is not forgotten here."""
    named = tuple(setting for row in ROWS for setting in row.settings)
    paths = [path for feature in FEATURES for path, _rules in settings(feature.name, feature.schema)]
    assert len(paths) > 100
    assert [path for path in paths if not path.startswith(named)] == []


def test_what_comes_with_other_parts_is_found_as_soon_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(what="x", commands=("attest …",), settings=("nothing.here",), until="later")
    assert parity.missing(row) == ("nothing.here", "attest …")
    assert parity.cli_cell(row) == parity.ansible_cell(row) == "later"
    monkeypatch.setattr(parity, "syntaxes", lambda: ("attest machine <name>",))
    assert parity.missing(row) == ("nothing.here",)
    assert parity.cli_cell(row) == "`attest …`"


def test_no_words_of_other_routers_are_left_out_of_the_grammar() -> None:
    for mode in Mode:
        behind = [each for each in ios.NO_COMMANDS if mode in each.modes]
        tree = build(behind, table.WORDS, table.ARGUMENTS)
        assert all(node.help for node in tree)
