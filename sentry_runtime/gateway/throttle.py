"""How much one device may ask of this worker, and when it goes round in circles. No input or output.

Only what a backend has served (2xx) counts, or a Provision whose credentials it has vouched for: who does not know the
password can use up nobody's share, nor put anything into this memory. What the gateway refuses is not counted, since to
refuse once more costs it no less. The memory is bounded; beyond `DEVICES` the one that has been silent longest is forgotten,
and begins anew with a full share.

Too many requests: a token bucket of `burst` that fills at `requests_per_second`.

A loop is told without a look into what is said: the device sends a request that it has sent just before, byte for byte (by
a checksum), the answer has the same status and length as then, and comes at once; so nothing has moved on either side. When
`repeats` such requests follow each other, each within `NEXT_SECONDS` of the one before and none of another kind between
them, it is a loop; it may go round over `ROUND` different requests (Sync, FolderSync, Sync ...). A Ping or Sync that is held
is no repetition, and neither is one whose SyncKey has moved on. Exchange's autoblock speaks of the same (`RecentCommands`,
`CommandFrequency`), and Z-Push of a sync key that is asked for again.

Either way everything of the device is refused for `pause_seconds`; then it has a new start. Others notice nothing.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from sentry_runtime import settings
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway.decide import Excess
from sentry_runtime.gateway.identify import Claim, device_of

DEVICES = 20_000  # about 10 MB; a worker's share of a large fleet, as in `known`
ROUND = 6  # different requests in one circle; FolderSync, GetItemEstimate, Sync, Ping are four
SMALL_BYTES = 4_096  # of a request: loops are made of commands, not of mails; a Sync of thirty folders is below 3 KiB
AT_ONCE_SECONDS = 2.0  # an answer that took longer was held, or the backend is slow: both calm a device down
NEXT_SECONDS = 5.0  # until the next request; a device that polls waits longer

Print = tuple[bytes, int, int, int, int]
"""By which a request and its answer are known again: query, checksum and size of the body, status and size of the answer."""


@dataclass(slots=True)
class _Pace:
    """What is known of one device. `round` are the last different requests it has made, by their prints, the oldest first."""

    tokens: float
    at: float
    repeats: int = 0
    round: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pause:
    """A device is refused, why, and until when by the throttle's clock."""

    device: DeviceKey
    excess: Excess
    until: float


class Throttle:
    """One per worker. `now` gives seconds of a clock that never goes back."""

    def __init__(self, limits: settings.Throttle, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._paces: OrderedDict[DeviceKey, _Pace] = OrderedDict()
        self._pauses: dict[DeviceKey, Pause] = {}  # few: each costs its device `burst` served requests, or a loop

    def pause(self, claim: Claim) -> Pause | None:
        """The pause that this claim's device has to keep now, if any."""
        if not self._pauses:  # on every request, and nearly always so
            return None
        device = device_of(claim)
        found = None if device is None else self._pauses.get(device)
        return None if found is None or found.until <= self._now() else found

    def served(self, claim: Claim, seconds: float, made: Print | None) -> None:
        """A backend has served this claim's device, after so many seconds. `made` is None where the request was not small."""
        device = device_of(claim)
        if device is None:
            return
        now, limits = self._now(), self._limits
        pace = self._paces.get(device)
        if pace is None:
            pace = self._paces[device] = self._new(now)
        else:
            self._paces.move_to_end(device)
        idle = now - pace.at
        pace.at = now
        # Many at once may have been let through before the first of them ended; for that nobody waits longer than a pause.
        pace.tokens = max(-1.0, min(float(limits.burst), pace.tokens + idle * limits.requests_per_second) - 1.0)
        if pace.tokens < 0:
            self._begin(device, pace, Excess.TOO_MANY_REQUESTS)
        elif self._repeats(pace, idle - seconds, seconds, made) >= limits.repeats:
            self._begin(device, pace, Excess.SYNC_LOOP)

    def left(self, pause: Pause) -> float:
        """For how many seconds more a pause has to be kept."""
        return max(0.0, pause.until - self._now())

    def pauses(self) -> tuple[Pause, ...]:
        """The pauses that have to be kept now; those that are over are forgotten."""
        if self._pauses:
            now = self._now()
            self._pauses = {device: pause for device, pause in self._pauses.items() if pause.until > now}
        return tuple(self._pauses.values())

    def _new(self, now: float) -> _Pace:
        if len(self._paces) >= DEVICES:
            self._paces.popitem(last=False)
        return _Pace(float(self._limits.burst), now)

    def _repeats(self, pace: _Pace, gap: float, seconds: float, made: Print | None) -> int:
        """How many requests in a row, up to this one, were repetitions; `gap` lay between this one and the one before."""
        calm = made is None or seconds > AT_ONCE_SECONDS
        if calm or gap > NEXT_SECONDS:
            pace.round.clear()
        mark = hash(made)
        if mark in pace.round:
            pace.repeats += 1
            return pace.repeats
        pace.repeats = 0
        if not calm:
            pace.round.append(mark)
            del pace.round[:-ROUND]
        return 0

    def _begin(self, device: DeviceKey, pace: _Pace, excess: Excess) -> None:
        self._pauses[device] = Pause(device, excess, self._now() + self._limits.pause_seconds)
        pace.repeats = 0
        pace.round.clear()
