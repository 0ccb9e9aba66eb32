"""A site's authority: roots, authorities below them and servers' certificates, right ones and wrong ones, in memory."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
HOST = "gateway.lab.test"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The key as PEM, without a password."""
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def new_key(kind: str = "p256") -> PrivateKey:
    """`p256`, `p384`, `p224` or `rsa<bits>`."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65_537, int(kind.removeprefix("rsa")))
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p224": ec.SECP224R1()}
    return ec.generate_private_key(curves[kind])


def named(common_name: str) -> x509.Name:
    """A name with an organization."""
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab"), x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def authority(
    name: str,
    by: Signed | None = None,
    *,
    key: str = "p256",
    ca: bool = True,
    path_length: int | None = None,
    may_sign: bool = True,
    usage: Sequence[x509.ObjectIdentifier] = (),
    starts: datetime = NOW - timedelta(days=300),
    ends: datetime = NOW + timedelta(days=3_000),
) -> Signed:
    """A root, or an authority below another one."""
    own = new_key(key)
    issuer = by or Signed(None, own)  # type: ignore[arg-type]  # a root has no certificate yet
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(by.certificate.subject if by else named(name))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(_usage(signs=may_sign), critical=True)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    return Signed(builder.sign(issuer.key, hashes.SHA256()), own)


def server(
    by: Signed,
    *,
    names: Sequence[str] = (HOST,),
    key: PrivateKey | str = "p256",
    usage: Sequence[x509.ObjectIdentifier] = (SERVER_AUTH,),
    starts: datetime = NOW - timedelta(days=1),
    ends: datetime = NOW + timedelta(days=90),
    ca: bool = False,
    digital_signature: bool = True,
) -> Signed:
    """A server's certificate."""
    own = new_key(key) if isinstance(key, str) else key
    made = _builder(by, own.public_key(), names, usage, starts, ends, ca=ca, digital_signature=digital_signature)
    return Signed(made.sign(by.key, hashes.SHA256()), own)


def answer(
    request: str, by: Signed, *, starts: datetime = NOW - timedelta(days=1), ends: datetime = NOW + timedelta(days=90)
) -> str:
    """The certificate that a request (PKCS #10) asks for, as PEM."""
    asked = x509.load_pem_x509_csr(request.encode())
    assert asked.is_signature_valid
    found = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = [str(one.value) for one in found]
    made = _builder(by, asked.public_key(), names, (SERVER_AUTH,), starts, ends, ca=False, digital_signature=True)  # type: ignore[arg-type]
    return made.sign(by.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def request_for(*names: str) -> str:
    """A request (PKCS #10) for names with a new key and without a subject, as PEM."""
    held = x509.SubjectAlternativeName([_general(name) for name in names])
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(held, critical=False)
    return made.sign(new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def with_sha1(by: Signed) -> str:
    """A server's certificate signed with SHA-1, which the library refuses to make and the openssl command does not."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "ca.pem").write_text(by.pem)
        (folder / "ca.key").write_text(by.key_pem)
        (folder / "ext").write_text(f"subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth\n")
        own = ["-newkey", "rsa:3072", "-nodes", "-keyout", "key", "-subj", "/CN=old", "-out", "csr"]
        _openssl(folder, "req", "-new", *own)
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "1", "-sha1", "-days", "90", "-extfile", "ext"]
        _openssl(folder, "x509", "-req", "-in", "csr", *signing, "-out", "out")
        return (folder / "out").read_text()


def packed(one: Signed, above: Sequence[Signed], password: str) -> bytes:
    """A PKCS12 file as `openssl pkcs12 -export` makes it today: PBES2 with AES."""
    chain = [each.certificate for each in above]
    encryption = serialization.BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"server", one.key, one.certificate, chain, encryption)


def _builder(
    by: Signed,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    names: Sequence[str],
    usage: Sequence[x509.ObjectIdentifier],
    starts: datetime,
    ends: datetime,
    *,
    ca: bool,
    digital_signature: bool,
) -> x509.CertificateBuilder:
    made = (
        x509.CertificateBuilder()
        .subject_name(named(names[0] if names else "nobody"))
        .issuer_name(by.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(_usage(signs=ca, digital_signature=digital_signature), critical=True)
    )
    if usage:
        made = made.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    return made


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool, digital_signature: bool = True) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=not digital_signature,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
