"""`GET /health` for balancers, and the three orders of maintenance: quiesce, drain, resume."""

import asyncio
import os
import signal
import socket

import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import State
from sentry_runtime.settings import PassiveHealth
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, post, until
from tests.gateway.test_revocation import held

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


def order(stand: Stand, request: control.Request) -> None:
    """What an administrator says."""
    control.call(stand.settings.paths.gateway_control, request)


async def health(device: Device) -> int:
    """What a balancer is told on this connection."""
    return (await device.ask(HEALTH)).status


async def told(stand: Stand, status: int) -> None:
    """Until balancers are told this eight times in a row, on connections of their own: by every worker."""
    async with asyncio.timeout(PATIENCE):
        while {await health(await stand.device()) for _ in range(8)} != {status}:
            pass


async def test_quiesce_tells_balancers_and_serves_everybody(make_stand: MakeStand) -> None:
    """What is held goes on, new connections are taken, and the answer is 503 with a time to come back, in every worker."""
    stand = await make_stand(workers=2)
    balancer = await stand.device()
    assert await health(balancer) == 200
    phone = await held(stand)
    order(stand, control.Quiesce())
    assert stand.status()["state"] == "quiesced"
    await told(stand, 503)
    response = await balancer.ask(HEALTH)
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    another = await stand.device()
    assert (await another.ask(post(authorization=None))).status == 401
    order(stand, control.Resume())
    assert stand.status()["state"] == "running"
    await told(stand, 200)
    await phone.close()


async def test_quiesce_outlives_a_reload_and_a_killed_worker_but_no_restart(stand: Stand) -> None:
    """A commit of another administrator must not end it, nor must chance."""
    order(stand, control.Quiesce())
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: "new settings are in force" in stand.log())
    assert (stand.status()["state"], await health(await stand.device())) == ("quiesced", 503)
    worker = stand.workers()[-1]  # the one before it goes when it holds nothing any more
    os.kill(worker, signal.SIGKILL)
    await until(lambda: stand.status()["restarts"] == 1 and worker not in stand.workers())
    assert await health(await stand.device()) == 503
    stand.process.send_signal(signal.SIGTERM)
    assert await stand.ended() == 0
    stand.agent.following.clear()
    await stand.start()
    assert (stand.status()["state"], await health(await stand.device())) == ("running", 200)


async def test_drain_takes_nobody_new_until_resume(stand: Stand) -> None:
    """Row 148: new refused, old finish. The process stays and says how it is, and a reload does not end it."""
    await stand.agent.put(PHONE, State.ALLOWED)
    phone = await held(stand)
    assert stand.status()["state"] == "running"
    order(stand, control.Drain())
    assert (await phone.response()).status == 200
    await until(lambda: stand.status()["state"] == "drained")
    with pytest.raises(ConnectionRefusedError):
        await stand.device()
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: "new settings are in force" in stand.log())
    assert (stand.status()["state"], stand.workers()) == ("drained", [])
    with pytest.raises(ConnectionRefusedError):
        await stand.device()
    order(stand, control.Resume())
    await until(lambda: stand.status()["state"] == "running" and stand.status()["workers"] == 1)
    assert await health(await stand.device()) == 200


async def test_a_resume_whose_address_is_taken_says_so(stand: Stand) -> None:
    """It stays drained, and can be told again."""
    order(stand, control.Drain())
    await until(lambda: stand.status()["state"] == "drained")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", stand.port))
        other.listen()
        with pytest.raises(control.ControlError, match=f"port {stand.port}: Address already in use") as refusal:
            order(stand, control.Resume())
    assert (refusal.value.kind, stand.status()["state"]) == ("failed", "drained")
    order(stand, control.Resume())
    await until(lambda: stand.status()["state"] == "running")
    assert await health(await stand.device()) == 200


async def test_health_is_503_when_no_backend_can_be_reached(stand: Stand) -> None:
    """So that a balancer sends devices elsewhere."""
    await stand.agent.put(PHONE, State.ALLOWED)
    balancer = await stand.device()
    assert await health(balancer) == 200
    await stand.backend.stop()
    for _ in range(PassiveHealth().failures):  # so many take it out of use
        assert (await (await stand.device()).ask(post())).status == 503
    assert await health(balancer) == 503
