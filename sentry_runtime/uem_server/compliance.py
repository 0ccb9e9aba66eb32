"""Does a device do what its security policy asks? (pure)

| the policy asks | of | found wrong as | when |
|---|---|---|---|
| `minimum_os` | platform and version | `os_version` | the platform is named and the version lower |
| `compromised` | compromised | `compromised` | it is |
| `require_encryption` | encrypted | `not_encrypted` | it is not |
| `contact_days` | last contact | `out_of_contact` | it was longer ago |

What is asked and not known counts as `SecurityPolicy.unknown` says: against the device, unless the site wants otherwise.
Everything that is wrong is found, so that mending one thing does not hide another.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from sentry_runtime.devices.record import Reason
from sentry_runtime.uem.security import Platform, SecurityPolicy

DAY_SECONDS = 86_400

_SAID = re.compile(r"(?P<name>[A-Za-z][A-Za-z ]{0,30}?) ?(?P<version>[0-9]{1,9}(?:\.[0-9]{1,9}){0,3})(?![0-9.])")
_NAMES = {
    "android": Platform.ANDROID,
    "ios": Platform.IOS,
    "ipados": Platform.IOS,
    "iphone os": Platform.IOS,
    "macos": Platform.MACOS,
    "mac os x": Platform.MACOS,
    "windows": Platform.WINDOWS,
}
"""How devices call their systems in the OS element of DeviceInformation (MS-ASCMD 2.2.3.119), in lower case."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a device; None, "" and 0: nobody has reported it. `contact` is when it was last heard of (epoch)."""

    platform: Platform | None = None
    os_version: str = ""
    compromised: bool | None = None
    encrypted: bool | None = None
    contact: int = 0


def findings(policy: SecurityPolicy, facts: Facts, now: float) -> frozenset[Reason]:
    """What is wrong with the device at this time; empty: it complies."""
    against = policy.unknown == "block"
    found = ((reason, rule(policy, facts, now)) for reason, rule in _RULES)
    return frozenset(reason for reason, wrong in found if (against if wrong is None else wrong))


def from_os(said: str) -> Facts:
    """What a device says of its system (`iOS 17.5.1 21F90`): platform and version, if they can be told."""
    found = _SAID.match(said)
    platform = _NAMES.get(found["name"].lower()) if found else None
    return Facts(platform=platform, os_version=found["version"] if found and platform else "")


def number(version: str) -> tuple[int, ...]:
    """A version to be compared: `17` is `17.0`."""
    parts = [int(part) for part in version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


# Each rule: is it wrong? None: what is asked is not known.


def _os_version(policy: SecurityPolicy, facts: Facts, _now: float) -> bool | None:
    if not policy.minimum_os:
        return False
    if facts.platform is None:
        return None
    least = policy.minimum_os.get(facts.platform)
    if least is None:
        return False
    return number(facts.os_version) < number(least) if facts.os_version else None


def _compromised(policy: SecurityPolicy, facts: Facts, _now: float) -> bool | None:
    return facts.compromised if policy.compromised == "block" else False


def _not_encrypted(policy: SecurityPolicy, facts: Facts, _now: float) -> bool | None:
    if not policy.require_encryption:
        return False
    return None if facts.encrypted is None else not facts.encrypted


def _out_of_contact(policy: SecurityPolicy, facts: Facts, now: float) -> bool | None:
    if not policy.contact_days:
        return False
    return now - facts.contact > policy.contact_days * DAY_SECONDS if facts.contact else None


_Rule = Callable[[SecurityPolicy, Facts, float], bool | None]
_RULES: tuple[tuple[Reason, _Rule], ...] = (
    (Reason.OS_VERSION, _os_version),
    (Reason.COMPROMISED, _compromised),
    (Reason.NOT_ENCRYPTED, _not_encrypted),
    (Reason.OUT_OF_CONTACT, _out_of_contact),
)
