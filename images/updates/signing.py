"""Who signs updates: a key with its certificate, and the authorities that a machine believes.

Who gives none gets a throw-away pair, which is kept beside the builds until `make clean`: images of one checkout take each
other's updates and are the same bytes when made again. It proves nothing to anybody else, so what it signs says so in its name.
"""

from dataclasses import dataclass
from pathlib import Path

from images.papers.sums import SigningError, check_key
from images.paths import write_file
from images.run import CommandError, run

THROW_AWAY_NAME = "Sentry throw-away update key"
THROW_AWAY_DAYS = "7300"  # the builds it belongs to are gone long before
_ECDSA = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]
# What RAUC asks of a certificate that signs code (`check-purpose=codesign`), and nothing that would let it sign certificates.
_EXTENSIONS = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=critical,codeSigning",
)


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key, the certificate of it with those between it and its authority, and the authorities; all PEM files."""

    key: Path
    certificate: Path
    authorities: Path
    throw_away: bool = False


def given(key: Path, certificate: Path | None, authorities: Path | None) -> Signer:
    """The signer that a build was given; without `authorities` the certificate itself is believed.

    Raises `SigningError` for a key that cannot be used, and for a certificate of another key.
    """
    check_key(key)
    if certificate is None:
        raise SigningError(f"{key}: an update is signed with a certificate of its key; give it as update_certificate")
    believed = authorities or certificate
    for path in (certificate, believed):
        _subject(path)
    of_key = run(["openssl", "pkey", "-in", key, "-passin", "pass:", "-pubout"]).stdout
    of_certificate = run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"]).stdout
    if of_key != of_certificate:
        raise SigningError(f"{certificate}: is the certificate of another key than {key}")
    return Signer(key, certificate, believed)


def throw_away(folder: Path) -> Signer:
    """The throw-away pair in `folder`, made where it is not there yet."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    if not certificate.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(key, run(_ECDSA).stdout, 0o600)
        extensions = [word for extension in _EXTENSIONS for word in ("-addext", extension)]
        lasts = ["-sha384", "-days", THROW_AWAY_DAYS]
        made = run(
            ["openssl", "req", "-x509", "-new", "-key", key, *lasts, "-subj", f"/CN={THROW_AWAY_NAME}", *extensions]
        )
        write_file(certificate, made.stdout)
    return Signer(key, certificate, certificate, throw_away=True)


def _subject(path: Path) -> str:
    try:
        return run(["openssl", "x509", "-in", path, "-noout", "-subject"]).stdout
    except CommandError as error:
        raise SigningError(
            f"{path}: holds no certificate that openssl can read (PEM): {error.output.strip()}"
        ) from error
