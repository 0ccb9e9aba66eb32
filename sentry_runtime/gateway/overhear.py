"""What a device of a protocol before 14.1 says of itself: it says it in a Settings request, which goes to the backend.

The body passes on as it comes; a copy of the first few KiB is kept until its end, of Settings alone.
"""

from sentry_runtime.eas import device_information
from sentry_runtime.eas.device_information import SETTINGS_BYTES, DeviceInformation
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim


class Listener:
    """Hears one request body."""

    def __init__(self) -> None:
        self._heard = bytearray()

    def hear(self, payload: bytes) -> None:
        """A part of the body. One that is longer than any that says something is not listened to."""
        if len(self._heard) <= SETTINGS_BYTES:
            self._heard += payload[: SETTINGS_BYTES + 1]

    def understood(self) -> DeviceInformation | None:
        """What the whole body says of the device."""
        if len(self._heard) > SETTINGS_BYTES:
            return None
        return device_information.in_settings(bytes(self._heard))


def listener(claim: Claim, head: Head) -> Listener | None:
    """Whoever listens to the body of this request; None where there is nothing to hear."""
    plain = head.single.get(b"content-encoding", b"").lower() in (b"", b"identity")
    return Listener() if claim.command == "Settings" and claim.key is not None and plain else None
