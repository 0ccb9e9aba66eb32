"""Workers by the hundred connections: a reload drops no held Ping, a killed one takes only its own exchanges along."""

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path

import msgspec

from sentry_runtime.devices.record import DeviceKey, State
from tests import programs
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, Turn, post, until
from tests.gateway.test_faults import change

PINGS = 500
AT_ONCE = 25  # handshakes of the test's own side


async def many(stand: Stand, count: int) -> list[Device]:
    """So many connections."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> Device:
        async with turns:
            return await stand.device()

    return list(await asyncio.gather(*(one() for _ in range(count))))


class Held:
    """A backend whose answers wait for `release`."""

    def __init__(self, stand: Stand) -> None:
        self.release = asyncio.Event()
        stand.backend.script = self._script

    async def _script(self, turn: Turn) -> None:
        await turn.body()
        await self.release.wait()
        await turn.ok(b"news")


async def test_500_held_pings_outlive_a_reload(make_stand: MakeStand) -> None:
    """Row 36: not one is dropped while the settings and the certificate change; who comes meanwhile gets the new workers."""
    stand = await make_stand(workers=2)
    await stand.agent.put(PHONE, State.ALLOWED)
    held = Held(stand)
    phones = await many(stand, PINGS)
    for count, phone in enumerate(phones, 1):
        await phone.send(post("Ping"))
        if not count % AT_ONCE:
            await stand.backend.wait_seen(count)
    stand.certificates.issue("renewed", "mail.lab.test", "renewed.lab.test")
    certificate, key = stand.certificates.pair("renewed")
    tls = msgspec.structs.replace(stand.settings.gateway.tls, certificate=certificate, key=key)
    stand.settings = change(stand.settings, tls=tls, limits=with_limits(head_seconds=30.0))
    stand.write_settings()
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: stand.status()["workers_retired"] == 2 and stand.status()["workers"] == 2)
    newcomer = await stand.device()
    assert ("DNS", "renewed.lab.test") in newcomer.writer.get_extra_info("peercert")["subjectAltName"]
    assert (await newcomer.ask(post(authorization=None))).status == 401
    held.release.set()
    answers = await asyncio.gather(*(phone.response() for phone in phones))
    assert Counter((answer.status, answer.body) for answer in answers) == {(200, b"news"): PINGS}
    await until(lambda: stand.status()["workers_retired"] == 0)


async def test_a_certificate_renewed_in_its_place_is_shown_after_a_reload(make_stand: MakeStand) -> None:
    """The settings are the same, the files are not: new handshakes see the new one, the held Ping goes on."""
    stand = await make_stand(started=False)
    certificate, key = (str(stand.folder / name) for name in ("own.pem", "own.key"))
    copy(stand.certificates.pair("gateway"), (certificate, key))
    tls = msgspec.structs.replace(stand.settings.gateway.tls, certificate=certificate, key=key)
    stand.settings = change(stand.settings, tls=tls)
    await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)
    held = Held(stand)
    phone = await stand.device()
    before = phone.writer.get_extra_info("peercert")["serialNumber"]
    await phone.send(post("Ping"))
    await stand.backend.wait_seen()
    stand.certificates.issue("renewed", "mail.lab.test")
    copy(stand.certificates.pair("renewed"), (certificate, key))
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: "new settings are in force" in stand.log())
    async with asyncio.timeout(PATIENCE):
        while (await stand.device()).writer.get_extra_info("peercert")["serialNumber"] == before:
            pass
    held.release.set()
    assert (await phone.response()).body == b"news"


def copy(sources: tuple[str, str], places: tuple[str, str]) -> None:
    """Put a certificate and its key in place."""
    for source, place in zip(sources, places, strict=True):
        Path(place).write_bytes(Path(source).read_bytes())


async def test_a_worker_killed_under_load_takes_only_its_own_exchanges_along(make_stand: MakeStand) -> None:
    """Each phone asks again and again, on a new connection after a cut one; what is lost is what the dead worker held."""
    stand = await make_stand(workers=2)
    phones = 40
    for number in range(phones):
        await stand.agent.put(DeviceKey(f"PHONE{number}", "anna@lab.test"), State.ALLOWED)
    lost: list[int] = []
    answered: Counter[int] = Counter()
    over = asyncio.Event()

    async def ask(number: int) -> None:
        device = await stand.device()
        for (
            turn
        ) in itertools.count():  # each time another Sync: the same one again and again is a loop, and slowed down
            if over.is_set():
                break
            try:
                answer = await device.ask(post("Sync", f"{turn:06}".encode(), device=f"PHONE{number}"))
                answered[answer.status] += 1
            except (ConnectionError, asyncio.IncompleteReadError):
                lost.append(number)
                await device.close()
                device = await stand.device()

    tasks = [asyncio.create_task(ask(number)) for number in range(phones)]
    await until(lambda: answered[200] > 2 * phones)
    os.kill(stand.workers()[0], signal.SIGKILL)
    await until(lambda: stand.status()["restarts"] == 1 and stand.status()["workers"] == 2)
    so_far = answered[200]
    await until(lambda: answered[200] > so_far + 4 * phones)
    over.set()
    await asyncio.gather(*tasks)
    assert 0 < len(lost) < phones
    assert len(set(lost)) == len(lost)  # nobody lost a second one
    assert set(answered) == {200}


async def test_there_is_a_worker_for_each_core(make_stand: MakeStand) -> None:
    """With 0 workers in the settings, as the appliance has it."""
    stand = await make_stand(workers=0)
    assert len(stand.workers()) == stand.status()["workers"] == len(os.sched_getaffinity(0))


async def test_systemd_hears_from_the_first_process_again_and_again(make_stand: MakeStand) -> None:
    """`WatchdogSec`: the signs of life come from the loop that watches the workers, so one that hangs is restarted."""
    stand = await make_stand(started=False)
    stand.write_settings()
    notify = stand.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as systemd:
        systemd.bind(str(notify))
        systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        stand.process = programs.start(
            "sentry_runtime.gateway",
            ["--settings", stand.settings_path],
            env=os.environ | {"NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "30000000"},
        )
        said = [await heard(systemd) for _ in range(8)]
    assert {pid for pid, _ in said} == {stand.process.pid}
    words = [word for _, word in said]
    assert words.count("WATCHDOG=1") >= 4
    assert "READY=1" in words


async def heard(systemd: socket.socket) -> tuple[int, str]:
    """Which process says what."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(systemd, ready.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await ready.wait()
    finally:
        loop.remove_reader(systemd)
    data, ancillary, _, _ = systemd.recvmsg(200, socket.CMSG_SPACE(12))
    ((_, _, credentials),) = ancillary
    return int.from_bytes(credentials[:4], sys.byteorder), data.decode()
