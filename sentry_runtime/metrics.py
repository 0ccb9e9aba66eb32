"""Counters of a process, as a flat object that several processes' can be added up in."""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""As far as every reader of JSON counts; in bytes that is nine million gigabytes."""


class Counters(msgspec.Struct, kw_only=True):
    """What a gateway worker has done since it started; `*_now` are of this moment. All of them add up over workers."""

    connections: Count = 0
    connections_now: Count = 0
    connections_refused: Count = 0
    connections_silent: Count = 0
    handshakes_failed: Count = 0
    certificates_refused: Count = 0
    requests: Count = 0
    exchanges_now: Count = 0
    allowed: Count = 0
    blocked: Count = 0
    denied: Count = 0
    malformed: Count = 0
    first_contacts: Count = 0
    undecided: Count = 0
    logons_refused: Count = 0
    logons_rested: Count = 0
    backend_failures: Count = 0
    redirected: Count = 0
    revoked: Count = 0
    softened: Count = 0
    throttled: Count = 0
    unprovisioned: Count = 0
    provisioned: Count = 0
    backend_provisions: Count = 0
    backend_wipes: Count = 0
    backend_wipes_acknowledged: Count = 0
    cut: Count = 0
    wipes_handed_out: Count = 0
    wipes_acknowledged: Count = 0
    bytes_in: Count = 0
    bytes_out: Count = 0
    audit_lines: Count = 0
    audit_dropped: Count = 0

    def count(self, name: str) -> None:
        """Add one to the counter of this name."""
        setattr(self, name, getattr(self, name) + 1)

    def add(self, other: "Counters") -> None:
        """Add the other's numbers to these."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
