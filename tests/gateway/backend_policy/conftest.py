"""A gateway with a policy, before a backend that enforces one of its own: the device applies the stricter of both, and the
backend hears only what a device has done."""

from collections.abc import Awaitable, Callable

import pytest

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas.policy import Policy
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.enforcer import Enforcer
from tests.gateway.stand import PHONE, Device, Stand, Turn
from tests.gateway.test_provisioning import PHONE_BYTES, SECRET, packed, plain, set_gateway

POLICY = Policy(
    device_password_enabled=True, min_device_password_length=6, allow_camera=False, attachments_enabled=True
)
BOTH = Policy(
    device_password_enabled=True,
    min_device_password_length=8,
    max_device_password_failed_attempts=5,
    allow_camera=False,
    attachments_enabled=True,
)
PHONES = {plain: PHONE, packed: DeviceKey(PHONE_BYTES.hex().upper(), PHONE.principal)}
MakeEnforced = Callable[..., Awaitable[tuple[Stand, Enforcer]]]


@pytest.fixture
def make_enforced(make_stand: MakeStand) -> MakeEnforced:
    """Make a stand whose gateway has a policy and whose backend enforces one; PHONE1 may pass in both forms."""

    async def make(policy: Policy | None = POLICY, workers: int = 1, **options: object) -> tuple[Stand, Enforcer]:
        limits = with_limits(decision_seconds=2.0) if options.pop("impatient", False) else with_limits()
        stand = await make_stand(started=False, workers=workers, limits=limits)
        path = stand.folder / "fleet.key"
        path.write_bytes(SECRET)
        set_gateway(stand, policy=policy, fleet_secret=str(path), **options)
        backend = Enforcer(stand.backend).install()
        await stand.start()
        for key in PHONES.values():
            await stand.agent.put(key, State.ALLOWED)
        return stand, backend

    return make


async def reasons(stand: Stand, count: int) -> list[tuple[str, list[str]]]:
    """Action and reasons of the first so many outcomes."""
    return [(line["action"], line.get("reasons", [])) for line in (await stand.audit.outcomes(count))[:count]]


async def held_ping(stand: Stand, device: Device, key: int) -> None:
    """Send a Ping that the backend holds for ever; everything else it answers as before."""
    serve = stand.backend.script

    async def hold(turn: Turn) -> None:
        if "Cmd=Ping" in turn.seen.target:
            await turn.reader.read()
        else:
            await serve(turn)

    stand.backend.script = hold
    count = len(stand.backend.seen)
    await device.send(plain("Ping", "14.1", key))
    await stand.backend.wait_seen(count + 1)
