"""The rules of the operating system: what a hardened appliance answered is no finding, and each way to break a rule is one."""

import pytest

from tests.boot import kernel_breaks
from tests.stig import platform_breaks
from tests.unit.stig.fact_breaks import (
    BREAKS,
    CONTAINER,
    NO_CONTAINER,
    VERDICTS,
    Break,
    Texts,
    ended,
    hardened,
    recorded,
)

# What sites/stig.yml does not meet, and sites/stig-answers.yml says why.
EXCEPTIONS = {"SENTRY-OS-0222"}


@pytest.fixture(scope="module")
def good() -> Texts:
    """What a machine answers that meets every rule."""
    return hardened()


def test_every_rule_that_is_decided_has_a_break() -> None:
    """And no break is of a rule that is not there."""
    assert {rule for rule, _ in BREAKS} == VERDICTS.keys() == platform_breaks.AUTOMATED


def test_a_container_that_meets_every_rule_shows_what_a_container_can() -> None:
    """As recorded: open is what stands in the site's answers as an exception, and not known what its host has."""
    texts = recorded()
    status = {rule: ended(rule, texts, CONTAINER) for rule in VERDICTS}
    assert {rule for rule, found in status.items() if found == "open"} == EXCEPTIONS
    assert {rule for rule, found in status.items() if found == "not_reviewed"} == kernel_breaks.BROKEN
    assert set(status.values()) == {"open", "not_reviewed", "not_a_finding"}


def test_a_machine_that_meets_every_rule_has_no_finding() -> None:
    """With a kernel of its own nothing is left undecided."""
    texts = hardened()
    assert {rule: ended(rule, texts, NO_CONTAINER) for rule in VERDICTS} == dict.fromkeys(VERDICTS, "not_a_finding")


@pytest.mark.parametrize(
    ("rule", "broken"), [pytest.param(rule, one, id=f"{rule}-{place}") for place, (rule, one) in enumerate(BREAKS)]
)
def test_a_broken_rule_is_open(rule: str, broken: Break, good: Texts) -> None:
    """One way to break it at a time."""
    texts = good | {broken.fact: broken.change(good[broken.fact])}
    assert texts[broken.fact] != good[broken.fact]
    assert ended(rule, texts, NO_CONTAINER) == "open"


def test_a_machine_that_is_no_image_has_its_boot_menu_in_boot(good: Texts) -> None:
    """Debian's grub-mkconfig writes it there."""
    own = 'set superusers="root"\npassword_pbkdf2 root grub.pbkdf2.sha512.10000.AB.CD\n'
    assert ended("SENTRY-OS-1205", good | {"boot_loader": own, "boot_menu": ""}, NO_CONTAINER) == "not_a_finding"


@pytest.mark.parametrize("command", ["md5", "sha256"])
def test_what_openssl_takes_and_refuses_is_looked_at(command: str, good: Texts) -> None:
    """SENTRY-OS-1101: MD5 that is taken, and SHA-256 that is not."""
    statuses = NO_CONTAINER | ({"md5": 0} if command == "md5" else {"sha256": 1})
    assert ended("SENTRY-OS-1101", good, statuses) == "open"
