"""The service as configd asks it: offered once, sent everywhere, tried again, and said how it stands."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import state_file
from appliance.backup.bounds import FILE_BYTES
from appliance.local_socket import Desk, serving
from appliance.offsite import api, plan
from appliance.offsite.keep import Keep
from appliance.offsite.service import Service
from appliance.offsite.settings import Destination, Settings, load
from appliance.settings_file import SettingsError
from sentry_runtime import control
from tests import ssh_server
from tests.ports import free_port
from tests.s3_server import S3Server
from tests.ssh_server import SshServer

from .conftest import FILE, NAME, s3_of, sftp_of

NEWER = "20260201T180000Z-8.backup"
NOON = 1_800_000_000.0
PATIENCE_SECONDS = 60.0
CALL: Any = control.call  # whose requests are those of the data plane


class Stand:
    """The service in a folder, with a clock that the test moves (S3 alone wants the real time)."""

    def __init__(
        self, folder: Path, destinations: dict[str, Destination], secrets: dict[str, str] | None = None
    ) -> None:
        self.folder, self.now = folder, NOON
        for name in ("state", "run"):
            (folder / name).mkdir(exist_ok=True)
        place = folder / "access-keys.secret"
        place.write_text(json.dumps(secrets or {}))
        self.settings = Settings(destinations=destinations, secrets=str(place))
        self.keep = Keep(folder / "state")

    def service(self, **more: Any) -> Service:
        return Service(self.settings, self.keep, self.folder / "run", **{"wall": lambda: self.now, **more})


@contextlib.asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    yield
    stop.set()
    await task


async def until(service: Service, name: str, **wanted: object) -> api.Standing:
    """How it stands with a destination, once it is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            now = (await service.answer(api.Status())).destinations[name]
            if all(getattr(now, field) == value for field, value in wanted.items()):
                return now
            await asyncio.sleep(0.02)


async def test_what_is_offered_is_sent_to_every_destination_once(
    ssh: SshServer, bucket: S3Server, tmp_path: Path
) -> None:
    stand = Stand(
        tmp_path, {"vault": sftp_of(ssh), "attic": s3_of(bucket, prefix="service/")}, {"attic": bucket.secret}
    )
    del stand.now
    service = Service(stand.settings, stand.keep, tmp_path / "run")
    ssh.authorize((await service.answer(api.Status())).public_key)
    async with running(service):
        assert (await service.answer(api.Offer(name=NAME, file=FILE))).holding == NAME
        for name in ("vault", "attic"):
            said = await until(service, name, sent=NAME)
            assert (said.tries, said.problem, said.sent_at > 0) == (1, "", True)
    assert (ssh.files / NAME).read_bytes() == FILE
    assert bucket.read(f"service/{NAME}") == FILE
    (ssh.files / NAME).unlink()
    again = Service(stand.settings, stand.keep, tmp_path / "run")
    async with running(again):
        await again.answer(api.Offer(name=NAME, file=FILE))
        await again.answer(api.Offer(name=NEWER, file=FILE))
        await until(again, "vault", sent=NEWER)
    assert ssh.names() == [NEWER]  # that it was sent outlives the process


async def test_a_server_that_is_away_is_tried_again_and_has_it_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    with ssh_server.folder() as place:
        with ssh_server.serving(place, port=port) as server:
            settings = sftp_of(server)
        stand = Stand(tmp_path, {"vault": settings})
        service = stand.service()
        async with running(service):
            await service.answer(api.Offer(name=NAME, file=FILE))
            said = await until(service, "vault", tries=1, problem=(await refused(service)).problem)
            assert (said.sent, said.next_try) == ("", NOON + plan.WAITS[0])
            with ssh_server.serving(place, port=port) as server:
                server.authorize((await service.answer(api.Status())).public_key)
                service._start_due()
                assert service._sending == {}  # not before its time
                stand.now += plan.WAITS[0]
                service._start_due()
                assert (await until(service, "vault", sent=NAME)).tries == 2
                assert server.names() == [NAME]


async def refused(service: Service) -> api.Standing:
    """The standing of the only destination once an attempt has failed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            now = (await service.answer(api.Status())).destinations["vault"]
            if now.problem:
                assert "Connection refused" in now.problem
                return now
            await asyncio.sleep(0.02)


async def test_a_person_has_it_sent_now_and_hears_what_came_of_it(ssh: SshServer, tmp_path: Path) -> None:
    away = sftp_of(ssh, port=free_port())
    service = Stand(tmp_path, {"vault": sftp_of(ssh), "away": away}).service()
    ssh.authorize((await service.answer(api.Status())).public_key)
    for _ in range(2):
        found = (await service.answer(api.Send(name=NAME, file=FILE))).destinations
        assert (found["vault"].sent, found["vault"].problem) == (NAME, "")
        assert (found["away"].sent, "Connection refused" in found["away"].problem) == ("", True)
        (ssh.files / NAME).unlink()


async def test_a_secret_that_is_not_there_is_said_and_nothing_ends(bucket: S3Server, tmp_path: Path) -> None:
    service = Stand(tmp_path, {"attic": s3_of(bucket)}).service()
    said = (await service.answer(api.Send(name=NAME, file=FILE))).destinations["attic"]
    assert said.problem == "the secret access key cannot be read"


async def test_a_state_that_is_damaged_is_put_aside(ssh: SshServer, tmp_path: Path) -> None:
    stand = Stand(tmp_path, {"vault": sftp_of(ssh)})
    (tmp_path / "state" / state_file.NAME).write_text("{")
    service = stand.service()
    assert (await service.answer(api.Status())).destinations["vault"].sent == ""
    assert (tmp_path / "state" / "state.bad.json").read_text() == "{"


async def test_at_its_socket_nothing_but_a_sealed_file_with_its_own_name_is_taken(
    ssh: SshServer, tmp_path: Path
) -> None:
    service = Stand(tmp_path, {"vault": sftp_of(ssh)}).service()
    place = tmp_path / "run" / "offsite.sock"
    desk = Desk(api.Ask, service.answer, api.LINE_BYTES, allowed=frozenset({os.getuid()}))
    lines = (
        {"do": "offsite.offer", "name": "../../etc/passwd", "file": ""},
        {"do": "offsite.offer", "name": NAME, "file": "*"},
        {"do": "offsite.offer", "name": NAME, "file": "", "to": "elsewhere"},
        {"do": "run", "command": "id"},
    )
    async with serving(place, desk):
        for line in lines:
            raw = msgspec.Raw(msgspec.json.encode(line))
            with pytest.raises(control.ControlError, match="invalid"):
                await asyncio.to_thread(CALL, place, raw)
        largest = api.Offer(name=NAME, file=bytes(FILE_BYTES))
        said = await asyncio.to_thread(CALL, place, largest, api.Report)
        assert said.holding == NAME


def test_as_systemd_starts_it_it_says_when_it_is_ready_and_ends_when_asked(ssh: SshServer, tmp_path: Path) -> None:
    stand = Stand(tmp_path, {"vault": sftp_of(ssh)})
    place = tmp_path / "offsite.json"
    place.write_bytes(msgspec.json.encode(stand.settings))
    assert load(place) == stand.settings
    argv = [sys.executable, "-m", "appliance.offsite", "--settings", str(place), "--state", str(tmp_path / "state")]
    argv += ["--socket", str(tmp_path / "run" / "offsite.sock")]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as program:
        report = None
        while report is None and program.poll() is None:
            with contextlib.suppress(control.ControlError):
                report = CALL(tmp_path / "run" / "offsite.sock", api.Status(), api.Report)
        program.send_signal(signal.SIGTERM)
        _said, errors = program.communicate(timeout=PATIENCE_SECONDS)
    assert (program.returncode, errors) == (0, "")
    assert report is not None
    assert report.public_key.startswith("ecdsa-sha2-nistp384 ")


def test_wrong_settings_are_told_and_wait_for_new_ones(tmp_path: Path) -> None:
    place = tmp_path / "offsite.json"
    place.write_text('{"destinations": {}, "secrets": "", "command": "id"}')
    with pytest.raises(SettingsError, match="command"):
        load(place)
    argv = [sys.executable, "-m", "appliance.offsite", "--settings", str(place), "--state", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, "offsite.json" in done.stderr) == (78, True)
