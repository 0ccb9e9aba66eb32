"""The file between the alert service, which has the figures, and the program that snmpd asks."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from appliance.configd.api import Health
from appliance.snmp.figures import Figure, figures

PLACE = Path("/run/sentry-figures/figures.json")
BYTES = 65_536  # all rows of both tables come to a tenth


class Published(msgspec.Struct, frozen=True):
    """The figures, and when they were taken (seconds since the epoch)."""

    when: float
    figures: tuple[Figure, ...]


class Publisher:
    """Writes the file anew with each look, by rename. The certificates are those of the last thorough look."""

    def __init__(self, place: Path = PLACE, *, wall: Callable[[], float]) -> None:
        self._place = place
        self._wall = wall
        self._certificates: Mapping[str, str] = {}

    def publish(self, health: Health) -> None:
        """Raises `OSError` where it cannot be written; the one before stays, and becomes old."""
        if health.thorough:
            self._certificates = health.certificates
        now = self._wall()
        made = msgspec.json.encode(Published(now, figures(health, self._certificates, now)))
        new = self._place.with_name(f".{self._place.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as target:
            os.fchmod(descriptor, 0o644)  # the folder says who reads
            target.write(made)
        new.rename(self._place)


def read(place: Path) -> Published | None:
    """What lies there; None where nothing does, or nothing that can be read."""
    try:
        with place.open("rb") as file:
            return msgspec.json.decode(file.read(BYTES), type=Published)
    except (OSError, msgspec.MsgspecError):
        return None
