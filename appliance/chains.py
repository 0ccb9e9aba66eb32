"""Whether a certificate with the authorities above it may be shown by a server: pure checks, each refusal in people's words.

What is judged here is what a client would judge (RFC 5280 6.1, RFC 9525 for names), and what V-251005 and SP 800-131A ask of
keys and signatures, before anybody has to find out by a handshake that fails.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

CHAIN_CHARACTERS = 65_536  # ten certificates of RSA 4096 with long names are half of this
CERTIFICATES = 10  # OpenSSL's clients look at depth 100, browsers at 5 or 6; more is a bundle that was not sorted out
SERVER_RSA_BITS = 3_072  # 128 bits of strength, as for every other key of the appliance
AUTHORITY_RSA_BITS = 2_048  # what SP 800-131A still takes, and what the roots in use have
SUBJECT_CHARACTERS = 80  # of a subject in an error: enough to recognise it
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n[A-Za-z0-9+/=\n]+-----END \1-----\n?")
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,  # an extension whose number nobody knows
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_NO_SIGNATURE = (
    InvalidSignature,
    InternalError,
    *_UNREADABLE,
)  # an internal error is what OpenSSL's own refusals become

Kind = TypeVar("Kind", bound=x509.ExtensionType)

Chain = tuple[x509.Certificate, ...]
"""The server's certificate first, then each one's issuer, the root last."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a chain: what was found, and what is allowed."""

    found: str
    allowed: str


class ChainError(ValueError):
    """A text that is no chain at all; `flaw` says why."""

    def __init__(self, found: str, allowed: str) -> None:
        self.flaw = Flaw(found, allowed)
        super().__init__(f"found {found}; allowed: {allowed}")


# --- reading -----------------------------------------------------------------------------------------------------


def read(text: str) -> Chain:
    """The chain in a PEM text, in whatever order the text has it. Raises `ChainError` where it is none, or not whole."""
    return _ordered(_certificates(text))


def up_to(text: str, anchors: str) -> Chain:
    """The chain from the first certificate of a PEM text (RFC 8555 9.1: the server's) up to a root among `anchors`, by way of the
    others in the text. Raises `ChainError` where that leads to none of them."""
    held = _certificates(text)
    believed, chain, rest = roots(anchors), held[:1], held[1:]
    while True:
        root = next((one for one in believed if _named(chain[-1], one) and _signed(chain[-1], one)), None)
        if root is not None:
            return (*chain, root)
        above = next((one for one in rest if _named(chain[-1], one) and _signed(chain[-1], one)), None)
        if above is None:
            said = f"a chain that ends at {subject(chain[-1])}, issued by {_name(chain[-1].issuer)}"
            raise ChainError(said, f"one that leads to a root that is believed, of which there are {len(believed)}")
        chain.append(above)
        rest.remove(above)


def roots(anchors: str) -> list[x509.Certificate]:
    """The authorities in a bundle that have issued themselves. One that cannot be read is nobody's root."""
    found = []
    for block in _BLOCK.finditer(anchors):
        try:
            found.append(x509.load_pem_x509_certificate(block[0].encode()))
        except _UNREADABLE:
            continue
    return [one for one in found if _issued_itself(one)]


def pem(chain: Iterable[x509.Certificate]) -> str:
    """The certificates as PEM, in this order."""
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain)


def shown(chain: Chain) -> str:
    """What a server shows of it: everything but the root, which a client has or does not believe anyway."""
    return pem(chain[:-1])


def _certificates(text: str) -> list[x509.Certificate]:
    wanted = "the server's certificate and every authority above it in PEM form"
    if len(text) > CHAIN_CHARACTERS:
        raise ChainError(f"{len(text)} characters", f"at most {CHAIN_CHARACTERS}: {wanted}")
    plain = text.replace("\r\n", "\n")
    kinds = [found[1] for found in _BLOCK.finditer(plain)]
    if any("KEY" in kind for kind in kinds):
        raise ChainError("a private key among the certificates", "certificates alone; a key comes in a PKCS12 file")
    if not kinds or set(kinds) != {"CERTIFICATE"} or _BLOCK.sub("", plain).strip():
        what = ", ".join(sorted(set(kinds) - {"CERTIFICATE"})) or "a text that is not only certificates"
        raise ChainError(what, wanted)
    if len(kinds) > CERTIFICATES:
        raise ChainError(f"{len(kinds)} certificates", f"at most {CERTIFICATES}")
    held: list[x509.Certificate] = []
    for place, found in enumerate(_BLOCK.finditer(plain), 1):
        one = _certificate(found[0], place)
        if one not in held:  # the same one twice says nothing new
            held.append(one)
    return held


def _certificate(block: str, place: int) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificate(block.encode())
        # All of these are parsed only when they are asked for, which must not be later than here.
        _parsed = (found.extensions, found.subject, found.issuer, found.public_key())
    except _UNREADABLE as error:
        raise ChainError(f"certificate {place}, which cannot be read ({error})", "X.509 certificates") from error
    return found


def _ordered(held: list[x509.Certificate]) -> Chain:
    """From the server's certificate up, however they were given."""
    below = [one for one in held if not _issued_itself(one) and not any(_named(two, one) for two in held)]
    if not below:
        found = "a self-signed certificate alone" if len(held) == 1 else "only certificates of authorities"
        raise ChainError(found, "a server's certificate that an authority has signed, and that authority")
    if len(below) > 1:
        listed = ", ".join(map(subject, below))
        raise ChainError(f"{len(below)} certificates that have signed none of the others: {listed}", "one of a server")
    chain, rest = below, [one for one in held if one is not below[0]]
    while not _issued_itself(chain[-1]):
        above = [one for one in rest if one.subject == chain[-1].issuer]
        if not above:
            said = (
                f"a chain that ends at {subject(chain[-1])}, whose issuer {_name(chain[-1].issuer)} is not among them"
            )
            raise ChainError(said, "every authority up to the root, and the root")
        signer = next((one for one in above if _signed(chain[-1], one)), above[0])
        chain.append(signer)
        rest.remove(signer)
    if rest:
        raise ChainError(f"certificates that are no part of the chain: {', '.join(map(subject, rest))}", "its chain")
    return tuple(chain)


def _issued_itself(one: x509.Certificate) -> bool:
    return one.subject == one.issuer


def _named(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    return issued is not issuer and issued.issuer == issuer.subject


def _signed(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(issuer)
    except _NO_SIGNATURE:
        return False
    return True


# --- judging -----------------------------------------------------------------------------------------------------


def flaws(chain: Chain, names: Iterable[str]) -> Iterator[Flaw]:
    """What is wrong with it whatever the time is. `names` are those that the server's certificate must cover."""
    yield from _server_flaws(chain[0])
    yield from _name_flaws(chain[0], names)
    for depth, authority in enumerate(chain[1:]):
        yield from _authority_flaws(authority, depth)
    for issued, issuer in pairwise(chain):
        yield from _signature_flaws(issued, issuer)


def dated(chain: Chain, now: datetime, *, ahead: bool = False) -> Iterator[Flaw]:
    """What is wrong with its dates at `now`. `ahead`: it is for later, so that it need not hold yet."""
    clock = f"the clock says {now:%Y-%m-%d %H:%M} UTC"
    for one in chain:
        starts, ends = one.not_valid_before_utc, one.not_valid_after_utc
        if ends <= now:
            yield Flaw(f"{subject(one)}, which ended {ends:%Y-%m-%d %H:%M} UTC", f"one that has not ended; {clock}")
        if starts > now and not ahead:
            yield Flaw(f"{subject(one)}, which begins {starts:%Y-%m-%d %H:%M} UTC", f"one that holds already; {clock}")


def _server_flaws(server: x509.Certificate) -> Iterator[Flaw]:
    who = subject(server)
    yield from _key_flaws(server, SERVER_RSA_BITS)
    if _is_authority(server):
        yield Flaw(f"{who}, which is an authority's", "a server's certificate (basic constraints CA:FALSE)")
    usage = _extension(server, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield Flaw(f"{who} without the key usage digitalSignature", "one with it: TLS signs with this key")
    purposes = _extension(server, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.SERVER_AUTH not in purposes:
        yield Flaw(f"{who} without the extended key usage serverAuth", "one that is for servers (serverAuth)")


def _authority_flaws(authority: x509.Certificate, below: int) -> Iterator[Flaw]:
    """`below` says how many other authorities stand between this one and the server."""
    who = subject(authority)
    yield from _key_flaws(authority, AUTHORITY_RSA_BITS)
    constraints = _extension(authority, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield Flaw(f"{who} as an issuer, which is no authority", "authorities (basic constraints CA:TRUE)")
    elif constraints.path_length is not None and constraints.path_length < below:
        said = f"{who} with {below} authorities below it"
        yield Flaw(said, f"at most the {constraints.path_length} that its path length allows")
    usage = _extension(authority, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        yield Flaw(f"{who} without the key usage keyCertSign", "authorities that may sign certificates")
    purposes = _extension(authority, x509.ExtendedKeyUsage)
    fit = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purposes is not None and not fit.intersection(purposes):
        yield Flaw(f"{who}, which may not issue servers' certificates", "authorities for serverAuth")


def _key_flaws(one: x509.Certificate, bits: int) -> Iterator[Flaw]:
    key = one.public_key()
    allowed = f"EC on {', '.join(CURVES.values())}, or RSA of at least {bits} bits"
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < bits:
            yield Flaw(f"{subject(one)} with an RSA key of {key.key_size} bits", allowed)
    elif not isinstance(key, ec.EllipticCurvePublicKey):
        yield Flaw(f"{subject(one)} with a key that is neither EC nor RSA", allowed)
    elif key.curve.name not in CURVES:
        yield Flaw(f"{subject(one)} with a key on {key.curve.name}", allowed)


def _signature_flaws(issued: x509.Certificate, issuer: x509.Certificate) -> Iterator[Flaw]:
    who = subject(issued)
    try:
        digest = issued.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    if not isinstance(digest, DIGESTS):
        said = f"{who}, signed with {digest.name.upper() if digest else 'an unknown algorithm'}"
        yield Flaw(said, "signatures with SHA-256, SHA-384 or SHA-512")
    elif not _signed(issued, issuer):
        yield Flaw(f"{who}, whose signature is not that of {subject(issuer)}", "certificates that belong together")


def _name_flaws(server: x509.Certificate, names: Iterable[str]) -> Iterator[Flaw]:
    held = names_of(server)
    for name in names:
        if not any(covers(one, name) for one in held):
            shown_names = ", ".join(held[:8]) or "no name at all"
            yield Flaw(f"{subject(server)} for {shown_names}", f"a certificate with the alternative name {name}")


def covers(held: str, name: str) -> bool:
    """Whether the alternative name `held` stands for `name` (RFC 9525 6.3: a wildcard is the whole leftmost label)."""
    if held.startswith("*."):
        return name.lower().partition(".")[2] == held[2:].lower() and "." in held[2:]
    return held.lower() == name.lower()


# --- looking -----------------------------------------------------------------------------------------------------


def names_of(one: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses a certificate is for."""
    found = _extension(one, x509.SubjectAlternativeName)
    if found is None:
        return ()
    addresses = found.get_values_for_type(x509.IPAddress)
    plain = [str(one) for one in addresses if isinstance(one, ipaddress.IPv4Address | ipaddress.IPv6Address)]
    return (*found.get_values_for_type(x509.DNSName), *plain)


def subject(one: x509.Certificate) -> str:
    """Whose a certificate is (RFC 4514), short enough for an error."""
    return _name(one.subject)


def issuer(one: x509.Certificate) -> str:
    """Who has signed it."""
    return _name(one.issuer)


def fingerprint(one: x509.Certificate) -> str:
    """SHA-256 of the certificate, as browsers show it."""
    return one.fingerprint(hashes.SHA256()).hex(":").upper()


def key_kind(key: PublicKeyTypes) -> str:
    """A public key in the words of the setting `key_type`: `p256`, `rsa3072`; else what it is."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES.get(key.curve.name, key.curve.name).replace("-", "").lower()
    return "another kind"


def key_name(key: PublicKeyTypes) -> str:
    """By what a key is known wherever it lies: SHA-256 over its public half (SubjectPublicKeyInfo, DER) in hex."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def name_of_private(text: str) -> str:
    """The `key_name` of a private key in PEM; "" where the text is none that can be read without a password."""
    try:
        key = serialization.load_pem_private_key(text.encode(), None)
    except _UNREADABLE:
        return ""
    return key_name(key.public_key())


def name_of_request(text: str) -> str:
    """The `key_name` of the key that a request (PKCS #10, PEM) is for; "" where the text is none."""
    try:
        return key_name(x509.load_pem_x509_csr(text.encode()).public_key())
    except _UNREADABLE:
        return ""


def _is_authority(one: x509.Certificate) -> bool:
    constraints = _extension(one, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extension(one: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(name: x509.Name) -> str:
    text = name.rfc4514_string() or "(no subject)"
    return text if len(text) <= SUBJECT_CHARACTERS else f"{text[:SUBJECT_CHARACTERS]}…"
