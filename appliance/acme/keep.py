"""What outlives the process: the state, and the account's key. Each is one file, replaced as a whole."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.acme.orders import State
from appliance.state_file import KeepError, StateFile, keep

FOLDER = Path("/var/lib/sentry/acme")
KEY = "account.key"
BYTES = 1_048_576  # eight orders with their requests and chains are below this


class Keep(StateFile[State]):
    """The place of both. Where remembering begins anew, configd asks for an order again, and the account is found by its key."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(folder, State, BYTES)
        self._key = folder / KEY

    def account_key(self) -> ec.EllipticCurvePrivateKey:
        """The account's key (ES256: P-256), made when there is none yet. Raises `KeepError`."""
        try:
            key = serialization.load_pem_private_key(self._key.read_bytes(), None)
        except FileNotFoundError:
            return self._new_key()
        except (OSError, ValueError) as error:
            raise KeepError(f"the account's key in {self._key} cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeepError(f"the account's key in {self._key} is no EC key on P-256")
        return key

    def _new_key(self) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        keep(self._key, key.private_bytes(serialization.Encoding.PEM, form, plain))
        return key
