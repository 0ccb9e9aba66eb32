"""The settings file of a service: rendered by configd, read at the start. An unknown key is an error, so that no setting is ever
silently without effect."""

from pathlib import Path
from typing import TypeVar

import msgspec

EX_CONFIG = 78  # sysexits.h: systemd waits for new settings instead of starting again

Settings = TypeVar("Settings", bound=msgspec.Struct)


class SettingsError(ValueError):
    """The settings file is missing, malformed or says something that is not allowed."""


def read(path: Path, kind: type[Settings]) -> Settings:
    """The settings in it; a `SettingsError` names the file, the place in it and what was expected there."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{path}: {error}") from error
