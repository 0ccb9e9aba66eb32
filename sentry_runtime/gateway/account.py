"""What is kept of every exchange: two audit lines, counters, and the table of those that are running.

A request that could be read has exactly two lines, `request` and `outcome`, joined by `id`. One that could not (malformed,
too large, too slow) has exactly one, `refused`. A connection that never came to a request has at most one, since anybody
can make thousands of them: `connection_refused` (not taken), `proxy_refused`, `handshake_failed`, `certificate_refused` or
`connection_silent`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from sentry_runtime import audit
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.gateway.decide import Action, Unreadable, Verdict
from sentry_runtime.gateway.gate import place_of
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.metrics import Counters
from sentry_runtime.trail import Trail

TURNED_AWAY_LINES = 10  # a second, of connections without a request; the counters have all of them
ENDINGS = 256  # kept ones, each of some 100 bytes: an action, a status and a backend in all ways that occur
PATH_CHARS = 128  # of a path in an audit line; the one that is served has 28

_NOBODY = Claim(None, (), "", "", "", "", None)
_NO_VERDICT = Verdict(Action.ALLOW)  # of a request that came to none: nothing of it is written down


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a connection comes from, and the listener that took it. `shared`: it is a balancer's, and may be anybody's."""

    source: str
    port: int
    listener: str
    shared: bool = False

    @property
    def place(self) -> str:
        """What counts as one source (`gate.place_of`); "" where that would be nobody in particular."""
        return "" if self.shared else place_of(self.source)


class Running(ABC):
    """An exchange under way, as the table sees it."""

    claim: Claim | None
    policy: bytes

    @abstractmethod
    def judged_anew(self, found: Record | Unreadable | None) -> Verdict:
        """The verdict on it if it came now, with this in the device list for its key."""

    @abstractmethod
    def revoke(self, verdict: Verdict) -> None:
        """Its device may no longer pass: end it now."""

    @abstractmethod
    def renew(self, verdict: Verdict) -> None:
        """Its device has another policy now."""


class _Stamp(TypedDict):
    """What a line that stands alone begins with."""

    time: str
    id: str


class Account:
    """One per worker."""

    def __init__(self, trail: Trail, counters: Counters, now: Callable[[], float]) -> None:
        self.counters = counters
        self._trail = trail
        self._now = now
        self._prefix = os.urandom(6).hex()  # tells workers and restarts apart
        self._count = 0
        self._millisecond, self._timestamp = -1, ""  # the last line's
        self._second = 0  # of the lines of connections without a request: the second, how many it had ...
        self._this_second = 0
        self._left_out = 0  # ... and how many of them were not written
        self._running: dict[DeviceKey, set[Running]] = {}
        self._endings: dict[tuple[str, int, str], tuple[Verdict, tuple[str, ...], str]] = {}

    def request(self, peer: Peer, head: Head, claim: Claim | None) -> str:
        """Write the line of a request that could be read; gives its id."""
        self._count += 1
        line_id = f"{self._prefix}-{self._count:x}"
        self.counters.requests += 1
        asks = _asker(peer, head, claim)[2]
        self._trail.put(f'{{"time":"{self._time()}","id":"{line_id}","event":"request"{asks}}}'.encode())
        return line_id

    def outcome(
        self,
        line_id: str,
        peer: Peer,
        head: Head,
        claim: Claim | None,
        verdict: Verdict | None,
        *,
        action: str,
        reasons: tuple[str, ...],
        status: int,
        bytes_in: int,
        bytes_out: int,
        seconds: float,
        backend: str,
    ) -> None:
        """Write the line that ends the request of this id.

        `action` is allow, block, provision, wipe, throttle, deny (the gateway's own no) or fail; `verdict` is the last that was
        found on its device, if it came to one.
        """
        self.counters.bytes_in += bytes_in
        self.counters.bytes_out += bytes_out
        asks = _asker(peer, head, claim)[3]
        ends = self._ending(verdict or _NO_VERDICT, action, reasons, status, backend)
        self._trail.put(
            f'{{"time":"{self._time()}","id":"{line_id}","event":"outcome"{asks}{ends}'
            f"{_number('bytes_in', bytes_in)}{_number('bytes_out', bytes_out)}"
            f"{_number('milliseconds', int(seconds * 1000 + 0.5))}}}".encode()
        )

    def _ending(self, verdict: Verdict, action: str, reasons: tuple[str, ...], status: int, backend: str) -> str:
        """How a request ended, as it stands in its line: most end like one before."""
        known = self._endings.get((action, status, backend))
        if known is not None and known[1] == reasons and known[0].told_like(verdict):
            return known[2]
        text = audit.members(
            audit.Line(
                time="",
                id="",
                event="",
                action=action,
                reasons=reasons,
                decided_by=verdict.row or "",
                rule=verdict.rule,
                softened=verdict.softened,
                status=status,
                backend=backend,
            )
        )
        if len(self._endings) >= ENDINGS:
            self._endings.clear()
        self._endings[action, status, backend] = verdict, reasons, text
        return text

    def refused(
        self, peer: Peer, event: str, status: int, reason: str, *, count: int = 0, certificate: str = ""
    ) -> None:
        """Write the single line of something that was no request we could read."""
        self._trail.write(
            audit.Line(
                **self._stamp(),
                event=event,
                source=peer.source,
                source_port=peer.port,
                listener=peer.listener,
                action="deny",
                reasons=(reason,),
                status=status,
                count=count,
                certificate=certificate,
            )
        )

    def backend(self, event: str, backend: str, reasons: tuple[str, ...]) -> None:
        """Write the single line of something about a backend that belongs to no request."""
        self._trail.write(
            audit.Line(
                **self._stamp(),
                event=event,
                reasons=reasons,
                backend=backend,
            )
        )

    def redirected(self, seat: Seat, backend: str, host: str, refusal: str) -> None:
        """Write the single line of a 451 that was followed or, with a `refusal`, was not."""
        self._trail.write(
            audit.Line(
                **self._stamp(),
                event="backend_redirect",
                device_id=seat.device,
                principal=seat.principal,
                action="deny" if refusal else "allow",
                reasons=(refusal,) if refusal else (),
                backend=backend,
                target=host,
            )
        )

    def turned_away(self, peer: Peer, event: str, reason: str, certificate: str = "") -> None:
        """Write the single line of a connection without a request, unless this second has had its share.

        `count` of the next line that is written says how many were left out before it.
        """
        second = int(self._now())
        if second != self._second:
            self._second, self._this_second = second, 0
        self._this_second += 1
        if self._this_second > TURNED_AWAY_LINES:
            self._left_out += 1
            return
        self.refused(peer, event, 0, reason, count=self._left_out, certificate=certificate)
        self._left_out = 0

    def rests(self, kind: str, place: str, principal: str, seconds: float) -> None:
        """Write that a source or a principal has had too many log-ons refused, and for how many seconds it has to rest."""
        self._trail.write(
            audit.Line(
                **self._stamp(),
                event="logons_rest",
                source=place,
                principal=principal,
                action="deny",
                reasons=(f"refused_{kind}",),
                count=round(seconds),
            )
        )

    def lenient(self, certificate: str, principal: str, reason: str) -> None:
        """Write that this certificate passes although it is not known whether it has been revoked."""
        self._trail.write(
            audit.Line(
                **self._stamp(),
                event="certificate_lenient",
                principal=principal,
                certificate=certificate,
                action="allow",
                reasons=(reason,),
            )
        )

    def _stamp(self) -> _Stamp:
        self._count += 1
        return {"time": self._time(), "id": f"{self._prefix}-{self._count:x}"}

    def _time(self) -> str:
        """Now, as a line has it: many lines have the same millisecond."""
        now = self._now()
        millisecond = int(now * 1_000)
        if millisecond != self._millisecond:
            self._millisecond, self._timestamp = millisecond, audit.timestamp(now)
        return self._timestamp

    def begun(self, exchange: Running) -> None:
        """It has gone to the backend."""
        key = exchange.claim.key if exchange.claim is not None else None
        if key is not None:
            self._running.setdefault(key, set()).add(exchange)

    def ended(self, exchange: Running) -> None:
        """It is over; also for one that never began."""
        key = exchange.claim.key if exchange.claim is not None else None
        running = self._running.get(key) if key is not None else None
        if key is not None and running is not None:
            running.discard(exchange)
            if not running:
                del self._running[key]

    def runs(self, key: DeviceKey) -> bool:
        """Whether anything of this device is with the backend now."""
        return key in self._running

    def running(self, keys: Iterable[DeviceKey] | None = None) -> Iterator[Running]:
        """The exchanges of these devices (None: of all) that are with the backend now."""
        chosen = list(self._running) if keys is None else keys
        for key in chosen:
            yield from list(self._running.get(key, ()))


def _number(name: str, value: int) -> str:
    """A member as a line has it: none for 0."""
    return f',"{name}":{value}' if value else ""


def _asker(peer: Peer, head: Head, claim: Claim | None) -> tuple[Peer, Claim | None, str, str]:
    """Who asked for what, as it stands in the two lines of a request: kept with the head, which comes again and again."""
    kept = head.accounted
    if kept is not None and kept[0] is peer and kept[1] is claim:
        return peer, claim, kept[2], kept[3]
    who = claim or _NOBODY
    line = audit.Line(
        time="",
        id="",
        event="",
        source=peer.source,
        source_port=peer.port,
        listener=peer.listener,
        method=head.method,
        command=who.command,
        device_id=who.device_id,
        device_type=who.device_type,
        principal=who.principal,
        protocol=who.protocol,
        certificate=who.certificate,
    )
    asks = audit.members(msgspec.structs.replace(line, path=head.path[:PATH_CHARS]))
    ends = audit.members(line)
    head.accounted = peer, claim, asks, ends
    return peer, claim, asks, ends
