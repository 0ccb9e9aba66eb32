"""Gathers what a request is judged by. The way of a request, the exchanges that run when something changes, and `explain`
all get their `Case` here, so that none of them knows less than the others."""

from dataclasses import dataclass

from sentry_runtime.devices.record import Record
from sentry_runtime.gateway import wipe
from sentry_runtime.gateway.decide import Case, Excess, Unreadable
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.policies import Policies
from sentry_runtime.gateway.site import Site

Found = Record | Unreadable | None
"""What the device list has under a claim's key."""


@dataclass(slots=True)
class Judge:
    """`policies` are those that devices must apply, `site` what the site says beside the UEM (another one when that changes)."""

    policies: Policies
    site: Site

    def case(self, claim: Claim, source: str, found: Found, excess: Excess | None = None) -> Case:
        """What a request that comes now from this address is judged by, or one that has been let through and still runs:
        then without `excess`, since what else its device asks meanwhile does not end it."""
        site, need = self.site, self.policies.need(claim, found)
        ruling = site.ruling(claim, source)
        rule, name = (None, "") if ruling is None else (ruling.rule, ruling.name)
        ordered = found.wipe if isinstance(found, Record) else None
        too_old = ordered is not None and not wipe.possible(claim, ordered)
        return Case(claim.key, found, need, rule, excess, observe=site.observing, rule_name=name, too_old=too_old)
