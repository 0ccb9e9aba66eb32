"""Which of a Cloud's candidates a device is, and what follows for it (pure). The Cloud lists them, the Sentry picks.

| the candidate's ActiveSync id | its user | the match |
|---|---|---|
| the device's | the device's | `ACTIVESYNC_ID`: that candidate, registered or not |
| not known to the Cloud | the device's, and it is the only such one, of no other type | `USER_ID`: that candidate |
| another spelling of the device's | may be the same person | none; but what is wrong with that one is wrong with the device |
| anything else | | none |

The first row that holds counts. Then compliance: a match has its candidate's word, no match is an unmanaged device, and either is
restricted by other spellings. An id that is only spelled alike never grants (`sentry_runtime.eas.device_id`).
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.eas import device_id
from sentry_runtime.eas.principal import same_person
from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem.cloud_api import Candidates, Unidentified


class Criterion(enum.StrEnum):
    """By what a candidate is the best match."""

    ACTIVESYNC_ID = "activesync id"
    USER_ID = "user id"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Match:
    """The best of the candidates; None with `NONE` alone."""

    criterion: Criterion
    candidate: Decision | Unidentified | None = None


def best(contact: Contact, candidates: Candidates) -> Match:
    """The candidate that this device is; see the module's table."""
    name = (contact.device_id, contact.principal)
    for one in (*candidates.registered, *candidates.unregistered):
        if (one.device_id, one.principal) == name:
            return Match(Criterion.ACTIVESYNC_ID, one)
    fitting = [one for one in candidates.unidentified if _may_be(one, contact)]
    if len(fitting) == 1:
        return Match(Criterion.USER_ID, fitting[0])
    return Match(Criterion.NONE)


def _may_be(one: Unidentified, contact: Contact) -> bool:
    types = {one.device_type.casefold(), contact.device_type.casefold()} - {""}
    return one.principal == contact.principal and len(types) <= 1


def checked(contact: Contact, candidates: Candidates, match: Match) -> Decision:
    """What the device may: its match's compliance, or that it has none, restricted by what is said of its other spellings."""
    own = _word(contact, candidates, match)
    if own.state is not State.ALLOWED:
        return own
    others = (one for one in (*candidates.registered, *candidates.unregistered) if _is_spelling(one, contact))
    reasons = _wrong(others)
    return msgspec.structs.replace(own, state=State.BLOCKED, reasons=tuple(sorted(reasons))) if reasons else own


def _word(contact: Contact, candidates: Candidates, match: Match) -> Decision:
    found = match.candidate
    if isinstance(found, Decision):
        kind = found.device_type or contact.device_type
        return msgspec.structs.replace(found, version=candidates.version, device_type=kind)
    named = {"device_id": contact.device_id, "principal": contact.principal, "version": candidates.version}
    if found is None:
        passes = candidates.settings.allow_unmanaged
        return Decision(
            **named,  # type: ignore[arg-type]  # the three are what they are called
            state=State.ALLOWED if passes else State.BLOCKED,
            reasons=() if passes else (Reason.UNREGISTERED,),
            device_type=contact.device_type,
        )
    return Decision(
        **named,  # type: ignore[arg-type]
        state=found.state,
        reasons=found.reasons,
        device_type=found.device_type or contact.device_type,
        registered=True,
        note=found.note,
        policy=found.policy,
        tunnels=found.tunnels,
    )


def _is_spelling(one: Decision, contact: Contact) -> bool:
    """Whether this may be the same phone of the same person under another name."""
    if (one.device_id, one.principal) == (contact.device_id, contact.principal):
        return False
    alike = device_id.root(one.device_id) == device_id.root(contact.device_id)
    return (alike or one.device_id in contact.device_aliases) and same_person(one.principal, contact.principal)


def _wrong(others: Iterable[Decision]) -> set[Reason]:
    """Why they are blocked. That nobody registered a spelling is no reason, and a wipe is for one exact device: on another it
    blocks."""
    reasons: set[Reason] = set()
    for one in others:
        if one.state is State.BLOCKED:
            reasons.update(reason for reason in one.reasons if reason is not Reason.UNREGISTERED)
        elif one.state is not State.ALLOWED:
            reasons.add(Reason.COMPROMISED)
    return reasons
