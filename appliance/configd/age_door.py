"""The door for who has been here too long or too seldom: a session whose password has ended takes a new one and nothing else, and
an account that nobody has used opens none."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from appliance.configd import accounts, ages, api, passwords
from appliance.configd.ages import Aging
from appliance.configd.attempts import Attempts
from appliance.configd.errors import RefusedError, refused
from appliance.configd.sessions import Held, Sessions

LOOK_SECONDS = 60.0  # between looks at what has become too old meanwhile

Commit = Callable[[api.SetOwnPassword, Held], api.Committed]


class House(Protocol):
    """What the door needs of the gate."""

    def tree(self) -> Mapping[str, Any]:
        """The running configuration."""

    def note(self, event: str, user: str, *, source: str = "", result: str = "ok", detail: str = "") -> None:
        """Audit something."""


class AgeDoor:
    """`attempts` are those of who is in, so that nobody outside can have them locked; `commit` sets a password, `reveal` gives a
    secret by its reference; `wall_clock` gives seconds since the epoch, `clock` monotonic ones."""

    def __init__(
        self,
        aging: Aging,
        sessions: Sessions,
        attempts: Attempts,
        house: House,
        *,
        commit: Commit,
        reveal: Callable[[str], str],
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._aging = aging
        self._sessions = sessions
        self._attempts = attempts
        self._house = house
        self._commit = commit
        self._reveal = reveal
        self._now = wall_clock
        self._clock = clock
        self._look_at = clock()
        self._locked: frozenset[str] | None = None

    # --- a new password ----------------------------------------------------------------------------------------------

    def set_password(self, verb: api.SetOwnPassword, held: Held) -> api.Committed:
        """At the command line the present password comes with it, since who has a key there has shown none."""
        if held.manner == "cli":
            self._prove(verb.current, held)
        try:
            done = self._commit(verb, held)
        except RefusedError:
            raise
        except Exception:  # whatever keeps a commit from being made, it is none of the password
            self._excuse(held)
            raise
        self.judge(held)
        return done

    def _prove(self, password: str, held: Held) -> None:
        """Raises a refusal unless this is the password of the session's account. Who failed elsewhere under its name does not
        count here: a stranger would keep the one whose password has ended from all that they may still do."""
        name, reference = held.user.lower(), accounts.password_reference(self._house.tree(), held.user)
        if self._is_locked(name):
            raise refused("locked", "the password is locked after failed attempts; try again later")
        if reference is None or not passwords.verify(password, self._reveal(reference)):
            self._attempts.failed(name)
            if self._is_locked(name):
                detail = "after failed attempts"
                self._house.note("password.locked", held.user, source=held.source, result="locked", detail=detail)
            raise refused("authentication", "your present password is wrong")
        self._attempts.succeeded(name)

    def _is_locked(self, name: str) -> bool:
        tree = self._house.tree()
        attempts, seconds = accounts.failed_attempts(tree), accounts.lock_seconds(tree)
        return self._attempts.locked(name, attempts=attempts, seconds=seconds)

    def _excuse(self, held: Held) -> None:
        """A password that may be set could not be, by a fault of the machine: then this session is served, for whoever would mend
        the fault is the one who was let in for nothing else."""
        if held.password_ended:
            held.password_excused, held.password_ended = True, False
            detail = "the password has ended, and no commit can be made: this session is served all the same"
            self._house.note("password.excused", held.user, source=held.source, detail=detail)

    # --- sessions ----------------------------------------------------------------------------------------------------

    def judge(self, held: Held) -> float | None:
        """Whether the session's account may keep its password, which the session is told, and for how many seconds (None: for
        ever)."""
        tree, now, left = self._house.tree(), self._now(), None
        if _is_aging(held):
            left = ages.password_seconds(self._aging.known(tree, now), tree, held.user, now)
        held.password_ended = left is not None and left <= 0 and not held.password_excused
        return left

    def lets_in(self, user: str) -> None:
        """Raises `locked` for an account that nobody has used for too long."""
        if user in self._unused():
            days = accounts.password_rules(self._house.tree()).inactive_days
            said = f"this account is locked: nobody has logged in to it for {days} days"
            raise refused("locked", f"{said}; another administrator unlocks it by a new password or key")

    def opened(self, held: Held) -> tuple[str, ...]:
        """A session was opened: it is judged, and its account is used. What to tell its owner."""
        left = self.judge(held)
        if _is_aging(held):
            self._aging.used(held.user, self._now())
        return ages.warning(left)

    def _unused(self) -> frozenset[str]:
        tree, now = self._house.tree(), self._now()
        return ages.locked(self._aging.known(tree, now), tree, now)

    def tick(self) -> None:
        """Look once a minute, so that a password that nobody uses is as old as it is, one that ends in the middle of a session
        has ended, an account that is used for days is not unused, and the audit trail says which accounts become locked."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_SECONDS
        for held in filter(_is_aging, self._sessions.all()):
            self._aging.seen(held.user, self._now())
            if held.candidate is None:  # who has changes in hand is not cut off from them
                self.judge(held)
        before, self._locked = self._locked, self._unused()
        if before is None:  # the trail has told of those that were locked when configd started
            return
        for name in sorted(self._locked - before):
            self._house.note("account.locked", name, result="locked", detail="nobody has logged in to it for too long")
        for name in sorted(before - self._locked):
            self._house.note("account.unlocked", name)


def _is_aging(held: Held) -> bool:
    """Whether it is a person's who has an account here."""
    return held.manner in ("cli", "portal") and not held.directory
