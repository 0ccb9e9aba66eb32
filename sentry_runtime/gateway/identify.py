"""Who asks for what: a head to a `Claim`, or the reason why there is none. No input or output."""

import base64
import binascii
import enum
from dataclasses import dataclass

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas import principal, query
from sentry_runtime.gateway.badge import Badge
from sentry_runtime.gateway.head import Head, HeadError

ACTIVESYNC_PATH = "/Microsoft-Server-ActiveSync"
REALM = "ActiveSync"  # what a phone shows above its password prompt; says nothing of the product

_ACTIVESYNC_PATHS = frozenset({ACTIVESYNC_PATH.lower(), ACTIVESYNC_PATH.lower() + "/default.eas"})
_HEALTH_PATH = "/health"
_AUTODISCOVER_PATH = "/autodiscover/autodiscover"
_CHALLENGE = ((b"WWW-Authenticate", b'Basic realm="' + REALM.encode() + b'", charset="UTF-8"'),)


class Service(enum.Enum):
    """What a path leads to."""

    ACTIVESYNC = "activesync"
    HEALTH = "health"
    AUTODISCOVER_XML = "autodiscover_xml"
    AUTODISCOVER_JSON = "autodiscover_json"


class DeniedError(Exception):
    """A well-formed request that the gateway answers with an HTTP error of its own."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Claim:
    """Who asks for what. `principal` is who authenticates; `key` is None for an OPTIONS that names no device, and for
    Autodiscover, which has none. `certificate` is the SHA-256 of the one that was shown; `vouched`: it names the principal, so
    nobody need be asked who that is."""

    key: DeviceKey | None
    aliases: tuple[str, ...]
    device_type: str
    principal: str
    command: str
    protocol: str
    policy_key: int | None
    certificate: str = ""
    vouched: bool = False


# Lower-case path to what it leads to and its methods; "/health" alone is taken in this case only.
_SERVICES: dict[str, tuple[Service, tuple[str, ...]]] = {
    **dict.fromkeys(_ACTIVESYNC_PATHS, (Service.ACTIVESYNC, ("OPTIONS", "POST"))),
    _HEALTH_PATH: (Service.HEALTH, ("GET",)),
    _AUTODISCOVER_PATH + ".xml": (Service.AUTODISCOVER_XML, ("POST",)),
    _AUTODISCOVER_PATH + ".json": (Service.AUTODISCOVER_JSON, ("GET",)),
}
_AUTODISCOVER = frozenset({Service.AUTODISCOVER_XML, Service.AUTODISCOVER_JSON})


def service(head: Head, *, autodiscover: bool = False) -> Service:
    """Where the request leads. Raises `DeniedError`: 404 for what is not served, 405 for a method it does not have.

    `autodiscover`: whether that is served.
    """
    found = _SERVICES.get(head.path.lower())
    if found is None:
        raise DeniedError(404, "not_served")
    asked, methods = found
    if asked is Service.HEALTH and (head.path != _HEALTH_PATH or head.query):
        raise DeniedError(404, "not_served")
    if asked in _AUTODISCOVER and not autodiscover:
        raise DeniedError(404, "not_served")
    if head.method not in methods:
        raise DeniedError(405, "method_not_allowed", ((b"Allow", ", ".join(methods).encode()),))
    return asked


def unauthorized(reason: str) -> DeniedError:
    """The answer that makes a client send (other) credentials."""
    return DeniedError(401, reason, _CHALLENGE)


MemoKey = tuple[str, bytes, bytes | None, bytes | None, bytes | None, Badge | None]


def memo_key(head: Head, badge: Badge | None = None) -> MemoKey:
    """All that `identify` looks at: equal keys give equal claims."""
    single = head.single
    return (
        head.method,
        head.query,
        single.get(b"authorization"),
        single.get(b"ms-asprotocolversion"),
        single.get(b"x-ms-policykey"),
        badge,
    )


def identify(head: Head, badge: Badge | None = None) -> Claim:
    """Read an ActiveSync request's claim; `badge` is of the certificate that came with it.

    Raises `HeadError` (400) for a query that cannot be taken, `DeniedError` for missing or unusable credentials (401) and
    for a `User=` or credentials that name someone else than who authenticates (403).
    """
    asked = _query(head)
    who, vouched = holder(head, badge)
    shown = "" if badge is None else badge.fingerprint
    if asked is None:
        return Claim(None, (), "", who, "OPTIONS", "", None, shown, vouched)
    if asked.user is not None and not _agrees(asked.user, who):
        raise DeniedError(403, "user_mismatch")
    command = "OPTIONS" if head.method == "OPTIONS" else asked.command
    key = DeviceKey(asked.device_id, who)
    return Claim(key, asked.aliases, asked.device_type, who, command, asked.protocol, asked.policy_key, shown, vouched)


def _query(head: Head) -> query.ParsedQuery | None:
    if head.method == "OPTIONS" and not head.query:
        return None
    version, policy_key = head.single.get(b"ms-asprotocolversion"), head.single.get(b"x-ms-policykey")
    try:
        return query.parse(head.query, _latin(version), _latin(policy_key))
    except query.QueryError as error:
        raise HeadError(400, str(error)) from None


def _latin(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def holder(head: Head, badge: Badge | None) -> tuple[str, bool]:
    """Who authenticates, by the certificate where it names a user, else by the credentials; and whether the certificate vouches.

    Credentials that come along with such a certificate are for the backend, and must be the same person's. A domain that they
    alone name is nothing the certificate vouches for. Raises `DeniedError`: 401 where neither names anybody, 403 where they
    name two.
    """
    if badge is None or not badge.principal:
        return authenticated(head), False
    if not head.single.get(b"authorization"):
        return badge.principal, True
    said = authenticated(head)
    if not principal.same_person(badge.principal, said):
        raise DeniedError(403, "certificate_mismatch")
    if "@" in said and "@" not in badge.principal:
        return said, False
    return badge.principal, True


def authenticated(head: Head) -> str:
    """The canonical name in Basic credentials (RFC 7617); the password is not looked at, the backend judges it.

    Raises `DeniedError` (401) where they are missing or unusable.
    """
    authorization = head.single.get(b"authorization")
    if not authorization:
        raise unauthorized("credentials_missing")
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        raise unauthorized("scheme_not_supported")
    try:
        pair = base64.b64decode(token.strip(b" "), validate=True)
    except binascii.Error:
        raise unauthorized("credentials_malformed") from None
    name, colon, _ = pair.partition(b":")
    if not colon:
        raise unauthorized("credentials_malformed")
    try:
        return principal.canonical(_decoded(name))
    except principal.PrincipalError:
        raise unauthorized("credentials_malformed") from None


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")  # older clients; RFC 7617 left the encoding open until "charset"


def _agrees(user: str, who: str) -> bool:
    try:
        return principal.same_person(principal.canonical(user), who)
    except principal.PrincipalError:
        raise HeadError(400, "user_malformed") from None
