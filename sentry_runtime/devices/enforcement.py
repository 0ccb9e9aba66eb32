"""What has come of a backend's own policy for one device and principal: kept beside the entry of the device list."""

import enum
import hashlib
from typing import Annotated

import msgspec

Key = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]
"""A policy key of a backend; 0: none."""


class Directive(enum.StrEnum):
    """A wipe that the backend has ordered itself, and that the device has been told of."""

    NONE = ""
    DEVICE = "device"
    ACCOUNT = "account"


class Enforcement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A backend enforces a policy on this device. With neither key the device has yet to provision.

    `temporary` is the backend's key of a document that the device has been given, `final` the one that the backend gave
    when the device had acknowledged it. `digest` is that of the document that the device was given, which joins the
    backend's demands with the gateway's own policy.
    """

    temporary: Key = 0
    final: Key = 0
    digest: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    wipe: Directive = Directive.NONE


def joint_digest(own: bytes, joint: bytes) -> bytes:
    """What the policy keys of the device are made over: a change of either side changes it. `own` is the digest of the
    gateway's own policy as it is now (or was before), `joint` the `digest` of the `Enforcement`."""
    return hashlib.sha256(own + joint).digest()


def applies(held: Enforcement | None, after: int | None) -> bool:
    """Whether news of a backend that refused the key `after` (0: none was sent) is still news where `held` is kept.

    None as `after` is news in any case. Without this a request that was on its way while its device provisioned anew would
    take from the device what it has just got.
    """
    if after is None:
        return True
    if held is None:
        return after == 0
    return after != 0 and after == held.final
