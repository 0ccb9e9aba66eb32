"""What the site itself says of devices, beside the UEM: its rules, and whether it only observes. No input or output.

A rule names a user, a device, a type of device, a source network, or several of them: then all must match. The first rule
in the site's order that matches and has not expired decides; there is no need for one to.

| what is compared | how |
|---|---|
| device | the canonical id, or its beginning where the rule ends in `*` |
| user | the one name that `eas.principal` makes of every form |
| type of device | as the device says it, in any case, or its beginning |
| source | the device's address, in the network: of the connection, or as a balancer that is believed tells it |

A rule that denies also means the device under its other spellings (text and hex) and the user under every name that may be
the same person's, since those would be ways around it. A rule that allows means exactly what it says.

A minute is over when it begins: a rule that expires at 18:00 has no effect at 18:00:00. Observing ends in the same way, and
an end that is more than `OBSERVE_SECONDS` ahead is none that was allowed: then nothing is softened (a clock that was set back).
"""

import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from sentry_runtime import settings
from sentry_runtime.eas import principal
from sentry_runtime.eas.device_id import root
from sentry_runtime.gateway import gate
from sentry_runtime.gateway.decide import Rule
from sentry_runtime.gateway.gate import Address
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.settings import SettingsError

RULES = 1_000  # more are no exceptions any more; they belong into the UEM
OBSERVE_SECONDS = 30 * 86_400  # as long as a site may look before it enforces
ADDRESSES = 4_096  # of sources whose number is remembered; a device sends some twenty requests on one connection

_DEVICE = re.compile(r"[!-),-~]{1,64}\*?")
_TYPE = re.compile(r"[^*]{1,64}\*?")
_ANY = principal.Names()  # of a site that says nothing of its domains
_NEVER = float("inf")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule, ready to be compared. Empty and None: whatever it is."""

    order: int
    name: str
    rule: Rule
    device: str = ""
    user: str = ""
    device_type: str = ""
    network: Network | None = None
    expires: float = _NEVER

    def means(self, claim: Claim, address: Address | None) -> bool:
        """Whether it means this claim from this address, time left out."""
        return (
            self._means_device(claim)
            and self._means_user(claim.principal)
            and (not self.device_type or _begins(claim.device_type.casefold(), self.device_type))
            and (self.network is None or (address is not None and address in self.network))
        )

    def _means_device(self, claim: Claim) -> bool:
        if not self.device:
            return True
        if claim.key is None:
            return False
        names = _spellings(claim) if self.rule is Rule.DENY else (claim.key.device_id,)
        return any(_begins(name, self.device) for name in names)

    def _means_user(self, who: str) -> bool:
        if self.rule is Rule.DENY:
            return not self.user or principal.same_person(self.user, who)
        return not self.user or self.user == who


@dataclass(slots=True)
class _Shelf:
    """Rulings by the one word that each must find in a claim; those whose word ends in `*` by its length, too."""

    exact: dict[str, list[Ruling]] = field(default_factory=dict)
    beginnings: dict[int, dict[str, list[Ruling]]] = field(default_factory=dict)

    def add(self, word: str, ruling: Ruling) -> None:
        if word.endswith("*"):
            shelf = self.beginnings.setdefault(len(word) - 1, {})
            shelf.setdefault(word[:-1], []).append(ruling)
        else:
            self.exact.setdefault(word, []).append(ruling)

    def find(self, word: str) -> Iterator[list[Ruling]]:
        if (found := self.exact.get(word)) is not None:
            yield found
        for length, shelf in self.beginnings.items():
            if (found := shelf.get(word[:length])) is not None:
                yield found

    def __bool__(self) -> bool:
        return bool(self.exact or self.beginnings)


class Site:
    """The rules of one reading of the settings, and the end of observing. `now` gives seconds since the epoch."""

    def __init__(
        self,
        rulings: tuple[Ruling, ...] = (),
        until: float = 0.0,
        now: Callable[[], float] = time.time,
        names: principal.Names = _ANY,
    ) -> None:
        self.names = names
        """How the site reads its users' names."""
        self._rulings = rulings
        self._until = until
        self._now = now
        self._devices, self._users, self._types = _Shelf(), _Shelf(), _Shelf()
        self._networks: dict[tuple[int, int], dict[int, list[Ruling]]] = {}
        for ruling in rulings:
            self._shelve(ruling)
        self._next = self._next_end()

    @classmethod
    def of(
        cls, gateway: settings.Gateway, now: Callable[[], float] = time.time, names: principal.Names = _ANY
    ) -> "Site":
        """What the settings say. Raises `SettingsError`."""
        if len(gateway.rules) > RULES:
            raise SettingsError(f"gateway.rules: {len(gateway.rules)} rules; at most {RULES} are allowed")
        rulings = tuple(compiled(rule, order, names) for order, rule in enumerate(gateway.rules))
        until = 0.0 if gateway.observe is None else seconds(gateway.observe.until, "gateway.observe.until")
        return cls(rulings, until, now, names)

    @property
    def observing(self) -> bool:
        """Whether blocks for posture and registration are only written down now."""
        return bool(self._until) and 0 < self._until - self._now() <= OBSERVE_SECONDS

    @property
    def in_force(self) -> int:
        """How many rules have not expired."""
        now = self._now()
        return sum(now < ruling.expires for ruling in self._rulings)

    def ruling(self, claim: Claim, source: str) -> Ruling | None:
        """The rule that decides about this claim from this source, if any."""
        if not self._rulings or claim.key is None:
            return None
        found: Ruling | None = None
        address, now = address_of(source), self._now()
        for candidates in self._candidates(claim, address):
            for ruling in candidates:
                if found is not None and found.order < ruling.order:
                    break
                if now < ruling.expires and ruling.means(claim, address):
                    found = ruling
                    break
        return found

    def turn(self) -> bool:
        """Whether a rule or the observing has ended since the last call: then what runs is to be judged anew."""
        if self._now() < self._next:
            return False
        self._next = self._next_end()
        return True

    def _next_end(self) -> float:
        now = self._now()
        ends = [ruling.expires for ruling in self._rulings] + ([self._until] if self._until else [])
        return min((end for end in ends if end > now), default=_NEVER)

    def _shelve(self, ruling: Ruling) -> None:
        """Put it under the word that fewest claims have."""
        if ruling.device:
            self._devices.add(ruling.device, ruling)
        elif ruling.user:
            self._users.add(_local_part(ruling.user), ruling)
        elif ruling.network is not None:
            network = ruling.network
            shelf = self._networks.setdefault((network.version, network.prefixlen), {})
            shelf.setdefault(_prefix(int(network.network_address), network.version, network.prefixlen), []).append(
                ruling
            )
        else:
            self._types.add(ruling.device_type, ruling)

    def _candidates(self, claim: Claim, address: Address | None) -> Iterator[list[Ruling]]:
        if self._devices:
            for name in _spellings(claim):
                yield from self._devices.find(name)
        if self._users:
            yield from self._users.find(_local_part(claim.principal))
        if self._types:
            yield from self._types.find(claim.device_type.casefold())
        if address is not None and self._networks:
            number = int(address)
            for (version, length), shelf in self._networks.items():
                found = shelf.get(_prefix(number, version, length)) if version == address.version else None
                if found is not None:
                    yield found


def compiled(rule: settings.Rule, order: int, names: principal.Names = _ANY) -> Ruling:
    """A rule of the settings, made canonical. Raises `SettingsError` naming it."""
    place = f"gateway.rules[{order}]"
    if not (rule.device or rule.user or rule.device_type or rule.network):
        raise SettingsError(f"{place}: a rule names a user, a device, a device type or a network, or several of them")
    if rule.device and not _DEVICE.fullmatch(rule.device):
        raise SettingsError(
            f"{place}.device: {rule.device!r}; 1 to 64 printable ASCII characters without blanks and + are allowed, and one *"
            " behind them"
        )
    if rule.device_type and not _TYPE.fullmatch(rule.device_type):
        raise SettingsError(
            f"{place}.device_type: {rule.device_type!r}; 1 to 64 characters and one * behind them are allowed"
        )
    try:
        user = names.canonical(rule.user) if rule.user else ""
    except principal.PrincipalError:
        raise SettingsError(
            f"{place}.user: {rule.user!r}; `user`, `user@domain` or `DOMAIN\\user` is allowed"
        ) from None
    try:
        network = ipaddress.ip_network(rule.network) if rule.network else None
    except ValueError as error:
        raise SettingsError(f"{place}.network: {error}") from None
    if network is not None and network.prefixlen == 0:
        raise SettingsError(f"{place}.network: {rule.network} is everywhere; a rule means somebody")
    device = rule.device.upper()
    return Ruling(
        order=order,
        name=rule.name,
        rule=Rule(rule.action),
        device=root(device) if rule.action == "deny" else device,
        user=user,
        device_type=rule.device_type.casefold(),
        network=network,
        expires=seconds(rule.expires, f"{place}.expires") if rule.expires else _NEVER,
    )


def seconds(minute: str, place: str) -> float:
    """Seconds since the epoch when this minute (`2026-01-31T18:00Z`) begins. Raises `SettingsError` naming `place`."""
    try:
        return datetime.strptime(minute, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise SettingsError(f"{place}: {minute!r} is no minute such as 2026-01-31T18:00Z") from None


@lru_cache(ADDRESSES)
def address_of(source: str) -> Address | None:
    """`gate.address_of`, remembered; None for what is no address."""
    try:
        return gate.address_of(source)
    except ValueError:
        return None


def _spellings(claim: Claim) -> set[str]:
    """The claim's device id in every spelling that is known of it."""
    device_id = claim.key.device_id if claim.key is not None else ""
    return {device_id, *claim.aliases, root(device_id)}


def _begins(word: str, wanted: str) -> bool:
    return word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted


def _local_part(who: str) -> str:
    return who.partition("@")[0]


def _prefix(number: int, version: int, length: int) -> int:
    return number >> ((32 if version == 4 else 128) - length)
