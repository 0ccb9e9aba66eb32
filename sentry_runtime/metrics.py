"""Counters of a process, as a flat object that several processes' can be added up in."""

import msgspec


class Counters(msgspec.Struct, kw_only=True):
    """What a gateway worker has done since it started; `*_now` are of this moment. All of them add up over workers."""

    connections: int = 0
    connections_now: int = 0
    connections_refused: int = 0
    connections_silent: int = 0
    handshakes_failed: int = 0
    certificates_refused: int = 0
    requests: int = 0
    exchanges_now: int = 0
    allowed: int = 0
    blocked: int = 0
    denied: int = 0
    malformed: int = 0
    first_contacts: int = 0
    undecided: int = 0
    logons_refused: int = 0
    logons_rested: int = 0
    backend_failures: int = 0
    redirected: int = 0
    revoked: int = 0
    softened: int = 0
    throttled: int = 0
    unprovisioned: int = 0
    provisioned: int = 0
    backend_provisions: int = 0
    backend_wipes: int = 0
    backend_wipes_acknowledged: int = 0
    cut: int = 0
    wipes_handed_out: int = 0
    wipes_acknowledged: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    audit_lines: int = 0
    audit_dropped: int = 0

    def count(self, name: str) -> None:
        """Add one to the counter of this name."""
        setattr(self, name, getattr(self, name) + 1)

    def add(self, other: "Counters") -> None:
        """Add the other's numbers to these."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
