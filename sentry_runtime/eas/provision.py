"""The Provision command: its requests and responses as values, from and to WBXML (MS-ASPROV 2.2.2, MS-ASCMD 2.2.1.14)."""

from dataclasses import dataclass

from sentry_runtime.eas import device_information
from sentry_runtime.eas import policy as policies
from sentry_runtime.eas.codepages import PROVISION, SETTINGS, Page
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.wbxml import DEVICE_PARTS, PARTS, Element, WbxmlError, decode, element, encode

BYTES = 65_536  # a request with every field of DeviceInformation stays below 4 KiB, a full document below 32 KiB
TEXT_CHARS = 1_024  # of a policy's type or key; MS-ASPROV allows a key 64

WAP_XML = "MS-WAP-Provisioning-XML"
EAS_WBXML = "MS-EAS-Provisioning-WBXML"

# Status of Provision (MS-ASPROV 2.2.2.54.2).
SUCCESS = 1
PROTOCOL_ERROR = 2
CANNOT_COMPLY = 139
EXTERNALLY_MANAGED = 145
DEVICE_INFORMATION_REQUIRED = 165
# Status of Policy, from the server (MS-ASPROV 2.2.2.54.1).
POLICY_UNKNOWN_TYPE = 3
POLICY_WRONG_KEY = 5
# Status of Policy, from the client.
APPLIED = 1
APPLIED_PARTLY = 2
NOT_APPLIED = 3
MANAGED_ELSEWHERE = 4

ACCOUNT_WIPE_VERSIONS = frozenset({"16.1"})  # MS-ASPROV 2.2.2.1
_UINT32_MAX = 0xFFFF_FFFF


class ProvisionError(ValueError):
    """The bytes are no Provision of this form; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Phase 1: what is the policy? `policy_type` is "" for an empty Provision, which asks whether a wipe is wanted."""

    policy_type: str = ""
    device: DeviceInformation | None = None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Phase 2: the policy of this (temporary) key has been applied, or not. `key` is None where the body has none."""

    policy_type: str
    key: int | None
    status: int


@dataclass(frozen=True, slots=True)
class WipeAcknowledgement:
    """The device has taken the directive to wipe: status 1, or failed to: 2. `account_only` for the one of 16.1."""

    status: int
    account_only: bool = False


Request = Ask | Acknowledgement | WipeAcknowledgement


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """The Policy of a response. `document` is a `Policy` with `EAS_WBXML` (or the EASProvisionDoc itself, as it shall be or
    was sent), the text of the document with `WAP_XML`."""

    policy_type: str
    status: int = SUCCESS
    key: int | None = None
    document: Policy | Element | str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. `device_status` answers DeviceInformation (14.1 and later have it); at most one wipe is set."""

    status: int = SUCCESS
    policy: PolicyAnswer | None = None
    device_status: int | None = None
    remote_wipe: bool = False
    account_only_remote_wipe: bool = False


def policy_types(protocol: str) -> tuple[str, ...]:
    """The kinds of document a client of this version may ask for; one that names no version may ask for either."""
    return {"2.5": (WAP_XML,), "": (WAP_XML, EAS_WBXML)}.get(protocol, (EAS_WBXML,))


def policy_answer(policy: Policy, policy_type: str, key: int) -> PolicyAnswer:
    """Phase 1's answer: the policy in a document of this kind, with the temporary key."""
    whole = policies.wap_document(policy) if policy_type == WAP_XML else policy
    return PolicyAnswer(policy_type, key=key, document=whole)


# Requests


def decode_request(data: bytes) -> Request:
    """Read the body of a Provision request. Raises `ProvisionError`."""
    root = _root(data, DEVICE_PARTS)
    for name, account_only in (("RemoteWipe", False), ("AccountOnlyRemoteWipe", True)):
        wipe = root.child(PROVISION, name)
        if wipe is not None:
            return WipeAcknowledgement(_required(wipe, "Status"), account_only)
    policy = _policy(root)
    device = device_information.read(root)
    if policy is None:
        return Ask(device=device)
    kind = _text(policy, "PolicyType")
    if not kind:
        raise ProvisionError("a Policy without its PolicyType")
    status = _optional(policy, "Status")
    if status is None:
        return Ask(kind, device)
    return Acknowledgement(kind, _optional(policy, "PolicyKey"), status)


def encode_request(request: Request) -> bytes:
    """The body of a Provision request."""
    if isinstance(request, WipeAcknowledgement):
        name = "AccountOnlyRemoteWipe" if request.account_only else "RemoteWipe"
        return encode(element(PROVISION, "Provision", element(PROVISION, name, _status(request.status))))
    parts: list[Element] = []
    if isinstance(request, Ask):
        if request.device is not None:
            parts.append(device_information.write(request.device))
        if request.policy_type:
            parts.append(_policies(element(PROVISION, "PolicyType", request.policy_type)))
    else:
        # MS-ASPROV 2.2.2.41: PolicyKey comes before Status.
        key = () if request.key is None else (element(PROVISION, "PolicyKey", str(request.key)),)
        kind = element(PROVISION, "PolicyType", request.policy_type)
        parts.append(_policies(kind, *key, _status(request.status)))
    return encode(element(PROVISION, "Provision", *parts))


# Responses


def encode_response(response: Response, protocol: str) -> bytes:
    """The body for a client of this version; elements that the version does not have are left out."""
    parts: list[Element] = []
    if response.device_status is not None and device_information.belongs_to_provision(protocol):
        status = element(SETTINGS, "Status", str(response.device_status))
        parts.append(element(SETTINGS, "DeviceInformation", status))
    parts.append(_status(response.status))
    if response.policy is not None:
        parts.append(_policies(*_policy_parts(response.policy, protocol)))
    if response.account_only_remote_wipe and protocol in ACCOUNT_WIPE_VERSIONS:
        parts.append(element(PROVISION, "AccountOnlyRemoteWipe"))
    if response.remote_wipe:
        parts.append(element(PROVISION, "RemoteWipe"))
    return encode(element(PROVISION, "Provision", *parts))


def decode_response(data: bytes, *, as_sent: bool = False) -> Response:
    """Read a server's answer; `as_sent`: with its EASProvisionDoc as an element. Raises `ProvisionError`."""
    root = _root(data)
    device, found = root.child(SETTINGS, "DeviceInformation"), _policy(root)
    return Response(
        status=_required(root, "Status"),
        policy=None if found is None else _read_policy(found, as_sent=as_sent),
        device_status=None if device is None else _optional(device, "Status", SETTINGS),
        remote_wipe=root.child(PROVISION, "RemoteWipe") is not None,
        account_only_remote_wipe=root.child(PROVISION, "AccountOnlyRemoteWipe") is not None,
    )


def _policy_parts(answer: PolicyAnswer, protocol: str) -> list[Element]:
    parts = [element(PROVISION, "PolicyType", answer.policy_type), _status(answer.status)]
    if answer.key is not None:
        parts.append(element(PROVISION, "PolicyKey", str(answer.key)))
    if isinstance(answer.document, Policy):
        parts.append(element(PROVISION, "Data", policies.encoded_document(answer.document, protocol)))
    elif answer.document is not None:
        parts.append(element(PROVISION, "Data", answer.document))
    return parts


def _read_policy(found: Element, *, as_sent: bool) -> PolicyAnswer:
    data = found.child(PROVISION, "Data")
    whole: Policy | Element | str | None = None
    if data is not None:
        inner = data.child(PROVISION, "EASProvisionDoc")
        try:
            whole = data.text if inner is None else inner if as_sent else policies.read_document(inner)
        except policies.PolicyError as error:
            raise ProvisionError(str(error)) from None
    key = _optional(found, "PolicyKey")
    return PolicyAnswer(_text(found, "PolicyType"), _required(found, "Status"), key, whole)


# Parts of both


def _root(data: bytes, parts: int = PARTS) -> Element:
    if len(data) > BYTES:
        raise ProvisionError(f"{len(data)} bytes; at most {BYTES} are allowed")
    try:
        root = decode(data, parts)
    except WbxmlError as error:
        raise ProvisionError(str(error)) from None
    if (root.page, root.token) != (PROVISION.number, PROVISION.tokens["Provision"]):
        raise ProvisionError(f"the root is token {root.token:#04x} of page {root.page}; Provision is expected")
    return root


def _policy(root: Element) -> Element | None:
    group = root.child(PROVISION, "Policies")
    return None if group is None else group.child(PROVISION, "Policy")


def _policies(*parts: Element) -> Element:
    return element(PROVISION, "Policies", element(PROVISION, "Policy", *parts))


def _status(status: int) -> Element:
    return element(PROVISION, "Status", str(status))


def _text(parent: Element, name: str, page: Page = PROVISION) -> str:
    found = parent.child(page, name)
    text = "" if found is None else found.text
    if len(text) > TEXT_CHARS:
        raise ProvisionError(f"{name} has {len(text)} characters; at most {TEXT_CHARS} are allowed")
    return text


def _optional(parent: Element, name: str, page: Page = PROVISION) -> int | None:
    text = _text(parent, name, page)
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) > _UINT32_MAX:
        raise ProvisionError(f"{name} is {text[:16]!r}; a number of at most 32 bits is expected")
    return int(text)


def _required(parent: Element, name: str) -> int:
    number = _optional(parent, name)
    if number is None:
        raise ProvisionError(f"no {name} where one is expected")
    return number
