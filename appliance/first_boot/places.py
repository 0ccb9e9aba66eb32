"""Where user-data may lie, by the platform that the boot menu names (`sentry.platform=`, images/targets.py)."""

from collections.abc import Callable, Mapping
from pathlib import Path

from appliance.first_boot import disks, metadata, network
from appliance.first_boot.found import Found, PlaceError

COMMAND_LINE = Path("/proc/cmdline")
WORD = "sentry.platform="

Place = Callable[[], Found | None]


def _over_network(place: Place) -> Place:
    def ask() -> Found | None:
        with network.opened():
            return place()

    return ask


PLACES: Mapping[str, tuple[Place, ...]] = {
    "nocloud": (disks.nocloud, disks.ovf, disks.unreadable),
    "ec2": (_over_network(metadata.ec2),),
    "azure": (_over_network(metadata.azure),),
}
LOOKED = {
    "nocloud": "a disk labelled cidata with a file user-data, or the property user-data of an OVF environment",
    "ec2": "user-data of the EC2 instance",
    "azure": "user data of the Azure machine",
}
"""What is missing where nothing was found, in the reader's words."""


def platform(command_line: str) -> str:
    """The platform's word. Raises `PlaceError` for none and for a strange one."""
    words = [word.removeprefix(WORD) for word in command_line.split() if word.startswith(WORD)]
    if len(words) != 1 or words[0] not in PLACES:
        raise PlaceError(f"kernel's command line: found {WORD}{','.join(words)}; allowed: {', '.join(PLACES)}")
    return words[0]


def look(name: str, places: Mapping[str, tuple[Place, ...]] = PLACES) -> Found | None:
    """The first user-data that the platform has; None where it has none. Raises `PlaceError`, `CommandError`."""
    for place in places[name]:
        found = place()
        if found is not None:
            return found
    return None
