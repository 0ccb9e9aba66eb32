"""How often one address may try to enrol: signing costs, and whoever guesses is written down, not served at any pace."""

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

BURST = 10  # who mistypes, and machines that share an address
SECONDS = 30.0  # for each further one
SOURCES = 10_000  # that are remembered; a stranger with more addresses than that is the packet filter's


class Tries:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def may(self, address: str) -> bool:
        """Whether this address may try now; counts as a try if it may."""
        return self.may_as(_source(address))

    def may_as(self, source: str) -> bool:
        """The same of somebody who is known by another name than an address."""
        now = self._clock()
        full_at = max(self._full_at.pop(source, now), now) + SECONDS
        allowed = full_at <= now + BURST * SECONDS
        self._full_at[source] = full_at if allowed else full_at - SECONDS
        if len(self._full_at) > SOURCES:
            self._full_at.popitem(last=False)
        return allowed


def _source(address: str) -> str:
    """One household or site has a /64 of IPv6."""
    found = ip_address(address.partition("%")[0])
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
