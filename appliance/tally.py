"""`sentry-tally count|failed|clear`: counts log-ins for PAM (pam_exec), by account and by where they come from.

pam_faillock(8) counts by account alone, so that whoever reaches port 22 could keep an administrator from the console. Here
three failures from one address lock that account for that address, and the console has a count of its own, which nobody on the
network touches. Keys are not asked here: sshd takes them without PAM's `auth`.

    count    before the password is looked at: refuses (exit status 1) where it is locked, else counts one attempt. Counted
             first, many attempts at once are no more guesses than one after the other
    failed   it was wrong: the audit trail learns it, and that it locked
    clear    it was right: forget the attempts from there

PAM says who and from where in the environment: PAM_USER, PAM_RHOST, PAM_SERVICE. The numbers are those of faillock.conf(5).
Times are seconds since the machine started, which no setting of the clock moves; the counts end with it, as faillock's do.
"""

import fcntl
import ipaddress
import os
import pwd
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from appliance.audit import TALLY_TAG, Audit, Entry, SyslogAudit
from appliance.failures import AT_ONE_DOOR, locked

FOLDER = Path("/run/sentry-tally")
NUMBERS = Path("/etc/security/faillock.conf")
HERE = "console"
ATTEMPTS, SECONDS = 3, 900  # V-250986
LINES = 512  # of one account; the locks at each door stop the counting long before
SOURCE_CHARACTERS = 64
IPV6_PREFIX = 64  # who has one address of such a network has all of them (RFC 4291 2.5.1)
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_WORD = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_NUMBER = re.compile(r"\s*([a-z_]+)\s*=\s*([0-9]{1,6})\s*")

Step = Literal["count", "failed", "clear"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """After how many failures it is locked, and for how long; by default what V-250986 says."""

    attempts: int = ATTEMPTS
    seconds: int = SECONDS


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that was not forgotten: when (seconds since the start), at which door, from where."""

    when: float
    door: str
    source: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who knocks, at which door (the PAM service), from where."""

    user: str
    door: str
    source: str


def caller(environment: Mapping[str, str]) -> Caller:
    """The caller as PAM says it. Without a remote host it is somebody at the machine itself."""
    door = environment.get("PAM_SERVICE", "")
    return Caller(
        user=environment.get("PAM_USER", ""),
        door=door if _WORD.fullmatch(door) else "unknown",
        source=network_of(environment.get("PAM_RHOST", "")),
    )


def network_of(remote: str) -> str:
    """A source as failures are counted by it: an address, of IPv6 its /64, or a name; the console where there is none."""
    if not remote:
        return HERE
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        name = remote[:SOURCE_CHARACTERS]
        return (
            f"name:{name}" if _WORD.fullmatch(name) else "unknown"
        )  # and never `HERE`, whatever somebody calls himself
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))


def numbers(text: str) -> Numbers:
    """The numbers in a faillock.conf; `fail_interval` is the same as `unlock_time` here."""
    found = (_NUMBER.fullmatch(line.partition("#")[0]) for line in text.splitlines())
    said = {one[1]: int(one[2]) for one in found if one}
    return Numbers(said.get("deny") or ATTEMPTS, said.get("unlock_time") or SECONDS)


def is_locked(failures: Iterable[Failure], who: Caller, now: float, by: Numbers) -> bool:
    """Whether `who` is locked out: for their source, or, on the network, for the whole door."""
    here = [one for one in failures if one.door == who.door]
    mine = [one.when for one in here if one.source == who.source]
    if locked(mine, now, attempts=by.attempts, seconds=by.seconds):
        return True
    everybody = [one.when for one in here]
    return who.source != HERE and locked(everybody, now, attempts=AT_ONE_DOOR * by.attempts, seconds=by.seconds)


class Tally:
    """The counts in `folder` (root only), one file for each account of this machine; a name that is no account's has none, so
    that guessing names fills nothing."""

    def __init__(self, folder: Path, by: Numbers, *, now: float) -> None:
        self._folder = folder
        self._by = by
        self._now = now

    def count(self, who: Caller) -> bool:
        """Count an attempt; False where it is locked, which is then not counted: waiting is enough to get in again."""
        with self._held(who.user) as failures:
            if is_locked(failures, who, self._now, self._by):
                return False
            failures.append(Failure(self._now, who.door, who.source))
            return True

    def is_locked(self, who: Caller) -> bool:
        """Whether the next attempt would be refused."""
        with self._held(who.user) as failures:
            return is_locked(failures, who, self._now, self._by)

    def clear(self, who: Caller) -> None:
        """Forget the attempts from there."""
        with self._held(who.user) as failures:
            failures[:] = [one for one in failures if (one.door, one.source) != (who.door, who.source)]

    @contextmanager
    def _held(self, user: str) -> Iterator[list[Failure]]:
        """The failures of an account, nobody else's meanwhile; what becomes of them is written back."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self._folder / user, flags, 0o600), "r+", encoding="ascii", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            before = list(_read(file.read()))
            # The first of those that lock may be as old as a window and the lock together.
            failures = [one for one in before if self._now - one.when < 2 * self._by.seconds]
            yield failures
            if failures != before:
                file.seek(0)
                file.write("".join(f"{one.when:.3f} {one.door} {one.source}\n" for one in failures[-LINES:]))
                file.truncate()


def _read(text: str) -> Iterator[Failure]:
    for line in text.splitlines():
        match line.split():
            case [when, door, source] if when.replace(".", "", 1).isdecimal() and when.isascii():
                yield Failure(float(when), door, source)
            case _:  # half a line, after a crash: the rest still counts
                continue


def take(step: Step, who: Caller, tally: Tally, audit: Audit, at: str) -> bool:
    """Do one step; whether PAM may go on. `at` is the time for the audit trail."""

    def say(event: str, result: str, detail: str = "") -> None:
        source = f"{who.source} {who.door}"
        audit.write(Entry(time=at, event=event, user=who.user, source=source, result=result, detail=detail))

    if step == "count":
        if tally.count(who):
            return True
        say("login.refused", "locked", "locked after failed log-ins")
        return False
    if step == "clear":
        tally.clear(who)
        return True
    say("login.failed", "authentication")
    if tally.is_locked(who):
        say("login.locked", "locked", "too many failed log-ins from there: locked for that source")
    return False


def main(arguments: list[str], environment: Mapping[str, str] = os.environ) -> int:
    """One step, as PAM's `auth` stack starts it. Exit status 0: go on."""
    if arguments not in (["count"], ["failed"], ["clear"]):
        sys.stderr.write("usage: sentry-tally count|failed|clear\n")
        return 2
    who = caller(environment)
    if not _is_account(who.user):
        return (
            1 if arguments == ["failed"] else 0
        )  # nothing is counted; PAM's other modules know no such account either
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    by = numbers(NUMBERS.read_text(encoding="utf-8", errors="replace") if NUMBERS.exists() else "")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    done = take(cast("Step", arguments[0]), who, Tally(FOLDER, by, now=now), SyslogAudit(tag=TALLY_TAG), at)
    return 0 if done else 1


def _is_account(name: str) -> bool:
    try:
        return _NAME.fullmatch(name) is not None and bool(pwd.getpwnam(name))
    except KeyError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
