"""What a database needs when it is opened: one from before `Spelling` or `Wiping`, and one whose site has said more of its
names."""

from collections.abc import Callable

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.messages import MessageError, canonical
from sentry_runtime.uem_server import wipes
from sentry_runtime.uem_server.rows import find, spelling
from sentry_runtime.uem_server.rules import Standing
from sentry_runtime.uem_server.tables import (
    Alias,
    Assignment,
    Cause,
    Device,
    DeviceLabel,
    Grace,
    Link,
    Place,
    Posture,
    Says,
    Spelling,
    User,
    UserLabel,
    Wiping,
)


def give_spellings(session: Session, next_version: Callable[[], int]) -> None:
    """Give every row its spelling, and its principal the one canonical form.

    A row under another form matched nobody, and a Sentry refuses a page of the feed that has it. It takes the right name;
    where that has a row already, that one is restricted if this one was; a name that nobody can have goes.
    """
    missing = select(Device).outerjoin(Spelling, Spelling.device == Device.id).where(Spelling.device.is_(None))
    for device in session.scalars(missing.order_by(Device.id)).all():
        key = _canonical(device)
        if key is None:
            session.delete(device)
        elif key.principal == device.principal:
            device.spelling = spelling(key, spoken=True)
        else:
            _rename(session, device, key, next_version)
        session.flush()


def give_orders(session: Session, next_version: Callable[[], int]) -> None:
    """Give every row that is to be wiped, or has been, the order for it; under a new version, since Sentries get to see it."""
    stands = Device.state.in_((State.WIPE_PENDING, State.WIPED)) & Device.removed.is_(False)
    missing = select(Device).outerjoin(Wiping, Wiping.device == Device.id).where(stands, Wiping.device.is_(None))
    for device in session.scalars(missing.order_by(Device.id)).all():
        device.version = next_version()
        wipes.give_order(device, device.version)
        session.flush()


def rename(
    session: Session, names: Names, automatic: Callable[[Device], Standing], next_version: Callable[[], int]
) -> list[str]:
    """Give the devices of principals whom the site now knows by another name that name; the new names. `automatic` is the
    present word on a device of which no administrator has said another by hand.

    A Sentry knows the device under the old name, so that is removed like any other. What is said under both names becomes
    one word:

    | under the old and the new name | then |
    |---|---|
    | registered or said by hand under one | that word |
    | under both | the stricter one |
    | under neither | what is under the new one |

    An order to wipe stands above that, and a pending one above one that was acknowledged. What was found wrong under either
    name holds.
    """
    short = [Device.principal.endswith(f"@{domain}", autoescape=True) for domain in names.domains]
    bare = [Device.principal.not_like("%@%")] if names.default_domain else []
    if not (short or bare):
        return []
    renamed: list[str] = []
    old = select(Device).where(Device.removed.is_(False), or_(*short, *bare))
    for device in session.scalars(old.order_by(Device.id)).all():
        key = DeviceKey(device.device_id, names.canonical(device.principal))
        if key.principal != device.principal:
            there = find(session, key)
            fresh = there is None or there.removed
            new = there or Device(device_id=key.device_id, principal=key.principal)
            new.version = next_version()
            orders = [lifted for one in (new, device) if (lifted := wipes.lift(one)) is not None]
            _merge(device, new, fresh=fresh)
            _merge_findings(device, new)
            if not new.manual:
                standing = automatic(new)
                new.state, new.reasons = standing.state, list(standing.reasons)
            if orders:
                wipes.lay(new, max(orders, key=lambda one: not one.wipe.acknowledged))
            new.spelling = new.spelling or spelling(key, spoken=device.spelling is not None and device.spelling.spoken)
            session.add(new)
            session.flush()
            _lead_followers(session, device, new)
            device.version = next_version()
            renamed.append(key.principal)
            session.flush()
    return renamed


def rename_users(session: Session, names: Names) -> None:
    """Give users whom the site now knows by another name that name; where it has one already, that one gets the labels."""
    for user in session.scalars(select(User).order_by(User.principal)).all():
        name = names.canonical(user.principal)
        if name != user.principal:
            new = session.get(User, name) or User(principal=name, full_name=user.full_name)
            known = {one.label for one in new.labels}
            new.labels += [UserLabel(label=one.label) for one in user.labels if one.label not in known]
            session.add(new)
            session.delete(user)
            session.flush()


def _lead_followers(session: Session, old: Device, new: Device) -> None:
    """Who was linked to the old name is linked to the new one, and is none when that is itself linked."""
    for link in session.scalars(select(Link).where(Link.to == old.id)).all():
        if link.device == new.id or new.link is not None:
            session.delete(link)
        else:
            link.to = new.id
    session.flush()


def _merge(old: Device, new: Device, *, fresh: bool) -> None:
    """Put what is known of `old` into `new`, which has nothing of its own when it is `fresh`; `old` is removed."""
    if fresh:
        new.removed, new.registered, new.device_type, new.first_seen, new.last_seen = False, False, "", 0, 0
    if fresh or _strength(old) > _strength(new):
        new.state, new.reasons, new.note, new.manual = old.state, list(old.reasons), old.note, old.manual
    new.registered = new.registered or old.registered
    new.device_type = new.device_type or old.device_type
    new.first_seen = min((seen for seen in (old.first_seen, new.first_seen) if seen), default=0)
    new.last_seen = max(old.last_seen, new.last_seen)
    known = {alias.alias for alias in new.aliases}
    new.aliases += [Alias(alias=alias.alias) for alias in old.aliases if alias.alias not in known]
    if old.place is not None and (new.place is None or new.place.waits):
        new.place = new.place or Place()
        new.place.rank, new.place.waits = old.place.rank, old.place.waits
    old.removed, old.registered, old.manual, old.wiping = True, False, False, None
    old.aliases, old.note, old.first_seen = [], "", 0


def _merge_findings(old: Device, new: Device) -> None:
    """What was found of the device, what it says of itself and what it is to apply; what `new` has of the latter stays."""
    known = {cause.reason for cause in new.causes}
    new.causes += [Cause(reason=cause.reason) for cause in old.causes if cause.reason not in known]
    if old.assignment is not None and new.assignment is None:
        new.assignment = Assignment(policy=old.assignment.policy)
    if old.says is not None and new.says is None:
        new.says = Says(fields=dict(old.says.fields))
    _merge_managed(old, new)
    old.causes, old.assignment, old.says = [], None, None


def _merge_managed(old: Device, new: Device) -> None:
    """Labels of both, and what is reported of either; a link goes along unless the new name is registered by itself."""
    known = {one.label for one in new.labels}
    new.labels += [DeviceLabel(label=one.label) for one in old.labels if one.label not in known]
    if old.posture is not None and new.posture is None:
        told = old.posture
        new.posture = Posture(
            platform=told.platform,
            os_version=told.os_version,
            compromised=told.compromised,
            encrypted=told.encrypted,
            contact=told.contact,
        )
    if old.grace is not None and (new.grace is None or old.grace.since < new.grace.since):
        new.grace = new.grace or Grace()
        new.grace.since = old.grace.since
    if old.link is not None and new.link is None and old.link.to != new.id:
        new.link = Link(to=old.link.to, target=old.link.target)
    old.findings, old.labels, old.posture, old.link = [], [], None, None


def _strength(device: Device) -> int:
    """How much a word counts: nobody's least, then the stricter one."""
    decided = device.registered or device.manual
    return 1 + (device.state == State.BLOCKED) if decided else 0


def _rename(session: Session, device: Device, key: DeviceKey, next_version: Callable[[], int]) -> None:
    there = find(session, key)
    if there is None:
        device.principal, device.version = key.principal, next_version()
        device.spelling = spelling(key, spoken=True)
        return
    if not device.removed and device.manual and device.state != State.ALLOWED:
        there.state, there.reasons, there.manual, there.removed = device.state, list(device.reasons), True, False
        there.version = next_version()
    session.delete(device)


def _canonical(device: Device) -> DeviceKey | None:
    try:
        return canonical(device.device_id, device.principal)
    except MessageError:
        return None
