"""Somebody who knows the device id and the user's name: learns nothing, and keeps the wipe from no device."""

import pytest

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.provision import EAS_WBXML, Ask, Response, encode_request
from sentry_runtime.gateway.wipe_marks import PROBES
from tests.gateway.stand import PASSWORD, PHONE, Stand, Turn, basic, post, until
from tests.gateway.wipe.asking import (
    DONE,
    HANDED_OUT,
    UNVERIFIED,
    VERIFIED,
    WRONG,
    heard,
    marked,
    marks,
    provision,
    refuse,
    say,
    take,
)


async def test_a_stranger_without_a_name_learns_nothing(stand: Stand) -> None:
    """Without credentials there is nobody to judge; with another user's name it is another device."""
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    assert (await device.ask(post("Provision", encode_request(Ask()), authorization=None))).status == 401
    other = post("Provision", encode_request(Ask()), authorization=basic("bert@lab.test"), user="bert@lab.test")
    assert b"\x03129\x00" in (await device.ask(other)).body  # a first contact of its own, unregistered
    assert (await device.ask(post(authorization=basic("bert@lab.test")))).status == 403
    assert marks(stand) == set()


async def test_a_forged_acknowledgement_does_not_keep_the_wipe_from_the_device(stand: Stand) -> None:
    """The stranger's is unverified; the device comes with its password later, gets the directive, and is verified."""

    async def by_password(turn: Turn) -> None:
        await (refuse if turn.seen.value("Authorization") == WRONG else take)(turn)

    stand.backend.probe = by_password
    await stand.agent.order_wipe(PHONE)
    stranger = await stand.device()
    assert await say(stranger, provision(DONE)) == Response(status=1)
    await marked(stand, UNVERIFIED)
    device = await stand.device()
    await heard(stand, device)
    assert (await say(device, provision(Ask(EAS_WBXML), authorization=basic()))).remote_wipe
    assert await say(device, provision(DONE, authorization=basic())) == Response(status=1)
    await marked(stand, UNVERIFIED, HANDED_OUT, VERIFIED)
    await heard(stand, device, 403)


async def test_acknowledging_is_no_way_to_try_passwords_or_to_lock_a_user_out(stand: Stand) -> None:
    """The answer is the same for all of them, and only so many reach a backend."""
    stand.backend.probe = refuse
    await stand.agent.order_wipe(PHONE)
    stranger = await stand.device()
    answers = {
        (await stranger.ask(provision(DONE, authorization=basic(password=f"guess{number}")))).body
        for number in range(4 * PROBES)
    }
    assert len(answers) == 1
    assert [mark.mark for mark in stand.agent.marked] == [UNVERIFIED]
    await until(lambda: len(stand.backend.probes) == PROBES)
    other = DeviceKey("PHONE2", PHONE.principal)
    await stand.agent.order_wipe(other)
    await say(stranger, post("Provision", DONE, device="PHONE2", authorization=WRONG))
    await until(
        lambda: len(stand.backend.probes) > PROBES
    )  # the other device's, and it has come after all of the first's
    assert len(stand.backend.probes) == PROBES + 1


async def test_a_flood_of_questions_reaches_neither_backend_nor_agent(stand: Stand) -> None:
    """The directive costs an answer; that it was handed out is told once."""
    await stand.agent.order_wipe(PHONE)
    stranger = await stand.device()
    for _ in range(50):
        assert (await say(stranger, provision(Ask()))).remote_wipe
    await marked(stand, HANDED_OUT)
    assert (len(stand.agent.marked), stand.backend.connections) == (1, 0)


@pytest.mark.parametrize(
    ("body", "extra", "status"),
    [
        (b"\x03\x01\x6a\x00\x00\x0e\x45" + b"\x46" * 100, "", 400),
        (b"x" * 65_537, "", 413),
        (encode_request(Ask()), "Content-Encoding: gzip\r\n", 415),
    ],
)
async def test_what_is_no_provision_is_refused(stand: Stand, body: bytes, extra: str, status: int) -> None:
    """As everywhere, without a look at the password."""
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    assert (await device.ask(post("Provision", body, extra=extra, authorization=WRONG))).status == status
    assert (marks(stand), stand.backend.connections) == (set(), 0)


async def test_no_password_of_an_acknowledgement_is_written_down(stand: Stand) -> None:
    """Neither the right one nor the wrong one."""
    stand.backend.probe = refuse
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    await say(device, provision(DONE))
    await say(device, provision(DONE, authorization=basic()))
    await stand.audit.outcomes(2)
    text = b"".join(stand.audit.raw) + stand.log().encode()
    assert not [word for word in (PASSWORD, "wr0ng-pa55word", basic()[6:], WRONG[6:]) if word.encode() in text]
