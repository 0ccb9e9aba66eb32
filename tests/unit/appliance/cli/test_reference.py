"""The CLI's page under docs/ is the command table's, not somebody's memory of it."""

from appliance.cli.reference import page
from appliance.cli.table import COMMANDS
from tests.unit.appliance.cli.desk import REPO


def test_the_committed_page_is_what_the_table_says_today() -> None:
    """`python -m appliance.cli.reference > docs/cli.md` after a change."""
    assert (REPO / "docs" / "cli.md").read_text() == page()


def test_every_command_is_on_the_page() -> None:
    text = page()
    helps = [command.help for command in COMMANDS if "<secret>" not in command.syntax]
    assert len(helps) > 60
    assert [each for each in helps if each not in text] == []
