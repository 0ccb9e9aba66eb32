"""What is known of a certificate's revocation, and whether it passes with that. Pure.

| standing | means | strict | lenient |
|---|---|---|---|
| good | a proof that holds now says so | passes | passes |
| revoked | a proof says so, whether it still holds or not | refused | refused |
| stale | there was a proof that it is good, which does not hold any more | refused | passes for a time |
| unknown | there is no proof, or the authority does not know the certificate | refused | passes for a time |
"""

from dataclasses import dataclass
from enum import StrEnum

from sentry_runtime.settings import Revocation


class Standing(StrEnum):
    """See the module's table."""

    GOOD = "good"
    REVOKED = "revoked"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A standing, and when it is to be asked for again (`until`); of `stale` and `unknown` since when it is so. Seconds since the
    epoch."""

    standing: Standing
    until: float
    since: float = 0.0


def passes(evidence: Evidence, rules: Revocation, now: float) -> bool:
    """Whether a certificate of this standing passes now."""
    if evidence.standing is Standing.GOOD:
        return True
    if evidence.standing is Standing.REVOKED or rules.policy == "strict":
        return False
    return now < evidence.since + rules.lenient_seconds


def worst(found: list[Evidence]) -> Evidence | None:
    """What several sources say together: "revoked" counts from any, then the best of the others. None of none."""
    order = (Standing.REVOKED, Standing.GOOD, Standing.STALE, Standing.UNKNOWN)
    return min(found, key=lambda one: order.index(one.standing), default=None)
