"""Which backends serve whom, and in which order they are tried. Pure but for the turns of requests without a device.

The domain of the principal chooses the pool. Within it a device keeps to one backend, so that its sync state holds: each
backend gets a number from the device and its own name, and the greatest is the device's (rendezvous hashing, Thaler and
Ravishankar 1998). So every worker and every gateway of a fleet chooses the same without a word between them, devices are spread
evenly, and when a backend goes only its own devices move, to come back when it does.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from sentry_runtime.gateway.identify import Claim, device_of
from sentry_runtime.settings import Backend, Gateway, SettingsError, default_servers


@dataclass(frozen=True, slots=True)
class Seat:
    """For whom a backend is chosen. `device` is the text of its id, whichever form the request said it in; "": no device."""

    device: str
    principal: str

    @classmethod
    def of(cls, claim: Claim) -> Self:
        """Of a request: a base64 id counts by its printable reading, which is the same device's id in the plain form."""
        device = device_of(claim)
        return cls("" if device is None else device.device_id, claim.principal)

    @property
    def domain(self) -> str:
        """The mail domain of the principal; "" for a bare name."""
        return self.principal.partition("@")[2]


class Pools:
    """The backends of each mail domain, and those of everybody else."""

    def __init__(
        self, default: Sequence[Backend], domains: Mapping[str, Sequence[Backend]], *, by_priority: bool
    ) -> None:
        self._default = tuple(default)
        self._domains = {domain: tuple(backends) for domain, backends in domains.items()}
        self._by_priority = by_priority
        self._turn = 0

    def of(self, seat: Seat) -> tuple[Backend, ...]:
        """The backends that may serve this principal."""
        return self._domains.get(seat.domain, self._default)

    def order(self, seat: Seat) -> list[Backend]:
        """All of them, the one to try first in front. Requests without a device take turns."""
        backends = self.of(seat)
        if len(backends) == 1:
            return list(backends)
        if seat.device:
            ordered = sorted(backends, key=lambda one: weight(seat.device, one.name), reverse=True)
        else:
            turn = self._turn % len(backends)
            self._turn += 1
            ordered = [*backends[turn:], *backends[:turn]]
        if self._by_priority:
            ordered.sort(key=lambda one: one.priority)
        return ordered


def weight(device: str, name: str) -> bytes:
    """The device's number for the backend of this name. Digests of different pairs are as good as random."""
    return hashlib.sha256(f"{device}\0{name}".encode()).digest()


def pools(gateway: Gateway) -> Pools:
    """The pools that the settings speak of. Raises `SettingsError` where they name what is not there, or nobody."""
    routing, by_name = gateway.routing, {one.name: one for one in gateway.backends}
    if len(by_name) < len(gateway.backends):
        raise SettingsError("gateway.backends: two have one name")
    for place, names in _named(gateway):
        for name in names:
            if name not in by_name:
                known = ", ".join(sorted(by_name))
                raise SettingsError(f"gateway.routing.{place}: no backend is called {name!r}; there are {known}")
        if len(set(names)) < len(names):
            raise SettingsError(f"gateway.routing.{place}: names one backend twice")
    domains: dict[str, list[Backend]] = {}
    for domain, names in routing.domains.items():
        if not names:
            raise SettingsError(f"gateway.routing.domains.{domain}: at least one backend is needed")
        if domain.casefold() in domains:
            raise SettingsError(f"gateway.routing.domains.{domain}: the same domain twice")
        domains[domain.casefold()] = [by_name[name] for name in names]
    default = default_servers(routing.default, routing.domains, by_name)
    if not default:
        raise SettingsError("gateway.routing.default: needed, since every backend is some domain's")
    by_priority = routing.scheduling == "priority"
    return Pools([by_name[name] for name in default], domains, by_priority=by_priority)


def _named(gateway: Gateway) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "default", gateway.routing.default
    for domain, names in gateway.routing.domains.items():
        yield f"domains.{domain}", names
