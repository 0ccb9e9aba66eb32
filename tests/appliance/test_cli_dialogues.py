"""A person at the CLI of the running appliance: modes, help, editing and committing the configuration."""

from collections.abc import Iterator

import pytest

from tests.appliance.terminal import Terminal, connected
from tests.lab import Lab
from tests.screen import PROMPT

pytestmark = pytest.mark.appliance

HOST = "gateway"


@pytest.fixture
def terminal(lab: Lab) -> Iterator[Terminal]:
    """At the first prompt."""
    with connected(lab) as client:
        opened = Terminal(client)
        opened.expect(PROMPT)
        yield opened


def enable(terminal: Terminal, lab: Lab) -> None:
    """Go privileged."""
    terminal.do("enable", r"secret:\Z")
    assert terminal.answer(lab.enable_secret).rstrip().endswith(f"{HOST}#")


def test_the_four_modes_and_their_prompts(terminal: Terminal, lab: Lab) -> None:
    assert terminal.do("show clock").endswith(f"{HOST}>")
    enable(terminal, lab)
    assert terminal.do("conf t").endswith(f"{HOST}(config)#")
    assert terminal.do("int mgmt0").endswith(f"{HOST}(config-if)#")
    assert terminal.do("exit").endswith(f"{HOST}(config)#")
    assert terminal.do("end").endswith(f"{HOST}#")
    terminal.send("logout\r")
    assert terminal.ended()


def test_help_and_completion_at_any_point(terminal: Terminal) -> None:
    terminal.send("show sentry ?")
    # The line as typed stands on the screen before the help comes, and again behind it.
    terminal.expect(rf"(?s)emm-source-verify.*{HOST}> show sentry\Z")
    terminal.send("dev?")
    terminal.expect(rf"(?s)device.*{HOST}> show sentry dev\Z")
    terminal.send("ices\r")
    terminal.expect(rf"(?s)(devices: none|last change).*{PROMPT}")
    terminal.send("sho\tvers\t\r")
    assert "Debian" in terminal.expect(rf"(?s)OpenSSL.*{PROMPT}")


def test_a_setting_is_edited_compared_committed_and_rolled_back(terminal: Terminal, lab: Lab) -> None:
    enable(terminal, lab)
    terminal.do("configure terminal")
    before = terminal.do("do show revisions | include *")
    number = before.split()[1]
    terminal.do("interface mgmt0")
    assert "Unknown word" in terminal.do("no such thing")
    terminal.do('description "Edited by a test"')
    said = terminal.do("diff")
    assert "- interfaces mgmt0 description Administrators" in said
    assert '+ interfaces mgmt0 description "Edited by a test"' in said
    assert "Revision" in terminal.do("commit comment a test of the CLI")
    assert "Edited by a test" in terminal.do("do show running-config | include mgmt0")
    assert "Revision" in terminal.do(f"rollback {number}")
    assert "description Administrators" in terminal.do("do show running-config | include mgmt0")


def test_a_wrong_value_is_refused_with_what_is_allowed(terminal: Terminal, lab: Lab) -> None:
    enable(terminal, lab)
    terminal.do("conf t")
    assert "allowed: a whole number from 1 to 65535" in terminal.do("portal port 0")
    assert "allowed: an IPv4 or IPv6 address" in terminal.do("dns servers not-an-address")
    assert "changes nothing" in terminal.do("diff")


def test_a_secret_on_the_line_is_refused(terminal: Terminal, lab: Lab) -> None:
    enable(terminal, lab)
    terminal.do("conf t")
    assert "A secret is never typed on the line" in terminal.do("username admin password Hunter-2-Hunter-2")


def test_no_key_leads_out_of_the_cli(terminal: Terminal, lab: Lab) -> None:
    """Keys that start an editor, a command or a suspended shell in other programs; the CLI has no child while it lives."""
    for keys in ("\x18\x05", "\x1b!id\r", "\x1a", "\x1c", "!sh\r"):
        terminal.send(f"{keys}\x03")
    # By what it prints, not by its echo: while the CLI is still busy with those keys the terminal echoes, too.
    terminal.send("show version\r")
    assert "Debian" in terminal.expect(rf"(?s)OpenSSL.*{PROMPT}")
    running = lab.root("pgrep", "-u", lab.admin.user, "-f", "/usr/lib/sentry/bin/sentry-cli").stdout.split()
    assert running
    for process in running:
        assert lab.root("pgrep", "-P", process, check=False).stdout == ""


@pytest.mark.slow
def test_an_idle_session_ends(terminal: Terminal) -> None:
    terminal.do("timeout 1")
    terminal.expect("The session ends: nothing was typed for 1 min[.]")
    assert terminal.ended()
