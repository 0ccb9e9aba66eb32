"""Which features of a Sentry a Cloud's licence covers (pure). A level covers what the levels before it do.

The levels and services are those of the product's overview, "Cloud license requirement"; a feature that is in no row needs no
level. What is not built yet is in the table all the same, so that its licence is known on the day it is.
"""

from dataclasses import dataclass

from sentry_runtime.settings import Licence

LEVELS: tuple[Licence, ...] = ("gold", "platinum")
"""From the lowest to the highest."""


@dataclass(frozen=True, slots=True)
class Licensed:
    """One feature: what it is called, the level it needs, and whether this product has it yet."""

    label: str
    level: Licence
    built: bool = False


FEATURES: dict[str, Licensed] = {
    "traffic_control": Licensed("Advanced traffic control", "gold"),
    "outgoing_ciphers": Licensed("Outgoing ciphers", "gold"),
    "cifs": Licensed("CIFS service for documents", "gold"),
    "sharepoint": Licensed("SharePoint service for documents", "gold"),
    "help": Licensed("Help desk service (screen sharing)", "gold"),
    "web": Licensed("Secure browser service", "gold"),
    "custom_http": Licensed("Custom HTTP service", "gold"),
    "custom_tcp": Licensed("Custom TCP service", "gold"),
    "tunnel": Licensed("IP tunnel service", "platinum"),
    "app_tunnel": Licensed("AppTunnel", "platinum", built=True),
}
"""Of `app_tunnel` the list of a device's tunnels is built: it is told, kept, shown and held against the UEM."""


def refusal(feature: str, level: Licence) -> str | None:
    """Why this feature is not to be had at this level; None: it is. Raises `KeyError` for a feature that is in no row."""
    wanted = FEATURES[feature]
    if LEVELS.index(level) >= LEVELS.index(wanted.level):
        return None
    return f"{wanted.label} needs the licence level {wanted.level}, this one is {level}"


def lacking(level: Licence) -> tuple[str, ...]:
    """What this level refuses, by the names of the features."""
    return tuple(name for name in FEATURES if refusal(name, level) is not None)
