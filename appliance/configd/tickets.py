"""Tickets: each stands for one client certificate that somebody has just proved to hold, at the TLS proxy, over one connection.

The TLS proxy says which certificate and from where; the portal gets the ticket with that connection and can do one thing with it,
once: log in whom it names. So a portal that was taken over logs in nobody who did not come with their card.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

TICKET_BYTES = 32  # 256 bits: not to be guessed
TICKETS = 1_024  # twice the connections that the TLS proxy holds; the oldest go first
SECONDS = 90.0  # the portal closes a connection on which nobody asks for 60 s; who comes back after that makes a new handshake


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate (DER) that was shown, from where, and when (monotonic seconds)."""

    certificate: bytes
    source: str
    when: float


class Tickets:
    """All of them, in memory. Safe to use from several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, Shown] = {}
        self._lock = threading.Lock()

    def give(self, certificate: bytes, source: str) -> str:
        """A ticket for it."""
        ticket = secrets.token_hex(TICKET_BYTES)
        with self._lock:
            now = self._clock()
            self._held = {one: shown for one, shown in self._held.items() if now - shown.when < SECONDS}
            while len(self._held) >= TICKETS:
                del self._held[next(iter(self._held))]
            self._held[ticket] = Shown(certificate, source, now)
        return ticket

    def take(self, ticket: str) -> Shown | None:
        """What it stands for, once; None where it was used, is too old, or never was."""
        with self._lock:
            shown = self._held.pop(ticket, None)
            return shown if shown is not None and self._clock() - shown.when < SECONDS else None

    def withdraw(self, ticket: str) -> None:
        """Its connection is over."""
        with self._lock:
            self._held.pop(ticket, None)
