"""The OCSP responder of the lab's authorities (RFC 6960): what it answers, by their certificates and lists on the disk.

It signs as the authority itself. A certificate that none of them has issued is unknown, and a question about another authority
is refused as one this responder does not answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import ocsp

HOLDS = timedelta(minutes=5)  # an answer; short, so that the lab soon sees what it has revoked


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority with its key, all certificates it has issued, and those it has revoked by their serial numbers."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey
    issued: dict[int, x509.Certificate]
    revoked: dict[int, datetime]


def authority(folder: Path, name: str) -> Authority:
    """The authority `NAME.pem` in a folder of the lab, with `NAME.key`, `NAME.crl.pem`, and its certificates among the others."""
    own = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
    key = load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError(f"{folder / name}.key: found {type(key).__name__}; the lab's authorities have keys on a curve")
    crl = x509.load_pem_x509_crl((folder / f"{name}.crl.pem").read_bytes())
    files = (path for path in sorted(folder.glob("*.pem")) if not path.name.endswith(".crl.pem"))
    found = (one for path in files for one in x509.load_pem_x509_certificates(path.read_bytes()))
    issued = {one.serial_number: one for one in found if one.issuer == own.subject and one != own}
    return Authority(own, key, issued, {one.serial_number: one.revocation_date_utc for one in crl})


def answer(question: bytes, authorities: tuple[Authority, ...], now: datetime) -> bytes:
    """The answer (DER) to an OCSP request (DER) about one certificate."""
    try:
        asked = ocsp.load_der_ocsp_request(question)
    except ValueError:
        return _refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    who = next((one for one in authorities if asked.issuer_key_hash == _key_hash(one, asked.hash_algorithm)), None)
    if who is None:
        return _refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    about = who.issued.get(asked.serial_number)
    when = who.revoked.get(asked.serial_number)
    status = ocsp.OCSPCertStatus.UNKNOWN if about is None else ocsp.OCSPCertStatus.GOOD
    made = ocsp.OCSPResponseBuilder().add_response(
        cert=about or _stranger(who, asked.serial_number),
        issuer=who.certificate,
        algorithm=asked.hash_algorithm,
        cert_status=status if when is None else ocsp.OCSPCertStatus.REVOKED,
        this_update=now,
        next_update=now + HOLDS,
        revocation_time=when,
        revocation_reason=None if when is None else x509.ReasonFlags.unspecified,
    )
    made = made.responder_id(ocsp.OCSPResponderEncoding.HASH, who.certificate)
    for one in asked.extensions:
        if isinstance(one.value, x509.OCSPNonce):
            made = made.add_extension(one.value, critical=False)
    return made.sign(who.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _refusal(why: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(why).public_bytes(Encoding.DER)


def _key_hash(one: Authority, algorithm: hashes.HashAlgorithm) -> bytes:
    """What a question names the authority by: as a question of ours about one of its certificates does."""
    built = ocsp.OCSPRequestBuilder().add_certificate(one.certificate, one.certificate, algorithm).build()
    return built.issuer_key_hash


def _stranger(who: Authority, serial: int) -> x509.Certificate:
    """The library makes answers about certificates only, so one is made with the number that was asked about."""
    builder = x509.CertificateBuilder(
        issuer_name=who.certificate.subject,
        subject_name=who.certificate.subject,
        public_key=who.key.public_key(),
        serial_number=serial,
        not_valid_before=who.certificate.not_valid_before_utc,
        not_valid_after=who.certificate.not_valid_after_utc,
    )
    return builder.sign(who.key, hashes.SHA256())
