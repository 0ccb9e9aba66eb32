"""By what a request says who sends it: `Authorization`, the messages and tokens within, and the names within those."""

import base64
import binascii
import contextlib
import json
import struct

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.store import fits
from sentry_runtime.eas.principal import Names, PrincipalError, same_person
from sentry_runtime.gateway import bearer, ntlm, spnego
from sentry_runtime.gateway.credentials import Access, CredentialsError, Scheme, challenge_token, ntlm_message
from sentry_runtime.uem.messages import check_key
from tests.fuzz.target import Target, one_word

SITE = Names(domains={"corp": "corp.example", "lab": "lab.test"}, default_domain="lab.test")
ACCESS = Access(tuple(Scheme), SITE)


def name(data: bytes) -> None:
    """A user's name: one canonical form, which is its own, and which the device list and the UEM take."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    for names in (Names(), SITE):
        try:
            who = names.canonical(text)
            assert names.canonical(who) == who
        except PrincipalError as error:
            one_word(error)
            continue
        assert fits(DeviceKey("PHONE", who))
        assert same_person(who, who)
        check_key("PHONE", who)
        assert names.may_be(text, who)


def token(data: bytes) -> None:
    """A bearer token: its name is what another reader of JSON finds first, and every name that is put in is found."""
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
        if text:
            assert bearer.name(_jwt({"sub": "x", "upn": text, "email": "other"})) == text
    try:
        found = bearer.name(data)
    except bearer.BearerError as error:
        one_word(error)
        return
    digits = data.split(b".")[1]
    with contextlib.suppress(ValueError):  # numbers that are too long for Python alone
        payload = json.loads(base64.urlsafe_b64decode(digits + b"=="))
        assert found == next(payload[claim] for claim in bearer.NAME_CLAIMS if claim in payload)


def message(data: bytes) -> None:
    """A message of NTLM: the name in it is the one that its fields lead to, and each that is put in is found."""
    _names_put_in(data)
    try:
        found = ntlm.read(data)
    except ntlm.NtlmError as error:
        one_word(error)
        return
    kind = struct.unpack_from("<I", data, 8)[0]
    assert kind == {ntlm.Negotiate: 1, ntlm.Challenge: 2, ntlm.Authenticate: 3}[type(found)]
    if isinstance(found, ntlm.Authenticate):
        coding = "utf-16-le" if struct.unpack_from("<I", data, 60)[0] & 1 else "ascii"
        for place, text in ((28, found.domain), (36, found.user)):
            size, _, at = struct.unpack_from("<HHI", data, place)
            assert data[at : at + size].decode(coding) == text if size else text == ""
        assert found.user
        assert found.name.count("\\") == bool(found.domain)


def _names_put_in(data: bytes) -> None:
    with contextlib.suppress(UnicodeDecodeError, ntlm.NtlmError):
        text = data[:64].decode()
        user, _, domain = text.partition("\n")
        found = ntlm.read(authenticate(user, domain))
        assert (found.user, found.domain) == (user, domain)  # type: ignore[union-attr] # it is of that type


def negotiation(data: bytes) -> None:
    """A token of Negotiate: what is wrapped is found again, and nothing may stand beside what was read."""
    wrapped = ntlm.SIGNATURE + data
    for frame in (first_token, later_token):
        assert spnego.ntlm_message(frame(wrapped)) == wrapped
    try:
        found = spnego.ntlm_message(data)
    except spnego.SpnegoError as error:
        one_word(error)
        return
    assert found.startswith(ntlm.SIGNATURE)
    assert found in data
    if data.startswith(ntlm.SIGNATURE):
        assert found == data
        return
    for other in (data + b"\0", data[:-1], data[1:]):
        with contextlib.suppress(spnego.SpnegoError):
            assert spnego.ntlm_message(other) != found, "one message in two tokens"


def authorization(data: bytes) -> None:
    """The value of `Authorization`; and the same bytes as a backend's challenge."""
    try:
        got = ACCESS.read(data)
    except CredentialsError as error:
        one_word(error)
    else:
        assert got.principal == (SITE.canonical(got.principal) if got.principal else "")
        assert got.principal or got.logon
        assert not got.vouched
    for scheme in (Scheme.NTLM, Scheme.NEGOTIATE):
        said = challenge_token(scheme, [(b"WWW-Authenticate", data)])
        if said is None:
            continue
        assert said[0] == data
        assert binascii.b2a_base64(said[1], newline=False).rstrip(b"=")[:-1] in data
        with contextlib.suppress(spnego.SpnegoError, ntlm.NtlmError):
            ntlm.read(ntlm_message(scheme, said[1]))


# Writers, for what the gateway only reads.


def _jwt(payload: dict[str, object]) -> bytes:
    parts = ({"alg": "RS256"}, payload)
    return b".".join([*(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in parts), b"c2ln"])


def authenticate(user: str, domain: str, flags: int = 1) -> bytes:
    """An AUTHENTICATE_MESSAGE of this name."""
    names = [one.encode("utf-16-le" if flags & 1 else "ascii") for one in (domain, user)]
    at, fields = 64, b""
    for one in names:
        fields += struct.pack("<HHI", len(one), len(one), at)
        at += len(one)
    blank = struct.pack("<HHI", 0, 0, 64)
    return (
        ntlm.SIGNATURE
        + struct.pack("<I", 3)
        + blank * 2
        + fields
        + blank * 2
        + struct.pack("<I", flags)
        + b"".join(names)
    )


def der(tag: int, *parts: bytes) -> bytes:
    """One value of DER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 + len(digits))) + digits + content


_SPNEGO, _NTLMSSP, _KERBEROS = (
    bytes.fromhex(one) for one in ("2b0601050502", "2b06010401823702020a", "2a864886f712010202")
)


def first_token(inner: bytes, mechanism: bytes = _NTLMSSP) -> bytes:
    """The client's first token of SPNEGO around a message."""
    fields = der(0xA0, der(0x30, der(6, mechanism))), der(0xA2, der(4, inner))
    return der(0x60, der(6, _SPNEGO), der(0xA0, der(0x30, *fields)))


def later_token(inner: bytes) -> bytes:
    """A later one, of either side."""
    return der(0xA1, der(0x30, der(0xA0, der(0x0A, b"\x01")), der(0xA1, der(6, _NTLMSSP)), der(0xA2, der(4, inner))))


NEGOTIATE = ntlm.SIGNATURE + struct.pack("<II", 1, 0x62088207)
CHALLENGE = ntlm.SIGNATURE + struct.pack("<IHHII", 2, 0, 0, 56, 0xE28A8215) + b"8 bytes!" + bytes(24)
_PROOFS = [
    authenticate("anna", "LAB"),
    authenticate("anna@lab.test", ""),
    authenticate("anna", "", flags=0),
    authenticate("Ännä", "corp.example"),
    authenticate("", "", flags=0x801),
]
_MESSAGES = [NEGOTIATE, CHALLENGE, *_PROOFS]
_TOKENS = [
    *(first_token(one) for one in _MESSAGES),
    *(later_token(one) for one in _MESSAGES),
    first_token(b"\x60\x06", _KERBEROS),
    later_token(ntlm.SIGNATURE + bytes(300)),
]
_JWTS = [
    _jwt({"upn": "anna@lab.test"}),
    _jwt({"preferred_username": "LAB\\anna", "exp": 1}),
    _jwt({"unique_name": "ännä", "email": 7}),
    _jwt({"upn": None}),
    _jwt({"sub": "x"}),
    b"opaque",
    b"a.%s.b" % base64.urlsafe_b64encode(b"[" * 2_000).rstrip(b"="),
]

AUTHORIZATIONS = [
    b"Basic " + base64.b64encode(b"LAB\\anna:secret"),
    b"basic  " + base64.b64encode("ännä@lab.test:ü".encode("latin-1")),
    b"Basic " + base64.b64encode(b"no colon"),
    *(b"Bearer " + one for one in _JWTS[:3]),
    *(b"NTLM " + base64.b64encode(one) for one in _MESSAGES),
    *(b"Negotiate " + base64.b64encode(one) for one in _TOKENS[:6]),
]

TARGETS = {
    "principal": Target(
        name,
        [
            b"anna",
            b"LAB\\anna",
            b"corp\\Anna@lab.test",
            b".\\anna",
            b" anna@corp ",
            "Stra\u00dfe\\\u0130".encode(),
            "\u0391\u0345\u0301\u03c3\u03c2".encode(),
            "\u1e9e\u212a\ufb03\u0149".encode(),
            b"\xe4nna",
            "\u00df".encode() * 160,
        ],
        longest=1_024,
    ),
    "bearer": Target(token, _JWTS),
    "ntlm": Target(message, [*_MESSAGES, b"anna\nLAB", "ännä\n".encode()]),
    "negotiate": Target(negotiation, _TOKENS),
    "authorization": Target(authorization, AUTHORIZATIONS),
}
