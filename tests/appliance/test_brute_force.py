"""Guessing at the doors of the running appliance: three failures lock, for account and source, and it is audited (V-250986)."""

import json
from collections.abc import Iterator

import pytest

from tests.appliance.knocking import calm, console, forget, knock, second_address
from tests.lab import Lab

pytestmark = pytest.mark.appliance

WRONG = "Wrong-Password-12345"


@pytest.fixture(autouse=True)
def _forgotten(lab: Lab) -> Iterator[None]:
    forget(lab)
    yield
    forget(lab)


def lines(lab: Lab, event: str) -> list[dict[str, str]]:
    """What the audit trail says of log-ins. sudo writes down what it was asked to do: its own lines must not match."""
    said = lab.root("grep", "-h", r" sentry-tally\[[0-9]*\]: {", "/var/log/auth.log", check=False).stdout.splitlines()
    entries = [json.loads(line[line.index("{") :]) for line in said]
    return [one for one in entries if one["event"] == event]


def test_three_failures_over_ssh_lock_the_account_for_that_address_and_nowhere_else(lab: Lab) -> None:
    """The right password is refused then; from elsewhere, by key and at the console it is not."""
    before = len(lines(lab, "login.locked"))
    assert [knock(lab, WRONG) for _ in range(3)] == [False] * 3
    assert not knock(lab, lab.admin.password)
    with second_address() as elsewhere:
        assert knock(lab, lab.admin.password, source=elsewhere)
    calm(lab)  # by key one gets in
    with console() as here:
        assert here.log_in(lab.admin.user, lab.admin.password)
        assert "Debian" in here.do("show version", r"[A-Za-z0-9-]+>\s*\Z")
    locked = lines(lab, "login.locked")[before:]
    assert [(one["user"], one["source"], one["result"]) for one in locked] == [
        (lab.admin.user, "10.98.2.1 sshd", "locked")
    ]
    assert lines(lab, "login.refused")[-1]["source"] == "10.98.2.1 sshd"
    assert '"event":"login.locked"' in lab.cli("enable", lab.enable_secret, "show log").stdout


def test_three_failures_at_the_console_lock_the_console_and_not_the_network(lab: Lab) -> None:
    with console() as here:
        assert [here.log_in(lab.admin.user, WRONG) for _ in range(3)] == [False] * 3
    with console() as here:
        assert not here.log_in(lab.admin.user, lab.admin.password)
    assert knock(lab, lab.admin.password)
    assert lines(lab, "login.locked")[-1]["source"] == "console login"


@pytest.mark.slow
def test_who_gets_it_right_in_time_starts_afresh(lab: Lab) -> None:
    for _ in range(2):
        assert [knock(lab, WRONG) for _ in range(2)] == [False] * 2
        assert knock(lab, lab.admin.password)


@pytest.mark.slow
def test_a_name_that_is_no_account_is_refused_alike_and_counted_nowhere(lab: Lab) -> None:
    assert not any(knock(lab, WRONG, user="mallory") for _ in range(4))
    calm(lab)
    assert lab.root("ls", "/run/sentry-tally").stdout.split() == []


def test_the_counts_are_root_s_alone(lab: Lab) -> None:
    assert not knock(lab, WRONG)
    calm(lab)
    shown = lab.root("stat", "-c", "%a %U:%G", "/run/sentry-tally", f"/run/sentry-tally/{lab.admin.user}").stdout
    assert shown.splitlines() == ["700 root:root", "600 root:root"]


def test_no_account_of_the_appliance_has_a_password_that_came_with_it(lab: Lab) -> None:
    """There is no bootstrap to close: before the first configuration root alone has a session of configd, and nobody but the
    automation account, with its key, can log in. Every password is one of the site's."""
    hashes = dict(line.split(":")[:2] for line in lab.root("cat", "/etc/shadow").stdout.splitlines())
    with_password = {name for name, found in hashes.items() if found.startswith("$")}
    configured = json.loads(lab.root("/usr/lib/sentry/bin/sentry-configctl", "get").stdout)["users"]["accounts"]
    assert with_password == {name for name, account in configured.items() if account.get("password_hash")}
    assert "" not in hashes.values()
