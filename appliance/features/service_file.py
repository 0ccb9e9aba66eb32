"""The settings file of one of our services, as a feature renders it."""

import msgspec

from appliance.features.base import File


def readable_by(group: str, settings: msgspec.Struct) -> File:
    """JSON, indented for people, with a line end; root's, and read by the service's own account alone."""
    text = msgspec.json.format(msgspec.json.encode(settings), indent=2).decode()
    return File(f"{text}\n", mode=0o640, group=group)
