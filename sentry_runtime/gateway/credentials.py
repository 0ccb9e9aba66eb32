"""Who authenticates: the value of `Authorization` to a canonical name, or the word for why there is none. Pure.

| scheme | where the name stands | the backend judges it |
|---|---|---|
| Basic (RFC 7617) | before the first colon | with each request |
| Bearer (RFC 6750) | in the token (`bearer`) | with each request |
| NTLM (MS-NTHT), Negotiate (RFC 4559) with NTLM | in the last message (`ntlm`, `spnego`) | once for a connection (`logon`) |

Nothing of it is verified here. A scheme that the site does not list is refused; Kerberos is, too.
"""

import base64
import binascii
import enum
from dataclasses import dataclass, field

from sentry_runtime.eas.principal import Names, PrincipalError
from sentry_runtime.gateway import bearer, ntlm, spnego

REALM = "ActiveSync"  # what a phone shows above its password prompt; says nothing of the product

_CHALLENGE = b"WWW-Authenticate"


class Scheme(enum.StrEnum):
    """How a device may authenticate."""

    BASIC = "basic"
    NTLM = "ntlm"
    NEGOTIATE = "negotiate"
    BEARER = "bearer"


_OFFERS = {
    Scheme.BASIC: b'Basic realm="' + REALM.encode() + b'", charset="UTF-8"',
    Scheme.NTLM: b"NTLM",
    Scheme.NEGOTIATE: b"Negotiate",
    Scheme.BEARER: b'Bearer realm="' + REALM.encode() + b'"',
}


class Step(enum.Enum):
    """What a request does for a log-on that belongs to its connection."""

    OPENS = "opens"  # the first message: nobody is named yet
    PROVES = "proves"  # the last one
    HOLDS = "holds"  # none: the connection has logged on before


@dataclass(frozen=True, slots=True)
class Logon:
    """A request's part in such a log-on. `unicode`: the name in the last message is written so (`ntlm`)."""

    step: Step
    scheme: Scheme = Scheme.NTLM
    unicode: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """`principal` is canonical, "" while a log-on opens; `logon` None where every request carries its credentials. `vouched`: a
    certificate names the principal, so no backend need say whether the credentials hold."""

    principal: str
    logon: Logon | None = None
    vouched: bool = False


class CredentialsError(ValueError):
    """Credentials that are not taken; the message is one word for the audit line."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the site lets devices authenticate: the schemes in the order in which they are offered, and how names are read.

    `pooled`: a connection is not one device's, so what it has logged on as counts for no later request.
    """

    schemes: tuple[Scheme, ...] = (Scheme.BASIC,)
    names: Names = field(default_factory=Names)
    pooled: bool = False

    @property
    def challenges(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields of a 401."""
        return tuple((_CHALLENGE, _OFFERS[scheme]) for scheme in self.schemes)

    def read(self, authorization: bytes) -> Credentials:
        """The credentials in the value of `Authorization`. Raises `CredentialsError`."""
        if not authorization:
            raise CredentialsError("credentials_missing")
        word, _, rest = authorization.partition(b" ")
        token = rest.strip(b" ")
        scheme = _scheme(word)
        if scheme not in self.schemes:
            raise CredentialsError("scheme_not_supported")
        try:
            return _READ[scheme](token, self.names)
        except (PrincipalError, binascii.Error):
            raise CredentialsError("credentials_malformed") from None
        except (bearer.BearerError, ntlm.NtlmError, spnego.SpnegoError) as error:
            raise CredentialsError(str(error)) from None


def backend_challenges(
    fields: list[tuple[bytes, bytes]], ours: tuple[tuple[bytes, bytes], ...]
) -> list[tuple[bytes, bytes]]:
    """The fields of a backend's 401 as the device gets them: with our offers for the backend's.

    A backend's own Bearer challenge stays where Bearer is offered, since it says where tokens are to be had.
    """
    bearer_offer = (_CHALLENGE, _OFFERS[Scheme.BEARER])
    kept = [(name, value) for name, value in fields if name.lower() != _CHALLENGE.lower()]
    said = [(name, value) for name, value in fields if name.lower() == _CHALLENGE.lower() and _is_bearer(value)]
    for offer in ours:
        kept += said if offer == bearer_offer and said else [offer]
    return kept


def challenge_token(scheme: Scheme, fields: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
    """The backend's next message of a log-on: the challenge's value as it came, and what is in it; None when there is none."""
    for name, value in fields:
        word, _, token = value.partition(b" ")
        if name.lower() == _CHALLENGE.lower() and _scheme(word) is scheme and token.strip(b" "):
            try:
                return value, _decoded(token.strip(b" "))
            except binascii.Error:
                return None
    return None


def ntlm_message(scheme: Scheme, token: bytes) -> bytes:
    """The NTLM message in a decoded token of this scheme. Raises `SpnegoError`."""
    return spnego.ntlm_message(token) if scheme is Scheme.NEGOTIATE else token


def _scheme(word: bytes) -> Scheme | None:
    try:
        return Scheme(word.decode("latin-1").lower())
    except ValueError:
        return None


def _is_bearer(value: bytes) -> bool:
    return _scheme(value.partition(b" ")[0]) is Scheme.BEARER


def _decoded(token: bytes) -> bytes:
    return base64.b64decode(token, validate=True)


def _basic(token: bytes, names: Names) -> Credentials:
    name, colon, _ = _decoded(token).partition(b":")
    if not colon:
        raise CredentialsError("credentials_malformed")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = name.decode("latin-1")  # older clients; RFC 7617 left the encoding open until "charset"
    return Credentials(names.canonical(text))


def _bearer(token: bytes, names: Names) -> Credentials:
    return Credentials(names.canonical(bearer.name(token)))


def _ntlm(token: bytes, names: Names) -> Credentials:
    return _logon(Scheme.NTLM, _decoded(token), names)


def _negotiate(token: bytes, names: Names) -> Credentials:
    return _logon(Scheme.NEGOTIATE, _decoded(token), names)


def _logon(scheme: Scheme, token: bytes, names: Names) -> Credentials:
    match ntlm.read(ntlm_message(scheme, token)):
        case ntlm.Negotiate():
            return Credentials("", Logon(Step.OPENS, scheme))
        case ntlm.Authenticate() as message:
            return Credentials(names.canonical(message.name), Logon(Step.PROVES, scheme, message.unicode))
    raise CredentialsError("credentials_malformed")


_READ = {Scheme.BASIC: _basic, Scheme.NTLM: _ntlm, Scheme.NEGOTIATE: _negotiate, Scheme.BEARER: _bearer}
