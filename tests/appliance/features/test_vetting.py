"""The golden files of `tests/unit/appliance/features`, vetted by the appliance's own daemons."""

from pathlib import Path

import pytest

from appliance.features import FEATURES
from appliance.features.base import Check
from tests.lab import Lab

pytestmark = pytest.mark.appliance

GOLDEN = Path(__file__).parents[2] / "unit" / "appliance" / "features" / "golden"
SITES = sorted(folder.name for folder in GOLDEN.iterdir())
CHECKS = [check for feature in FEATURES for check in feature.checks]
STAGED = "/run/sentry-vetting"


def test_there_is_something_to_vet() -> None:
    """Four daemons have a checker, and there are two sites."""
    assert sorted(check.argv[0] for check in CHECKS) == ["chronyd", "nft", "rsyslogd", "sshd"]
    assert len(SITES) == 2


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("check", CHECKS, ids=[check.argv[0] for check in CHECKS])
def test_the_daemons_own_checker_accepts_the_file(check: Check, site: str, lab: Lab) -> None:
    """As a commit runs it, on Debian 13, with the appliance's accounts."""
    (path,) = check.needs
    text = (GOLDEN / site / f"{path.lstrip('/')}.golden").read_text().partition("\n")[2]
    lab.root("install", "-m", "0600", "/dev/stdin", STAGED, stdin=text)
    try:
        done = lab.root(*(word.replace(f"{{{path}}}", STAGED) for word in check.argv), check=False)
        assert done.code == 0, done.stderr
    finally:
        lab.root("rm", "-f", STAGED)


@pytest.mark.parametrize("check", CHECKS, ids=[check.argv[0] for check in CHECKS])
def test_the_daemons_own_checker_refuses_what_is_broken(check: Check, lab: Lab) -> None:
    """So that the test above means something."""
    (path,) = check.needs
    lab.root("install", "-m", "0600", "/dev/stdin", STAGED, stdin="no such directive\n")
    try:
        done = lab.root(*(word.replace(f"{{{path}}}", STAGED) for word in check.argv), check=False)
        assert done.code != 0
    finally:
        lab.root("rm", "-f", STAGED)
