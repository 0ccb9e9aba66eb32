"""Several Sentrys on one sentry-uem that keeps its fleet in PostgreSQL: all of them real processes."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.settings import SentryPeer
from sentry_runtime.uem.api import Decision
from tests.agent.conftest import MakeStage
from tests.agent.stage import Pki, Stage
from tests.agent.test_start import ends
from tests.agent.test_three_processes import device, say
from tests.gateway.stand import PHONE, Backend, post
from tests.postgres import Postgres, running

TABLET = DeviceKey("TABLET", PHONE.principal)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that the test may stop."""
    with running() as server:
        yield server


@pytest.fixture
def fleet(
    make_stage: MakeStage, postgres: Postgres, tmp_path: Path, pki: Pki, backend: Backend
) -> Iterator[tuple[Stage, Stage]]:
    """One UEM, where one device of a mailbox may pass, and two Sentrys with their gateways in front of one mail server."""
    first = make_stage()
    other = Stage(_folder(tmp_path), pki, "block", 60.0)
    for stage in (first, other):
        stage.front(backend.port)
    uem = first.settings.uem_server
    assert uem is not None
    edge = SentryPeer(name="edge", subject="CN=edge", push_url=f"https://127.0.0.1:{other.push_port}")
    first.settings = msgspec.structs.replace(
        first.settings,
        uem_server=msgspec.structs.replace(
            uem, database=postgres.database(), sentrys=(*uem.sentrys, edge), devices_per_mailbox=1
        ),
    )
    link = msgspec.structs.replace(other.settings.agent.uem, url=first.settings.agent.uem.url, tls=pki.client("edge"))
    other.settings = msgspec.structs.replace(
        other.settings,
        uem_server=None,
        agent=msgspec.structs.replace(other.settings.agent, uem=link),
    )
    try:
        first.uem()
        for stage in (first, other):
            stage.agent()
            stage.start("gateway")
        yield first, other
    finally:
        for process in other.running:
            if process.popen.poll() is None:
                process.kill()


def _folder(parent: Path) -> Path:
    made = parent / "edge"
    made.mkdir()
    return made


async def answers(stage: Stage, key: DeviceKey = PHONE) -> int:
    """The status of a device's request at this Sentry."""
    phone = await device(stage)
    answer = await phone.ask(post(version="12.1", device=key.device_id))
    await phone.close()
    return answer.status


def known(stage: Stage) -> list[Decision]:
    """What the UEM knows."""
    found: list[Decision] = control.call(stage.paths.uem_admin, control.ListRegistered(), list[Decision])
    return found


async def test_the_same_device_through_two_sentrys_is_one_device(fleet: tuple[Stage, Stage]) -> None:
    """One entry, one place in the mailbox, one word; the next device finds the mailbox full at either Sentry."""
    first, other = fleet
    assert [await answers(stage) for stage in fleet] == [403, 403]
    assert [(one.device_id, one.reasons) for one in await asyncio.to_thread(known, first)] == [
        (PHONE.device_id, (Reason.UNREGISTERED,))
    ]
    followers = [stage.follow() for stage in fleet]
    await say(first, control.Register(device_id=PHONE.device_id, principal=PHONE.principal))
    for follower in followers:  # each Sentry is pushed to
        await asyncio.to_thread(follower.until, PHONE)
    assert [await answers(stage) for stage in fleet] == [200, 200]
    full = await say(first, control.Register(device_id=TABLET.device_id, principal=TABLET.principal))
    assert full.reasons == (Reason.MAILBOX_LIMIT,)
    for follower in followers:
        await asyncio.to_thread(follower.until, TABLET)
    assert [await answers(stage, TABLET) for stage in fleet] == [403, 403]
    assert [record.reasons for record in other.listed() if record.key == TABLET] == [(Reason.MAILBOX_LIMIT,)]
    await say(first, control.Remove(device_id=PHONE.device_id, principal=PHONE.principal))
    for follower in followers:
        await asyncio.to_thread(follower.until, PHONE, TABLET)
        follower.close()
    assert [await answers(stage, TABLET) for stage in fleet] == [200, 200]
    assert [one.device_id for one in await asyncio.to_thread(known, first)] == [TABLET.device_id]


async def test_a_block_reaches_every_sentry(fleet: tuple[Stage, Stage]) -> None:
    """One word of an administrator."""
    first, _ = fleet
    await say(first, control.Register(device_id=PHONE.device_id, principal=PHONE.principal))
    assert [await answers(stage) for stage in fleet] == [200, 200]
    followers = [stage.follow() for stage in fleet]
    await say(first, control.SetState(device_id=PHONE.device_id, principal=PHONE.principal, state=State.BLOCKED))
    for follower in followers:
        await asyncio.to_thread(follower.until, PHONE)
        follower.close()
    assert [await answers(stage) for stage in fleet] == [403, 403]


async def test_when_postgresql_is_restarted_the_uem_comes_back_by_itself(
    fleet: tuple[Stage, Stage], postgres: Postgres
) -> None:
    """The same process. Meanwhile known devices go on, and who is new is told to come again: a slow UEM is no outage."""
    first, other = fleet
    uem = first.running[0]
    await say(first, control.Register(device_id=PHONE.device_id, principal=PHONE.principal))
    assert await answers(first) == 200
    await asyncio.to_thread(postgres.stop)
    assert (await answers(first), await answers(other, TABLET)) == (200, 503)
    with pytest.raises(ControlError) as refused:
        await asyncio.to_thread(known, first)
    assert refused.value.kind == "unavailable"
    await asyncio.to_thread(postgres.start)

    def back() -> bool:
        with contextlib.suppress(ControlError):
            return [one.device_id for one in known(first)] == [PHONE.device_id]
        return False

    await asyncio.to_thread(first.wait, back)
    assert await answers(other) == 200
    assert await answers(other, TABLET) == 403
    assert uem.popen.poll() is None


async def test_without_its_postgresql_the_uem_does_not_start_and_says_so(
    make_stage: MakeStage, postgres: Postgres
) -> None:
    """With 69: systemd starts it anew until the database is there."""
    stage = make_stage()
    uem = stage.settings.uem_server
    assert uem is not None
    url = postgres.database()
    stage.settings = msgspec.structs.replace(stage.settings, uem_server=msgspec.structs.replace(uem, database=url))
    await asyncio.to_thread(postgres.stop)
    code, words = await asyncio.to_thread(ends, "uem_server", stage.write(stage.settings))
    assert (code, words.startswith("sentry-uem: the database cannot be opened:")) == (69, True)
    await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(stage.uem)
