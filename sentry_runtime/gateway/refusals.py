"""Log-ons that a backend refuses, counted by where they come from and by whose they are, so that nobody tries passwords
through the gateway, or has an account locked by it.

Beyond a limit the place, or the name, rests: it is told to come back, and no backend hears of it. Each rest of the same one
is twice as long as the one before. What keeps this from hurting those who are not meant:

- Credentials that a backend has accepted lately pass from the device that had them, whoever rests: the phones behind a
  rested NAT, and the owner of an account that a stranger tries, go on. Not from any other device, and not for long from one
  that names the right device and the wrong credentials (`GUESSES`): who rests could tell by what passes which password is
  right, without any backend that would slow him down.
- A success takes back what the same name has failed from the same place, and nothing else: who knows one password gets no
  more attempts at others, and a stranger's attempts at a name are not forgotten with its owner's next log-on.
- Only what a backend said counts; for the name also an attempt whose sender does not wait for the answer (`unheard`). Nobody
  is counted for a balancer that does not tell whose its connections are.

Attempts that are under way count as if they had failed (`begin`), or who makes all of them at once would never rest.

Tables are bounded, and the oldest entry makes room. They are this worker's own, like the bounds on connections.
"""

import hmac
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from sentry_runtime.settings import Limits

ENTRIES = (
    10_000  # of places and of names; each is below 1 KiB, and who has more addresses than that is not stopped by any
)
GOOD_ENTRIES = 50_000  # credentials that were accepted: a worker's share of a large fleet, 5 MB
PARTS = 16  # of an entry that are told apart; who mistypes is one of few
DOUBLINGS = 20  # beyond any longest rest
FORGET_SECONDS = 3_600.0  # after an hour without another one, all is forgotten
GOOD_SECONDS = 86_400.0  # a phone that did not come for a day logs on like everybody else
GUESSES = 3  # other credentials of a device while somebody rests; then its own do not pass either until nobody does

Told = Callable[[str, str, str, float], None]
"""Is told when a rest begins: of the "source" or the "principal", the last attempt's place and name, and for how long."""


@dataclass(slots=True)
class _Entry:
    """What was refused to one place or name: how often, how often by which counterpart, and its rests."""

    failures: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    last: float = 0.0
    rests: int = 0
    until: float = 0.0


@dataclass(slots=True)
class _Good:
    """What a device had accepted last (a keyed hash), until when that counts, and how often others came while somebody rested."""

    mark: bytes
    until: float
    guesses: int = 0


@dataclass(slots=True)
class Attempt:
    """Credentials that are with a backend, and of which nobody knows yet whether they are good. `end` may be called twice."""

    under_way: dict[str, dict[bytes, int]] = field(repr=False)
    principal: str
    mark: bytes
    open: bool = True

    def end(self) -> None:
        """The backend has answered, or never will."""
        if not self.open:
            return
        self.open = False
        marks = self.under_way[self.principal]
        marks[self.mark] -= 1
        if not marks[self.mark]:
            del marks[self.mark]
        if not marks:
            del self.under_way[self.principal]


class _Table:
    """Entries of one kind."""

    def __init__(self, kind: str, limit: int, limits: Limits) -> None:
        self.kind = kind
        self.limit = limit
        self._limits = limits
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def failures(self, key: str, now: float) -> int:
        """How many are counted of this one."""
        entry = self._entries.get(key)
        return 0 if entry is None or now - entry.last > FORGET_SECONDS else entry.failures

    def resting_until(self, key: str) -> float:
        """When this one's rest ends, or ended."""
        entry = self._entries.get(key)
        return entry.until if entry is not None else 0.0

    def refused(self, key: str, part: str, now: float) -> float:
        """One more; for how many seconds it rests from now on, if it begins to."""
        if not self.limit:
            return 0.0
        entry = self._entries.pop(key, None)
        if entry is None or now - entry.last > FORGET_SECONDS:
            entry = _Entry()
        if len(self._entries) >= ENTRIES:
            self._entries.popitem(last=False)
        self._entries[key] = entry
        entry.last = now
        entry.failures += 1
        if part in entry.parts or len(entry.parts) < PARTS:
            entry.parts[part] = entry.parts.get(part, 0) + 1
        if entry.failures < self.limit or entry.until > now:
            return 0.0
        seconds = min(
            self._limits.logon_rest_seconds * 2.0 ** min(entry.rests, DOUBLINGS), self._limits.logon_rest_seconds_max
        )
        entry.rests += 1
        entry.until = now + seconds
        return seconds

    def accepted(self, key: str, part: str) -> None:
        """What this one failed with this counterpart is forgiven."""
        entry = self._entries.get(key)
        if entry is None or part not in entry.parts:
            return
        entry.failures -= entry.parts.pop(part)
        if entry.failures < self.limit:
            entry.until = 0.0
        if not entry.failures:
            del self._entries[key]


class Refusals:
    """One per worker. `now` is a clock that only goes forward; `told` hears of each rest that begins."""

    def __init__(self, limits: Limits, now: Callable[[], float], told: Told) -> None:
        self.resting_until = 0.0
        """Until then somebody may rest; beyond it nobody need be looked up. The whole cost of a request in quiet times."""
        self._now = now
        self._told = told
        self._sources = _Table("source", limits.logons_refused_per_source, limits)
        self._principals = _Table("principal", limits.logons_refused_per_principal, limits)
        self._good: OrderedDict[tuple[str, str], _Good] = OrderedDict()  # by device and name
        self._under_way: dict[str, dict[bytes, int]] = {}  # by name: credentials, and how often each
        self._secret = os.urandom(32)  # so that what is kept of credentials is worth nothing outside this process

    def refused(self, place: str, principal: str, authorization: bytes, device: str = "") -> None:
        """A backend has refused these credentials. `place`: as `account.Peer` has it; "" is nobody's in particular. `device`: as
        `pools.Seat` has it, "" where none was named."""
        now = self._now()
        owner = (device, principal)
        held = self._good.get(owner)
        if held is not None and held.mark == self._mark(principal, authorization):
            del self._good[owner]
        self._count(self._sources, place, principal, now)
        self._count(self._principals, place, principal, now)

    def unheard(self, place: str, principal: str) -> None:
        """A backend has credentials of this name, and who has sent them is gone before the answer. It counts for the name, which
        a directory may lock all the same; not for the place, where phones of many lose their link."""
        self._count(self._principals, place, principal, self._now())

    def _count(self, table: _Table, place: str, principal: str, now: float) -> None:
        key, part = (place, principal) if table is self._sources else (principal, place)
        seconds = table.refused(key, part, now) if key else 0.0
        if seconds:
            self.resting_until = max(self.resting_until, now + seconds)
            self._told(table.kind, place, principal, seconds)

    def accepted(self, place: str, principal: str, authorization: bytes, device: str = "") -> None:
        """A backend has accepted these credentials. Those of a request that names no device are not remembered."""
        self.forgive(place, principal)
        if not device:
            return
        now, owner = self._now(), (device, principal)
        before = self._good.pop(owner, None)
        guesses = before.guesses if before is not None and now < self.resting_until else 0
        self._good[owner] = _Good(self._mark(principal, authorization), now + GOOD_SECONDS, guesses)
        if len(self._good) > GOOD_ENTRIES:
            self._good.popitem(last=False)

    def forgive(self, place: str, principal: str) -> None:
        """A backend has accepted this one from there, with credentials that will not come again (a log-on of a connection's)."""
        self._sources.accepted(place, principal)
        self._principals.accepted(principal, place)

    def wait(self, place: str, principal: str, authorization: bytes, device: str = "") -> float:
        """For how many seconds no backend is to hear of these credentials; 0: they may go on."""
        now = self._now()
        if now >= self.resting_until:
            return 0.0
        until = max(self._sources.resting_until(place), self._principals.resting_until(principal))
        if until <= now or self._is_good(principal, authorization, device, now):
            return 0.0
        return until - now

    def begin(self, principal: str, authorization: bytes, device: str = "") -> Attempt | None:
        """These credentials are about to go to a backend. None: as many others of this name are there as may still fail; one may
        always be. Equal ones are one attempt, and good ones are none."""
        limit, now, mark = self._principals.limit, self._now(), self._mark(principal, authorization)
        held = self._held(principal, device, now)
        if held is not None and hmac.compare_digest(held.mark, mark):
            return Attempt({}, principal, mark, open=False)
        marks = self._under_way.get(principal, {})
        crowded = marks and limit and self._principals.failures(principal, now) + len(marks) >= limit
        if crowded and mark not in marks:
            return None
        marks = self._under_way.setdefault(principal, {})
        marks[mark] = marks.get(mark, 0) + 1
        return Attempt(self._under_way, principal, mark)

    def _is_good(self, principal: str, authorization: bytes, device: str, now: float) -> bool:
        held = self._held(principal, device, now)
        if held is None:
            return False
        if hmac.compare_digest(held.mark, self._mark(principal, authorization)):
            return True
        held.guesses += 1
        return False

    def _held(self, principal: str, device: str, now: float) -> _Good | None:
        """What counts as good of this device and name."""
        held = self._good.get((device, principal)) if device else None
        return None if held is None or held.until <= now or held.guesses >= GUESSES else held

    def _mark(self, principal: str, authorization: bytes) -> bytes:
        return hmac.digest(self._secret, principal.encode() + b"\0" + authorization, "sha256")[:16]
