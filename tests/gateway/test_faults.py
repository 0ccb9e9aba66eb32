"""Backends that are down, workers that are killed, gateways that stop or get new settings."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from sentry_runtime import control, settings
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.gateway.supervisor import HANG_SECONDS
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.stand import PATIENCE, PHONE, Stand, Turn, post, until
from tests.gateway.test_revocation import held

PING_NO_CHANGES = bytes.fromhex("03 01 6a 00 00 0d 45 47 03 31 00 01 01")


async def test_a_backend_that_is_down_is_503_with_retry_after(stand: Stand) -> None:
    """For a known device and on first contact, where nobody is asked; and it goes on when the backend is back."""
    await stand.agent.put(PHONE, State.ALLOWED)
    await stand.backend.stop()
    device = await stand.device()
    for data in (post(), post(device="PHONE2")):
        response = await device.ask(data)
        assert (response.status, response.headers["retry-after"]) == (503, "30")
    assert stand.agent.asked == []
    outcomes = await stand.audit.outcomes(2)
    assert [one["reasons"] for one in outcomes] == [["backend_refused"]] * 2
    await stand.backend.start(stand.backend.port)
    assert (await device.ask(post())).status == 200


@pytest.mark.parametrize(
    ("certificate", "name", "reason"),
    [("stranger", "backend.lab.test", "backend_certificate"), ("backend", "other.lab.test", "backend_certificate")],
)
async def test_a_backend_that_cannot_prove_who_it_is_gets_nothing(
    make_stand: MakeStand, certificate: str, name: str, reason: str
) -> None:
    """Neither of another authority nor of another name; the device gets 503, its credentials go nowhere."""
    stand = await make_stand(certificate=certificate, started=False)
    (backend,) = stand.settings.gateway.backends
    renamed = msgspec.structs.replace(backend, server_name=name)
    gateway = msgspec.structs.replace(stand.settings.gateway, backends=(renamed,))
    stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway)
    await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post())).status == 503
    (outcome,) = await stand.audit.outcomes(1)
    assert outcome["reasons"] == [reason]
    assert stand.backend.seen == []


async def test_a_plain_backend_is_reached_without_tls(make_stand: MakeStand) -> None:
    """Where the settings say so."""
    stand = await make_stand(certificate=None)
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post("Sync", b"abc"))).status == 200


async def test_a_backend_that_closes_without_an_answer_is_503(stand: Stand) -> None:
    """The gateway does not repeat a request that may have been carried out."""

    async def close(turn: Turn) -> None:
        await turn.body()
        turn.writer.close()

    await stand.agent.put(PHONE, State.ALLOWED)
    stand.backend.script = close
    device = await stand.device()
    assert (await device.ask(post("SendMail"))).status == 503
    assert len(stand.backend.seen) == 1


async def test_a_backend_that_does_not_answer_in_time_is_503(make_stand: MakeStand) -> None:
    """After `backend_answer_seconds`."""
    stand = await make_stand(limits=with_limits(backend_answer_seconds=1.0))
    device = await held(stand, "Sync")
    assert (await device.response()).status == 503
    await stand.backend.lost.wait()


@pytest.mark.parametrize("kind", ["busy", "unavailable"])
async def test_a_question_the_agent_refuses_is_503(stand: Stand, kind: str) -> None:
    """Never an admission."""

    async def refuse(ask: control.Ask) -> Record:
        raise Refused(kind, "not now")

    stand.agent.answer = refuse
    device = await stand.device()
    response = await device.ask(post())
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    (outcome,) = await stand.audit.outcomes(1)
    assert outcome["reasons"] == [kind]
    assert stand.backend.seen == []


async def test_a_question_without_an_answer_is_503_in_time(make_stand: MakeStand) -> None:
    """After `decision_seconds`."""

    async def never(ask: control.Ask) -> Record:
        await asyncio.Event().wait()
        raise AssertionError

    stand = await make_stand(limits=with_limits(decision_seconds=0.5))
    stand.agent.answer = never
    device = await stand.device()
    assert (await device.ask(post())).status == 503


async def test_a_device_that_goes_away_ends_its_request_at_the_backend(stand: Stand) -> None:
    """A held Ping of a phone that lost its link must not hold one of the backend's workers."""
    device = await held(stand)
    device.writer.transport.abort()
    await asyncio.wait_for(stand.backend.lost.wait(), PATIENCE)
    (outcome,) = await stand.audit.outcomes(1)
    assert outcome["reasons"] == ["device_gone"]


async def test_a_killed_worker_is_replaced_and_what_waited_is_served(make_stand: MakeStand) -> None:
    """Connections that were waiting to be accepted when it died are taken by its successor."""
    stand = await make_stand()
    await stand.agent.put(PHONE, State.ALLOWED)
    (first,) = stand.workers()
    os.kill(first, signal.SIGSTOP)  # it accepts nothing any more
    waiting = [asyncio.create_task(stand.device()) for _ in range(5)]
    await until(lambda: unaccepted(stand.port) == 5)
    os.kill(first, signal.SIGKILL)
    for device in await asyncio.gather(*waiting):
        assert (await device.ask(post())).status == 200
    (second,) = stand.workers()
    assert second != first
    await until(lambda: stand.status()["restarts"] == 1)


def unaccepted(port: int) -> int:
    """How many connections wait in the listening socket's queue (rx_queue of /proc/net/tcp)."""
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if parts[1].endswith(f":{port:04X}") and parts[3] == "0A":
            total += int(parts[4].split(":")[1], 16)
    return total


async def test_a_killed_supervisor_takes_its_workers_along_and_can_be_started_again(stand: Stand) -> None:
    """Its successor finds the addresses and the control socket free, as after a kill -9 under systemd."""
    await stand.agent.put(PHONE, State.ALLOWED)
    (worker,) = stand.workers()
    assert stand.process is not None
    stand.process.kill()
    await stand.ended()
    await until(lambda: not Path(f"/proc/{worker}").exists())
    stand.agent.following.clear()
    await stand.start()
    device = await stand.device()
    assert (await device.ask(post())).status == 200


async def test_only_the_killed_workers_own_exchanges_are_lost(make_stand: MakeStand) -> None:
    """Another worker's held Ping goes on."""
    stand = await make_stand(workers=2)
    await stand.agent.put(PHONE, State.ALLOWED)
    release = asyncio.Event()

    async def wait(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok()

    stand.backend.script = wait
    devices = [await stand.device() for _ in range(12)]
    for device in devices:
        await device.send(post("Ping"))
    await stand.backend.wait_seen(12)
    os.kill(stand.workers()[0], signal.SIGKILL)
    await until(lambda: stand.status()["restarts"] == 1)
    release.set()
    results = await asyncio.gather(*(device.response() for device in devices), return_exceptions=True)
    statuses = [one.status for one in results if not isinstance(one, BaseException)]
    assert 0 < len(statuses) < 12
    assert set(statuses) == {200}
    again = await stand.device()
    assert (await again.ask(post())).status == 200


async def test_sigterm_lets_running_exchanges_finish(stand: Stand) -> None:
    """A held Ping ends with "no changes", what runs ends with its own answer, nobody new is taken, the exit code is 0."""
    ping = await held(stand)
    release = asyncio.Event()

    async def slow(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok(b"mail")

    stand.backend.script = slow
    sync, idle = await stand.device(), await stand.device()
    await sync.send(post("Sync"))
    await stand.backend.wait_seen(2)
    assert stand.process is not None
    stand.process.send_signal(signal.SIGTERM)
    response = await ping.response()
    assert (response.status, response.body, response.headers["connection"]) == (200, PING_NO_CHANGES, "close")
    assert await idle.ended() == b""
    with pytest.raises(
        (ConnectionRefusedError, ConnectionResetError)
    ):  # the second: it queued as the socket was closed
        await stand.device()
    release.set()
    assert (await sync.response()).body == b"mail"
    assert await stand.ended() == 0
    assert len([line for line in stand.audit.lines() if line["event"] == "outcome"]) == 2


async def test_what_does_not_finish_in_time_is_told_to_come_back(make_stand: MakeStand) -> None:
    """After `drain_seconds` the rest gets 503, and the gateway is gone."""
    stand = await make_stand(limits=with_limits(drain_seconds=0.5))
    device = await held(stand, "Sync")
    assert stand.process is not None
    stand.process.send_signal(signal.SIGTERM)
    response = await device.response()
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert await stand.ended() == 0


async def test_sighup_takes_new_settings_and_keeps_what_is_held(make_stand: MakeStand) -> None:
    """A held Ping goes on with the old worker; a new connection gets the new certificate and the new backend."""
    stand = await make_stand(backends=2, started=False)
    both = stand.settings.gateway
    stand.settings = change(stand.settings, backends=both.backends[:1])
    await stand.start()
    release = asyncio.Event()

    async def wait(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok(b"late")

    await stand.agent.put(PHONE, State.ALLOWED)
    stand.backend.script = wait
    ping = await stand.device()
    await ping.send(post("Ping"))
    await stand.backend.wait_seen()
    (old,) = stand.workers()
    stand.certificates.issue("renewed", "mail.lab.test", "renewed.lab.test")
    certificate, key = stand.certificates.pair("renewed")
    tls = msgspec.structs.replace(both.tls, certificate=certificate, key=key)
    stand.settings = change(stand.settings, backends=both.backends[1:], tls=tls)
    stand.write_settings()
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: stand.status()["workers_retired"] == 1 and len(stand.workers()) == 2)
    await until(lambda: "new settings are in force" in stand.log())
    device = await stand.device()
    names = device.writer.get_extra_info("peercert")["subjectAltName"]
    assert ("DNS", "renewed.lab.test") in names
    assert (await device.ask(post())).status == 200
    assert (len(stand.backends[0].seen), len(stand.backends[1].seen)) == (1, 1)
    release.set()
    assert (await ping.response()).body == b"late"
    await until(lambda: old not in stand.workers())


def change(whole: settings.Settings, **changes: object) -> settings.Settings:
    """The settings with another gateway."""
    return msgspec.structs.replace(whole, gateway=msgspec.structs.replace(whole.gateway, **changes))


async def test_sighup_with_unusable_settings_changes_nothing(stand: Stand) -> None:
    """The settings in force stay, and the journal says what was wrong."""
    await stand.agent.put(PHONE, State.ALLOWED)
    before = stand.status()
    assert before["settings_digest"] == hashlib.sha256(stand.settings_path.read_bytes()).hexdigest()
    assert before["reload_error"] == ""
    stand.settings_path.write_text('{"gateway": {"listeners": "everywhere"}}')
    workers = stand.workers()
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: "the settings in force stay" in stand.log())
    assert "$.gateway.listeners" in stand.log()
    status = stand.status()
    assert "$.gateway.listeners" in status["reload_error"]
    assert status["settings_digest"] == before["settings_digest"]
    device = await stand.device()
    assert (await device.ask(post())).status == 200
    assert stand.workers() == workers
    stand.write_settings()
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: stand.status()["reload_error"] == "")
    assert before["settings_time"] <= stand.status()["settings_time"]


async def test_status_adds_up_the_workers(make_stand: MakeStand) -> None:
    """Counters of all workers, also of those that have ended."""
    stand = await make_stand(workers=2)
    await stand.agent.put(PHONE, State.ALLOWED)
    await stand.agent.put(DeviceKey("PHONE2", "anna@lab.test"), State.BLOCKED, Reason.MANUAL)
    for name in ("PHONE1", "PHONE2", "PHONE1"):
        device = await stand.device()
        await device.ask(post(device=name))
    await until(lambda: stand.status()["requests"] == 3)
    status = stand.status()
    assert (status["workers"], status["allowed"], status["blocked"], status["connections"]) == (2, 2, 1, 3)
    for pid in stand.workers():
        os.kill(pid, signal.SIGKILL)
    await until(lambda: stand.status()["restarts"] == 2)
    assert (stand.status()["allowed"], stand.status()["connections_now"]) == (2, 0)


async def test_the_control_socket_refuses_what_it_does_not_serve(stand: Stand) -> None:
    """A word and a sentence, and the next request is still answered."""
    path = stand.settings.paths.gateway_control
    with pytest.raises(
        control.ControlError, match="the gateway serves status, explain, quiesce, drain, resume and redirections"
    ):
        control.call(path, control.ShowDevice(device_id="PHONE1"))
    assert stand.status()["state"] == "running"


async def test_too_many_connections_are_refused_and_accounted_for(make_stand: MakeStand) -> None:
    """Beyond `connections_per_worker` a connection is dropped; those that stand go on."""
    stand = await make_stand(limits=with_limits(connections_per_worker=2))
    await stand.agent.put(PHONE, State.ALLOWED)
    first, _ = [await stand.device() for _ in range(2)]
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):  # in the handshake or right after it
        await (await stand.device()).response()
    assert (await first.ask(post())).status == 200
    lines = await stand.audit.wait(lambda lines: any(one["event"] == "connection_refused" for one in lines))
    assert [one["reasons"] for one in lines if one["event"] == "connection_refused"] == [["too_many_connections"]]


@pytest.mark.parametrize("flags", [["-tls1_1"], ["-tls1_3"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"]])
async def test_only_the_tls_of_the_settings_is_spoken(stand: Stand, flags: list[str]) -> None:
    """1.2 alone by default, and only ciphers that a FIPS provider has."""
    tried = await asyncio.to_thread(
        subprocess.run,
        ["openssl", "s_client", "-connect", f"127.0.0.1:{stand.port}", *flags],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert tried.returncode != 0
    assert b"Cipher is (NONE)" in tried.stdout
    device = await stand.device()
    name, _, bits = device.writer.get_extra_info("cipher")
    assert (name.startswith("ECDHE-") and "GCM" in name, bits >= 128) == (True, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "truncated"),
        ('{"gateway": {}}', "missing required field `listeners`"),
        ('{"nonsense": 1}', "unknown field `nonsense`"),
    ],
)
def test_settings_that_cannot_be_used_are_exit_code_78(tmp_path: Path, text: str | None, message: str) -> None:
    """EX_CONFIG, and the message names the file and what was wrong."""
    path = tmp_path / "runtime.json"
    if text is not None:
        path.write_text(text)
    done = run_gateway(path)
    assert done.returncode == 78
    assert str(path) in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def run_gateway(path: Path) -> "subprocess.CompletedProcess[str]":
    """Start the gateway in the expectation that it refuses."""
    command = [sys.executable, "-m", "sentry_runtime.gateway", "--settings", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


async def test_a_missing_key_is_exit_code_78(make_stand: MakeStand) -> None:
    """The message names the files."""
    stand = await make_stand(started=False)
    tls = msgspec.structs.replace(stand.settings.gateway.tls, key="/nowhere/key.pem")
    stand.settings = change(stand.settings, tls=tls)
    stand.write_settings()
    done = await asyncio.to_thread(run_gateway, stand.settings_path)
    assert (done.returncode, "/nowhere/key.pem" in done.stderr) == (78, True)


@pytest.mark.slow
async def test_a_worker_that_hangs_is_killed_and_replaced(stand: Stand) -> None:
    """After 15 s without a sign of life."""
    await stand.agent.put(PHONE, State.ALLOWED)
    (first,) = stand.workers()
    os.kill(first, signal.SIGSTOP)
    async with asyncio.timeout(25):
        while first in stand.workers():  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.2)
    device = await stand.device()
    assert (await device.ask(post())).status == 200
    assert "shows no sign of life" in stand.log()


@pytest.mark.slow
async def test_a_gateway_that_was_stopped_as_a_whole_kills_none_of_its_workers(stand: Stand) -> None:
    """As a virtual machine is for a snapshot: nobody could show a sign of life, and nobody hangs."""
    (first,) = stand.workers()
    assert stand.process is not None
    for pid in (stand.process.pid, first):
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(HANG_SECONDS + 1)
    os.kill(stand.process.pid, signal.SIGCONT)
    await until(lambda: stand.status()["state"] == "running")  # it has looked at its workers
    os.kill(first, signal.SIGCONT)
    assert (await (await stand.device()).ask(post(authorization=None))).status == 401
    assert stand.workers() == [first]
    assert "shows no sign of life" not in stand.log()
