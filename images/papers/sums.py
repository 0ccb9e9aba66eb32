"""The digests of everything that is shipped, in one file, and its signature.

    sha256sum --check SHA256SUMS
    openssl dgst -sha256 -verify KEY.pem -signature SHA256SUMS.sig SHA256SUMS

Who gives no key gets a signature by a throw-away one: its public half lies beside it and its private half nowhere. It
shows that the files belong together and nothing of who made them; so its files say in their names what it is.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from images.paths import write_file
from images.run import CommandError, run

NAME = "SHA256SUMS"
THROW_AWAY = f"{NAME}.throw-away-key"
_ECDSA = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]


class SigningError(RuntimeError):
    """The signing key cannot be used; the message says which and why."""


def digests(folder: Path) -> dict[str, str]:
    """Name -> SHA-256, of every file in the folder but the sums themselves and what belongs to them."""
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith((NAME, ".")):
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def listing(found: Mapping[str, str]) -> str:
    """The lines that `sha256sum --check` reads, in the order of the names."""
    return "".join(f"{found[name]}  {name}\n" for name in sorted(found))


def check_key(key: Path) -> None:
    """Raises `SigningError` unless `key` is a private key that can be used unattended."""
    try:
        run(["openssl", "pkey", "-in", key, "-passin", "pass:", "-noout"])
    except CommandError as error:
        raise SigningError(
            f"{key}: is no private key that openssl can read without a password (PEM, EC or RSA): {error.output.strip()}"
        ) from error


def sign(folder: Path, key: Path | None) -> tuple[Path, ...]:
    """Write the sums of all that lies in `folder`, and their signature with `key` or a throw-away one; the files written."""
    sums = folder / NAME
    write_file(sums, listing(digests(folder)))
    for old in folder.glob(f"{NAME}.*"):
        old.unlink()
    if key is not None:
        signature = folder / f"{NAME}.sig"
        _signed(sums, key, signature)
        return sums, signature
    with tempfile.TemporaryDirectory(prefix="throw-away-") as scratch:
        made = Path(scratch) / "key.pem"
        write_file(made, run(_ECDSA).stdout, 0o600)
        signature, public = folder / f"{THROW_AWAY}.sig", folder / f"{THROW_AWAY}.pem"
        _signed(sums, made, signature)
        run(["openssl", "pkey", "-in", made, "-pubout", "-out", public])
    return sums, signature, public


def _signed(sums: Path, key: Path, signature: Path) -> None:
    run(["openssl", "dgst", "-sha256", "-passin", "pass:", "-sign", key, "-out", signature, sums])
