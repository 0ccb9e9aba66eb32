"""Failed log-ins are counted by account and source, before the password is looked at."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import tally
from appliance.failures import AT_ONE_DOOR, locked
from appliance.tally import Caller, Failure, Numbers, Tally, caller, is_locked, numbers, take
from tests.unit.appliance.workbench import Ledger

HERE = Path(__file__).parents[3]
ANNA = Caller("anna", "sshd", "192.0.2.7")
ELSEWHERE = Caller("anna", "sshd", "192.0.2.8")
CONSOLE = Caller("anna", "login", tally.HERE)
BY = Numbers()


def at(folder: Path, now: float, by: Numbers = BY) -> Tally:
    """The counts at this second after the start of the machine."""
    return Tally(folder, by, now=now)


def fail(folder: Path, who: Caller, times: int, now: float = 100.0) -> list[bool]:
    """So many attempts with a wrong password; which of them PAM was let look at."""
    return [at(folder, now).count(who) for _ in range(times)]


def test_three_failures_lock_the_account_for_their_source_and_nobody_else(tmp_path: Path) -> None:
    assert fail(tmp_path, ANNA, 4) == [True, True, True, False]
    assert at(tmp_path, 100.0).count(ELSEWHERE)
    assert at(tmp_path, 100.0).count(CONSOLE)
    assert at(tmp_path, 100.0).count(Caller("bert", "sshd", ANNA.source))


def test_the_lock_holds_for_its_time_from_the_last_failure(tmp_path: Path) -> None:
    for now in (0.0, 600.0, 800.0):
        assert at(tmp_path, now).count(ANNA)
    assert not at(tmp_path, 1_699.9).count(ANNA)
    assert at(tmp_path, 1_700.0).count(ANNA)


def test_failures_that_lie_too_far_apart_lock_nothing(tmp_path: Path) -> None:
    assert all(at(tmp_path, now).count(ANNA) for now in (0.0, 500.0, 1_000.0, 1_500.0, 2_000.0))


def test_attempts_while_it_is_locked_make_it_no_longer(tmp_path: Path) -> None:
    """Whoever knocks on must not keep somebody else at that address out for ever."""
    fail(tmp_path, ANNA, 3)
    assert not at(tmp_path, 999.0).count(ANNA)
    assert at(tmp_path, 1_000.0).count(ANNA)


def test_the_right_password_forgets_what_came_from_there_only(tmp_path: Path) -> None:
    fail(tmp_path, ANNA, 2)
    fail(tmp_path, ELSEWHERE, 2)
    at(tmp_path, 100.0).clear(ANNA)
    assert fail(tmp_path, ANNA, 3) == [True] * 3
    assert fail(tmp_path, ELSEWHERE, 2) == [True, False]


def test_a_crowd_locks_the_door_and_never_the_console(tmp_path: Path) -> None:
    crowd = [Caller("anna", "sshd", f"192.0.2.{number}") for number in range(10, 10 + AT_ONE_DOOR + 2)]
    for one in crowd[:AT_ONE_DOOR]:
        assert fail(tmp_path, one, 3) == [True] * 3
    assert not at(tmp_path, 100.0).count(crowd[-1])
    assert at(tmp_path, 100.0).count(Caller("anna", "sentry-portal", crowd[-1].source))
    assert at(tmp_path, 100.0).count(CONSOLE)


def test_the_console_locks_too(tmp_path: Path) -> None:
    assert fail(tmp_path, CONSOLE, 4) == [True, True, True, False]


def test_many_attempts_at_once_are_no_more_guesses(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        let_through = list(pool.map(lambda _one: at(tmp_path, 100.0).count(ANNA), range(64)))
    assert sum(let_through) == 3


def test_what_is_counted_is_bounded_and_root_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "tally"
    by = Numbers(attempts=16, seconds=3_600)
    for number in range(tally.LINES):
        at(folder, 100.0 + number / 100, by).count(Caller("anna", f"door{number}", "192.0.2.7"))
    at(folder, 200.0, by).count(ANNA)
    assert len((folder / "anna").read_text().splitlines()) == tally.LINES
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "anna").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "nonsense\n", "1e9 sshd x\n", "100.0 sshd\n", "\x00\xff\n", "100.0 sshd 192.0.2.7 more\n"]
)
def test_a_damaged_count_is_no_way_in_and_no_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "anna").write_bytes(f"{text}100.0 sshd 192.0.2.7\n100.0 sshd 192.0.2.7\n".encode("latin-1"))
    assert fail(tmp_path, ANNA, 2) == [True, False]


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "anna").symlink_to("victim")
    with pytest.raises(OSError, match="Too many levels"):
        at(tmp_path, 100.0).count(ANNA)
    assert (tmp_path / "victim").read_text() == "mine"


# --- what PAM and the configuration say --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("", tally.HERE),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8::8", "2001:db8::/64"),
        ("fe80::1%mgmt0", "fe80::/64"),
        ("host.example", "name:host.example"),
        ("a b\n100.0 sshd 192.0.2.9", "unknown"),
        ("console", "name:console"),
    ],
)
def test_a_source_is_one_word(remote: str, source: str) -> None:
    who = caller({"PAM_USER": "anna", "PAM_RHOST": remote, "PAM_SERVICE": "sshd"})
    assert who.source == source


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", Numbers(3, 900)),
        ("deny = 5\nfail_interval = 60\nunlock_time = 1200\n", Numbers(5, 1_200)),
        ("deny=4 # four\n", Numbers(4, 900)),
        ("deny = 0\nunlock_time = 0\n", Numbers(3, 900)),
        ("deny = many\nunlock_time = never\n", Numbers(3, 900)),
    ],
)
def test_the_numbers_are_those_of_the_file_and_never_none(text: str, found: Numbers) -> None:
    assert numbers(text) == found


def test_every_failure_and_the_lock_are_audited_with_who_and_from_where(tmp_path: Path) -> None:
    ledger = Ledger()
    for _ in range(3):
        assert take("count", ANNA, at(tmp_path, 100.0), ledger, "now")
        assert not take("failed", ANNA, at(tmp_path, 100.0), ledger, "now")
    assert not take("count", ANNA, at(tmp_path, 100.0), ledger, "now")
    assert [(one.event, one.user, one.source, one.result) for one in ledger.entries] == [
        *[("login.failed", "anna", "192.0.2.7 sshd", "authentication")] * 3,
        ("login.locked", "anna", "192.0.2.7 sshd", "locked"),
        ("login.refused", "anna", "192.0.2.7 sshd", "locked"),
    ]


@pytest.mark.parametrize(
    ("words", "user", "status"),
    [
        (["count"], "nobody-of-that-name", 0),
        (["failed"], "nobody-of-that-name", 1),
        (["clear"], "../../etc/passwd", 0),
        (["count"], "", 0),
        ([], "root", 2),
        (["count", "more"], "root", 2),
        (["reset"], "root", 2),
    ],
)
def test_as_pam_starts_it(tmp_path: Path, words: list[str], user: str, status: int) -> None:
    """A name that is no account's is counted nowhere."""
    environment = {"PYTHONPATH": str(HERE), "PAM_USER": user, "PAM_TYPE": "auth", "PAM_RHOST": "192.0.2.7"}
    argv = [sys.executable, "-m", "appliance.tally", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == status, done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="its folder is root's")
def test_an_account_of_this_machine_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "FOLDER", tmp_path)
    monkeypatch.setattr(tally, "NUMBERS", tmp_path / "none")
    knock = {"PAM_USER": "root", "PAM_TYPE": "auth", "PAM_RHOST": "192.0.2.7", "PAM_SERVICE": "sshd"}
    assert [tally.main(["count"], knock) for _ in range(4)] == [0, 0, 0, 1]
    assert tally.main(["clear"], knock) == 0
    assert tally.main(["count"], knock) == 0


# --- the rule ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3_000), max_size=12).map(sorted), st.integers(0, 5_000))
def test_it_is_locked_exactly_when_three_failures_of_a_window_end_less_than_a_window_ago(
    times: list[int], now: int
) -> None:
    """Against the sentence itself: there are three in a row within the window, and the last is the latest of all."""
    past = [when for when in times if when <= now]
    expected = len(past) >= 3 and past[-1] - past[-3] < 900 and now - past[-1] < 900
    assert locked(past, now, attempts=3, seconds=900) == expected


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=40).map(sorted))
def test_whoever_guesses_as_fast_as_they_can_gets_three_guesses_in_each_window(knocks: list[int]) -> None:
    failures: list[Failure] = []
    for when in knocks:
        if not is_locked(failures, ANNA, when, BY):
            failures.append(Failure(when, ANNA.door, ANNA.source))
    for one in failures:
        assert sum(0 <= other.when - one.when < BY.seconds for other in failures) <= BY.attempts
