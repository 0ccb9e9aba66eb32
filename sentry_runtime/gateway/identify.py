"""Who asks for what: a head to a `Claim`, or the reason why there is none. No input or output."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas import query
from sentry_runtime.eas.principal import Names, PrincipalError, same_person
from sentry_runtime.gateway.badge import Badge
from sentry_runtime.gateway.credentials import Access, Credentials, CredentialsError, Logon, Step
from sentry_runtime.gateway.head import Head, HeadError

ACTIVESYNC_PATH = "/Microsoft-Server-ActiveSync"

_ACTIVESYNC_PATHS = frozenset({ACTIVESYNC_PATH.lower(), ACTIVESYNC_PATH.lower() + "/default.eas"})
_HEALTH_PATH = "/health"
_AUTODISCOVER_PATH = "/autodiscover/autodiscover"


class Service(enum.Enum):
    """What a path leads to."""

    ACTIVESYNC = "activesync"
    HEALTH = "health"
    AUTODISCOVER_XML = "autodiscover_xml"
    AUTODISCOVER_JSON = "autodiscover_json"


class DeniedError(Exception):
    """A well-formed request that the gateway answers with an HTTP error of its own; a 401 gets the site's challenges."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Claim:
    """Who asks for what. `principal` is who authenticates; `key` is None for an OPTIONS that names no device, and for
    Autodiscover, which has none.

    `logon` is the request's part in a log-on that belongs to its connection; while one opens (`opens`), the principal is not
    known yet, in the key neither, and there is nothing to decide. Of a request with such a part, `user` is whom its query
    names (`User=`) in the canonical form, "" for nobody: by that a backend is chosen, and nothing else.
    `certificate` is the SHA-256 of the one that was shown; `vouched`: it names the principal, so nobody need be asked about it.
    """

    key: DeviceKey | None
    aliases: tuple[str, ...]
    device_type: str
    principal: str
    command: str
    protocol: str
    policy_key: int | None
    logon: Logon | None = None
    user: str = ""
    certificate: str = ""
    vouched: bool = False

    @property
    def opens(self) -> bool:
        """Whether this is the first message of a log-on, which names nobody."""
        return self.logon is not None and self.logon.step is Step.OPENS

    @property
    def device_id(self) -> str:
        """The device's id, "" where none is named."""
        return "" if self.key is None else self.key.device_id


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
    if asked is Service.ACTIVESYNC and head.method in methods:
        return asked
    if asked is Service.HEALTH and (head.path != _HEALTH_PATH or head.query):
        raise DeniedError(404, "not_served")
    if not autodiscover and asked in _AUTODISCOVER:
        raise DeniedError(404, "not_served")
    if head.method not in methods:
        raise DeniedError(405, "method_not_allowed", ((b"Allow", ", ".join(methods).encode()),))
    return asked


def unauthorized(reason: str) -> DeniedError:
    """The answer that makes a client send (other) credentials."""
    return DeniedError(401, reason)


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


def nobody(_device_id: str) -> str:
    """No connection has logged on."""
    return ""


def identify(head: Head, access: Access, holder: Callable[[str], str] = nobody, badge: Badge | None = None) -> Claim:
    """Read an ActiveSync request's claim; `holder` says who has logged on on this connection for a device id, or "", and `badge`
    is of the certificate that came with the request.

    Raises `HeadError` (400) for a query that cannot be taken, `DeniedError` for missing or unusable credentials (401) and
    for a `User=` or credentials that name someone else than who authenticates (403).
    """
    asked = _query(head)
    device_id = "" if asked is None else asked.device_id
    found = authenticated(head, access, badge, holder(device_id) if b"authorization" not in head.single else "")
    who, shown = found.principal, "" if badge is None else badge.fingerprint
    if asked is None:
        return Claim(None, (), "", who, "OPTIONS", "", None, found.logon, "", shown, found.vouched)
    named = who or ("" if badge is None else badge.principal)
    if asked.user is not None and named and not _agrees(asked.user, named, access.names):
        raise DeniedError(403, "user_mismatch")
    user = "" if found.logon is None or asked.user is None else _named(asked.user, access.names)
    return Claim(
        key=DeviceKey(device_id, who),
        aliases=asked.aliases,
        device_type=asked.device_type,
        principal=who,
        command="OPTIONS" if head.method == "OPTIONS" else asked.command,
        protocol=asked.protocol,
        policy_key=asked.policy_key,
        logon=found.logon,
        user=user,
        certificate=shown,
        vouched=found.vouched,
    )


def device_of(claim: Claim) -> DeviceKey | None:
    """The device of a claim in the one form that both forms of the query have: one that changes between them is one device."""
    if claim.key is None or not claim.aliases:
        return claim.key
    return DeviceKey(claim.aliases[0], claim.principal)


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


def authenticated(head: Head, access: Access, badge: Badge | None = None, held: str = "") -> Credentials:
    """Who authenticates: who the certificate names, where it names a user; else who the credentials name that the request
    carries, or who its connection has logged on as (`held`).

    Credentials that come along with such a certificate are for the backend, and must be the same person's; the first message
    of a log-on is nobody's yet. A domain that they alone name is nothing the certificate vouches for, and a log-on the
    backend is asked about all the same. Raises `DeniedError`: 401 where nothing names anybody, 403 where two are named.
    """
    owner = "" if badge is None else badge.principal
    if held and (not owner or same_person(owner, held)):
        return Credentials(held, Logon(Step.HOLDS))
    if owner and not head.single.get(b"authorization"):
        return Credentials(owner, vouched=True)
    said = _carried(head, access)
    if not owner or not said.principal:
        return said
    if not same_person(owner, said.principal):
        raise DeniedError(403, "certificate_mismatch")
    if "@" in said.principal and "@" not in owner:
        return said
    return Credentials(owner, said.logon, vouched=said.logon is None)


def _carried(head: Head, access: Access) -> Credentials:
    try:
        return access.read(head.single.get(b"authorization", b""))
    except CredentialsError as error:
        raise unauthorized(str(error)) from None


def _named(user: str, names: Names) -> str:
    try:
        return names.canonical(user)
    except PrincipalError:
        return ""


def _agrees(user: str, who: str, names: Names) -> bool:
    try:
        return names.may_be(user, who)
    except PrincipalError:
        raise HeadError(400, "user_malformed") from None
