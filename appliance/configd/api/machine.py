"""The machine itself: what its network reaches, its clock, its power."""

from typing import Literal

from appliance.configd.api.words import SessionVerb, Word


class Ping(SessionVerb, frozen=True, kw_only=True, tag="net.ping"):
    """ICMP echo to a host name or address, a fixed number of times. Result: Text."""

    host: Word


class Lookup(SessionVerb, frozen=True, kw_only=True, tag="net.lookup"):
    """DNS look-up of a name or address. Result: Text."""

    host: Word


class Trace(SessionVerb, frozen=True, kw_only=True, tag="net.trace"):
    """The routers on the way to a host name or address. Result: Table."""

    host: Word


class ClearNeighbours(SessionVerb, frozen=True, kw_only=True, tag="net.clear_neighbours"):
    """Forget the neighbours that were learnt (ARP, ND). Result: Table of those."""


class SetClock(SessionVerb, frozen=True, kw_only=True, tag="system.clock"):
    """Set the clock, which no time server keeps now, to a time in UTC (`2026-01-31T18:00:00Z`). Result: None."""

    time: Word


class Power(SessionVerb, frozen=True, kw_only=True, tag="system.power"):
    """Restart or turn off the machine. Result: None."""

    action: Literal["reload", "poweroff"]
