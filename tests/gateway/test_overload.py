"""More first contacts at once than a worker takes on: those beyond are told to come back, and nobody is let in by it."""

import asyncio
from collections import Counter

from sentry_runtime import control
from sentry_runtime.devices.record import Record, State
from sentry_runtime.gateway.agent_link import QUESTIONS_AT_ONCE
from sentry_runtime.gateway.contact import PROBES_AT_ONCE
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.stand import PHONE, Device, Stand, Turn, post, until
from tests.gateway.test_workers import many

BEYOND = 8
# Nobody is refused for his number, nor because hundreds of handshakes at once take long on a busy machine.
PATIENT = {"decision_seconds": 120.0, "backend_connect_seconds": 60.0}
LIMITS = with_limits(**PATIENT, logons_refused_per_source=0, logons_refused_per_principal=0)


async def come(device: Device, number: int) -> None:
    """A device that nobody knows sends its first request."""
    await device.send(post(device=f"R{number}"))


async def refused_beyond(stand: Stand, devices: list[Device], first: int) -> None:
    """Those beyond the bound get 503 with `Retry-After` at once, while a known device is served as ever."""
    for number, device in enumerate(devices, first):
        await come(device, number)
        answer = await device.response()
        assert (answer.status, int(answer.headers["retry-after"]) > 0) == (503, True)
    known = await stand.device()
    assert (await known.ask(post())).status == 200
    outcomes = await stand.audit.outcomes(len(devices) + 1)
    assert [one.get("reasons", []) for one in outcomes] == [["busy"]] * len(devices) + [[]]


async def test_probes_are_bounded_and_refuse_nobody_for_good(make_stand: MakeStand) -> None:
    """Nothing is recorded and nobody asked while the backend has not vouched; afterwards there is room again."""
    stand = await make_stand(limits=LIMITS)
    await stand.agent.put(PHONE, State.ALLOWED)
    release = asyncio.Event()

    async def slow(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok(status="401 Unauthorized")

    stand.backend.probe = slow
    devices = await many(stand, PROBES_AT_ONCE + BEYOND)
    for number, device in enumerate(devices[:PROBES_AT_ONCE]):
        await come(device, number)
    await until(lambda: len(stand.backend.probes) == PROBES_AT_ONCE)
    await refused_beyond(stand, devices[PROBES_AT_ONCE:], PROBES_AT_ONCE)
    assert len(stand.backend.probes) == PROBES_AT_ONCE
    release.set()
    answers = await asyncio.gather(*(device.response() for device in devices[:PROBES_AT_ONCE]))
    assert Counter(answer.status for answer in answers) == {401: PROBES_AT_ONCE}
    assert (await devices[-1].ask(post(device="R"))).status == 401
    assert stand.agent.asked == []
    assert stand.agent.keys() == [PHONE]


async def test_questions_are_bounded_and_a_full_agent_admits_nobody(make_stand: MakeStand) -> None:
    """Each that waits gets the agent's answer when it comes; no backend has seen a request of any of them until then."""
    stand = await make_stand(limits=LIMITS)
    await stand.agent.put(PHONE, State.ALLOWED)
    release = asyncio.Event()

    async def slow(ask: control.Ask) -> Record:
        await release.wait()
        return await stand.agent.put(ask.key, State.ALLOWED)

    stand.agent.answer = slow
    devices = await many(stand, QUESTIONS_AT_ONCE + BEYOND)
    for number, device in enumerate(devices[:QUESTIONS_AT_ONCE]):
        await come(device, number)
        if number % 64 == 63:  # no more at the backend at once than it is asked by probes
            await until(lambda count=number: len(stand.agent.asked) == count + 1)  # type: ignore[misc]
    await refused_beyond(stand, devices[QUESTIONS_AT_ONCE:], QUESTIONS_AT_ONCE)
    assert len(stand.backend.seen) == 1
    assert stand.agent.keys() == [PHONE]
    release.set()
    answers = await asyncio.gather(*(device.response() for device in devices[:QUESTIONS_AT_ONCE]))
    assert Counter(answer.status for answer in answers) == {200: QUESTIONS_AT_ONCE}
