"""The key and the certificate by which the UEM knows this Sentry: one file, the agent's alone. The key is made here and never
leaves the machine; a key comes with its certificate or not at all, so that no crash can part them."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sentry_runtime import secret_file
from sentry_runtime.plain import plain

FILE = "identity.pem"
TRIAL = "trial.pem"  # what OpenSSL is shown before it takes the place of what works
Key = ec.EllipticCurvePrivateKey

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises of a certificate that is not as it should be; some of it is no `ValueError`."""


class IdentityError(ValueError):
    """A certificate that is not one for our key; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Under which name the UEM knows this Sentry, and from when until when (epoch)."""

    sentry: str
    starts: float
    ends: float

    @property
    def due(self) -> float:
        """When it is to be renewed: a third of its life is left for whatever goes wrong."""
        return self.starts + (self.ends - self.starts) * 2 / 3


def new_key() -> Key:
    """A key for the next certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def request(key: Key, sentry: str) -> str:
    """The request (PKCS #10, PEM) for a certificate of this key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, sentry)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def read(folder: Path) -> Identity | None:
    """What is kept there; None: nothing that can be used. Raises `OSError` when the disk fails."""
    try:
        held = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        key = serialization.load_pem_private_key(held, None)
        certificate = x509.load_pem_x509_certificate(held)
        if key.public_key() != certificate.public_key():
            return None
        return _identity(certificate)
    except _UNREADABLE:
        return None


def keep(folder: Path, key: Key, certificate: str, sentry: str, now: float) -> Identity:
    """Keep the certificate that came for this key, in the place of the last, if it can be used. Raises `IdentityError`,
    `OSError`; then what was there still is."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        identity = _identity(found)
        public_key = found.public_key()
    except _UNREADABLE as error:
        raise IdentityError(f"the UEM's answer has no client certificate: {plain(str(error))}") from error
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: public_key == key.public_key(), "for another key than ours"),
        (lambda: ExtendedKeyUsageOID.CLIENT_AUTH in usage, "not for clients"),
        (lambda: identity.sentry == sentry, f"for {identity.sentry[:64]!r} and not for {sentry!r}"),
        (lambda: identity.ends > now, "at its end already: one of the two clocks is wrong"),
    )
    for holds, wrong in checks:
        if not holds():
            raise IdentityError(f"the UEM's certificate is {wrong}")
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, form, none) + found.public_bytes(serialization.Encoding.PEM)
    _try(folder / TRIAL, text)
    secret_file.put(folder / FILE, text)
    return identity


def _try(path: Path, text: bytes) -> None:
    """Raise `IdentityError` where OpenSSL does not take it: it wants more of a certificate than that we can read it."""
    secret_file.put(path, text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path)
    except ssl.SSLError as error:
        raise IdentityError(f"the UEM's certificate is none that OpenSSL takes: {error.reason or error}") from error
    finally:
        path.unlink()


def _identity(certificate: x509.Certificate) -> Identity:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Identity(
        sentry=str(names[0].value) if names else "",
        starts=certificate.not_valid_before_utc.timestamp(),
        ends=certificate.not_valid_after_utc.timestamp(),
    )
