"""Sheets into the tables: whole, or not at all. Called within one transaction (`Registry.amend`).

A line of labels is the whole label; of users and devices, what a cell does not say stays as it is. A device is registered,
unless its line says `no`: then only what stands beside its state changes, and it must be known. An administrator's word by
hand is never touched by a sheet.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas.principal import Names, PrincipalError
from sentry_runtime.uem.messages import MessageError, canonical, check_key
from sentry_runtime.uem_server import directory, judging, labels, rows, wipes
from sentry_runtime.uem_server.judging import Security, UnknownSecurityPolicyError
from sentry_runtime.uem_server.policies import Policies, UnknownPolicyError
from sentry_runtime.uem_server.resources import LabelEntry, UserEntry
from sentry_runtime.uem_server.sheets import DeviceRow, Line, SheetError
from sentry_runtime.uem_server.tables import Device, DeviceLabel, Label, User, UserLabel

_AT_ONCE = 500  # rows that are fetched by one query

_Item = TypeVar("_Item")
_Entry = TypeVar("_Entry", bound=msgspec.Struct)


def put_labels(session: Session, lines: Sequence[Line[LabelEntry]], policies: Policies, security: Security) -> int:
    """Add or change these labels; how many. Raises `SheetError`."""
    for line in lines:
        try:
            directory.put_label(session, line.entry, policies, security)
        except UnknownPolicyError as error:
            raise _wrong(line.number, "policy", error) from None
        except UnknownSecurityPolicyError as error:
            raise _wrong(line.number, "security_policy", error) from None
        except directory.DirectoryError as error:
            raise SheetError(f"line {line.number}: {error}") from None
    return len(lines)


def put_users(session: Session, lines: Sequence[Line[UserEntry]], names: Names) -> int:
    """Add or change these users; how many. Raises `SheetError`."""
    known_labels = set(session.scalars(select(Label.name)))
    people: dict[str, Line[UserEntry]] = {}
    for line in lines:
        _check_labels(line.number, line.entry.labels, known_labels)
        try:
            principal = names.canonical(line.entry.principal)
            check_key("X", principal)
        except (PrincipalError, MessageError):
            raise _wrong(line.number, "principal", f"no person's name: {line.entry.principal[:64]!r}") from None
        _check_new(line.number, "principal", people, principal)
        people[principal] = line
    for some in _portions(list(people)):
        users = {one.principal: one for one in session.scalars(select(User).where(User.principal.in_(some)))}
        for principal in some:
            entry = people[principal].entry
            user = users.get(principal) or User(principal=principal)
            user.full_name = entry.full_name or user.full_name or ""
            if entry.labels:
                user.labels = labels.relabelled(user.labels, entry.labels, UserLabel)
            session.add(user)
        session.flush()
        their = select(Device.id).where(Device.principal.in_(some), Device.removed.is_(False))
        judging.mark(session, labels.with_linked(their), bump=True)
    return len(people)


def put_devices(
    session: Session, lines: Sequence[Line[DeviceRow]], names: Names, next_version: Callable[[], int]
) -> int:
    """Register or change these devices; how many. Raises `SheetError`."""
    known_labels = set(session.scalars(select(Label.name)))
    told: dict[DeviceKey, Line[DeviceRow]] = {}
    for line in lines:
        _check_labels(line.number, line.entry.labels, known_labels)
        key = _key(line, names)
        _check_new(line.number, "device_id", told, key)
        told[key] = line
    for some in _portions(list(told)):
        known = _known(session, some)
        put = [_put_device(session, key, told[key], known.get(key), next_version) for key in some]
        session.flush()
        numbers = select(Device.id).where(Device.id.in_([device.id for device in put]))
        judging.mark(session, labels.with_linked(numbers), bump=True)
    return len(told)


def _put_device(
    session: Session, key: DeviceKey, line: Line[DeviceRow], known: Device | None, next_version: Callable[[], int]
) -> Device:
    row, device = line.entry, known
    if device is None or device.removed:
        if not row.registered:
            raise _wrong(line.number, "registered", "the device is not known; only a registered one can be added")
        device = rows.fresh(session, key, device)
        # Blocked until it has been looked at, as it is due.
        device.state, device.reasons, device.version = State.BLOCKED, [], next_version()
    try:
        wipes.check(device, wipes.Word.SET)
    except wipes.NotNowError as error:
        raise SheetError(f"line {line.number}: {error}") from None
    if row.registered and not device.registered:
        device.registered = True
    if device.spelling is not None:
        device.spelling.spoken = True
    device.device_type, device.note = row.device_type or device.device_type, row.note or device.note
    if row.labels:
        device.labels = labels.relabelled(device.labels, row.labels, DeviceLabel)
    if row.posture is not None:
        directory.put_posture(device, row.posture)
    return device


def _known(session: Session, keys: Sequence[DeviceKey]) -> dict[DeviceKey, Device]:
    loads = [selectinload(one) for one in (Device.labels, Device.posture, Device.spelling, Device.link)]
    found = select(Device).where(Device.device_id.in_({key.device_id for key in keys})).options(*loads)
    return {DeviceKey(device.device_id, device.principal): device for device in session.scalars(found)}


def _key(line: Line[DeviceRow], names: Names) -> DeviceKey:
    try:
        key = canonical(line.entry.device_id, line.entry.principal, names)
    except MessageError as error:
        raise _wrong(line.number, "principal", error) from None
    try:
        check_key(key.device_id, key.principal)
    except MessageError as error:
        raise _wrong(line.number, "device_id", error) from None
    return key


def _check_labels(number: int, wanted: Iterable[str], known: set[str]) -> None:
    missing = next((name for name in wanted if name not in known), None)
    if missing is not None:
        raise _wrong(number, "labels", f"there is no label {missing!r}")


def _check_new(number: int, column: str, seen: Mapping[_Item, Line[_Entry]], item: _Item) -> None:
    if item in seen:
        raise _wrong(number, column, f"the same as in line {seen[item].number}")


def _portions(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def _wrong(number: int, column: str, why: object) -> SheetError:
    return SheetError(f"line {number}, column `{column}`: {why}")
