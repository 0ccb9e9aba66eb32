"""What an appliance says of its first start: at once, and in a file for those who look later."""

from pathlib import Path

from appliance.first_boot.places import LOOKED

SAID = Path("/run/sentry-first-boot/said")
CLOSED = "This appliance is not configured and its ports are closed."


def missing(platform: str) -> str:
    """There is no user-data."""
    return f"{CLOSED} No user-data was found; looked for was\n{LOOKED[platform]}."


def unusable(reason: object) -> str:
    """There is user-data, and it cannot be had or read."""
    return f"{CLOSED} Its user-data cannot be used:\n{reason}"


def refused(reason: object) -> str:
    """There is a configuration in it, which configd did not take."""
    return f"{CLOSED} configd refused its user-data:\n{reason}"


def keep(text: str, place: Path = SAID) -> None:
    """Leave it for `sentry-setup`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{text}\n", encoding="utf-8")
