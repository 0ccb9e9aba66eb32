"""Gathers what a request is judged by. The way of a request, the exchanges that run when something changes, and `explain`
all get their `Case` here, so that none of them knows less than the others."""

from dataclasses import dataclass

from sentry_runtime.devices.record import Record
from sentry_runtime.gateway.decide import Case, Excess, Need, Unreadable
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.provisioning import Provisioning
from sentry_runtime.gateway.site import Site

Found = Record | Unreadable | None
"""What the device list has under a claim's key."""


@dataclass(slots=True)
class Judge:
    """`provisioning` is the gateway's own policy, `site` what the site says beside the UEM (another one when that changes)."""

    provisioning: Provisioning | None
    site: Site

    def case(self, claim: Claim, source: str, found: Found, excess: Excess | None = None) -> Case:
        """What a request that comes now from this address is judged by."""
        ours = self.provisioning
        return self._case(claim, source, found, None if ours is None else ours.need(claim), excess)

    def running(self, claim: Claim, source: str, found: Found) -> Case:
        """The same for a request that has been let through and still runs: neither a changed policy ends it, nor what else
        its device asks meanwhile."""
        return self._case(claim, source, found, None, None)

    def _case(self, claim: Claim, source: str, found: Found, need: Need | None, excess: Excess | None) -> Case:
        site = self.site
        ruling = site.ruling(claim, source)
        if ruling is None:
            return Case(claim.key, found, need, None, excess, site.observing)
        return Case(claim.key, found, need, ruling.rule, excess, site.observing, ruling.name)
