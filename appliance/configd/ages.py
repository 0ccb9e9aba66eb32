"""How old passwords are, and since when accounts are unused.

The kept revisions tell the age of a password only as long as they are kept, so it is remembered beside them: of every hash in a
running or kept configuration, when it was first there. A password that a rollback brings back is as old as it was.
"""

import datetime
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.config.store import Ages, Kept, LastLogin, NoSuchRevisionError, Store, StoreError, Use
from appliance.configd import accounts, history

DAY = 86_400.0
SOON_DAYS = 7  # before a password ends, its owner is told at each log-in

_log = logging.getLogger(__name__)

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Past:
    """What else the store knows: the kept revisions, newest first, and the last log-ins by account."""

    kept: Callable[[], Iterable[Kept]]
    log_ins: Callable[[], Mapping[str, LastLogin]]


def brought(ages: Ages, tree: Tree, past: Past, now: float) -> Ages:
    """What is remembered, brought in step with the running configuration at `now` (seconds since the epoch); the very same where
    nothing has changed. Times that lie ahead stay: the clock may be years behind until a time server has set it."""
    passwords, uses = _passwords(ages, tree, past, now), _uses(ages, tree, past, now)
    if (passwords, uses) == (ages.passwords, ages.uses):
        return ages
    return Ages(passwords=passwords, uses=uses)


def _passwords(ages: Ages, tree: Tree, past: Past, now: float) -> dict[str, float]:
    running = {user: str(_reference(tree, user)) for user in accounts.roles(tree) if _reference(tree, user)}
    known = dict(ages.passwords)
    unknown = {user: reference for user, reference in running.items() if reference not in known}
    if not unknown:
        return known
    try:
        revisions = tuple(past.kept())
    except (StoreError, NoSuchRevisionError) as error:  # one is damaged, or was the oldest a moment ago
        _log.error("the kept revisions cannot be read: %s", error)
        return known | dict.fromkeys(unknown.values(), now)
    for user, reference in unknown.items():
        had = history.references(revisions, accounts.password_path(user))
        known[reference] = had.get(reference, now)
    needed = {*running.values(), *(held for one in revisions for held in _references(one.tree))}
    return {reference: since for reference, since in known.items() if reference in needed}


def _uses(ages: Ages, tree: Tree, past: Past, now: float) -> dict[str, Use]:
    """Of the accounts there are. Other ways into one are as good as a log-in: somebody has just decided that it is used."""
    found: dict[str, Use] = {}
    for user, credentials in accounts.credentials(tree).items():
        ways = hashlib.sha256("\0".join(sorted(credentials)).encode()).hexdigest()
        before = ages.uses.get(user)
        if before is None:
            last = past.log_ins().get(user)
            logged_in = 0.0 if last is None else _seconds(last.when)
            found[user] = Use(ways=ways, unused=logged_in or now, logged_in=logged_in)
        else:
            unused = before.unused if before.ways == ways else now
            found[user] = Use(ways=ways, unused=unused, logged_in=before.logged_in)
    return found


def _seconds(when: str) -> float:
    return datetime.datetime.fromisoformat(when).timestamp()


def locked(ages: Ages, tree: Tree, now: float) -> frozenset[str]:
    """The accounts that nobody has used for as long as the configuration says. Never the administrator who logged in last: the
    machine is somebody's, however seldom they come."""
    days = accounts.password_rules(tree).inactive_days
    if not days:
        return frozenset()
    administrators = [
        user for user, role in accounts.roles(tree).items() if role == "administrator" and user in ages.uses
    ]

    def came(user: str) -> tuple[float, float, str]:
        """A log-in that lies ahead is of a time when the clock did, and says nothing."""
        use = ages.uses[user]
        return use.logged_in if use.logged_in <= now else 0.0, min(use.unused, now), user

    last = max(administrators, key=came, default="")
    return frozenset(
        user
        for user in accounts.roles(tree)
        if user != last and user in ages.uses and now - ages.uses[user].unused >= days * DAY
    )


def password_seconds(ages: Ages, tree: Tree, user: str, now: float) -> float | None:
    """For how many seconds more `user` may keep the password; 0 or less: no longer. None where nothing ends, or there is none."""
    days, reference = accounts.password_rules(tree).lifetime_days, _reference(tree, user)
    if not days or not reference:
        return None
    return min(ages.passwords.get(str(reference), now), now) + days * DAY - now


def warning(seconds: float | None) -> tuple[str, ...]:
    """What to tell at a log-in whose password ends in so many seconds; nothing while that is far off, or it has ended."""
    if seconds is None or not 0 < seconds <= SOON_DAYS * DAY:
        return ()
    days = int(seconds // DAY)
    left = f"{days} days" if days > 1 else "a day" if days else "less than a day"
    return (f"your password ends in {left}; set a new one before that",)


def _reference(tree: Tree, user: str) -> object:
    return tree.get("users", {}).get("accounts", {}).get(user, {}).get("password_hash")


def _references(tree: Tree) -> Iterable[str]:
    found = (_reference(tree, user) for user in tree.get("users", {}).get("accounts", {}))
    return (str(one) for one in found if one)


def _after_log_in(ages: Ages, user: str, now: float) -> Ages:
    use = ages.uses.get(user)
    if use is None:
        return ages
    # A clock that is behind for a while makes nothing of what was known.
    used = msgspec.structs.replace(use, unused=max(use.unused, now), logged_in=max(use.logged_in, now))
    return msgspec.structs.replace(ages, uses={**ages.uses, user: used})


def _after_look(ages: Ages, user: str, now: float) -> Ages:
    """Once a day, which is as exact as anybody counts it."""
    use = ages.uses.get(user)
    if use is None or now - use.unused < DAY:
        return ages
    return msgspec.structs.replace(ages, uses={**ages.uses, user: msgspec.structs.replace(use, unused=now)})


class Aging:
    """What is remembered in the store. Safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._past = Past(store.kept, store.last_logins)
        self._held: Ages | None = None
        self._lock = threading.Lock()

    def known(self, tree: Tree, now: float) -> Ages:
        """Brought in step with the running configuration, and remembered. A store that fails keeps nobody out: what cannot be
        read begins anew, by the kept revisions, and what cannot be written is tried again."""
        with self._lock:
            return self._take(lambda before: brought(before, tree, self._past, now))

    def used(self, user: str, now: float) -> None:
        """Somebody has logged in to this account."""
        with self._lock:
            self._take(lambda before: _after_log_in(before, user, now))

    def seen(self, user: str, now: float) -> None:
        """Somebody is logged in to this account, perhaps for days, or since before the clock was set."""
        with self._lock:
            self._take(lambda before: _after_look(before, user, now))

    def _take(self, change: Callable[[Ages], Ages]) -> Ages:
        before = self._read() if self._held is None else self._held
        try:
            found = change(before)
            if found is not before:
                self._store.set_ages(found)
        except StoreError as error:
            _log.error("how old passwords are, and accounts unused, cannot be remembered: %s", error)
            return before
        self._held = found
        return found

    def _read(self) -> Ages:
        try:
            return self._store.ages()
        except StoreError as error:
            _log.error("how old passwords are, and accounts unused, cannot be read: %s", error)
            return Ages()
