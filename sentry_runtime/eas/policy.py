"""The policy a device must apply: its typed form, its documents and the key that shows a device has acknowledged it.

Source: MS-ASPROV 2.2.2 (EASProvisionDoc) for 12.0 and later; for 2.5 the WAP provisioning document that Exchange 2003 and
the servers after it send. A policy that restricts nothing is still a document: clients refuse a server without one.
"""

import enum
import functools
import hashlib
import hmac
from collections.abc import Collection, Iterable
from typing import Annotated, NamedTuple
from xml.sax.saxutils import quoteattr

import msgspec

from sentry_runtime.eas.codepages import PROVISION
from sentry_runtime.eas.wbxml import Element, Fragment, element, fragment

DOCUMENTS = 64  # encoded ones that are kept: two kinds of each policy of a site that has many
APPLICATIONS = 256  # names or hashes in one list; real lists have a handful
NAMES_BYTES = 16_384  # of all names together: 64 each. A whole policy is below 48 KiB in JSON, its document below 32
NO_LOCK_SECONDS = 9_999  # MaxInactivityTimeDeviceLock from here on means that the device never locks (MS-ASPROV)

_NUMBER_CHARS = 11  # the longest number a document holds: a signed 32-bit one
_BEGAN_WITH_12_1 = 0x1B  # the first token of page 14 that 12.0 does not have
_INT32_MAX = 0x7FFF_FFFF
_CALENDAR_AGES = frozenset({0, 4, 5, 6, 7})  # all, two weeks, one month, three months, six months

_Size = Annotated[int, msgspec.Meta(ge=0, le=_INT32_MAX)]
_Truncation = Annotated[int, msgspec.Meta(ge=-1, le=_INT32_MAX)]
_Name = Annotated[str, msgspec.Meta(pattern="^[^\\x00-\\x1f]{1,256}$")]
_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}$")]  # SHA-1, as MS-ASPROV has it


class PolicyError(ValueError):
    """A policy or a document that holds what MS-ASPROV, or a bound of ours, does not allow; the message says what was found."""


class Phase(enum.StrEnum):
    """What a policy key stands for: a policy that was handed out, or one that the device has acknowledged."""

    TEMPORARY = "temporary"
    FINAL = "final"


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The elements of an EASProvisionDoc, by their names in lower case with underscores; None: not said, so not sent.

    The numbers are those of MS-ASPROV: lengths in characters, times in seconds, expiration in days, sizes in bytes (-1: no
    truncation), filters and algorithms by their codes. A hash is 40 lower-case hex digits. Raises `PolicyError` for what no type
    can say.
    """

    device_password_enabled: bool = False
    alphanumeric_device_password_required: bool | None = None
    require_storage_card_encryption: bool | None = None
    password_recovery_enabled: bool | None = None
    attachments_enabled: bool | None = None
    min_device_password_length: Annotated[int, msgspec.Meta(ge=1, le=16)] | None = None
    max_inactivity_time_device_lock: Annotated[int, msgspec.Meta(ge=1, le=_INT32_MAX)] | None = None
    max_device_password_failed_attempts: Annotated[int, msgspec.Meta(ge=4, le=16)] | None = None
    max_attachment_size: _Size | None = None
    allow_simple_device_password: bool | None = None
    device_password_expiration: Annotated[int, msgspec.Meta(ge=0, le=730)] | None = None
    device_password_history: Annotated[int, msgspec.Meta(ge=0, le=50)] | None = None
    allow_storage_card: bool | None = None
    allow_camera: bool | None = None
    require_device_encryption: bool | None = None
    allow_unsigned_applications: bool | None = None
    allow_unsigned_installation_packages: bool | None = None
    min_device_password_complex_characters: Annotated[int, msgspec.Meta(ge=1, le=4)] | None = None
    allow_wifi: bool | None = None
    allow_text_messaging: bool | None = None
    allow_pop_imap_email: bool | None = None
    allow_bluetooth: Annotated[int, msgspec.Meta(ge=0, le=2)] | None = None
    allow_irda: bool | None = None
    require_manual_sync_when_roaming: bool | None = None
    allow_desktop_sync: bool | None = None
    max_calendar_age_filter: Annotated[int, msgspec.Meta(ge=0, le=7)] | None = None
    allow_html_email: bool | None = None
    max_email_age_filter: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    max_email_body_truncation_size: _Truncation | None = None
    max_email_html_body_truncation_size: _Truncation | None = None
    require_signed_smime_messages: bool | None = None
    require_encrypted_smime_messages: bool | None = None
    require_signed_smime_algorithm: Annotated[int, msgspec.Meta(ge=0, le=1)] | None = None
    require_encryption_smime_algorithm: Annotated[int, msgspec.Meta(ge=0, le=4)] | None = None
    allow_smime_encryption_algorithm_negotiation: Annotated[int, msgspec.Meta(ge=0, le=2)] | None = None
    allow_smime_soft_certs: bool | None = None
    allow_browser: bool | None = None
    allow_consumer_email: bool | None = None
    allow_remote_desktop: bool | None = None
    allow_internet_sharing: bool | None = None
    unapproved_in_rom_application_list: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=APPLICATIONS)] = ()
    approved_application_list: Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=APPLICATIONS)] = ()

    def __post_init__(self) -> None:
        if self.max_calendar_age_filter is not None and self.max_calendar_age_filter not in _CALENDAR_AGES:
            raise PolicyError(
                f"max_calendar_age_filter is {self.max_calendar_age_filter}; 0, 4, 5, 6 and 7 are allowed"
            )
        names = sum(len(name.encode()) for name in self.unapproved_in_rom_application_list)
        if names > NAMES_BYTES:
            raise PolicyError(f"names of {names} bytes; at most {NAMES_BYTES} together are allowed")


TEMPORARY = Policy(
    device_password_enabled=True,
    allow_simple_device_password=True,
    min_device_password_length=4,
    max_inactivity_time_device_lock=900,
)
"""What a device gets that is let in while the UEM is out of reach, until the UEM says what is right: a simple passcode of four
characters and a lock after 15 minutes. Nobody's setting: it covers a rare failure, and every client can apply it."""

_ELEMENT_OF = {name.lower(): name for name in PROVISION.tokens}
_UNAPPROVED, _APPROVED = "unapproved_in_rom_application_list", "approved_application_list"
ELEMENTS: dict[str, str] = {name: _ELEMENT_OF[name.replace("_", "")] for name in Policy.__struct_fields__}
"""The element of each field of `Policy`, in the order of their tokens."""


def elements_of(protocol: str) -> dict[str, str]:
    """The part of `ELEMENTS` that a client of this version knows; one that names no version gets what 12.0 knows."""
    if protocol in ("", "2.5", "12.0"):
        return {name: tag for name, tag in ELEMENTS.items() if PROVISION.tokens[tag] < _BEGAN_WITH_12_1}
    return ELEMENTS


def document(policy: Policy, protocol: str, also: Collection[str] = ()) -> Element:
    """The EASProvisionDoc for a client of this version (12.0 and later), with the fields `also` whatever the version."""
    parts = []
    known = elements_of(protocol)
    for name, tag in ELEMENTS.items():
        value = getattr(policy, name) if name in known or name in also else None
        if name == _UNAPPROVED:
            if value:
                parts.append(element(PROVISION, tag, *(element(PROVISION, "ApplicationName", one) for one in value)))
        elif name == _APPROVED:
            if value:
                hashes = (element(PROVISION, "Hash", bytes.fromhex(one)) for one in value)
                parts.append(element(PROVISION, tag, *hashes))
        elif value is not None:
            parts.append(element(PROVISION, tag, str(int(value))))
    return element(PROVISION, "EASProvisionDoc", *parts)


@functools.lru_cache(DOCUMENTS)
def encoded_document(policy: Policy, protocol: str) -> Fragment:
    """`document`, encoded once for all devices that get it."""
    return fragment(document(policy, protocol))


def read_document(root: Element) -> Policy:
    """An EASProvisionDoc back to a policy; an empty element is not said, one of another name or page is passed over.

    Raises `PolicyError`.
    """
    values: dict[str, object] = {}
    for name, tag in ELEMENTS.items():
        found = root.child(PROVISION, tag)
        if found is None or not found.content:
            continue
        if name == _UNAPPROVED:
            values[name] = [part.text for part in _children(found, "ApplicationName")]
        elif name == _APPROVED:
            values[name] = [_opaque(part) for part in _children(found, "Hash")]
        else:
            values[name] = _number(tag, found.text)
    try:
        # Not strict: a flag is 0 or 1 on the wire.
        return msgspec.convert(values, Policy, strict=False)
    except msgspec.ValidationError as error:
        raise PolicyError(str(error)) from None


def _children(parent: Element, name: str) -> list[Element]:
    token = PROVISION.tokens[name]
    return [one for one in parent.content if isinstance(one, Element) and (one.page, one.token) == (14, token)]


def _opaque(part: Element) -> str:
    return b"".join(one for one in part.content if isinstance(one, bytes)).hex()


def _number(tag: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(text) > _NUMBER_CHARS:
        raise PolicyError(f"{tag} is {text[:_NUMBER_CHARS]!r}; a number is expected")
    return int(text)


_AE = r"HKLM\Comm\Security\Policy\LASSD\AE\{50C13377-C66D-400C-889E-C316FC4AB374}"
_LASSD = r"HKLM\Comm\Security\Policy\LASSD"
_PASSWORD = r"HKLM\Comm\Security\Policy\LASSD\LAP\lap_pw"  # noqa: S105 - a registry path
_SECURITY, _REGISTRY = "SecurityPolicy", "Registry"


class Parameter(NamedTuple):
    """A parameter of a WAP provisioning document: the types of the characteristics around it, and its attributes."""

    path: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Its name; "" where it has none."""
        return dict(self.attributes).get("name", "")

    @property
    def value(self) -> str:
        """Its value; "" where it has none."""
        return dict(self.attributes).get("value", "")


def wap_document(policy: Policy, others: Iterable[Parameter] = ()) -> str:
    """The WAP provisioning document for a client of 2.5: of a policy it can say the password's form and the lock.

    Security policy 4131 is 0 where a password is required. The lock's time is in whole minutes, rounded towards the
    stricter side. PasswordComplexity is 0 for letters and digits, 2 for either. `others` stand in it as they are.
    """
    required = policy.device_password_enabled
    registry = ""
    if required:
        seconds = policy.max_inactivity_time_device_lock
        locks = seconds is not None and seconds < NO_LOCK_SECONDS
        lock = [("AEFrequencyType", 1), ("AEFrequencyValue", max(1, (seconds or 0) // 60))]
        registry += _characteristic(_AE, *(lock if locks else [("AEFrequencyType", 0)]))
        if policy.max_device_password_failed_attempts is not None:
            registry += _characteristic(_LASSD, ("DeviceWipeThreshold", policy.max_device_password_failed_attempts))
        if policy.min_device_password_length is not None:
            registry += _characteristic(_PASSWORD, ("MinimumPasswordLength", policy.min_device_password_length))
        complexity = 0 if policy.alphanumeric_device_password_required else 2
        registry = f'<characteristic type="{_REGISTRY}">{registry}'
        registry += _characteristic(_PASSWORD, ("PasswordComplexity", complexity)) + "</characteristic>"
    security = _characteristic(_SECURITY, ("4131", 0 if required else 1))
    return f"<wap-provisioningdoc>{security}{registry}{''.join(map(_as_it_is, others))}</wap-provisioningdoc>"


def _characteristic(kind: str, *parameters: tuple[str, int]) -> str:
    inner = "".join(f'<parm name="{name}" value="{value}"/>' for name, value in parameters)
    return f'<characteristic type="{kind}">{inner}</characteristic>'


def _as_it_is(parameter: Parameter) -> str:
    inner = "<parm" + "".join(f" {name}={quoteattr(value)}" for name, value in parameter.attributes) + "/>"
    for kind in reversed(parameter.path):
        inner = f"<characteristic type={quoteattr(kind)}>{inner}</characteristic>"
    return inner


def digest(policy: Policy) -> bytes:
    """What tells policies apart. What is not said does not count, so a later version's new elements change no digest."""
    return hashlib.sha256(msgspec.json.encode(policy)).digest()


def policy_key(secret: bytes, device_id: str, principal: str, policy_digest: bytes, phase: Phase) -> int:
    """The key of a device and principal under a policy: 31 bits of an HMAC-SHA256, never 0.

    Whoever has the secret computes the same key, so nothing is stored and every gateway of a fleet agrees. 31 bits, since
    there are clients that read it as a signed number.
    """
    parts = (b"policy-key-1", device_id.encode(), principal.encode(), policy_digest, phase.encode())
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return int.from_bytes(hmac.digest(secret, message, "sha256")[:4], "big") & _INT32_MAX or 1
