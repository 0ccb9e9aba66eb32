"""The appliance's own certificates: kept valid and in step with its names (`appliance.pki` makes them)."""

from collections.abc import Iterable

from appliance import pki
from appliance.features import values
from appliance.features.base import Feature, Problem, System, Tree


def verify(tree: Tree) -> Iterable[Problem]:
    """A certificate is not due for renewal the day it is made."""
    held = tree["certificates"]
    if held["renew_days"] >= held["lifetime_days"]:
        yield Problem(
            "certificates.renew_days", str(held["renew_days"]), f"less than lifetime_days, {held['lifetime_days']}"
        )


def reconcile(tree: Tree, system: System) -> bool:
    """Make what is missing, expiring or names something else; the services that hold a new one are told."""
    return pki.ensure(tree, system)


FEATURE = Feature(
    name="certificates",
    label="Certificates",
    default={},
    schema=values.group(
        "Certificates",
        "The appliance's own authority and what it issues to the appliance's services.",
        lifetime_days=values.number(
            "Lifetime (days)", "Of a certificate; browsers take no more than 398.", low=2, high=398, default=397
        ),
        renew_days=values.number(
            "Renewal (days)", "How long before the end a new one is made.", low=1, high=180, default=30
        ),
    ),
    verify=verify,
    reconcile=reconcile,
)
