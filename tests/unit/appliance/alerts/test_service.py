"""The service put together, with a real mail server: restarts, a server that is away, disks that take nothing."""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.alerts import api as alerts_api
from appliance.alerts.keep import BAD, NAME, Keep
from appliance.alerts.post import Delivery, Post
from appliance.alerts.service import HEALTH_SECONDS, THOROUGH_SECONDS, Service
from appliance.alerts.settings import Settings
from appliance.configd.api import UnitHealth
from appliance.local_socket import Desk
from appliance.local_socket import serving as answering
from appliance.snmp.publishing import Publisher, read
from sentry_runtime import control
from tests.device_pki import DevicePki
from tests.mail_sink import MailSink, context_of, serving
from tests.ports import free_port

from .conftest import PEOPLE, SERVER, Clocks, World, health_of, settings_of

LOCKED = '{"time":"t","event":"login.locked","user":"admin","source":"10.98.2.1 sshd","result":"locked"}'
WORDS = "The account admin is locked for 10.98.2.1 sshd after failed log-ins."


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """A mail server's certificate and its authority."""
    made = DevicePki(tmp_path_factory.mktemp("pki"))
    made.authority("company")
    made.issue("mail", by="company", names="IP:127.0.0.1", usage="serverAuth")
    return made


@pytest.fixture
def settings(pki: DevicePki) -> Settings:
    """Settings that lead to a server of the tests."""
    server = msgspec.structs.replace(SERVER, port=free_port(), trust=pki.path("company"))
    return settings_of(server=server, batch_minutes=0, per_hour=60)


class Bench:
    """A service over a folder; `restart` is what a crash and a new process make of it."""

    def __init__(self, folder: Path, settings: Settings, clocks: Clocks, world: World) -> None:
        self.folder, self.settings, self.clocks, self.world = folder, settings, clocks, world
        self.names = itertools.count(1)
        self.log: list[str] = []
        self.restart()

    def restart(self, **rest: Any) -> None:
        self.service = Service(
            self.settings,
            Keep(self.folder),
            self.world,
            boot=self.clocks,
            wall=self.clocks.time,
            name=lambda: f"n{next(self.names)}",
            log=self.log.append,
            **{"post": Post(seconds=20.0), **rest},
        )

    def turn(self, seconds: float = 30.0) -> None:
        """One look, one mail if one is due, and some time."""
        asyncio.run(self._turn())
        self.clocks.go_on(seconds)

    async def _turn(self) -> None:
        await self.service.look()
        await self.service.tell()


@pytest.fixture
def bench(tmp_path: Path, settings: Settings, clocks: Clocks, world: World) -> Bench:
    """A service that has looked once at a machine that is well."""
    made = Bench(tmp_path, settings, clocks, world)
    made.turn()
    return made


def sink_of(bench: Bench, pki: DevicePki, **fields: Any) -> Any:
    """The mail server of the settings."""
    assert bench.settings.server is not None
    return serving(MailSink(**fields), context_of(*pki.pair("mail")), port=bench.settings.server.port)


def test_what_the_journal_says_is_mailed_once_and_logged(bench: Bench, pki: DevicePki) -> None:
    with sink_of(bench, pki) as sink:
        bench.world.write(LOCKED, identifier="sentry-tally")
        bench.turn()
        bench.turn()
        bench.restart()
        bench.turn()
    assert sink.subjects == ["[gateway.lab.test] WARNING: account_locked admin"]
    assert sink.envelopes == [("gateway@lab.test", PEOPLE)]
    assert bench.log == [f"<4>alert account_locked raised: admin: {WORDS}\n"]


def test_a_mail_server_that_is_away_gets_one_mail_when_it_is_back(bench: Bench, pki: DevicePki) -> None:
    """Over a restart of the service, too."""
    bench.world.write(LOCKED, identifier="sentry-tally")
    bench.turn(60)
    assert "refused" in bench.service.report().problem
    bench.restart()
    for _ in range(5):
        bench.turn(60)
    assert bench.service.report().rows[0].how == "waits"
    with sink_of(bench, pki) as sink:
        for _ in range(20):
            bench.turn(60)
    assert len(sink.mails) == 1
    assert bench.service.report().problem == ""
    assert [row.how for row in bench.service.report().rows] == ["mailed"]


def test_a_crash_while_a_mail_is_on_its_way_sends_the_same_mail_again(bench: Bench, pki: DevicePki) -> None:
    """It may have arrived: its name is the same, so that nobody reads it twice."""

    class Killed(BaseException):
        """kill -9 between the server's word and the disk."""

    class Dies(Post):
        def send(self, mail: Any, settings: Settings) -> Delivery:
            super().send(mail, settings)
            raise Killed

    with sink_of(bench, pki) as sink:
        bench.world.write(LOCKED, identifier="sentry-tally")
        bench.restart(post=Dies())
        with pytest.raises(Killed):
            bench.turn()
        bench.restart()
        bench.turn()
    assert len(sink.mails) == 2
    assert len({mail["Message-ID"] for mail in sink.mails}) == 1
    assert sink.texts[0] == sink.texts[1]


def test_what_was_logged_while_the_service_was_away_is_told(bench: Bench, pki: DevicePki) -> None:
    bench.world.write("nothing")
    bench.turn()
    bench.world.write(LOCKED, identifier="sentry-tally")  # while it is away
    bench.restart()
    with sink_of(bench, pki) as sink:
        bench.turn()
    assert len(sink.mails) == 1


def test_what_was_logged_before_there_was_a_service_is_not(
    tmp_path: Path, settings: Settings, clocks: Clocks, world: World, pki: DevicePki
) -> None:
    world.write(LOCKED)
    bench = Bench(tmp_path, settings, clocks, world)
    with sink_of(bench, pki) as sink:
        bench.turn()
    assert sink.mails == []


def test_more_lines_than_one_look_takes(bench: Bench, pki: DevicePki) -> None:
    for number in range(1_200):
        bench.world.write("x" if number != 1_100 else LOCKED, identifier="sentry-tally")
    with sink_of(bench, pki) as sink:
        bench.turn()
    assert len(sink.mails) == 1
    assert bench.service.desk.state.cursor == "1200"


def test_a_journal_that_cannot_be_read_is_an_alert_itself_and_is_read_on_later(bench: Bench, pki: DevicePki) -> None:
    bench.world.broken = "the journal is damaged"
    with sink_of(bench, pki) as sink:
        for _ in range(3):
            bench.turn()
        bench.world.broken = ""
        bench.world.write(LOCKED, identifier="sentry-tally")
        bench.turn()
    assert sink.subjects == [
        "[gateway.lab.test] CRITICAL: alerts_incomplete journal",
        "[gateway.lab.test] WARNING: account_locked admin",
    ]


def test_a_service_that_goes_down_and_comes_back(bench: Bench, pki: DevicePki) -> None:
    down = UnitHealth(name="sentry-gateway.service", active="failed", wanted=True)
    with sink_of(bench, pki) as sink:
        bench.world.health_now = health_of(units=(down,))
        for _ in range(4):
            bench.turn()
        bench.world.health_now = health_of()
        for _ in range(4):
            bench.turn()
    assert sink.subjects == [
        "[gateway.lab.test] CRITICAL: service_down sentry-gateway.service",
        "[gateway.lab.test] OVER: service_down sentry-gateway.service",
    ]


def test_configd_that_does_not_answer_is_told_and_that_it_is_back(bench: Bench, pki: DevicePki) -> None:
    with sink_of(bench, pki) as sink:
        bench.world.health_now = None
        for _ in range(3):
            bench.turn()
        bench.world.health_now = health_of()
        for _ in range(2):
            bench.turn()
    assert [subject.partition("] ")[2] for subject in sink.subjects] == [
        "CRITICAL: service_down sentry-configd.service",
        "OVER: service_down sentry-configd.service",
    ]


def test_what_takes_long_is_asked_once_an_hour(bench: Bench) -> None:
    turns = int(THOROUGH_SECONDS / HEALTH_SECONDS) + 1
    for _ in range(turns):
        bench.turn(HEALTH_SECONDS)
    assert bench.world.asked.count(True) == 2
    assert len(bench.world.asked) == turns + 1


def test_time_that_passes_costs_no_write_and_what_must_not_be_forgotten_does(bench: Bench) -> None:
    place = bench.folder / NAME
    with place.open("rb") as written:  # held open, so that no other file gets its number
        before = os.fstat(written.fileno()).st_ino
        for _ in range(3):
            bench.world.write("Accepted publickey for admin")
            bench.turn()
        assert place.stat().st_ino == before
        bench.world.write(LOCKED, identifier="sentry-tally")
        bench.turn()
        assert place.stat().st_ino != before
    assert msgspec.json.decode(place.read_bytes())["cursor"] == "4"


def test_a_damaged_memory_is_put_aside_and_said(bench: Bench, pki: DevicePki) -> None:
    (bench.folder / NAME).write_text("{")
    bench.restart()
    with sink_of(bench, pki) as sink:
        bench.turn()
    assert sink.subjects == ["[gateway.lab.test] CRITICAL: alerts_incomplete state"]
    assert (bench.folder / BAD).read_text() == "{"


def test_a_disk_that_takes_nothing_ends_no_alert(bench: Bench, pki: DevicePki, tmp_path: Path) -> None:
    """The place of the file is a folder: as little can be written there as on a full disk, by root, too."""
    (bench.folder / NAME).with_suffix(".new").mkdir()
    with sink_of(bench, pki) as sink:
        bench.world.write(LOCKED, identifier="sentry-tally")
        bench.turn()
        bench.turn()
    assert len(sink.mails) == 1


def test_an_error_in_the_sending_ends_nothing(bench: Bench, pki: DevicePki) -> None:
    class Broken(Post):
        def send(self, mail: Any, settings: Settings) -> Delivery:
            raise AttributeError("a bug")

    bench.world.write(LOCKED, identifier="sentry-tally")
    bench.restart(post=Broken())
    bench.turn(60)
    assert bench.service.report().problem == "an error inside the alert service (AttributeError)"
    bench.restart()
    with sink_of(bench, pki) as sink:
        bench.turn()
    assert len(sink.mails) == 1


def test_nothing_secret_and_no_more_than_the_bounds_lies_on_the_disk(bench: Bench) -> None:
    for number in range(3_000):
        bench.world.write(LOCKED.replace("admin", f"user-{number}-{'x' * 200}"), identifier="sentry-tally")
    for _ in range(3):
        bench.turn()
    size = (bench.folder / NAME).stat().st_size
    assert size < 1_000_000
    assert bench.service.report().lost == 2_500


# --- what configd asks -------------------------------------------------------------------------------------------------


def ask(bench: Bench, path: Path, asked: Any, kind: Any, *, allowed: Callable[[], frozenset[int]] | None = None) -> Any:
    """One question over the socket."""

    async def run() -> Any:
        uids = frozenset({os.getuid()}) if allowed is None else allowed()
        async with answering(path, Desk(alerts_api.Ask, bench.service.answer, alerts_api.LINE_BYTES, uids)):
            return await asyncio.to_thread(control.call, path, asked, kind)

    return asyncio.run(run())


def test_a_test_mail_says_what_the_server_answered(bench: Bench, pki: DevicePki, tmp_path: Path) -> None:
    with sink_of(bench, pki) as sink:
        done = ask(bench, tmp_path / "s", alerts_api.SendTest(by="admin"), alerts_api.Tested)
        assert done == alerts_api.Tested(sent=True, answer="250 2.0.0 taken as number 1")
        sink.refuses = "554 5.7.1 not from you"
        done = ask(bench, tmp_path / "s", alerts_api.SendTest(by="admin"), alerts_api.Tested)
    assert done == alerts_api.Tested(sent=False, answer="the mail is refused: 554 5.7.1 not from you")
    assert sink.subjects == ["[gateway.lab.test] test of alerts"]


def test_how_it_stands(bench: Bench, tmp_path: Path) -> None:
    bench.world.write(LOCKED, identifier="sentry-tally")
    bench.turn()
    said = ask(bench, tmp_path / "s", alerts_api.Status(), alerts_api.Report)
    assert (said.recipients, said.per_hour, said.sent_last_hour) == (PEOPLE, 60, 0)
    assert [(row.alert, row.subject, row.how) for row in said.rows] == [("account_locked", "admin", "waits")]


def test_nobody_but_configd_may_ask(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(control.ControlError, match="only configd may ask"):
        ask(bench, tmp_path / "s", alerts_api.Status(), alerts_api.Report, allowed=lambda: frozenset({os.getuid() + 1}))


def test_nonsense_and_silence_end_their_own_connection_only(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "s"

    def talk() -> bytes:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b'{"do":"alerts.run","command":"id"}\n')
            return peer.recv(4_096)

    async def run() -> tuple[bytes, Any]:
        mine = frozenset({os.getuid()})
        async with answering(path, Desk(alerts_api.Ask, bench.service.answer, alerts_api.LINE_BYTES, mine)):
            said = await asyncio.to_thread(talk)
            good: Any = alerts_api.Status()
            return said, await asyncio.to_thread(control.call, path, good, alerts_api.Report)

    said, report = asyncio.run(run())
    assert b'"invalid"' in said
    assert report.recipients == PEOPLE


def test_it_runs_until_it_is_told_to_stop(bench: Bench) -> None:
    """And then writes down up to where it has read."""

    async def run() -> None:
        stop = asyncio.Event()
        bench.world.told = stop.set
        await bench.service.run(stop)

    bench.world.write("Accepted publickey for admin")
    asyncio.run(run())
    assert msgspec.json.decode((bench.folder / NAME).read_bytes())["cursor"] == "1"


def test_what_configd_says_is_handed_on_to_snmp_and_a_disk_that_takes_nothing_ends_nothing(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; what was served becomes old by itself."""
    folder = tmp_path / "figures"
    publisher = Publisher(folder / "figures.json", wall=bench.clocks.time)
    bench.restart(publish=publisher.publish)
    for _ in range(3):
        bench.turn()
    said = [record.message for record in caplog.records if "figures for SNMP" in record.message]
    assert len(said) == 1
    folder.mkdir()
    bench.turn()
    found = read(folder / "figures.json")
    assert found is not None
    assert found.when == bench.clocks.wall - 30.0
    assert found.figures
    folder.rename(tmp_path / "gone")
    bench.turn()
    assert len([record for record in caplog.records if "figures for SNMP" in record.message]) == 2
