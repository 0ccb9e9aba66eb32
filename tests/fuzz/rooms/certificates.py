"""Devices' certificates, in handshakes and in front ends' headers, and what is said of their revocation.

The mutants of a list or an answer are tried twice: as they are, when no authority has signed them and none may be taken that
says anything new; and signed anew, as of an authority that writes what nobody expects.
"""

import base64
import contextlib
import datetime
import hashlib
from dataclasses import dataclass
from urllib.parse import quote

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sentry_runtime.certificates import authorities, certificate, crl, header, holder
from sentry_runtime.certificates import ocsp as answers
from sentry_runtime.certificates.certificate import Certificate, CertificateError
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.store import fits
from tests.fuzz.rooms.credentials import SITE, der
from tests.fuzz.target import Target, in_words, one_word

NOW = 1_800_000_000.0
_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_DAY = datetime.timedelta(days=1)
_TODAY = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
HOLDERS = holder.Holders(("upn", "email", "common_name"), {}, SITE)


def _name(*common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab, & +Ö")
    return x509.Name([organization, *(x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common)])


@dataclass(frozen=True, slots=True)
class _Authority:
    """One that signs whatever it is given. Its key is always the same."""

    key: ec.EllipticCurvePrivateKey
    own: x509.Certificate

    @classmethod
    def of(cls, name: str, number: int) -> "_Authority":
        key = ec.derive_private_key(number, ec.SECP256R1())
        return cls(
            key, _issued(key, _name(name), _name(name), key, (x509.BasicConstraints(ca=True, path_length=None),))
        )

    def issue(self, name: x509.Name, *extensions: x509.ExtensionType) -> x509.Certificate:
        """A device's certificate."""
        return _issued(self.key, self.own.subject, name, ec.derive_private_key(77, ec.SECP256R1()), extensions)

    def signed(self, content: bytes) -> bytes:
        """`content` (the to-be-signed part, DER) with a signature (RFC 5280 4.1 and 5.1, RFC 6960 4.2.1 alike)."""
        signature = self.key.sign(content, ec.ECDSA(hashes.SHA256()))
        return der(0x30, content, _ECDSA_SHA256, der(0x03, b"\0", signature))


def _issued(
    by: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    extensions: tuple[x509.ExtensionType, ...],
) -> x509.Certificate:
    made = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(key.public_key())
    made = made.serial_number(0x1234).not_valid_before(_TODAY - _DAY).not_valid_after(_TODAY + _DAY)
    for one in extensions:
        made = made.add_extension(one, critical=False)
    return made.sign(by, hashes.SHA256())


AUTHORITY, OTHER = _Authority.of("Devices", 1_001), _Authority.of("Others", 1_002)
TRUSTED = authorities.Authorities((AUTHORITY.own,))
_CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_NAMES = x509.SubjectAlternativeName(
    [
        x509.OtherName(_UPN, der(0x0C, b"anna@lab.test")),
        x509.OtherName(_UPN, der(0x0C, b"x" * 200)),
        x509.RFC822Name("anna@lab.test"),
        x509.DNSName("phone.lab.test"),
    ]
)
_PLACES = x509.CRLDistributionPoints(
    [x509.DistributionPoint([x509.UniformResourceIdentifier("http://lab.test/1.crl")], None, None, None)]
)
ANNA = AUTHORITY.issue(_name("anna"), _CLIENT, _NAMES, _PLACES)
ISSUED = [
    ANNA,
    AUTHORITY.issue(_name("Anna Berg"), x509.SubjectAlternativeName([x509.RFC822Name("anna@lab.test")])),
    AUTHORITY.issue(_name("bert", "anna")),
    OTHER.issue(_name("anna"), _CLIENT, _NAMES),
    AUTHORITY.own,
]


def _der(one: x509.Certificate) -> bytes:
    return one.public_bytes(Encoding.DER)


def handshake(data: bytes) -> None:
    """A certificate: what is read of it is what stands in it, and only what an authority has signed is of that authority."""
    _judged(data, {one.tbs_certificate_bytes for one in ISSUED})
    _judged(AUTHORITY.signed(data), None)


def _judged(data: bytes, known: set[bytes] | None) -> None:
    try:
        found = certificate.read(data)
        assert found == certificate.read(data)
    except CertificateError as error:
        one_word(error)
        return
    assert len(data) <= certificate.CERTIFICATE_BYTES
    assert found.fingerprint == hashlib.sha256(data).hexdigest()
    assert found.serial == found.parsed.serial_number > 0
    # What DER there is to a name is the name and nothing beside it.
    with contextlib.suppress(x509.ExtensionNotFound):
        others = found.parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        upns = [one.value for one in others.get_values_for_type(x509.OtherName) if one.type_id == _UPN]
        assert [der(0x0C, name.encode()) for name in found.names["upn"]] == upns
    with contextlib.suppress(CertificateError):
        _check_user(HOLDERS.principal(found.names, found.issuer, found.serial))
    msgspec.json.encode((found.names, found.issuer, found.serial, found.starts, found.ends))
    _check_spelling(found.issuer)
    with contextlib.suppress(CertificateError):
        issuer = TRUSTED.issuer_of(found)
        assert issuer == AUTHORITY.own
        assert found.parsed.issuer == issuer.subject
        assert known is None or found.parsed.tbs_certificate_bytes in known


def _check_spelling(name: str) -> None:
    """An issuer is compared by its spelling, so there is one; none for a name that the library writes but cannot read (a value
    that is one space, or not of its attribute's length), which no table can hold."""
    with contextlib.suppress(ValueError):
        assert holder.canonical_issuer(name) == name


def _check_user(who: str) -> None:
    assert who == SITE.canonical(who)
    assert fits(DeviceKey("PHONE", who))


def in_header(data: bytes) -> None:
    """A header that holds a certificate: as it is in all its forms, DER in base64, RFC 9440, PEM, PEM with blanks, encoded."""
    found = _presented(data, "certificate")
    if not isinstance(found, Certificate):
        return
    digits = base64.b64encode(_der(found.parsed))
    pem = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n" % digits
    for other in (digits, b":" + digits + b":", pem, pem.replace(b"\n", b" "), quote(pem, safe="").encode()):
        again = _presented(other, "certificate")
        assert isinstance(again, Certificate)
        assert again.parsed == found.parsed


def in_subject(data: bytes) -> None:
    """A subject, alone and as Envoy writes it: read in one way; what stands before the last element is nothing."""
    found = _presented(data, "subject")
    if isinstance(found, dict):
        assert all(isinstance(one, str) for one in found["common_name"])
        with contextlib.suppress(CertificateError):
            _check_user(HOLDERS.principal(found))
        quoted = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        assert _presented(b'Cert="bad",By=x;Subject="%s"' % quoted, "xfcc") == found
        _check_spelling(holder.canonical_issuer(data.decode()))
    element = _presented(data, "xfcc")
    if element is not None:
        assert _presented(b'Subject="CN=eve";Hash=1, ' + data, "xfcc") == element


def _presented(value: bytes, form: header.Form) -> Certificate | header.Subject | None:
    try:
        return header.presented(value, form)
    except CertificateError as error:
        one_word(error)
        return None


def bundle(data: bytes) -> None:
    """A PEM bundle of authorities: authorities all of them, or an error in words."""
    try:
        found = authorities.Authorities.of(data)
    except authorities.AuthoritiesError as error:
        in_words(error)
        return
    assert len(data) <= authorities.BUNDLE_BYTES
    for one in found:
        assert one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert len(found.above(one)) <= len(found.held)


def revocations(data: bytes) -> None:
    """A revocation list: none is taken but what the authority has signed, and it is complete, of now, and of that authority."""
    known = {x509.load_der_x509_crl(one).tbs_certlist_bytes for one in LISTS}
    try:
        for one in crl.split(data):
            taken = _list(one)
            assert taken is None or x509.load_der_x509_crl(one).tbs_certlist_bytes in known
    except crl.CrlError as error:
        in_words(error)
    taken = _list(AUTHORITY.signed(data))
    if taken is None:
        return
    made = x509.load_der_x509_crl(AUTHORITY.signed(data))
    assert taken.issuer == AUTHORITY.own
    assert taken.made <= NOW + crl.SLACK_SECONDS
    assert len(taken.serials) <= len(made)
    assert all(made.get_revoked_certificate_by_serial_number(one) is not None for one in list(taken.serials)[:8])
    assert taken.covers(ANNA) is (not taken.points or "http://lab.test/1.crl" in taken.points)
    assert not [one for one in made.extensions if isinstance(one.value, x509.DeltaCRLIndicator)]
    msgspec.json.encode((taken.name, taken.number, taken.made, taken.ends))


def _list(data: bytes) -> crl.Crl | None:
    try:
        return crl.read(data, TRUSTED.held, NOW)
    except crl.CrlError as error:
        in_words(error)
        return None


def responder(data: bytes) -> None:
    """A responder's answer: none is taken but what who may answer has signed, about this certificate and of now."""
    taken = _answer(data)
    assert taken is None or ocsp.load_der_ocsp_response(data).tbs_response_bytes in _KNOWN_ANSWERS
    basic = AUTHORITY.signed(data)
    kind = bytes.fromhex("06092b0601050507300101")  # id-pkix-ocsp-basic
    signed = der(0x30, der(0x0A, b"\0"), der(0xA0, der(0x30, kind, der(0x04, basic))))
    taken = _answer(signed)
    if taken is None:
        return
    assert taken.made <= NOW + answers.SLACK_SECONDS
    assert taken.ends is None or taken.ends >= NOW
    told = {one.certificate_status.name.lower() for one in ocsp.load_der_ocsp_response(signed).responses}
    assert taken.status in told


def _answer(data: bytes) -> answers.Answer | None:
    try:
        return answers.read(data, QUESTION, NOW)
    except answers.OcspError as error:
        in_words(error)
        return None


# Seeds


def _lists() -> list[bytes]:
    entry = x509.RevokedCertificateBuilder().serial_number(0x1234).revocation_date(_TODAY)
    reason = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False).build()
    uri = [x509.UniformResourceIdentifier("http://lab.test/1.crl")]
    part = x509.IssuingDistributionPoint(
        full_name=uri,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    extensions: tuple[tuple[x509.ExtensionType, ...], ...] = (
        (),
        (x509.CRLNumber(1 << 150), part),
        (x509.DeltaCRLIndicator(1),),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(AUTHORITY.key.public_key()), x509.CRLNumber(2)),
    )
    made = []
    for signer in (AUTHORITY, OTHER):
        for each in extensions:
            one = x509.CertificateRevocationListBuilder().issuer_name(signer.own.subject).last_update(_TODAY - _DAY)
            one = one.next_update(_TODAY + _DAY).add_revoked_certificate(reason)
            for extension in each:
                one = one.add_extension(extension, critical=True)
            made.append(one.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER))
    return made


LISTS = _lists()
QUESTION = answers.question(ANNA, AUTHORITY.own, b"n" * answers.NONCE_BYTES)
_DELEGATE = ec.derive_private_key(1_003, ec.SECP256R1())
_DELEGATED = _issued(
    AUTHORITY.key,
    AUTHORITY.own.subject,
    _name("Responder"),
    _DELEGATE,
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]),),
)


def _answers() -> list[bytes]:
    made = [ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)]
    whose = ocsp.OCSPResponderEncoding
    cases = (
        (ocsp.OCSPCertStatus.GOOD, AUTHORITY.own, AUTHORITY.key, whose.NAME, QUESTION.nonce),
        (ocsp.OCSPCertStatus.REVOKED, AUTHORITY.own, AUTHORITY.key, whose.HASH, b""),
        (ocsp.OCSPCertStatus.UNKNOWN, _DELEGATED, _DELEGATE, whose.HASH, QUESTION.nonce),
        (ocsp.OCSPCertStatus.GOOD, OTHER.own, OTHER.key, whose.NAME, QUESTION.nonce),
        (ocsp.OCSPCertStatus.GOOD, AUTHORITY.own, AUTHORITY.key, whose.NAME, b"another"),
    )
    for found, signer, key, encoding, nonce in cases:
        revoked = found is ocsp.OCSPCertStatus.REVOKED
        one = ocsp.OCSPResponseBuilder().add_response(
            cert=ANNA,
            issuer=AUTHORITY.own,
            algorithm=hashes.SHA1(),  # noqa: S303 - a name, no signature
            cert_status=found,
            this_update=_TODAY - _DAY,
            next_update=_TODAY + _DAY,
            revocation_time=_TODAY - _DAY if revoked else None,
            revocation_reason=x509.ReasonFlags.superseded if revoked else None,
        )
        one = one.responder_id(encoding, signer).certificates([signer])
        if nonce:
            one = one.add_extension(x509.OCSPNonce(nonce), critical=False)
        made.append(one.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    return made


ANSWERS = _answers()
_KNOWN_ANSWERS = {ocsp.load_der_ocsp_response(one).tbs_response_bytes for one in ANSWERS[1:]}


def _headers() -> list[bytes]:
    digits = base64.b64encode(_der(ANNA))
    pem = ANNA.public_bytes(Encoding.PEM)
    return [digits, b":" + digits + b":", pem.replace(b"\n", b" "), quote(pem, safe="").encode(), digits[:-2], b"::"]


def _subjects() -> list[bytes]:
    pem = quote(ANNA.public_bytes(Encoding.PEM), safe="").encode()
    return [
        b"CN=anna,O=Lab,C=DE",
        rb"emailAddress=anna@lab.test,CN=Berg\, Anna\20,O=\#1+OU=\C3\84",
        b"1.2.3.4=#0c0461626364,CN=\\ anna\\ ,SN=x,serialNumber=7",
        b"/C=DE/CN=anna",
        b'By=spiffe://lab;Hash=00;Subject="CN=anna,O=\\"Lab\\""',
        b'Hash=1;Cert="%s";Subject="CN=x";URI=;DNS=a;DNS=b' % pem,
        b'Subject="CN=eve",By=x;Subject="CN=anna"',
        'Cert="\u20ac"'.encode(),
    ]


TARGETS = {
    "certificate": Target(handshake, [_der(one) for one in ISSUED] + [one.tbs_certificate_bytes for one in ISSUED]),
    "certificate_header": Target(in_header, _headers()),
    "certificate_subject": Target(in_subject, _subjects()),
    "authorities": Target(
        bundle,
        [
            AUTHORITY.own.public_bytes(Encoding.PEM) + OTHER.own.public_bytes(Encoding.PEM),
            ANNA.public_bytes(Encoding.PEM),
        ],
    ),
    "crl": Target(
        revocations,
        [
            *LISTS,
            *(x509.load_der_x509_crl(one).tbs_certlist_bytes for one in LISTS),
            b"".join(x509.load_der_x509_crl(one).public_bytes(Encoding.PEM) for one in LISTS[:2]),
        ],
    ),
    "ocsp": Target(responder, [*ANSWERS, *sorted(_KNOWN_ANSWERS)]),
}
