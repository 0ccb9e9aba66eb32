"""The state on the disk: one file, replaced as a whole, so that a crash leaves the one before or the one after."""

import logging
from pathlib import Path

import msgspec

from appliance.alerts.state import State
from appliance.disk import put

FOLDER = Path("/var/lib/sentry/alerts")
NAME = "state.json"
BAD = "state.bad.json"
BYTES = 4_194_304  # its bounds keep it below half of this

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode


class Keep:
    """The state's place. Only this process writes there."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._place = folder / NAME
        self._kept = b""

    def load(self) -> tuple[State, str]:
        """What was remembered, and what is to be said about it: empty unless it could not be read. A file that cannot be read is
        put aside, and remembering begins anew."""
        try:
            data = self._place.read_bytes()
        except FileNotFoundError:
            return State(), ""
        except OSError as error:
            return State(), f"what was remembered cannot be read: {error.strerror}"
        try:
            if len(data) > BYTES:
                raise ValueError(f"more than {BYTES} bytes")
            return _decode(data), ""
        except (msgspec.MsgspecError, ValueError) as error:
            self._place.replace(self._place.with_name(BAD))
            return State(), f"what was remembered is damaged and was put aside as {BAD}: {error}"

    def save(self, state: State, *, last: bool = False) -> bool:
        """Have the disk hold it; whether it does. A disk that takes nothing ends no alert: sending goes on from memory.

        How late it is and up to where lines without an event were read is not worth a write, but for the `last` one.
        """
        told = _encode(msgspec.structs.replace(state, clock=0.0, wall=0.0, cursor=""))
        if told == self._kept and not last:
            return True
        try:
            put(self._place, _encode(state))
        except OSError as error:
            _log.error("what is to be told cannot be written down: %s", error.strerror or error)
            return False
        self._kept = told
        return True
