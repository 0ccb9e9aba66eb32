"""What goes wrong while the running appliance is being configured: the old revision stands, and the error says where and what."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from images.guest import wait_for
from tests.appliance.terminal import Terminal, connected
from tests.lab import Lab
from tests.screen import PROMPT

pytestmark = pytest.mark.appliance

JOURNAL = "/var/lib/sentry/config/journal.json"
DROPIN = "/run/systemd/system/ssh.service.d/broken.conf"
ONCE = "/run/sentry-broken-once"
GRACE = "login_grace_seconds"


def running(lab: Lab) -> dict[str, Any]:
    """The configuration that runs."""
    tree: dict[str, Any] = json.loads(lab.root("/usr/lib/sentry/bin/sentry-configctl", "get").stdout)
    return tree


def in_effect(lab: Lab) -> int:
    """The grace time that sshd itself reads."""
    words = dict(line.split(maxsplit=1) for line in lab.root("sshd", "-T").stdout.splitlines() if " " in line)
    return int(words["logingracetime"])


def configure(lab: Lab, *lines: str, check: bool = True) -> str:
    """Type these in CONFIG mode; what was said."""
    done = lab.cli("enable", lab.enable_secret, "configure terminal", *lines, check=check)
    return done.stdout + done.stderr


def whole(lab: Lab) -> None:
    """sshd has what the running revision says, and no commit is half done."""
    assert in_effect(lab) == running(lab)["ssh"][GRACE]
    assert lab.root("test", "-e", JOURNAL, check=False).code != 0


def recoveries(lab: Lab) -> int:
    """How many interrupted commits the trail tells of."""
    return int(lab.root("grep", "-c", '"event":"config.recovered"', "/var/log/auth.log", check=False).stdout)


@pytest.fixture(autouse=True)
def _as_before(lab: Lab) -> Iterator[None]:
    before = running(lab)["ssh"][GRACE]
    yield
    configure(lab, f"ssh {GRACE} {before}", "commit")
    whole(lab)


@contextmanager
def broken_once(lab: Lab) -> Iterator[None]:
    """sshd does not come back from its next reload; the one after works."""
    lab.root("install", "-d", DROPIN.rpartition("/")[0])
    lab.root("tee", DROPIN, stdin=f"[Service]\nExecReload=\nExecReload=/bin/sh -c '! rm {ONCE}'\n")
    lab.root("touch", ONCE)
    lab.root("systemctl", "daemon-reload")
    try:
        yield
    finally:
        lab.root("rm", "-f", DROPIN, ONCE)
        lab.root("systemctl", "daemon-reload")
        lab.root("systemctl", "reload", "ssh.service")


def test_a_daemon_that_does_not_come_back_brings_the_old_revision_back_and_is_named(lab: Lab) -> None:
    before, number = running(lab), lab.cli("enable", lab.enable_secret, "show revisions | json").stdout
    with broken_once(lab):
        said = configure(lab, f"ssh {GRACE} 41", "commit", check=False)
    assert "ssh: ssh.service (reload for /etc/ssh/sshd_config.d/50-sentry.conf)" in said
    assert f"in the commit: ssh.{GRACE}; the old revision stands again" in said
    assert running(lab) == before
    assert lab.cli("enable", lab.enable_secret, "show revisions | json").stdout == number
    whole(lab)


def test_killed_in_the_middle_of_a_commit_configd_comes_back_and_undoes_or_finishes_it(lab: Lab) -> None:
    """By the real systemd; at every single step in tests/unit/appliance/config/test_killed.py."""
    watch = f"until [ -e {JOURNAL} ]; do :; done; systemctl kill --signal=KILL sentry-configd.service; echo killed"
    before = recoveries(lab)
    killed: list[str] = []
    killer = threading.Thread(target=lambda: killed.append(lab.root("timeout", "60", "sh", "-c", watch).stdout))
    killer.start()
    configure(lab, f"ssh {GRACE} 42", "commit", check=False)
    killer.join()
    assert killed == ["killed\n"]
    wait_for(lambda: lab.cli("show version", check=False).code == 0 or None, "configd to come back")
    wait_for(
        lambda: lab.root("test", "-e", JOURNAL, check=False).code != 0 or None, "what was interrupted to be settled"
    )
    whole(lab)
    assert recoveries(lab) > before
    assert "Revision" in configure(lab, f"ssh {GRACE} 43", "commit")
    assert in_effect(lab) == 43


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_commit_that_waits_for_confirmation_survives_configd(lab: Lab, how: str) -> None:
    said = configure(lab, f"ssh {GRACE} 46", "commit confirmed 10")
    assert "unless you give `confirm`" in said
    if how == "restart":
        lab.root("systemctl", "restart", "sentry-configd.service")
    else:
        lab.root("systemctl", "kill", "--signal=KILL", "sentry-configd.service")
        wait_for(lambda: lab.cli("show version", check=False).code == 0 or None, "configd to come back")
    assert (
        f"revision {said.partition('Revision ')[2].split()[0]} by {lab.admin.user}"
        in lab.cli("show confirmation").stdout
    )
    assert in_effect(lab) == 46
    configure(lab, "confirm")
    assert "no" in lab.cli("show confirmation").stdout


def test_of_two_administrators_at_once_the_second_is_told_by_whom_it_was_changed(lab: Lab) -> None:
    with connected(lab) as first_client, connected(lab) as second_client:
        first, second = Terminal(first_client), Terminal(second_client)
        for terminal, value in ((first, 44), (second, 45)):
            terminal.expect(PROMPT)
            terminal.do("enable", r"secret:\s*\Z")
            terminal.answer(lab.enable_secret)
            terminal.do("conf t")
            terminal.do(f"ssh {GRACE} {value}")
        assert "Revision" in first.do("commit comment the first")
        refused = second.do("commit comment the second")
        assert f"the configuration changed meanwhile by {lab.admin.user}" in refused
        assert in_effect(lab) == 44
        second.do("discard")
        second.do(f"ssh {GRACE} 45")
        assert "Revision" in second.do("commit comment seen it")
    assert in_effect(lab) == 45


def reachable(lab: Lab) -> bool:
    """Whether a new connection from here gets to sshd."""
    try:
        with socket.create_connection((lab.address, lab.ssh.port), 2.0) as way:
            return bool(way.recv(4))
    except OSError:
        return False


def test_a_commit_that_would_cut_the_own_session_off_asks_first(lab: Lab) -> None:
    with connected(lab) as client:
        terminal = Terminal(client)
        terminal.expect(PROMPT)
        terminal.do("enable", r"secret:\s*\Z")
        terminal.answer(lab.enable_secret)
        terminal.do("conf t")
        terminal.do("firewall management_networks 10.98.77.0/24")
        terminal.do("no firewall management_networks 10.98.2.0/24")
        asked = terminal.do("commit", r"\[yes/no\]\s*\Z")
        assert "no network with 10.98.2.1, from where you are connected" in asked
        assert "Not done." in terminal.answer("no", shown=True)
        terminal.do("discard")
    assert reachable(lab)


@pytest.mark.slow
def test_what_cut_everybody_off_and_was_not_confirmed_returns_by_itself(lab: Lab) -> None:
    """The one who did it sees it too: their connection is an old one, and stays."""
    with connected(lab) as client:
        terminal = Terminal(client)
        terminal.expect(PROMPT)
        terminal.do("enable", r"secret:\s*\Z")
        terminal.answer(lab.enable_secret)
        terminal.do("conf t")
        terminal.do("firewall management_networks 10.98.77.0/24")
        terminal.do("no firewall management_networks 10.98.2.0/24")
        assert "unless you give `confirm`" in terminal.do("commit confirmed 1")
        assert not reachable(lab)
        started = time.monotonic()
        wait_for(lambda: reachable(lab) or None, "the way back", 120.0)
        assert time.monotonic() - started > 30.0
        assert "was not confirmed in time" in terminal.do("do show clock")
    whole(lab)
