"""What the installed password policy refuses: one rule for each property a password must have."""

import pytest

from stig.facts import Facts
from stig.judge import passwords as judge
from stig.parse import pam
from stig.recorder import Prove

CHANGING_SERVICES = ("passwd", "sshd")  # a password is changed by passwd(1), and over SSH when it has expired


def _policy(facts: Facts, lacks: str) -> judge.Policy:
    services = pam.files(facts.lines("pam"))
    stacks = {service: pam.stack(services, service, "password") for service in CHANGING_SERVICES}
    return judge.Policy(lacks, _try(facts, "good"), _try(facts, lacks), stacks)


def _try(facts: Facts, candidate: str) -> judge.Tried:
    answer = facts.answer(f"pwscore_{candidate}")
    return judge.Tried(answer.status == 0, " ".join((answer.errors or answer.output).split()))


@pytest.mark.stig("V-250989")
def test_a_password_of_14_characters_is_refused(facts: Facts, prove: Prove) -> None:
    """At least 15 characters."""
    prove(judge.policy(_policy(facts, "length")))


@pytest.mark.stig("V-250990")
def test_a_password_without_an_upper_case_letter_is_refused(facts: Facts, prove: Prove) -> None:
    """At least one upper-case letter."""
    prove(judge.policy(_policy(facts, "upper")))


@pytest.mark.stig("V-250991")
def test_a_password_without_a_lower_case_letter_is_refused(facts: Facts, prove: Prove) -> None:
    """At least one lower-case letter."""
    prove(judge.policy(_policy(facts, "lower")))


@pytest.mark.stig("V-250992")
def test_a_password_without_a_digit_is_refused(facts: Facts, prove: Prove) -> None:
    """At least one digit."""
    prove(judge.policy(_policy(facts, "digit")))


@pytest.mark.stig("V-250993")
def test_a_password_without_a_special_character_is_refused(facts: Facts, prove: Prove) -> None:
    """At least one special character."""
    prove(judge.policy(_policy(facts, "special")))
