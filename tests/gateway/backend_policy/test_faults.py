"""A backend that fails while a device provisions: no document and no key without its part, and no harm to the next attempt."""

import asyncio
from collections.abc import Awaitable

import pytest

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.eas.codepages import PROVISION
from sentry_runtime.eas.provision import (
    EAS_WBXML,
    Acknowledgement,
    Ask,
    PolicyAnswer,
    Response,
    decode_response,
    encode_request,
    encode_response,
)
from sentry_runtime.eas.wbxml import element
from tests.gateway import enforcer
from tests.gateway.backend_policy.conftest import MakeEnforced, reasons
from tests.gateway.enforcer import DEMANDED, internal_error
from tests.gateway.stand import PATIENCE, PHONE, Turn
from tests.gateway.test_provisioning import SAYS, key_in, plain, provision, say


def no_document(turn: Turn) -> Awaitable[None]:
    return turn.ok(encode_response(Response(policy=PolicyAnswer(EAS_WBXML, 1, 77)), "14.1"))


def no_key(turn: Turn) -> Awaitable[None]:
    return turn.ok(encode_response(Response(policy=PolicyAnswer(EAS_WBXML, 1, None, DEMANDED)), "14.1"))


def out_of_bounds(turn: Turn) -> Awaitable[None]:
    whole = element(PROVISION, "EASProvisionDoc", element(PROVISION, "MinDevicePasswordLength", "99"))
    return turn.ok(encode_response(Response(policy=PolicyAnswer(EAS_WBXML, 1, 77, whole)), "14.1"))


def server_error(turn: Turn) -> Awaitable[None]:
    return turn.ok(encode_response(Response(status=3), "14.1"))


def corrupt(turn: Turn) -> Awaitable[None]:
    return turn.ok(encode_response(Response(policy=PolicyAnswer(EAS_WBXML, 4)), "14.1"))


def garbage(turn: Turn) -> Awaitable[None]:
    return turn.ok(b"\x03\x01\x6a\x00\x00\x0e\x45\x4b")


def endless(turn: Turn) -> Awaitable[None]:
    return turn.ok(b"\x03\x01\x6a\x00" + bytes(100_000))


def redirect(turn: Turn) -> Awaitable[None]:
    return turn.ok(status="302 Found", extra="Location: https://elsewhere.lab.test/\r\n")


def other_server(turn: Turn) -> Awaitable[None]:
    return turn.ok(status="451 Redirect", extra="X-MS-Location: https://elsewhere.lab.test/\r\n")


async def die(turn: Turn) -> None:
    turn.writer.close()


async def say_nothing(turn: Turn) -> None:
    await turn.reader.read()


FAULTS = [
    (no_document, "backend_policy_unreadable"),
    (no_key, "backend_policy_unreadable"),
    (out_of_bounds, "backend_policy_unreadable"),
    (garbage, "backend_policy_unreadable"),
    (server_error, "backend_provision_failed"),
    (corrupt, "backend_provision_failed"),
    (internal_error, "backend_provision_failed"),
    (redirect, "backend_redirects"),
    (other_server, "backend_redirects"),
    (endless, "backend_answer_too_large"),
    (die, "backend_closed"),
    (say_nothing, "backend_timeout"),
]


async def test_a_backend_that_fails_in_phase_1_makes_the_device_come_back(make_enforced: MakeEnforced) -> None:
    """The device gets no document that the backend's is not part of, and the next attempt goes as it should."""
    stand, backend = await make_enforced(impatient=True)
    device = await stand.device()
    for fault, _ in FAULTS:
        backend.fault = fault
        failed = await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
        assert (failed.status, failed.body) == (503, b""), fault
        assert int(failed.headers["retry-after"]) > 0
        assert stand.agent.held(PHONE) is None
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"
    assert await reasons(stand, len(FAULTS)) == [("fail", [reason]) for _, reason in FAULTS]


PHASE_2_FAULTS = [
    (no_key, "backend_provision_failed"),
    (garbage, "backend_policy_unreadable"),
    (server_error, "backend_provision_failed"),
    (internal_error, "backend_provision_failed"),
    (redirect, "backend_redirects"),
    (die, "backend_closed"),
    (say_nothing, "backend_timeout"),
]


async def test_a_backend_that_fails_in_phase_2_makes_the_device_come_back(make_enforced: MakeEnforced) -> None:
    """The device gets no key without the backend's behind it; its acknowledgement, sent again, is good."""
    stand, backend = await make_enforced(impatient=True)
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    acknowledgement = Acknowledgement(EAS_WBXML, temporary, 1)
    for fault, _ in PHASE_2_FAULTS:
        backend.fault = fault
        failed = await device.ask(plain("Provision", "14.1", temporary, encode_request(acknowledgement)))
        assert (failed.status, failed.body) == (503, b""), fault
        assert (await device.ask(plain("FolderSync", "14.1", temporary))).status == 449
    final = key_in(await say(device, plain, "14.1", acknowledgement, temporary))
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    failures = (await reasons(stand, 2 * len(PHASE_2_FAULTS)))[1::2]
    assert failures == [("fail", [reason]) for _, reason in PHASE_2_FAULTS]


async def test_a_backend_that_has_forgotten_its_temporary_key_makes_the_device_begin_again(
    make_enforced: MakeEnforced,
) -> None:
    """By Policy Status 5, whether the backend says that or 449; no key is given."""
    stand, backend = await make_enforced()
    device = await stand.device()

    async def refuse(turn: Turn) -> None:
        await turn.ok(status=enforcer.PROVISION_FIRST)

    for fault in (None, refuse):
        temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
        backend.temporary, backend.fault = 0, fault
        stale = await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary)
        assert stale.policy is not None
        assert (stale.policy.status, stale.policy.key) == (5, None)
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"


async def test_a_wrong_key_of_the_device_never_reaches_the_backend(make_enforced: MakeEnforced) -> None:
    """Nor does an acknowledgement of the backend's own key, which no device knows."""
    stand, backend = await make_enforced()
    device = await stand.device()
    await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    for key in (1, backend.temporary):
        wrong = await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, key, 1), key)
        assert wrong.policy is not None
        assert (wrong.policy.status, wrong.policy.key) == (5, None)
    assert len(backend.heard) == 1


async def test_an_acknowledgement_whose_answer_was_lost_may_be_sent_again(make_enforced: MakeEnforced) -> None:
    """The backend, which has taken it, is not asked again."""
    stand, backend = await make_enforced()
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    keys = [
        key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary)) for _ in range(2)
    ]
    assert keys[0] == keys[1]
    assert len(backend.heard) == 2
    assert (await device.ask(plain("FolderSync", "14.1", keys[1]))).body == b"served"


async def test_without_the_agent_nothing_is_handed_out_and_nothing_attested(make_enforced: MakeEnforced) -> None:
    """What cannot be kept would be forgotten by the next worker; a device that has its key goes on."""
    stand, backend = await make_enforced()
    device = await stand.device()
    final = await provision(device)
    await stand.agent.stop_socket()
    failed = await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
    assert failed.status == 503
    assert len(backend.heard) == 3  # the last one a phase 1
    backend.key = 1_002  # which took the key away there; as if it had not been sent
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"


async def test_a_device_that_is_blocked_meanwhile_gets_no_document(make_enforced: MakeEnforced) -> None:
    """The list has the last word after every wait."""
    stand, backend = await make_enforced()
    device = await stand.device()
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def wait(turn: Turn) -> None:
        arrived.set()
        await go_on.wait()
        await turn.ok(encode_response(backend._answer(Ask(EAS_WBXML, SAYS)), "14.1"))

    backend.fault = wait
    await device.send(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
    await arrived.wait()
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    # The word goes to the worker by another way than the backend's answer: it has arrived when another request is refused.
    other = await stand.device()
    async with asyncio.timeout(PATIENCE):
        while (await other.ask(plain("Sync", "14.1", 0))).status != 200:
            pass
    go_on.set()
    answer = await device.response()
    assert (answer.status, b"\x03129\x00" in answer.body) == (200, True)


@pytest.mark.parametrize(("status", "words"), [("403 Forbidden", 129), ("401 Unauthorized", None)])
async def test_a_backend_that_refuses_the_device_is_believed(
    make_enforced: MakeEnforced, status: str, words: int | None
) -> None:
    """Its word on who may come to it is passed on."""
    stand, backend = await make_enforced()

    async def refuse(turn: Turn) -> None:
        await turn.ok(status=status)

    backend.fault = refuse
    device = await stand.device()
    answer = await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
    if words is None:
        assert (answer.status, answer.body) == (401, b"")
    else:
        assert decode_response(answer.body) == Response(words)


@pytest.mark.parametrize(("protocol", "http"), [("14.1", 200), ("12.1", 403)])
async def test_a_status_of_the_backends_provision_is_passed_on(
    make_enforced: MakeEnforced, protocol: str, http: int
) -> None:
    """Such as that it takes no device of this kind."""
    stand, backend = await make_enforced()

    async def refuse(turn: Turn) -> None:
        await turn.ok(encode_response(Response(status=141), protocol))

    backend.fault = refuse
    device = await stand.device()
    answer = await device.ask(plain("Provision", protocol, 0, encode_request(Ask(EAS_WBXML, SAYS))))
    assert answer.status == http
    assert http == 403 or decode_response(answer.body) == Response(141)
