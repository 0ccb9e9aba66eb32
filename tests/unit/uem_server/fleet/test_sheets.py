"""Devices, labels and users as sheets (CSV), out and in again."""

import msgspec
import pytest

from sentry_runtime.devices.record import DeviceKey, Reason, State, WipeKind
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem_server import directory, imports, sheets
from tests.unit.uem_server.fleet.conftest import ANNA, PHONE, POLICIES, SECURITY, SERIAL, TABLET, World


def put(world: World, text: str) -> int:
    """Import a sheet of devices."""
    lines = sheets.read(sheets.DEVICES, text.encode())
    return world.registry.amend(lambda session, following: imports.put_devices(session, lines, Names(), following))[0]


def test_an_exported_list_that_is_imported_again_changes_nobodys_state(world: World) -> None:
    """Unregistered devices stay so, and words by hand stand."""
    world.registry.register(PHONE, "iPhone", "hers")
    world.contact(TABLET)
    world.registry.register(SERIAL, "", "")
    world.registry.set_state(SERIAL, State.BLOCKED, [Reason.MANUAL], "lost")
    before = world.registry.listed(0, 10).devices
    text = sheets.head(sheets.DEVICES) + sheets.lines(sheets.DEVICES, map(sheets.device_row, before))
    assert put(world, text) == 3
    after = {one.device_id: msgspec.structs.replace(one, version=0) for one in world.registry.listed(0, 10).devices}
    assert after == {one.device_id: msgspec.structs.replace(one, version=0) for one in before}


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ("NEW,bert,yes,nowhere", "line 3, column `labels`: there is no label 'nowhere'"),
        ("NEW,bert,no,", "line 3, column `registered`: the device is not known"),
        ("NEW,not a name,yes,", "line 3, column `principal`: a principal is"),
        ("new\x07,bert,yes,", "line 3, column `device_id`: a control character"),
        ("first,carla,yes,", "line 3, column `device_id`: the same as in line 2"),
        ("WIPED,anna@lab.test,yes,", "line 3: device WIPED of anna@lab.test: a wipe of it is pending"),
    ],
)
def test_a_sheet_with_one_wrong_line_changes_nothing(world: World, last: str, why: str) -> None:
    """All or nothing, and the line is named."""
    wiped = DeviceKey("WIPED", ANNA)
    world.registry.register(wiped, "", "")
    world.registry.order_wipe(wiped, WipeKind.DEVICE, "", "")
    with pytest.raises(sheets.SheetError) as error:
        put(world, f"device_id,principal,registered,labels\nFIRST,carla,yes,\n{last}\n")
    assert str(error.value).startswith(why)
    assert [one.device_id for one in world.registry.listed(0, 10).devices] == ["WIPED"]


def test_sheets_of_labels_and_users_are_taken(world: World) -> None:
    """A person's name in any form is one person."""
    labels = sheets.read(sheets.LABELS, b"name,rank,policy\nstaff,5,strict\n")
    world.do(lambda session: imports.put_labels(session, labels, POLICIES, SECURITY))
    world.registry.register(PHONE, "", "")
    users = sheets.read(sheets.USERS, b"principal,full_name,labels\nANNA@lab.test,Anna,staff\n")
    changed = world.do(lambda session: imports.put_users(session, users, Names()))
    assert [one.policy for one in changed] == [POLICIES.named["strict"]]
    twice = sheets.read(sheets.USERS, b"principal\nanna@lab.test\nLAB.TEST\\anna\n")
    with pytest.raises(sheets.SheetError, match="line 3, column `principal`: the same as in line 2"):
        world.do(lambda session: imports.put_users(session, twice, Names()))
    bad = sheets.read(sheets.LABELS, b"name,policy\nfine,\nother,none\n")
    with pytest.raises(sheets.SheetError, match="line 3, column `policy`: there is no policy 'none'"):
        world.do(lambda session: imports.put_labels(session, bad, POLICIES, SECURITY))
    assert [one.name for one in world.registry.look(directory.all_labels)] == ["staff"]
