"""Typed messages on the Unix sockets of the data plane, and the client that speaks them.

One message is one line of JSON. A connection carries one request at a time, each answered by one `Answer`. Three sockets
exist: the agent's (`Ask`, `Follow`, `Describe`, `KeepEnforcement`, `MarkWipe`, `CheckCertificate` from the gateway;
`ListDevices`, `ShowDevice`, `ShowDetails`, `Persist`, `CheckIn`, `Enrol`, `RenewEnrolment`, `ShowRevocation`,
`PurgeRevocation`, `CheckAdministrator` from the management plane), the gateway's (`Status`, `Quiesce`, `Drain`, `Resume`,
`Explain`, `ListRedirects`, `ClearRedirects`) and the UEM's (`Register`, `SetState`, `OrderWipe`, `CancelWipe`, `Flag`,
`Remove`, `AssignPolicy`, `ListRegistered`, `ListPolicies`, `ShowRegistered`). Who may send what is checked by the server from
the peer's credentials (SO_PEERCRED), never from what the message says.
"""

import socket
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from sentry_runtime.devices.enforcement import Enforcement, Key
from sentry_runtime.devices.record import DeviceKey, Reason, State, WipeKind, WipeMark
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.json_text import decoded

LINE_BYTES = 1_048_576  # the longest line: a list of about 4,000 devices; longer lists come in pages
REPLY_SECONDS = 10.0  # longer than any answer takes, the UEM's time-out (5 s) included


class ControlError(RuntimeError):
    """The other side cannot be reached, refused the request or answered nonsense.

    `kind` is the refusal's word, empty when it was none.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do"):
    """Every request carries its name in `do`."""


class Ask(_Request, frozen=True, kw_only=True, tag="ask"):
    """Gateway to agent: first contact; the answer's `result` is a `Record`, or an error of kind `unavailable` or `busy`."""

    key: DeviceKey
    aliases: tuple[str, ...] = ()
    device_type: str
    user_agent: str = ""
    protocol: str = ""


class Follow(_Request, frozen=True, kw_only=True, tag="follow"):
    """Gateway to agent: from now on send a `Changed` line for each change of the device list on this connection."""


class KeepEnforcement(_Request, frozen=True, kw_only=True, tag="enforcement.keep"):
    """Gateway to agent: what a backend's own policy has come to for a device; None: it has none any more.

    `after` is the backend's key that it has just refused (0: none was sent), where that is the news: then it is kept only if
    it still is. The answer comes when it is on the disk; its `result` says whether it is kept now.
    """

    key: DeviceKey
    enforcement: Enforcement | None
    after: Key | None = None


class MarkWipe(_Request, frozen=True, kw_only=True, tag="wipe.mark"):
    """Gateway to agent: this has come of the order to wipe the device. The answer comes when it is on the disk; its `result`
    is the `Record` as it is then, or null. An order that is not the device's present one changes nothing."""

    key: DeviceKey
    order: int
    mark: WipeMark


class ListDevices(_Request, frozen=True, kw_only=True, tag="devices.list"):
    """Management to agent: a page of the device list in key order; the answer's `result` is a list of `Record`."""

    after: DeviceKey | None = None
    limit: int = 500


class ShowDevice(_Request, frozen=True, kw_only=True, tag="devices.show"):
    """Management to agent: all records of one device id; the answer's `result` is a list of `Record`."""

    device_id: str


class Describe(_Request, frozen=True, kw_only=True, tag="devices.describe"):
    """Gateway to agent: what an allowed device says of itself, its credentials being proved; the answer's `result` is null."""

    key: DeviceKey
    information: DeviceInformation


class ShowDetails(_Request, frozen=True, kw_only=True, tag="devices.details"):
    """Management to agent: what else is kept of the entries of one device id; the answer's `result` is a list of `Details`."""

    device_id: str


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept beside an entry: the policy that it names, what its device says of itself, its app tunnels."""

    key: DeviceKey
    policy: Policy | None = None
    information: DeviceInformation | None = None
    tunnels: tuple[AppTunnel, ...] | None = ()
    """None: it has some, and there was no room for them."""


class Persist(_Request, frozen=True, kw_only=True, tag="devices.persist"):
    """Management to agent: have the disk confirm the device list; the answer's `result` is a `Persisted`, or an error of kind
    `unavailable`."""


class Persisted(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries the device list has, and its size on the disk."""

    devices: int
    bytes: int


class CheckIn(_Request, frozen=True, kw_only=True, tag="uem.check_in"):
    """Management to agent: check in with the Cloud now; the answer's `result` is a `CheckedIn`, or an error of kind `invalid`
    (another mode: there is nothing to check in with) or `unavailable`."""


class CheckedIn(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries the check-ins for compliance and actions changed, and of how many devices the Cloud was told."""

    compliance: int
    actions: int
    inventory: int


class Enrol(_Request, frozen=True, kw_only=True, tag="uem.enrol"):
    """Management to agent: get this Sentry's certificate with the token that an administrator of the UEM has given out; the
    answer's `result` is null, or an error of kind `unavailable` with the UEM's word. `by` is the administrator's account."""

    token: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z")]
    by: str = ""


class RenewEnrolment(_Request, frozen=True, kw_only=True, tag="uem.renew"):
    """Management to agent: get the next certificate now; the answer's `result` is null, or an error of kind `unavailable`."""


class CheckCertificate(_Request, frozen=True, kw_only=True, tag="certificate.check"):
    """Gateway to agent: may a device with this certificate (DER) pass, as far as revocation goes? The answer's `result` is a
    `CertificateStatus`, or an error of kind `invalid` or `busy`."""

    certificate: bytes


class CheckAdministrator(_Request, frozen=True, kw_only=True, tag="administrator.check"):
    """Management to agent: the same for a certificate that an administrator logs in with. The answer's `result` is a
    `CertificateStatus`, or an error of kind `invalid`, `busy` or `unavailable`."""

    certificate: bytes


class CertificateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`standing` is one of `certificates.revocation`, `passes` what the site's rules make of it, `until` (seconds since the
    epoch) when to ask again."""

    standing: Literal["good", "revoked", "stale", "unknown"]
    passes: bool
    until: float


class ShowRevocation(_Request, frozen=True, kw_only=True, tag="revocation.show"):
    """Management to agent: what revocation is judged by; the answer's `result` is a list of `RevocationSource`."""


class RevocationSource(msgspec.Struct, frozen=True, kw_only=True):
    """One list or responder: where it comes from, whose it is, how it is, its times (seconds since the epoch, 0: none), how many
    entries or kept answers it has, and what went wrong last."""

    kind: Literal["crl file", "crl url", "ocsp"]
    place: str
    issuer: str = ""
    state: str = ""
    made: float = 0.0
    ends: float = 0.0
    entries: int = 0
    problem: str = ""


class PurgeRevocation(_Request, frozen=True, kw_only=True, tag="revocation.purge"):
    """Management to agent: forget every fetched list and every responder's answer, and fetch and ask anew. `by` is the
    administrator's account, for the audit line."""

    by: str = ""


class Status(_Request, frozen=True, kw_only=True, tag="status"):
    """Any of the three: what it is doing, as a flat object of counters and words."""


class Quiesce(_Request, frozen=True, kw_only=True, tag="quiesce"):
    """Management to gateway: tell balancers to send nobody here any more, and go on serving whoever comes."""


class Drain(_Request, frozen=True, kw_only=True, tag="drain"):
    """Management to gateway: take no new connection, finish what runs."""


class Resume(_Request, frozen=True, kw_only=True, tag="resume"):
    """Management to gateway: serve as before `Quiesce` or `Drain`."""


class ListRedirects(_Request, frozen=True, kw_only=True, tag="redirects.list"):
    """Management to gateway: a page of the devices that a backend has sent elsewhere (451), in key order; the answer's
    `result` is a list of `Redirected`."""

    after: DeviceKey | None = None


class ClearRedirects(_Request, frozen=True, kw_only=True, tag="redirects.clear"):
    """Management to gateway: forget where one (device, principal) was sent, or all of them; `result` is how many were known.

    Device id and principal as a person writes them; both or neither.
    """

    device_id: str = ""
    principal: str = ""


class Redirected(msgspec.Struct, frozen=True, kw_only=True):
    """A device that is served elsewhere: by which backend's word, where, and for how many seconds that is remembered."""

    key: DeviceKey
    backend: str
    host: str
    port: int
    seconds: int


class Explain(_Request, frozen=True, kw_only=True, tag="explain"):
    """Management to gateway: what would become of such a request now, and why; the answer's `result` is an `Explanation`.

    The names are as a person writes them. What is left out: the device's type is taken from its entry, without `source` no
    rule on a network matches, and without `policy_key` the device is taken to have the right one. Kind `invalid` for what no
    request can say.
    """

    device_id: str
    principal: str
    command: str = "Sync"
    protocol: str = "14.1"
    device_type: str = ""
    source: str = ""
    policy_key: int | None = None


class Register(_Request, frozen=True, kw_only=True, tag="uem.register"):
    """Management to UEM: this device belongs to this principal and may pass.

    Here and in the two below the principal is as a person writes it; the UEM makes the one name of it, or refuses (`invalid`).
    `by` is the administrator's account, for the audit line.
    """

    device_id: str
    principal: str
    device_type: str = ""
    note: str = ""
    by: str = ""


class SetState(_Request, frozen=True, kw_only=True, tag="uem.set_state"):
    """Management to UEM: an administrator allows or blocks one (device, principal)."""

    device_id: str
    principal: str
    state: State
    reasons: tuple[Reason, ...] = (Reason.MANUAL,)
    note: str = ""
    by: str = ""


class OrderWipe(_Request, frozen=True, kw_only=True, tag="uem.wipe"):
    """Management to UEM: an administrator has one known device of one principal wiped; the answer's `result` is a `Decision`.

    Ordered again while it is pending it stays the same order.
    """

    device_id: str
    principal: str
    kind: WipeKind = WipeKind.DEVICE
    note: str = ""
    by: str = ""


class CancelWipe(_Request, frozen=True, kw_only=True, tag="uem.cancel_wipe"):
    """Management to UEM: take a pending order back; the answer's `result` is the `Wipe`, with what had come of it by then.

    What stood before it stands again, its note too unless there is another one here.
    """

    device_id: str
    principal: str
    note: str = ""
    by: str = ""


class Flag(_Request, frozen=True, kw_only=True, tag="uem.flag"):
    """Management to UEM: something is wrong with this device (`holds`), or no longer. It blocks as long as one cause holds,
    unless an administrator has allowed the device by hand."""

    device_id: str
    principal: str
    cause: Reason
    holds: bool
    by: str = ""


class Remove(_Request, frozen=True, kw_only=True, tag="uem.remove"):
    """Management to UEM: forget one (device, principal)."""

    device_id: str
    principal: str
    by: str = ""


class AssignPolicy(_Request, frozen=True, kw_only=True, tag="uem.assign_policy"):
    """Management to UEM: one (device, principal) gets the policy of this name; None: the default one again.

    The answer's `result` is a `Decision`.
    """

    device_id: str
    principal: str
    policy: str | None
    by: str = ""


class ListPolicies(_Request, frozen=True, kw_only=True, tag="uem.policies"):
    """Management to UEM: the policies there are; the answer's `result` is a list of `NamedPolicy`."""


class NamedPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A policy of the UEM's: how many devices it is assigned to, and whether all others have it."""

    name: str
    policy: Policy
    default: bool = False
    assigned: int = 0


class ShowRegistered(_Request, frozen=True, kw_only=True, tag="uem.show"):
    """Management to UEM: what else it knows of one device id; the answer's `result` is a list of `Registered`."""

    device_id: str


class Registered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the UEM knows beside its decision: the name of the policy that is assigned, "" for none, and what the device says."""

    key: DeviceKey
    policy: str = ""
    information: DeviceInformation | None = None


class ListRegistered(_Request, frozen=True, kw_only=True, tag="uem.list"):
    """Management to UEM: a page of what the UEM knows, in version order; the answer's `result` is a list of `Decision`."""

    after: int = 0
    limit: int = 500


Request = (
    Ask
    | Follow
    | Describe
    | KeepEnforcement
    | MarkWipe
    | ListDevices
    | ShowDevice
    | ShowDetails
    | Persist
    | CheckIn
    | Enrol
    | RenewEnrolment
    | CheckCertificate
    | CheckAdministrator
    | ShowRevocation
    | PurgeRevocation
    | Status
    | Quiesce
    | Drain
    | Resume
    | Explain
    | ListRedirects
    | ClearRedirects
    | Register
    | SetState
    | OrderWipe
    | CancelWipe
    | Flag
    | Remove
    | AssignPolicy
    | ListRegistered
    | ListPolicies
    | ShowRegistered
)


class ExplainedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the decision's table: its word, what it asks, what it saw, and whether it applies."""

    row: str
    asks: str
    saw: str
    applies: bool


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with the way to it, in the words of the audit trail. The last of the `steps` decides.

    `device_id` and `principal` are the canonical names that were looked for; `answer` is what the device gets; `notes` say what
    was assumed and what else there is to know.
    """

    device_id: str
    principal: str
    action: str
    reasons: tuple[str, ...]
    softened: tuple[str, ...]
    decided_by: str
    rule: str
    answer: str
    steps: tuple[ExplainedStep, ...]
    notes: tuple[str, ...]


class Changed(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="changed"):
    """Agent to gateway, after `Follow`: these entries changed or went; read them again and cut what must be cut."""

    keys: tuple[DeviceKey, ...]


class CertificatesChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="certificates_changed"):
    """Agent to gateway, after `Follow`: ask again for every certificate; something of what they are judged by has changed."""


News = Changed | CertificatesChanged
"""What comes on a connection that follows."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not served. `kind` is one word a program can branch on."""

    kind: str
    message: str


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one request: either `result` (its type is stated with the request) or `error`."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Failure | None = None


_encode = msgspec.json.Encoder().encode
_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_request = msgspec.json.Decoder(Request).decode
_decode_news = msgspec.json.Decoder(News).decode


def decode_request(line: bytes) -> Request:
    """The request in a line. Raises `msgspec.MsgspecError`."""
    request: Request = decoded(_decode_request, line)
    return request


def decode_answer(line: bytes) -> Answer:
    """The answer in a line. Raises `msgspec.MsgspecError`."""
    return decoded(_decode_answer, line)


def decode_news(line: bytes) -> News:
    """What comes on a connection that follows. Raises `msgspec.MsgspecError`."""
    news: News = decoded(_decode_news, line)
    return news


def answer(result: object) -> bytes:
    """One line that carries `result`."""
    return _encode({"result": result}) + b"\n"


def refuse(kind: str, message: str) -> bytes:
    """One line that carries an error."""
    return _encode(Answer(error=Failure(kind=kind, message=message))) + b"\n"


def call(
    path: str | Path,
    request: Request,
    result_type: Any = Any,
    *,
    seconds: float = REPLY_SECONDS,
    line_bytes: int = LINE_BYTES,
) -> Any:
    """Send one request to the socket at `path` and return its result as `result_type` (blocking; for the management plane).
    `seconds`: how long all of it may take; `line_bytes`: the longest answer.

    Raises `ControlError` naming the socket and what went wrong.
    """
    end = time.monotonic() + seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(seconds)
            peer.connect(str(path))
            peer.settimeout(_left(end))
            peer.sendall(_encode(request) + b"\n")
            line = _read_line(peer, path, line_bytes, end)
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror or error}") from error
    try:
        reply = decode_answer(line)
        if reply.error is not None:
            raise ControlError(f"{reply.error.kind}: {reply.error.message}", reply.error.kind)
        return decoded(msgspec.json.Decoder(result_type).decode, reply.result)
    except msgspec.MsgspecError as error:
        raise ControlError(f"{path}: an answer that cannot be read: {error}") from error


def _read_line(peer: socket.socket, path: str | Path, most: int, end: float) -> bytes:
    """The line, read by `end` (monotonic seconds): a time-out of the socket alone would begin anew with each octet."""
    line = bytearray()
    while not line.endswith(b"\n"):
        peer.settimeout(_left(end))
        chunk = peer.recv(65_536)
        if not chunk:
            raise ControlError(f"{path}: closed before it answered")
        line += chunk
        if len(line) > most:
            raise ControlError(f"{path}: an answer of more than {most} bytes")
    return bytes(line)


def _left(end: float) -> float:
    """How many seconds there are until then. Raises `TimeoutError` where there are none."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
