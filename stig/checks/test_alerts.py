"""Who is told when auditing fails."""

import msgspec
import pytest

from stig.answers import Answers
from stig.errors import FactError
from stig.facts import Facts
from stig.judge import alerts as judge
from stig.recorder import NotReviewed, Prove


class _Sheet(msgspec.Struct, frozen=True):
    facts: dict[str, str]


class _Table(msgspec.Struct, frozen=True):
    rows: tuple[dict[str, str], ...]


def _alerts(facts: Facts) -> judge.Alerts:
    """What the running alert service says of itself."""
    told = facts.cli_data("show alerts delivery", _Sheet).facts
    missing = {"mail server", "recipients"} - set(told)
    if missing:
        raise FactError(f"CLI 'show alerts delivery': shows no {', '.join(sorted(missing))}")
    rows = facts.cli_data("show alerts ids", _Table).rows
    listed = () if told["recipients"] == judge.NONE else told["recipients"].split(", ")
    return judge.Alerts(
        told["mail server"], frozenset(listed), {row.get("alert", ""): row.get("action", "") for row in rows}
    )


def _people(answers: Answers) -> frozenset[str]:
    if not answers.alert_recipients:
        raise NotReviewed(
            "the site's answer file does not say who the ISSO, the ISSM and the SCA are (alert_recipients)"
        )
    return frozenset(answers.alert_recipients)


@pytest.mark.stig("V-250998")
def test_somebody_is_told_when_auditing_fails(facts: Facts, prove: Prove) -> None:
    """By mail, of every way in which it can fail."""
    prove(judge.audit_failure(_alerts(facts)))


@pytest.mark.stig("V-251021")
def test_the_people_whom_the_site_names_are_told(facts: Facts, answers: Answers, prove: Prove) -> None:
    """The ISSO, the ISSM and the SCA, as the running service has them."""
    prove(judge.named_people(_alerts(facts), _people(answers)))


@pytest.mark.stig("V-251035")
def test_nobody_else_is_told(facts: Facts, answers: Answers, prove: Prove) -> None:
    """These three and no other recipient."""
    prove(judge.nobody_else(_alerts(facts), _people(answers)))
