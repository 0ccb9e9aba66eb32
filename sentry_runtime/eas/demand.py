"""What another server's policy document demands of a device, and the document that joins it with a policy of ours.

Whoever hands such a document on and reports to that server that the device has applied it must not lose a word of it. So
elements and parameters that `Policy` does not know are kept as they came and stand in the joint document; what cannot be
read at all is an error, and never left out.
"""

import functools
import hashlib
from dataclasses import dataclass

import msgspec

from sentry_runtime.eas import policy as policies
from sentry_runtime.eas import wap
from sentry_runtime.eas.codepages import PROVISION
from sentry_runtime.eas.policy import Parameter, Policy, PolicyError
from sentry_runtime.eas.strictness import RULES, stricter
from sentry_runtime.eas.wbxml import Element, Fragment, encode

PARTS = 1_024  # of one document, at each level: a whole one has 42 elements, and lists of 256 entries at most

_DIGITS = 11  # of the longest number a document holds: a signed 32-bit one
_FIELDS = {PROVISION.tokens[tag]: name for name, tag in policies.ELEMENTS.items()}
_UNAPPROVED, _APPROVED = "unapproved_in_rom_application_list", "approved_application_list"
_LISTS = {_UNAPPROVED: "ApplicationName", _APPROVED: "Hash"}


@dataclass(frozen=True, slots=True)
class Demand:
    """A document that was read.

    `said` names the fields of `policy` that the document has, `others` are its elements that `Policy` does not have, and
    `parameters` those of a WAP document.
    """

    policy: Policy
    said: frozenset[str] = frozenset()
    others: tuple[Element, ...] = ()
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True)
class Joint:
    """A policy of ours and a demand of another server's as one: the stricter of both, and what only the other can say."""

    policy: Policy
    demand: Demand

    @property
    def digest(self) -> bytes:
        """What tells joint documents apart."""
        whole = hashlib.sha256(policies.digest(self.policy))
        for element in self.demand.others:
            whole.update(encode(element))
        for parameter in self.demand.parameters:
            whole.update(repr(parameter).encode())
        return whole.digest()

    def document(self, protocol: str) -> Element:
        """The EASProvisionDoc for a client of this version. The other server knows the client too: what it has said stands
        in it whatever the version."""
        own = policies.document(self.policy, protocol, also=self.demand.said)
        return Element(own.page, own.token, (*own.content, *self.demand.others))

    def wap_document(self) -> str:
        """The WAP provisioning document for a client of 2.5."""
        return policies.wap_document(self.policy, self.demand.parameters)


def join(own: Policy, demand: Demand) -> Joint:
    """Both as one. Raises `PolicyError` as `stricter` does."""
    return Joint(stricter(own, demand.policy), demand)


def read(document: Element | str) -> Demand:
    """What an EASProvisionDoc (an element) or a WAP provisioning document (its text) demands. Raises `PolicyError`."""
    return _read_wap(document) if isinstance(document, str) else _read_eas(document)


# EASProvisionDoc


def _read_eas(root: Element) -> Demand:
    policy, said, others = Policy(), set(), []
    names: dict[str, None] = {}
    approved: list[Policy] = []
    if len(root.content) > PARTS:
        raise PolicyError(f"{len(root.content)} elements; at most {PARTS} are read")
    for part in root.content:
        if not isinstance(part, Element):
            raise PolicyError("text among the elements of an EASProvisionDoc")
        name = _FIELDS.get(part.token) if part.page == PROVISION.number else None
        if name is None:
            others.append(part)
            continue
        said.add(name)
        if not part.content:
            continue
        # There are servers that send an element twice: both count.
        if name == _UNAPPROVED:
            names.update(dict.fromkeys(_entries(name, part)))
        elif name == _APPROVED:
            approved.append(Policy(approved_application_list=_entries(name, part)))
        else:
            policy = stricter(policy, _said(name, _number(policies.ELEMENTS[name], part.text)))
    # The lists come last, each by itself: to sort long ones anew with every element takes seconds.
    policy = stricter(policy, Policy(unapproved_in_rom_application_list=tuple(names)))
    policy = stricter(policy, functools.reduce(stricter, approved, Policy()))
    return Demand(policy, frozenset(said), tuple(others))


def _entries(name: str, part: Element) -> tuple[str, ...]:
    """A list of applications."""
    if len(part.content) > PARTS:
        raise PolicyError(f"{len(part.content)} entries in {policies.ELEMENTS[name]}; at most {PARTS} are read")
    return tuple(_entry(one, _LISTS[name]) for one in part.content)


def _entry(part: Element | Fragment | str | bytes, tag: str) -> str:
    if not isinstance(part, Element) or (part.page, part.token) != (PROVISION.number, PROVISION.tokens[tag]):
        raise PolicyError(f"something else than {tag} in a list of applications")
    hashed = b"".join(one for one in part.content if isinstance(one, bytes)).hex()
    entry = part.text if tag == "ApplicationName" else hashed
    if not entry:
        raise PolicyError(f"an empty {tag}")
    return entry


def _said(name: str, number: int) -> Policy:
    """A policy that says this of one field, or nothing where the number demands nothing."""
    value = RULES[name].read(number)
    return Policy() if value is None else msgspec.structs.replace(Policy(), **{name: value})


def _number(tag: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(text) > _DIGITS:
        raise PolicyError(f"{tag} is {text[:_DIGITS]!r}; a number is expected")
    return int(text)


# The WAP provisioning document


_REQUIRED = "4131"
_LOCK_TYPE, _LOCK_MINUTES = "AEFrequencyType", "AEFrequencyValue"
_COMPLEXITY = "PasswordComplexity"
_LIMITS = {
    "DeviceWipeThreshold": "max_device_password_failed_attempts",
    "MinimumPasswordLength": "min_device_password_length",
}
_KNOWN = {name.lower(): name for name in (_REQUIRED, _LOCK_TYPE, _LOCK_MINUTES, _COMPLEXITY, *_LIMITS)}
_NO, _STRONG = 1, 0  # 4131 where no password is required; PasswordComplexity that demands letters and digits


def _read_wap(text: str) -> Demand:
    """By the parameters' names, wherever they stand: no second one of a name must stand beside ours in the document."""
    known: dict[str, list[int]] = {}
    others = []
    for one in wap.parameters(text):
        name = _KNOWN.get(one.name.lower())
        if name is None:
            others.append(one)
        elif one.value:  # Horde leaves it empty where it demands nothing
            known.setdefault(name, []).append(_number(name, one.value))
    policy = Policy(device_password_enabled=any(value != _NO for value in known.get(_REQUIRED, ())))
    for value in known.get(_COMPLEXITY, ()):
        policy = stricter(policy, Policy(alphanumeric_device_password_required=value == _STRONG))
    for parameter, field in _LIMITS.items():
        for value in known.get(parameter, ()):
            policy = stricter(policy, _said(field, value))
    if any(known.get(_LOCK_TYPE, ())):
        for minutes in known.get(_LOCK_MINUTES, ()):
            # Here a long time is a lock; as seconds of a policy it would mean that there is none.
            seconds = min(minutes * 60, policies.NO_LOCK_SECONDS - 1)
            policy = stricter(policy, _said("max_inactivity_time_device_lock", seconds))
    return Demand(policy, parameters=tuple(others))
