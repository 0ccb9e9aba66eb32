"""Passwords are hashed, compared and judged by the system's own libraries."""

import pytest

from appliance.configd import passwords
from appliance.configd.attempts import NAMES, Attempts
from appliance.configd.passwords import PasswordError
from appliance.process import CommandError, Finished
from tests.unit.appliance.workbench import Clock

# "Hello world!" of the reference (U. Drepper, Unix crypt using SHA-256 and SHA-512)
KNOWN = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"


def test_the_reference_s_own_hash_is_verified() -> None:
    assert passwords.verify("Hello world!", KNOWN)
    assert not passwords.verify("Hello world", KNOWN)


def test_a_hash_is_salted_and_verified() -> None:
    one, two = passwords.hashed("ünïcode"), passwords.hashed("ünïcode")
    assert one != two
    assert one.startswith("$6$rounds=100000$")
    assert passwords.verify("ünïcode", one)
    assert not passwords.verify("unicode", one)


@pytest.mark.parametrize("stored", ["", "*", "!", "$9$x$y", "plain", "$6$"])
def test_what_is_no_hash_lets_nobody_in(stored: str) -> None:
    assert not passwords.verify("", stored)
    assert not passwords.verify(stored, stored)


@pytest.mark.parametrize("password", ["a\0b", "x" * 512])
def test_what_crypt_would_cut_is_refused(password: str) -> None:
    with pytest.raises(PasswordError):
        passwords.hashed(password)
    assert not passwords.verify(password, KNOWN)


def test_the_policy_is_asked_by_standard_input_and_its_words_are_told() -> None:
    asked = []

    def run(argv: list[str], *, stdin: str | None = None) -> str:
        asked.append((argv, stdin))
        raise CommandError(argv, 1, "Password quality check failed:\n The password is a palindrome\n")

    with pytest.raises(PasswordError, match=r"^The password is a palindrome$"):
        passwords.judge("abccba", "alice", run)
    assert asked == [(["pwscore", "alice"], "abccba\n")]


def test_a_password_with_a_line_end_is_refused_without_asking() -> None:
    def run(argv: list[str], *, stdin: str | None = None) -> str:
        raise AssertionError(argv)

    with pytest.raises(PasswordError, match="printable"):
        passwords.judge("good-password-1\nbad", "alice", run)


@pytest.mark.parametrize(("status", "let_in"), [(0, True), (passwords.PAM_REFUSED, False)])
def test_pam_decides_in_a_process_of_its_own(status: int, *, let_in: bool) -> None:
    asked = []

    def attempt(argv: list[str], *, stdin: str | None = None) -> Finished:
        asked.append((argv[1:], stdin))
        return Finished(status, "", "")

    assert passwords.pam_login("alice", "192.0.2.7", "secret", attempt) is let_in
    assert asked == [(["-I", str(passwords.PAM_PROGRAM), "sentry-portal"], "alice\x00192.0.2.7\x00secret")]
    assert passwords.PAM_PROGRAM.is_file()


def test_pam_that_cannot_be_asked_is_an_error_and_no_refusal() -> None:
    with pytest.raises(CommandError, match="no module"):
        passwords.pam_login("alice", "", "secret", lambda _argv, stdin=None: Finished(1, stdin or "", "no module PAM"))


def test_failures_are_forgotten_when_they_are_old_and_after_a_success() -> None:
    clock = Clock(0.0)
    attempts = Attempts(clock=clock)
    for _ in range(3):
        attempts.failed("a")
        clock.now += 100
    assert attempts.locked("a", attempts=3, seconds=900)
    assert not attempts.locked("b", attempts=3, seconds=900)
    clock.now = 1_099  # the last failure was at 200, and the lock holds from there
    assert attempts.locked("a", attempts=3, seconds=900)
    clock.now = 1_100
    assert not attempts.locked("a", attempts=3, seconds=900)
    attempts.failed("a")
    assert not attempts.locked("a", attempts=3, seconds=900)
    attempts.succeeded("a")
    assert not attempts.locked("a", attempts=1, seconds=900)


def test_guessing_names_does_not_fill_the_memory() -> None:
    attempts = Attempts(clock=Clock(0.0))
    for number in range(NAMES + 10):
        attempts.failed(str(number))
    assert len(attempts._failures) == NAMES
