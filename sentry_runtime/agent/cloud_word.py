"""What a Cloud's administrators have set for its Sentrys, kept beside the device list: it is asked for most when nobody answers.

Before the first word from the Cloud a new device is blocked while it cannot be reached.
"""

import os
from pathlib import Path

import msgspec

from sentry_runtime import secret_file
from sentry_runtime.devices.store import StoreError
from sentry_runtime.settings import FailMode
from sentry_runtime.uem import licence
from sentry_runtime.uem.cloud_api import CloudSettings
from sentry_runtime.uem.trail import Audit

FILE = "cloud.json"
BYTES = 1_024


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: what is said there, and where."""

    url: str
    settings: CloudSettings


class CloudWord:
    """The last word of the Cloud at this `url`, over restarts; that of another one does not count. Raises `StoreError` when the
    file is there and cannot be read."""

    def __init__(self, folder: Path, url: str, audit: Audit) -> None:
        self._path = folder / FILE
        self._url = url
        self._audit = audit
        kept = _read(self._path)
        self.settings = kept.settings if kept is not None and kept.url == url else None
        """None: there was none yet."""

    def fail_mode(self) -> FailMode:
        """What a new device gets while the Cloud is out of reach."""
        return "block" if self.settings is None else self.settings.fail_mode

    def take(self, settings: CloudSettings) -> None:
        """This is what they have set now. A disk that refuses it is audited: the word holds until the agent ends."""
        if settings == self.settings:
            return
        self.settings = settings
        self._audit("uem_settings_changed", detail=_words(settings))
        try:
            secret_file.put(self._path, msgspec.json.encode(_Kept(self._url, settings)))
        except OSError as error:
            self._audit("device_list_failed", detail=f"{self._path}: cannot be written: {error.strerror}")

    def facts(self) -> dict[str, str | int]:
        """What `Status` shows of it."""
        if self.settings is None:
            return {"cloud_settings": "none yet", "cloud_fail_mode": self.fail_mode()}
        return {
            "cloud_fail_mode": self.settings.fail_mode,
            "cloud_unmanaged": "allow" if self.settings.allow_unmanaged else "block",
            "cloud_licence": self.settings.licence,
            "cloud_licence_lacks": ", ".join(licence.lacking(self.settings.licence)),
        }


def _words(settings: CloudSettings) -> str:
    unmanaged = "allow" if settings.allow_unmanaged else "block"
    return f"fail mode {settings.fail_mode}, unmanaged devices {unmanaged}, licence {settings.licence}"


def _read(path: Path) -> _Kept | None:
    """None where there is none, none of our own writing, or none that can be read so: then a Cloud that is away blocks."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            return msgspec.json.decode(file.read(BYTES), type=_Kept)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
