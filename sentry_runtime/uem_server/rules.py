"""What the UEM says of a device (pure).

A device is matched by its exact id and its exact principal, both in canonical form; `user` and `user@domain` are two
principals. What is said under another spelling (an alias, the id as text and as hex, a name that may be the same person's)
never grants anything; it only restricts: who is known and blocked, or to be wiped, under one of them is blocked.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sentry_runtime.devices.record import Reason, State


@dataclass(frozen=True, slots=True)
class Standing:
    """The word on one (device, principal)."""

    state: State
    reasons: tuple[Reason, ...] = ()


def unregistered(*, auto_block: bool) -> Standing:
    """The word on a device that nobody has registered."""
    return Standing(State.BLOCKED, (Reason.UNREGISTERED,)) if auto_block else Standing(State.ALLOWED)


def effective(own: Standing, aliases: Iterable[Standing]) -> Standing:
    """The entry's own word, restricted by what is said under its aliases.

    That nobody registered the alias is no restriction: the same phone is seen under both spellings, and only one of them gets
    registered. A wipe is for one exact device, so under an alias it only blocks.
    """
    if own.state is not State.ALLOWED:
        return own
    reasons: set[Reason] = set()
    for alias in aliases:
        if alias.state is State.BLOCKED:
            reasons.update(reason for reason in alias.reasons if reason is not Reason.UNREGISTERED)
        elif alias.state in (State.WIPE_PENDING, State.WIPED):
            reasons.add(Reason.COMPROMISED)
    return Standing(State.BLOCKED, tuple(sorted(reasons))) if reasons else own
