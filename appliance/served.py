"""Which certificate a service shows at a moment: the appliance's own, or one that somebody uploaded, the first or the second.

Pure: a configuration and a time give a choice, and the moment at which the choice will be another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from appliance import chains
from appliance.features.base import Tree
from appliance.features.values import minute_of

Which = Literal["first", "second"]

SERVICES = {"gateway": "gateway", "portal": "portal", "uem-push": "uem_push"}
"""The services whose certificate can be another one than the appliance's own: folder -> setting."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A certificate with the authorities above it, and the reference to its key ("": it was made on the appliance)."""

    which: Which
    text: str
    key: str

    @property
    def chain(self) -> chains.Chain:
        """The certificate and what is above it."""
        return chains.read(self.text)


def settings(tree: Tree, service: str) -> Mapping[str, Any]:
    """The settings of one service's certificate; empty for the services within the appliance."""
    held: Mapping[str, Any] = tree.get("certificates", {}).get("servers", {}).get(SERVICES.get(service, ""), {})
    return held


def uploaded(tree: Tree, service: str) -> tuple[Uploaded, ...]:
    """What was uploaded for a service: nothing, the first, or the first and the second."""
    first = settings(tree, service)
    if "certificate" not in first:
        return ()
    held = [_uploaded("first", first)]
    if first.get("second"):
        held.append(_uploaded("second", first["second"]))
    return tuple(held)


def _uploaded(which: Which, held: Mapping[str, Any]) -> Uploaded:
    return Uploaded(which, held["certificate"], held.get("key") or "")


def choice(tree: Tree, service: str, now: datetime) -> Uploaded | None:
    """What of the uploaded ones is shown at `now`; None: the appliance's own."""
    held = uploaded(tree, service)
    if len(held) < 2:
        return held[0] if held else None
    return held[1] if now >= takeover(tree, service) else held[0]


def takeover(tree: Tree, service: str) -> datetime:
    """When the second takes over: at its stated minute or when the first ends, whichever is earlier, but not before it holds."""
    first, second = uploaded(tree, service)
    moments = [first.chain[0].not_valid_after_utc]
    stated = settings(tree, service)["second"].get("from")
    if stated:
        moments.append(minute_of(stated))
    return max(min(moments), second.chain[0].not_valid_before_utc)


def next_change(tree: Tree, now: datetime) -> datetime | None:
    """The earliest moment after `now` at which some service will show another certificate; None where there is none."""
    two = [service for service in SERVICES if len(uploaded(tree, service)) == 2]
    coming = [moment for service in two if (moment := takeover(tree, service)) > now]
    return min(coming, default=None)


def ending(tree: Tree, now: datetime, within: timedelta) -> tuple[tuple[str, datetime], ...]:
    """The services whose last uploaded certificate ends `within` so long, and when: nobody but the site can make the next."""
    last = [
        (service, held[-1].chain[0].not_valid_after_utc) for service in SERVICES if (held := uploaded(tree, service))
    ]
    return tuple((service, ends) for service, ends in last if ends <= now + within)
