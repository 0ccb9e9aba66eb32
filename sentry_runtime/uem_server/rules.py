"""What the UEM says of a device (pure).

An administrator's word by hand stands above the automatic one, in both directions: who is allowed by hand passes against any
cause, who is blocked by hand stays so when all causes are gone. To register a device gives it back to the automatic word.

A device is matched by its exact id and its exact principal, both in canonical form; `user` and `user@domain` are two
principals. What is said under another spelling (an alias, the id as text and as hex, a name that may be the same person's)
never grants anything; it only restricts: who is known and blocked, or to be wiped, under one of them is blocked.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sentry_runtime.devices.record import Reason, State

CAUSES = frozenset({Reason.COMPROMISED, Reason.OS_VERSION, Reason.NOT_ENCRYPTED, Reason.OUT_OF_CONTACT, Reason.POLICY})
"""What may be found wrong with a device itself, and be mended."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The word on one (device, principal)."""

    state: State
    reasons: tuple[Reason, ...] = ()


def unregistered(*, auto_block: bool) -> Standing:
    """The word on a device that nobody has registered."""
    return automatic((), registered=False, auto_block=auto_block)


def automatic(causes: Iterable[Reason], *, registered: bool, auto_block: bool) -> Standing:
    """The word on a device that no administrator has allowed, blocked or wiped by hand: every cause blocks by itself, so that it
    is free only when the last one is cleared."""
    reasons = set(causes)
    if auto_block and not registered:
        reasons.add(Reason.UNREGISTERED)
    return Standing(State.BLOCKED, tuple(sorted(reasons))) if reasons else Standing(State.ALLOWED)


def followed(target: Standing, causes: Iterable[Reason]) -> Standing:
    """The automatic word on a device that is linked to another: what is said of that one, and what is wrong with itself.

    A wipe is for one exact device, so on the linked one it only blocks.
    """
    wiped = target.state in (State.WIPE_PENDING, State.WIPED)
    reasons = {*causes, *target.reasons, *((Reason.COMPROMISED,) if wiped else ())}
    return Standing(State.BLOCKED, tuple(sorted(reasons))) if reasons else Standing(State.ALLOWED)


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
