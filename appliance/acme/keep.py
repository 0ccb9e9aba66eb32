"""What outlives the process: the state, and the account's key. Each is one file, replaced as a whole."""

import logging
import os
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.acme.orders import State
from appliance.system import sync_folder

FOLDER = Path("/var/lib/sentry/acme")
STATE, BAD, KEY = "state.json", "state.bad.json", "account.key"
BYTES = 1_048_576  # eight orders with their requests and chains are below this

_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(State).decode


class KeepError(RuntimeError):
    """The disk does not give or take what must be kept; the message says what."""


class Keep:
    """The place of both. Only this process writes there."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    def load(self) -> State:
        """What was remembered. A file that cannot be read is put aside, and remembering begins anew: an order is asked for again
        by configd, and an account is found again by its key."""
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
        self._put(STATE, msgspec.json.encode(state))

    def account_key(self) -> ec.EllipticCurvePrivateKey:
        """The account's key (ES256: P-256), made when there is none yet. Raises `KeepError`."""
        place = self._folder / KEY
        try:
            key = serialization.load_pem_private_key(place.read_bytes(), None)
        except FileNotFoundError:
            return self._new_key()
        except (OSError, ValueError) as error:
            raise KeepError(f"the account's key in {place} cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeepError(f"the account's key in {place} is no EC key on P-256")
        return key

    def _new_key(self) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self._put(KEY, key.private_bytes(serialization.Encoding.PEM, form, plain))
        return key

    def _put(self, name: str, data: bytes) -> None:
        place = self._folder / name
        new = place.with_name(f"{name}.new")
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                target.write(data)
                target.flush()
                os.fsync(target.fileno())
            new.replace(place)
            sync_folder(self._folder)
        except OSError as error:
            raise KeepError(f"{place} cannot be written: {error.strerror or error}") from error
