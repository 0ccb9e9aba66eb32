"""How many sessions an administrator may have, and how long they may be idle."""

import msgspec
import pytest

from stig.answers import Answers
from stig.errors import FactError
from stig.facts import Facts
from stig.judge import sessions as judge
from stig.parse import words
from stig.probe import ssh
from stig.recorder import Prove, answered_or_tried

SHOW_TIMEOUT = "show timeout"
_SPARE = 2  # sessions tried beyond the site's number, so that a higher limit shows as one


class Timeout(msgspec.Struct, frozen=True):
    """`show timeout | json`."""

    facts: dict[str, str]

    def of(self, name: str) -> str:
        """One value; `FactError` when the command line does not show it."""
        if name not in self.facts:
            raise FactError(f"CLI {SHOW_TIMEOUT!r}: shows no {name!r}")
        return self.facts[name]


class PortalIdleFile(msgspec.Struct, frozen=True):
    """What the portal's settings say about idle time."""

    idle_minutes: int


@pytest.mark.stig("V-250982")
def test_the_session_after_the_last_allowed_one_is_refused(facts: Facts, given: Answers | None, prove: Prove) -> None:
    """The site's number of command-line sessions can be open at once, and one more is refused; without a number of the site's,
    any that the rule allows."""
    answered_or_tried(given, facts)
    shown = facts.cli_data(SHOW_TIMEOUT, Timeout).of("CLI sessions at once")
    site = given.max_cli_sessions if given else None
    most = judge.HIGHEST if site is None else site
    opened = ssh.open_until_refused(facts.machine.target, most + _SPARE, lambda: _present(facts))
    prove(judge.session_limit(judge.SessionLimit(site, shown, opened.sessions, opened.present, opened.refusal)))


def _present(facts: Facts) -> int:
    """How many command lines run on the machine at this moment, whoever opened them."""
    printed = facts.answer("cli_processes").output.strip()  # its exit status is 1 when it counts none
    if not printed.isdigit():
        raise FactError(f"{facts.command('cli_processes')}: printed {printed!r}, expected a number")
    return int(printed)


@pytest.mark.stig("V-250984")
def test_an_idle_portal_session_ends_after_15_minutes(facts: Facts, prove: Prove) -> None:
    """Exactly 15 minutes, as configd enforces it and as the portal's file says."""
    enforced = facts.cli_data(SHOW_TIMEOUT, Timeout).of("portal session timeout (minutes)")
    prove(judge.portal_idle(judge.PortalIdle(enforced, facts.struct("portal", PortalIdleFile).idle_minutes)))


@pytest.mark.stig("V-250996")
def test_an_idle_cli_session_is_cut_after_10_minutes(facts: Facts, prove: Prove) -> None:
    """Exactly 10 minutes in the CLI, and in sshd, which releases the connection."""
    shown = facts.cli_data(SHOW_TIMEOUT, Timeout).of("CLI session timeout (minutes)")
    line = words.settings(facts.lines("sshd")).get("channeltimeout", "")
    prove(judge.cli_idle(judge.CliIdle(shown, judge.session_channel_seconds(line), line)))
