"""What is kept of every exchange: two audit lines, counters, and the table of those that are running.

A request that could be read has exactly two lines, `request` and `outcome`, joined by `id`. One that could not (malformed,
too large, too slow) has exactly one, `refused`. A connection that never came to a request has at most one, since anybody
can make thousands of them: `connection_refused` (not taken), `proxy_refused`, `handshake_failed`, `certificate_refused` or
`connection_silent`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypedDict

from sentry_runtime import audit
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.gateway.decide import Action, Unreadable, Verdict
from sentry_runtime.gateway.gate import place_of
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.metrics import Counters

TURNED_AWAY_LINES = 10  # a second, of connections without a request; the counters have all of them
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


class Running(Protocol):
    """An exchange under way, as the table sees it."""

    claim: Claim | None
    policy: bytes

    def judged_anew(self, found: Record | Unreadable | None) -> Verdict:
        """The verdict on it if it came now, with this in the device list for its key."""

    def revoke(self, verdict: Verdict) -> None:
        """Its device may no longer pass: end it now."""

    def renew(self, verdict: Verdict) -> None:
        """Its device has another policy now."""


@dataclass(slots=True)
class Outcome:
    """How an exchange ended. `action` is allow, block, provision, wipe, throttle, deny (the gateway's own no) or fail; `verdict`
    is the last that was found on its device, if it came to one."""

    action: str
    reasons: tuple[str, ...]
    verdict: Verdict | None
    status: int
    bytes_in: int
    bytes_out: int
    seconds: float
    backend: str


class _Stamp(TypedDict):
    """What a line that stands alone begins with."""

    time: str
    id: str


class Account:
    """One per worker."""

    def __init__(self, trail: audit.Trail, counters: Counters, now: Callable[[], float]) -> None:
        self.counters = counters
        self._trail = trail
        self._now = now
        self._prefix = os.urandom(6).hex()  # tells workers and restarts apart
        self._count = 0
        self._second = 0  # of the lines of connections without a request: the second, how many it had ...
        self._this_second = 0
        self._left_out = 0  # ... and how many of them were not written
        self._running: dict[DeviceKey, set[Running]] = {}

    def request(self, peer: Peer, head: Head, claim: Claim | None) -> str:
        """Write the line of a request that could be read; gives its id."""
        self._count += 1
        line_id = f"{self._prefix}-{self._count:x}"
        who = claim or _NOBODY
        self.counters.requests += 1
        self._trail.write(
            audit.Line(
                time=audit.timestamp(self._now()),
                id=line_id,
                event="request",
                source=peer.source,
                source_port=peer.port,
                listener=peer.listener,
                method=head.method,
                path=head.path[:PATH_CHARS],
                command=who.command,
                device_id=who.key.device_id if who.key is not None else "",
                device_type=who.device_type,
                principal=who.principal,
                protocol=who.protocol,
                certificate=who.certificate,
            )
        )
        return line_id

    def outcome(self, line_id: str, peer: Peer, head: Head, claim: Claim | None, outcome: Outcome) -> None:
        """Write the line that ends the request of this id."""
        who, verdict = claim or _NOBODY, outcome.verdict or _NO_VERDICT
        self.counters.bytes_in += outcome.bytes_in
        self.counters.bytes_out += outcome.bytes_out
        self._trail.write(
            audit.Line(
                time=audit.timestamp(self._now()),
                id=line_id,
                event="outcome",
                source=peer.source,
                source_port=peer.port,
                listener=peer.listener,
                method=head.method,
                action=outcome.action,
                reasons=outcome.reasons,
                decided_by=verdict.row or "",
                rule=verdict.rule,
                softened=verdict.softened,
                status=outcome.status,
                bytes_in=outcome.bytes_in,
                bytes_out=outcome.bytes_out,
                milliseconds=round(outcome.seconds * 1000),
                backend=outcome.backend,
                command=who.command,
                device_id=who.key.device_id if who.key is not None else "",
                device_type=who.device_type,
                principal=who.principal,
                protocol=who.protocol,
                certificate=who.certificate,
            )
        )

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
        return {"time": audit.timestamp(self._now()), "id": f"{self._prefix}-{self._count:x}"}

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

    def running(self, keys: Iterable[DeviceKey] | None = None) -> Iterator[Running]:
        """The exchanges of these devices (None: of all) that are with the backend now."""
        chosen = list(self._running) if keys is None else keys
        for key in chosen:
            yield from list(self._running.get(key, ()))
