"""What a security policy asks of a managed device, as settings say it. What it comes to is `uem_server.compliance`'s."""

import enum
from typing import Annotated, Literal

import msgspec

CONTACT_DAYS = 365  # a device that nobody has heard of for longer is not managed

OsVersion = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9}){0,3}\Z")]
"""Up to four numbers, such as `17.5.1`."""


class Platform(enum.StrEnum):
    """The systems that a least version can be asked of."""

    ANDROID = "android"
    IOS = "ios"
    MACOS = "macos"
    WINDOWS = "windows"


class SecurityPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a registered device must be like to pass.

    | setting | asks |
    |---|---|
    | `minimum_os` | of the platforms it names, at least that version; of the others nothing |
    | `compromised` | `block`: that nobody has broken its system open (jailbreak, root) |
    | `require_encryption` | that what lies on it is encrypted |
    | `contact_days` | that it was heard of within so many days; 0: at any time |
    | `unknown` | what it counts that nobody has reported what is asked: `block` against the device, `pass` for it |
    """

    minimum_os: dict[Platform, OsVersion] = {}
    compromised: Literal["block", "pass"] = "block"
    require_encryption: bool = False
    contact_days: Annotated[int, msgspec.Meta(ge=0, le=CONTACT_DAYS)] = 0
    unknown: Literal["block", "pass"] = "block"
