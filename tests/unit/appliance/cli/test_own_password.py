"""One's own password at the command line, and a session whose password is older than it may be."""

import pytest

from appliance.configd.ages import DAY
from appliance.configd.passwords import hashed, verify
from tests.unit.appliance.cli.desk import HOST, Configd, Dialogue, Run
from tests.unit.appliance.workbench import PASSWORDS, Daemon

NOW, NEW = PASSWORDS["alice"], "Another-Secret-12345"
TOLD = "Your password is older than it may be."


@pytest.fixture
def old(configd: Configd) -> Daemon:
    """Alice has had her password for sixty days, which is as long as it lives."""
    return aged(configd.daemon, 60)


def aged(daemon: Daemon, lifetime_days: int) -> Daemon:
    """Sixty days after she got it."""
    held = daemon.running()
    policy = {**held["users"]["password_policy"], "lifetime_days": lifetime_days}
    users = {**held["users"], "password_policy": policy}
    users["accounts"] = {"alice": {**users["accounts"]["alice"], "password_hash": daemon.vault.keep(hashed(NOW))}}
    daemon.commit({**held, "users": users})
    daemon.clock.now += 60 * DAY
    return daemon


def is_hers(daemon: Daemon, password: str) -> bool:
    return verify(password, daemon.vault.reveal(daemon.running()["users"]["accounts"]["alice"]["password_hash"]))


def test_until_there_is_a_new_password_every_command_is_refused(old: Daemon, cli: Run) -> None:
    done = cli("-c", "show version")
    assert done.returncode == 1
    assert TOLD in done.stderr
    assert "set a new one first (at the command line with `password`)" in done.stderr
    assert done.stdout == ""


def test_a_script_sets_it_and_goes_on(old: Daemon, cli: Run) -> None:
    done = cli(stdin=f"password\n{NOW}\n{NEW}\n{NEW}\nshow version\n")
    assert (done.returncode, "Your password is set" in done.stdout) == (0, True), done.stderr
    assert "version" in done.stdout
    assert is_hers(old, NEW)
    assert NEW not in done.stdout + done.stderr
    assert TOLD not in cli("-c", "show version").stderr


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (f"guess\n{NEW}\n{NEW}\n", "your present password is wrong"),
        (f"{NOW}\n{NEW}\nanother\n", "The two are not the same"),
        (f"{NOW}\nshort\nshort\n", "shorter than 15 characters"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(old: Daemon, cli: Run, answers: str, words: str) -> None:
    done = cli(stdin=f"password\n{answers}")
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert is_hers(old, NOW)


def test_at_a_terminal_it_is_asked_for_at_once(old: Daemon, configd: Configd) -> None:
    """And what is typed is not shown."""
    dialogue = Dialogue(configd.path)
    dialogue.expect(r"Your present password:\s*$")
    dialogue.send(f"{NOW}\r")
    dialogue.expect(r"New password:\s*$")
    dialogue.send(f"{NEW}\r")
    dialogue.expect(r"Once more:\s*$")
    dialogue.send(f"{NEW}\r")
    dialogue.expect(rf"(?s)Your password is set.*{HOST}>\s*$")
    assert NOW not in dialogue.raw
    assert NEW not in dialogue.raw
    dialogue.send("exit\r")
    assert dialogue.end() == 0
    assert is_hers(old, NEW)


def test_whoever_wants_to_sets_it_at_any_time(configd: Configd, cli: Run) -> None:
    """With the one there is."""
    aged(configd.daemon, 0)
    done = cli(stdin=f"password\n{NOW}\n{NEW}\n{NEW}\n")
    assert done.returncode == 0, done.stderr
    assert is_hers(configd.daemon, NEW)
