"""The ActiveSync servers behind the gateway: which one a device gets, a connection to it, and what is seen of each.

`pools` says which backends serve whom, `health` which of them are fit, `redirects` who has been sent elsewhere; here they are
put together. A backend that is down is passed over while its pool has another. Where there is none left it is tried all the
same: health chooses among backends, and never refuses what might work.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway import redirects
from sentry_runtime.gateway.addresses import AddressRefusedError, networks_of
from sentry_runtime.gateway.dial import Connection, Target, dial, reason_of
from sentry_runtime.gateway.health import Change, Kind
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.pools import Pools, Seat
from sentry_runtime.gateway.redirects import Forgotten, Location, News, RedirectError, Redirections
from sentry_runtime.settings import Routing

ROUNDS = 2  # of `backend_connect_seconds`: the time for all dials of one request together ...
SLACK_SECONDS = 1.0  # ... and so much, so that the last of them ends by its own limit and is seen to have failed
STRANGERS = "all strangers"  # who asks before anybody is known: one for all, since a name costs a stranger nothing
_BROKEN = frozenset({502, 503, 504})  # what stands behind the backend is gone; see `health`
_SLOWED = frozenset({b"retry-after", b"x-ms-asthrottle"})


class BackendsDownError(Exception):
    """No backend could be reached; `reason` (of the last one tried) is one word for the audit line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Audience(Protocol):
    """Who is told of what happens, for the audit trail and for the other workers."""

    def backend_changed(self, backend: str, change: Change) -> None:
        """It went down or came back."""

    def backend_untrusted(self, backend: str, verdict: str) -> None:
        """A connection was made although the certificate does not hold."""

    def redirected(self, seat: Seat, backend: str, host: str, refusal: str) -> None:
        """`backend` has sent a device to `host`; `refusal` says why it was not followed, "" where it was."""

    def news(self, news: News) -> None:
        """Something was learned or forgotten of where devices have been sent."""


class Upstream(Protocol):
    """A connection to a backend, as far as it matters here."""

    target: Target
    generation: int
    """Of `Backends.generation` when its target was chosen."""
    logged_on: bool
    """It has been authenticated itself, which no other connection would be."""


class Backends:
    """One worker's view of all backends.

    `generation` counts what may give a device another backend than the one it has.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        pools: Pools,
        routing: Routing,
        connect_seconds: float,
        audience: Audience,
        redirections: Redirections | None = None,
    ) -> None:
        self.generation = 0
        self.follows = bool(routing.redirects.hosts)
        self.targets = tuple(targets)
        self.redirections = Redirections() if redirections is None else redirections
        self._by_name = {target.backend.name: target for target in targets}
        self._pools = pools
        self._rules = routing.redirects
        self._networks = networks_of(routing.redirects.networks)
        self.connect_seconds = connect_seconds
        self._audience = audience

    # Which one.

    def order(self, seat: Seat) -> list[Target]:
        """In which order to try them for this device: where it has been sent, what is up, what is down."""
        targets = [self._by_name[backend.name] for backend in self._pools.order(seat)]
        targets.sort(key=lambda target: not target.up)
        sent = self._sent(seat) if self.follows else None
        if sent is None or not sent.up:
            return targets
        return [sent, *(one for one in targets if one is not sent)]

    def keeps(self, upstream: Upstream, claim: Claim) -> bool:
        """Whether this connection still leads where the device belongs.

        A device goes back to its own backend, when that is back, with the next request, never in the middle of one. One that
        has logged on stays where it is for as long as the connection holds.
        """
        if upstream.generation != self.generation and not upstream.logged_on:
            seat = Seat.of(claim)
            if seat.device and self.order(seat)[0].backend != upstream.target.backend:
                return False
            upstream.generation = self.generation
        return True

    def serves(self, target: Target, seat: Seat) -> bool:
        """Whether this is one of the servers that the device may be sent to."""
        if target.backend in self._pools.of(seat):
            return True
        sent = self._sent(seat) if self.follows else None
        return sent is not None and sent.backend == target.backend

    @property
    def any_up(self) -> bool:
        """Whether there is one that nothing speaks against."""
        return any(target.up for target in self.targets)

    # Connections.

    async def connect(self, seat: Seat, make: Callable[[Target], Connection], only: Target | None = None) -> Connection:
        """Dial one after the other until one takes the connection, or `only` that one. Raises `BackendsDownError`."""
        reason, loop = "backend_timeout", asyncio.get_running_loop()
        end = loop.time() + ROUNDS * self.connect_seconds + SLACK_SECONDS
        for target in self.order(seat) if only is None else [only]:
            limit = loop.time() + self.connect_seconds
            try:
                async with asyncio.timeout_at(min(limit, end)):
                    connection = await self._dial(target, make)
            except (OSError, UnicodeError) as error:
                if loop.time() >= end:
                    break  # nobody's fault: this one has not had its full time
                reason = reason_of(error)
                self._dial_failed(seat, target, error, reason)
            else:
                self._succeeded(target, Kind.DIAL)
                return connection
        raise BackendsDownError(reason)

    async def _dial(self, target: Target, make: Callable[[Target], Connection]) -> Connection:
        name = target.backend.name

        def untrusted(verdict: str) -> None:
            self._audience.backend_untrusted(name, verdict)

        return await dial(target, lambda: make(target), untrusted)

    def _dial_failed(self, seat: Seat, target: Target, error: OSError | UnicodeError, reason: str) -> None:
        if target.health is not None:
            self._failed(target, Kind.DIAL, reason)
            return
        if isinstance(error, AddressRefusedError):
            self._audience.redirected(seat, target.origin, target.backend.host, reason)
        self.forget((_key(seat),))

    # What is seen of them.

    def answered(self, target: Target, who: str, status: int, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """It has answered a request of `who`."""
        if status in _BROKEN and not any(name.lower() in _SLOWED for name, _ in fields):
            self.answered_badly(target, who, f"backend_status_{status}")
        else:
            self._succeeded(target, Kind.ANSWER)

    def answered_badly(self, target: Target, who: str, reason: str) -> None:
        """A request of `who` has got no answer, or none that is one."""
        if target.health is not None:
            self._failed(target, Kind.ANSWER, reason, who)

    def checked(self, target: Target, fault: str) -> None:
        """A check has ended, with a fault or with none ("")."""
        if target.health is not None:
            self._note(target, target.health.checked(_now(), fault))

    def check_due(self, target: Target) -> bool:
        """Whether only a check can bring it back now."""
        return target.health is not None and target.health.check_due(_now())

    def _succeeded(self, target: Target, kind: Kind) -> None:
        if target.health is not None and target.health.troubled:
            self._note(target, target.health.succeeded(_now(), kind))

    def _failed(self, target: Target, kind: Kind, reason: str, who: str = "") -> None:
        if target.health is not None:
            self._note(target, target.health.failed(_now(), kind, reason, who))

    def _note(self, target: Target, change: Change | None) -> None:
        if change is not None:
            self.generation += 1
            self._audience.backend_changed(target.backend.name, change)

    # Redirections.

    def follow(self, seat: Seat, sender: Target, location: bytes, hops: int) -> Target:
        """The server that `sender` names in a 451, for this device, which belongs there from now on.

        `hops`: how many there were before this one. Raises `BackendsDownError` where it is not to be followed; what was
        remembered of the device is then forgotten, so that it begins with its own backend again.
        """
        if not self.follows:
            raise BackendsDownError("backend_redirects")
        origin = sender.origin or sender.backend.name
        try:
            if hops >= redirects.HOPS:
                raise RedirectError("redirect_loop")
            to = redirects.read(location)
            target = self._target(seat, to, self._by_name[origin])
        except RedirectError as error:
            self._audience.redirected(seat, sender.backend.name, error.host, error.reason)
            self.forget((_key(seat),))
            raise BackendsDownError(error.reason) from None
        self._audience.redirected(seat, sender.backend.name, to.host, "")
        if seat.device:
            self.generation += 1
            self._audience.news(self.redirections.learn(_key(seat), to, origin))
        return target

    def forget(self, keys: tuple[DeviceKey, ...]) -> None:
        """These devices begin with their own backends again."""
        known = tuple(key for key in keys if self.redirections.get(key) is not None)
        if known:
            news = Forgotten(keys=known)
            self.hear(news)
            self._audience.news(news)

    def hear(self, news: News) -> None:
        """Take over what another worker has learned, or an administrator wants forgotten."""
        self.generation += 1
        self.redirections.apply(news)

    def _sent(self, seat: Seat) -> Target | None:
        """Where the device has been sent, as far as that still holds under the present settings."""
        redirect = self.redirections.get(_key(seat)) if seat.device else None
        if redirect is None:
            return None
        origin = self._by_name.get(redirect.backend)
        if origin is None or origin.backend not in self._pools.of(seat):
            return None
        to = Location("http" if origin.trust is None else "https", redirect.host, redirect.port)
        try:
            return self._target(seat, to, origin)
        except RedirectError:
            return None

    def _target(self, seat: Seat, to: Location, origin: Target) -> Target:
        """One of the seat's own backends, where it is one of them that is named; else one that is listed."""
        found = self._configured(seat, to)
        if found is not None:
            return found
        backend = redirects.permitted(to, origin.backend, self._rules)
        return Target(backend, origin.trust, within=self._networks, origin=origin.backend.name)

    def _configured(self, seat: Seat, to: Location) -> Target | None:
        tls = to.scheme == "https"
        for backend in self._pools.of(seat):
            named = (backend.tls is not None, (backend.server_name or backend.host).lower(), backend.port)
            if named == (tls, to.host, to.port):
                return self._by_name[backend.name]
        return None


def _key(seat: Seat) -> DeviceKey:
    return DeviceKey(seat.device, seat.principal)


def _now() -> float:
    return asyncio.get_running_loop().time()
