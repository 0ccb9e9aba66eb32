"""What outlives the process: what was sent, and the key by which it logs in to SFTP servers, made here and never shown."""

from pathlib import Path

from appliance import process
from appliance.disk import sync_folder
from appliance.offsite.plan import State
from appliance.state_file import KeepError, StateFile

FOLDER = Path("/var/lib/sentry/offsite")
KEY = "id_ecdsa"
BYTES = 65_536  # eight destinations with their last problem are a tenth of this
CURVE_BITS = 384
KEY_SECONDS = 30.0
COMMENT = "sentry-offsite"


class Keep(StateFile[State]):
    """The place of both. Where remembering begins anew, the newest backup is sent once more, which harms nobody."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(folder, State, BYTES)
        self._folder = folder

    @property
    def key(self) -> Path:
        """The file of the private key."""
        return self._folder / KEY

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
