"""What outlives the process: what was sent, and the key by which it logs in to SFTP servers, made here and never shown."""

import logging
import os
from pathlib import Path

import msgspec

from appliance import process
from appliance.offsite.plan import State
from appliance.system import sync_folder

FOLDER = Path("/var/lib/sentry/offsite")
STATE, BAD, KEY = "state.json", "state.bad.json", "id_ecdsa"
BYTES = 65_536  # eight destinations with their last problem are a tenth of this
CURVE_BITS = 384
KEY_SECONDS = 30.0
COMMENT = "sentry-offsite"

_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(State).decode


class KeepError(RuntimeError):
    """The disk does not give or take what must be kept; the message says what."""


class Keep:
    """The place of both. Only this process writes there."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    @property
    def key(self) -> Path:
        """The file of the private key."""
        return self._folder / KEY

    def load(self) -> State:
        """What was remembered. A file that cannot be read is put aside, and remembering begins anew: the newest backup is sent
        once more, which harms nobody. Raises `KeepError`."""
        place = self._folder / STATE
        try:
            data = place.read_bytes()
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise KeepError(f"{place} cannot be read: {error.strerror}") from error
        try:
            if len(data) > BYTES:
                raise ValueError(f"more than {BYTES} bytes")
            return _decode(data)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.error("what was remembered is damaged and was put aside as %s: %s", BAD, error)
            place.replace(place.with_name(BAD))
            return State()

    def save(self, state: State) -> None:
        """Have the disk hold it; raises `KeepError`."""
        place = self._folder / STATE
        new = place.with_name(f"{STATE}.new")
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                target.write(msgspec.json.encode(state))
                target.flush()
                os.fsync(target.fileno())
            new.replace(place)
            sync_folder(self._folder)
        except OSError as error:
            raise KeepError(f"{place} cannot be written: {error.strerror or error}") from error

    def public_key(self) -> str:
        """The public half as OpenSSH writes it. The key (ECDSA on P-384) is made where there is none yet. Raises `KeepError`."""
        place = self.key.with_suffix(".pub")
        try:
            if not (self.key.exists() and place.exists()):
                self._make()
            return place.read_text(encoding="ascii").strip()
        except (OSError, ValueError, process.CommandError) as error:
            raise KeepError(f"the key in {self.key} can neither be read nor made: {error}") from error

    def _make(self) -> None:
        """Under another name first: a key that was half made is nobody's."""
        new = self._folder / f"{KEY}.new"
        for left in (new, new.with_name(f"{new.name}.pub")):
            left.unlink(missing_ok=True)
        argv = [
            "/usr/bin/ssh-keygen",
            "-q",
            "-t",
            "ecdsa",
            "-b",
            str(CURVE_BITS),
            "-N",
            "",
            "-C",
            COMMENT,
            "-f",
            str(new),
        ]
        process.run(argv, seconds=KEY_SECONDS)
        new.with_name(f"{new.name}.pub").replace(self.key.with_suffix(".pub"))
        new.replace(self.key)
        sync_folder(self._folder)
