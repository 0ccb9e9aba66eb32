"""The ActiveSync policies of this UEM: named ones from the settings, which an administrator assigns to devices.

A device that none is assigned to has the default one, if there is a default; so has a device whose policy is no longer in the
settings, until that comes back or another is assigned.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import BindParameter, CompoundSelect, bindparam, delete, func, literal, select, union_all, update
from sqlalchemy.orm import Session

from sentry_runtime.eas.policy import Policy, digest
from sentry_runtime.uem_server import labels
from sentry_runtime.uem_server.tables import Assignment, Device, Label, Link, PolicyNote

DEFAULT = ""  # under this name the default one's digest is noted; no policy is called so


class UnknownPolicyError(LookupError):
    """There is no policy of this name."""


@dataclass(frozen=True, slots=True)
class Policies:
    """By name; `default` names the one that all other devices have, if there is one."""

    named: Mapping[str, Policy] = field(default_factory=dict)
    default: str | None = None

    def of(self, assigned: str | None) -> Policy | None:
        """The policy of a device that this one is assigned to."""
        return self.named.get(assigned or DEFAULT) or self.named.get(self.default or DEFAULT)

    def check(self, name: str) -> None:
        """Raise `UnknownPolicyError` unless there is a policy of this name."""
        if name not in self.named:
            known = ", ".join(sorted(self.named)) or "none is in the settings"
            raise UnknownPolicyError(f"there is no policy {name[:64]!r}; allowed: {known}")


def _assigned() -> CompoundSelect[tuple[int, str, bool]]:
    """Of the devices `numbers`: the policy that is assigned to each, and to the one that it is linked to (last column)."""
    numbers: BindParameter[int] = bindparam("numbers", expanding=True)
    own = select(Assignment.device, Assignment.policy, literal(value=False)).where(Assignment.device.in_(numbers))
    linked = select(Link.device, Assignment.policy, literal(value=True)).join(Assignment, Assignment.device == Link.to)
    return union_all(own, linked.where(Link.device.in_(numbers)))


_ASSIGNED = _assigned()  # made once: to make it takes as long as to ask it


def assigned(session: Session, numbers: Collection[int], held: Mapping[int, Sequence[Label]]) -> dict[int, str]:
    """Per number of a device, the name of the policy that is assigned to it, or to the device that it is linked to, or that the
    first of its labels (`held`) names which names one."""
    found: dict[int, str] = {}
    for number, policy, by_link in session.execute(_ASSIGNED, {"numbers": list(numbers)}).tuples():
        if not by_link or number not in found:
            found[number] = policy
    for number, those in held.items():
        named = next((label.policy for label in those if label.policy is not None), None)
        if named is not None:
            found.setdefault(number, named)
    return found


def counts(session: Session) -> dict[str, int]:
    """Per name, how many devices it is assigned to."""
    rows = select(Assignment.policy, func.count()).group_by(Assignment.policy)
    return dict(session.execute(rows).tuples().all())


def apply(session: Session, policies: Policies, next_version: Callable[[], int]) -> None:
    """The settings may have changed while we were down: whoever has another policy by that gets a new version."""
    before = {note.name: note.digest for note in session.scalars(select(PolicyNote))}
    now = _digests(policies)
    if before == now:
        return

    def changed(name: str) -> bool:
        return before.get(name, before.get(DEFAULT)) != now.get(name, now.get(DEFAULT))

    by_label = session.scalars(select(Label.policy).where(Label.policy.is_not(None)).distinct())
    names = {DEFAULT, *session.scalars(select(Assignment.policy).distinct()), *(name for name in by_label if name)}
    numbers = {number for name in filter(changed, names) for number in _those_of(session, name)}
    _bump(session, sorted(numbers), next_version)
    session.execute(delete(PolicyNote))
    session.add_all(PolicyNote(name=name, digest=value) for name, value in now.items())


def _digests(policies: Policies) -> dict[str, str]:
    found = {name: digest(policy).hex() for name, policy in policies.named.items()}
    default = policies.of(None)
    return found if default is None else {**found, DEFAULT: digest(default).hex()}


def _those_of(session: Session, name: str) -> Iterable[int]:
    """The numbers of the devices that this policy is assigned to; with `DEFAULT`, that none is. Those too that have a label
    which names the policy, though another may speak for them: to be told the same anew does no harm."""
    rows = select(Device.id).outerjoin(Assignment, Assignment.device == Device.id).where(Device.removed.is_(False))
    having = Assignment.policy.is_(None) if name == DEFAULT else Assignment.policy == name
    by_label = labels.having(list(session.scalars(select(Label.name).where(Label.policy == name))))
    linked = select(Link.device).join(Assignment, Assignment.device == Link.to).where(Assignment.policy == name)
    return {*session.scalars(rows.where(having)), *session.scalars(by_label), *session.scalars(linked)}


def _bump(session: Session, numbers: Iterable[int], next_version: Callable[[], int]) -> None:
    """All in one statement: a fleet of 100,000 takes a second or two."""
    rows = [{"id": number, "version": next_version()} for number in numbers]
    if rows:
        session.execute(update(Device), rows)
