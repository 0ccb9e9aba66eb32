"""The UEM's own authority for its Sentrys' client certificates. It signs nothing else, and nothing that is not recorded
(`enrolments`): a certificate of it that is in no row is nobody's.

Key and certificate are one file, the UEM's alone (0600), so that no crash can part them. It is made where there is none.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sentry_runtime import secret_file
from sentry_runtime.settings import SettingsError

AUTHORITY_DAYS = 3_650
SLACK = timedelta(minutes=5)  # a Sentry whose clock is behind takes its new certificate all the same
UNIT = "Enrolled Sentry"
RSA_BITS = range(2_048, 4_097)  # larger ones cost the UEM more than they give
CURVES = ("secp256r1", "secp384r1")

_NO_USAGE = {
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "encipher_only": False,
    "decipher_only": False,
}


class CsrError(ValueError):
    """A request for a certificate that is not granted; the message says why."""


class Authority:
    """Signs Sentrys' certificates."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @property
    def pem(self) -> str:
        """Its own certificate, by which its Sentrys are known at the handshake."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, sentry: str, csr: str, now: float, seconds: float) -> x509.Certificate:
        """A client certificate for this Sentry with the key of the request, from now for so long. Raises `CsrError`."""
        key = _requested_key(csr)
        start = datetime.fromtimestamp(int(now), UTC)
        end = min(start + timedelta(seconds=seconds), self._certificate.not_valid_after_utc)
        if end <= start:
            raise CsrError("the authority's own certificate has ended")
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(_subject(sentry)))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - SLACK)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **_NO_USAGE), critical=True
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Whether this certificate is one of its own."""
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True


def subject(sentry: str) -> str:
    """The subject (RFC 4514) of an enrolled Sentry's certificates."""
    return x509.Name(_subject(sentry)).rfc4514_string()


def opened(path: Path, now: float) -> Authority:
    """The authority that lies there, or a new one. Raises `SettingsError` naming the file."""
    try:
        held = path.read_bytes()
    except FileNotFoundError:
        held = _made(path, now)
    except OSError as error:
        raise SettingsError(f"enrolment authority {path}: {error.strerror}") from error
    try:
        key = serialization.load_pem_private_key(held, None)
        certificate = x509.load_pem_x509_certificate(held)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"enrolment authority {path}: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise SettingsError(f"enrolment authority {path}: certificate and key (elliptic curve) do not belong together")
    return Authority(certificate, key)


def _made(path: Path, now: float) -> bytes:
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sentry-uem enrolment")])
    start = datetime.fromtimestamp(int(now), UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - SLACK)
        .not_valid_after(start + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **_NO_USAGE), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    text += certificate.public_bytes(serialization.Encoding.PEM)
    try:
        secret_file.put(path, text)
    except OSError as error:
        raise SettingsError(f"enrolment authority {path}: cannot be made: {error.strerror}") from error
    return text


def _subject(sentry: str) -> list[x509.NameAttribute]:
    return [
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, UNIT),
        x509.NameAttribute(NameOID.COMMON_NAME, sentry),
    ]


def _requested_key(csr: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """The public key of a request whose sender has shown to have the private one. Raises `CsrError`."""
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        signed, key = request.is_signature_valid, request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion) as error:
        raise CsrError("`csr` is not a certificate signing request in PEM") from error
    if not signed:
        raise CsrError("`csr` is not signed with its own key")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS:
        return key
    raise CsrError(
        f"`csr` has a key that is not taken; allowed: the curves {', '.join(CURVES)}, RSA of 2048 to 4096 bits"
    )
