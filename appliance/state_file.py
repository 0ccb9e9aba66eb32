"""What a service remembers: one file of JSON in a folder of its own, replaced as a whole."""

import logging
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from appliance.disk import put

NAME, BAD = "state.json", "state.bad.json"
State = TypeVar("State", bound=msgspec.Struct)

_log = logging.getLogger(__name__)


class KeepError(RuntimeError):
    """The disk does not give or take what must be kept; the message says what."""


class StateFile(Generic[State]):
    """The state, a `kind` of at most `most_bytes`, in `folder`. Only this process writes there."""

    def __init__(self, folder: Path, kind: type[State], most_bytes: int) -> None:
        self._place = folder / NAME
        self._kind = kind
        self._most_bytes = most_bytes

    def load(self) -> State:
        """What was remembered. A file that cannot be read is put aside, and remembering begins anew. Raises `KeepError`."""
        try:
            data = self._place.read_bytes()
        except FileNotFoundError:
            return self._kind()
        except OSError as error:
            raise KeepError(f"{self._place} cannot be read: {error.strerror}") from error
        try:
            if len(data) > self._most_bytes:
                raise ValueError(f"more than {self._most_bytes} bytes")
            return msgspec.json.decode(data, type=self._kind)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.error("what was remembered is damaged and was put aside as %s: %s", BAD, error)
            self._place.replace(self._place.with_name(BAD))
            return self._kind()

    def save(self, state: State) -> None:
        """Have the disk hold it; raises `KeepError`."""
        keep(self._place, msgspec.json.encode(state))


def keep(place: Path, data: bytes) -> None:
    """Have `data` lie at `place`, as `disk.put` does; raises `KeepError`."""
    try:
        put(place, data)
    except OSError as error:
        raise KeepError(f"{place} cannot be written: {error.strerror or error}") from error
