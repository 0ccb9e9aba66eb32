"""A backend that enforces a policy of its own behind a gateway that has one too: the device applies the stricter of both, and
the backend hears only what a device has done."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.devices.enforcement import Directive, Enforcement
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.eas.codepages import PROVISION
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy, document, read_document, wap_document
from sentry_runtime.eas.provision import (
    EAS_WBXML,
    WAP_XML,
    Acknowledgement,
    Ask,
    PolicyAnswer,
    Response,
    WipeAcknowledgement,
    decode_response,
    encode_request,
    encode_response,
)
from sentry_runtime.eas.wbxml import Element, element
from tests.gateway import enforcer, ntlm_server
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.enforcer import DEMANDED, Enforcer
from tests.gateway.ntlm_server import Asked, NtlmClient, log_on
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, Turn, post, until
from tests.gateway.test_provisioning import (
    FORMS,
    PHONE_BYTES,
    SAYS,
    SECRET,
    Form,
    key_in,
    kind_of,
    packed,
    plain,
    provision,
    reload,
    say,
    set_gateway,
)

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


@pytest.mark.parametrize(("form", "protocol"), FORMS)
async def test_a_device_applies_both_policies_and_the_backend_gets_its_own_key(
    make_enforced: MakeEnforced, form: Form, protocol: str
) -> None:
    """In every version and form: phase 1 asks the backend, phase 2 tells it, and its key is in what follows."""
    stand, backend = await make_enforced()
    device, kind = await stand.device(), kind_of(protocol)
    offered = await say(device, form, protocol, Ask(kind, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == (wap_document(BOTH) if protocol == "2.5" else BOTH)
    temporary = key_in(offered)
    # The backend was asked in the device's own form, with its credentials, and told nothing yet.
    assert backend.heard == [Ask(kind, SAYS)]
    assert backend.keys_heard == ([0] if form is packed else [None])
    asked = stand.backend.provisions[0]
    assert asked.target == form("Provision", protocol, 0).split(b" ")[1].decode()
    assert asked.value("Authorization").startswith("Basic ")
    assert temporary != backend.temporary
    # The temporary key opens nothing, and nothing of this reaches the backend.
    assert (await device.ask(form("FolderSync", protocol, temporary))).status == 449
    assert stand.backend.seen == []
    theirs = backend.temporary
    final = key_in(await say(device, form, protocol, Acknowledgement(kind, temporary, 1), temporary))
    assert backend.heard[1:] == [Acknowledgement(kind, theirs, 1)]
    assert backend.keys_heard[1:] == [theirs]
    assert final not in (temporary, backend.key)
    served = await device.ask(form("FolderSync", protocol, final, b"body"))
    assert (served.status, served.body) == (200, b"served")
    (seen,) = stand.backend.seen
    assert (seen.query.policy_key, seen.body) == (backend.key, b"body")
    assert seen.target == form("FolderSync", protocol, backend.key).split(b" ")[1].decode()
    assert stand.agent.held(PHONES[form]) is not None
    assert [reason for _, (reason,) in (await reasons(stand, 3))] == [
        "joint_policy_offered",
        "policy_key_missing",
        "joint_policy_applied",
    ]


CALLS = [
    pytest.param(enforcer.call_449, "12.1", id="449"),
    pytest.param(enforcer.call_449, "14.1", id="449 without a document"),
    pytest.param(enforcer.call_449_with_status, "14.1", id="449 and status"),
    pytest.param(enforcer.call_200, "14.1", id="200"),
    pytest.param(enforcer.call_200, "12.1", id="200 for an old client"),
    pytest.param(enforcer.call_200_compressed, "16.1", id="200 compressed"),
    pytest.param(enforcer.call_200_in_pieces, "14.0", id="200 in pieces"),
]


@pytest.mark.parametrize(("call", "protocol"), CALLS)
async def test_a_changed_policy_of_the_backends_makes_the_device_provision_again(
    make_enforced: MakeEnforced, call: enforcer.Call, protocol: str
) -> None:
    """Its call is answered in the device's own form, and the old key is worth nothing from then on."""
    stand, backend = await make_enforced()
    backend.call = call
    device = await stand.device()
    old = await provision(device, plain, protocol)
    assert (await device.ask(plain("FolderSync", protocol, old))).body == b"served"
    backend.demands, backend.key = Policy(min_device_password_length=12), 0
    for command in ("FolderSync", "Sync", "Ping"):
        told = await device.ask(plain(command, protocol, old))
        assert (told.status, "content-type" in told.headers) == (449, protocol != "12.1")
        backend.key = 0
    # Told once, the gateway itself says so: the backend was asked for the first of the three only.
    assert len(stand.backend.seen) == 2
    new = await provision(device, plain, protocol)
    assert new != old
    assert (await device.ask(plain("FolderSync", protocol, old))).status == 449
    assert (await device.ask(plain("FolderSync", protocol, new))).body == b"served"
    words = await reasons(stand, 7)
    assert words[3] == ("provision", ["backend_wants_provision"])
    await until(lambda: stand.status()["backend_provisions"] == 1)


async def test_the_status_of_the_call_is_passed_on_on_the_page_of_the_command(make_enforced: MakeEnforced) -> None:
    """Horde has it on the page of Sync whatever the command is; clients look on their own."""
    stand, _ = await make_enforced()
    device = await stand.device()
    for status in (142, 143, 144):
        final = await provision(device)

        async def call(turn: Turn, status: int = status) -> None:
            await turn.body()
            await enforcer.call_449_with_status(turn, status)

        stand.backend.script = call
        told = await device.ask(plain("Ping", "14.1", final))
        assert told.status == 449
        assert told.body == b"\x03\x01\x6a\x00\x00\x0d\x45\x47\x03%d\x00\x01\x01" % status
    # Not as a Ping that is held: what its own call has had kept is no news to it.
    assert (await reasons(stand, 9))[2::3] == [("provision", ["backend_wants_provision"])] * 3


@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
async def test_every_other_answer_passes_as_it_is(make_enforced: MakeEnforced, framing: str) -> None:
    """Whatever its size, and however it is framed."""
    stand, _ = await make_enforced()
    device = await stand.device()
    final = await provision(device)
    for size in (0, 1, 95, 96, 97, 5_000):
        body = (bytes(range(97, 122)) * 200)[:size]

        async def serve(turn: Turn, body: bytes = body) -> None:
            await turn.body()
            if framing == "length":
                await turn.ok(body)
            elif framing == "chunks":
                whole = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
                await turn.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + whole + b"0\r\n\r\n")
            else:
                await turn.say(b"HTTP/1.1 200 OK\r\n\r\n" + body)
                turn.writer.close()

        stand.backend.script = serve
        answer = await device.ask(plain("Sync", "14.1", final))
        assert (answer.status, answer.body) == (200, body)


async def test_a_backend_that_dies_before_its_answer_is_known_gives_a_503(make_enforced: MakeEnforced) -> None:
    """The head of a small answer waits for its body: without one there is no answer."""
    stand, _ = await make_enforced()
    device = await stand.device()
    final = await provision(device)

    async def die(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n\x03\x01\x6a\x00")
        turn.writer.close()

    stand.backend.script = die
    assert (await device.ask(plain("Sync", "14.1", final))).status == 503


async def test_a_call_that_comes_before_the_whole_request_is_heard_all_the_same(make_enforced: MakeEnforced) -> None:
    """The device hears it; the rest of its request goes nowhere, and is not taken for another one."""
    stand, backend = await make_enforced()
    device = await stand.device()
    final = await provision(device)

    async def call_early(turn: Turn) -> None:
        await enforcer.call_449_with_status(turn, 142)

    stand.backend.script = call_early
    await device.send(plain("Sync", "14.1", final, b"x" * 100)[:-50])
    told = await device.response()
    assert (told.status, b"\x03142\x00" in told.body) == (449, True)
    assert stand.agent.held(PHONE) == Enforcement()
    backend.install()
    await device.send(b"x" * 50)
    assert (await device.ask(plain("Sync", "14.1", final))).status == 449
    assert (await device.ask(plain("Sync", "14.1", await provision(device)))).body == b"served"
    assert [seen.body for seen in stand.backend.seen[1:]] == [b""]


async def test_a_changed_policy_of_the_gateways_makes_the_device_provision_again(make_enforced: MakeEnforced) -> None:
    """The backend is asked anew too, and the document joins both anew."""
    stand, _ = await make_enforced()
    device = await stand.device()
    old = await provision(device)
    set_gateway(stand, policy=Policy(min_device_password_length=16))
    await reload(stand)
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", old))).status == 449
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == msgspec.structs.replace(DEMANDED, min_device_password_length=16)
    temporary = key_in(offered)
    new = key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert (await device.ask(plain("FolderSync", "14.1", new))).body == b"served"


async def test_killed_workers_and_a_restart_lose_nothing(make_enforced: MakeEnforced) -> None:
    """The second phase may come to another worker than the first, and the key holds after all of them have gone."""
    stand, _ = await make_enforced(workers=2)
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    before = stand.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: len(set(stand.workers()) - set(before)) == 2)
    device = await stand.device()
    final = key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert stand.process is not None
    stand.process.send_signal(signal.SIGTERM)
    assert await stand.ended() == 0
    stand.agent.following.clear()
    await stand.start()
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"


async def test_two_workers_agree_at_once(make_enforced: MakeEnforced) -> None:
    """Whichever takes the connection: what one has had kept, the next request finds."""
    stand, _ = await make_enforced(workers=2)
    for _ in range(6):
        devices = [await stand.device() for _ in range(4)]
        temporary = key_in(await say(devices[0], plain, "14.1", Ask(EAS_WBXML, SAYS)))
        final = key_in(await say(devices[1], plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
        for device in devices:
            assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"


async def test_what_is_lost_makes_the_device_provision_again(make_enforced: MakeEnforced) -> None:
    """And no more than that."""
    stand, _ = await make_enforced()
    device = await stand.device()
    final = await provision(device)
    stand.agent.forget_silently(PHONE)
    await stand.agent.put(PHONE, State.ALLOWED)  # tells the worker to look again
    async with asyncio.timeout(PATIENCE):
        while (await device.ask(plain("FolderSync", "14.1", final))).status != 449:
            pass  # the word is on its way
    assert await provision(device) == final  # both policies are what they were
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"


async def test_what_is_kept_goes_with_the_entry(make_enforced: MakeEnforced) -> None:
    """A device that is let in anew begins anew."""
    stand, _ = await make_enforced()
    final = await provision(await stand.device())
    await stand.agent.remove(PHONE)
    assert stand.agent.held(PHONE) is None
    await stand.agent.put(PHONE, State.ALLOWED)
    assert (await (await stand.device()).ask(plain("FolderSync", "14.1", final))).status == 449


# Faults


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


def internal_error(turn: Turn) -> Awaitable[None]:
    return turn.ok(status="500 Internal Server Error")


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


# What the device says of its own


async def test_what_no_device_has_done_is_never_attested(make_enforced: MakeEnforced) -> None:
    """A device that did not apply the document gets no key, and the backend hears nothing."""
    stand, backend = await make_enforced()
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    for status in (2, 3, 4):
        refused = await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, status), temporary)
        assert refused == Response(145 if status == 4 else 139)
    assert len(backend.heard) == 1


@pytest.mark.parametrize("grants", [True, False])
async def test_a_lenient_gateway_tells_the_backend_what_the_device_has_said(
    make_enforced: MakeEnforced,
    grants: bool,  # noqa: FBT001 - a table
) -> None:
    """Which then decides for itself."""
    stand, backend = await make_enforced(non_provisionable="allow")
    backend.grants = grants
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    theirs = backend.temporary
    answer = await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 2), temporary)
    assert backend.heard[1:] == [Acknowledgement(EAS_WBXML, theirs, 2)]
    if grants:
        assert (await device.ask(plain("FolderSync", "14.1", key_in(answer)))).body == b"served"
    else:
        assert answer == Response(139)


# Who enforces, and who does not


async def test_a_backend_that_enforces_no_more_is_forgotten(make_enforced: MakeEnforced) -> None:
    """The device has to apply the gateway's own policy then, and gets another key for it."""
    stand, backend = await make_enforced()
    device = await stand.device()
    joint = await provision(device)
    backend.demands, backend.key = None, 0
    assert (await device.ask(plain("FolderSync", "14.1", joint))).body == b"served"
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == POLICY
    assert stand.agent.held(PHONE) is None
    temporary = key_in(offered)
    own = key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert own != joint
    assert (await device.ask(plain("FolderSync", "14.1", own))).body == b"served"
    assert stand.backend.seen[-1].values("X-MS-PolicyKey") == []


async def test_a_backend_that_begins_to_enforce_is_found_out(make_enforced: MakeEnforced) -> None:
    """By its first call."""
    stand, backend = await make_enforced()
    backend.demands = None
    device = await stand.device()
    own = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", own))).body == b"served"
    backend.demands = DEMANDED
    assert (await device.ask(plain("FolderSync", "14.1", own))).status == 449
    assert stand.agent.held(PHONE) == Enforcement()
    joint = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", joint))).body == b"served"


VAGUE = [
    "200 OK",
    "400 Bad Request",
    "404 Not Found",
    "405 Method Not Allowed",
    "501 Not Implemented",
    "505 HTTP Version Not Supported",
]


async def test_a_backend_that_does_not_know_the_command_enforces_nothing(make_enforced: MakeEnforced) -> None:
    """Unless it is known to: then it has just lost its memory, and the device waits until it is itself again."""
    stand, backend = await make_enforced()
    device = await stand.device()

    def answers(status: str) -> Callable[[Turn], Awaitable[None]]:
        return lambda turn: turn.ok(status=status)

    for status in VAGUE:
        backend.fault = answers(status)
        offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
        assert offered.policy is not None
        assert offered.policy.document == POLICY
    await provision(device)
    for status in VAGUE:
        backend.fault = answers(status)
        assert (await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))).status == 503
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"


async def test_a_request_that_was_on_its_way_takes_nothing_from_a_device_that_has_provisioned(
    make_enforced: MakeEnforced,
) -> None:
    """A backend's call for an old key is no news once there is a new one."""
    stand, backend = await make_enforced()
    device, other = await stand.device(), await stand.device()
    old = await provision(device)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def call_late(turn: Turn) -> None:
        await turn.body()
        arrived.set()
        await go_on.wait()
        await enforcer.call_449(turn, 0)

    stand.backend.script = call_late
    await other.send(plain("Sync", "14.1", old))  # a Ping would have ended when the device provisioned
    await arrived.wait()
    new = await provision(device)
    go_on.set()
    assert (await other.response()).status == 449
    backend.install()
    assert (await device.ask(plain("FolderSync", "14.1", new))).body == b"served"


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


async def test_a_held_ping_ends_when_the_backend_calls_for_a_provision(make_enforced: MakeEnforced) -> None:
    """Its key is worth nothing any more: the device hears of it by whichever request is there."""
    stand, backend = await make_enforced()
    device, pinging = await stand.device(), await stand.device()
    final = await provision(device)
    await held_ping(stand, pinging, final)
    backend.key = 0
    assert (await device.ask(plain("FolderSync", "14.1", final))).status == 449
    assert (await pinging.response()).status == 449
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"


async def test_each_device_joins_its_own_policy_with_the_backends(make_enforced: MakeEnforced) -> None:
    """The UEM's word goes before the site's; a device that has to apply none is the backend's alone."""
    stand, backend = await make_enforced(policy=None)
    await stand.agent.put(PHONE, State.ALLOWED, policy=POLICY)
    device = await stand.device()
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == BOTH
    final = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    assert stand.backend.seen[-1].query.policy_key == backend.key
    theirs = await say(device, packed, "14.1", Ask(EAS_WBXML, SAYS))
    assert theirs.policy is not None
    assert (theirs.policy.document, theirs.policy.key) == (DEMANDED, backend.temporary)
    assert b"\x03144\x00" in (await device.ask(packed("FolderSync", "14.1", 77))).body
    assert [stand.agent.held(PHONES[form]) is None for form in (plain, packed)] == [False, True]


async def test_a_changed_policy_of_the_uems_is_told_from_a_wrong_key_here_too(make_enforced: MakeEnforced) -> None:
    """By Status 143, to the held Ping and to what comes after it; both documents are joined anew."""
    stand, _ = await make_enforced(policy=None)
    await stand.agent.put(PHONE, State.ALLOWED, policy=POLICY)
    device, pinging = await stand.device(), await stand.device()
    old = await provision(device)
    await held_ping(stand, pinging, old)
    await stand.agent.put(PHONE, State.ALLOWED, policy=Policy(min_device_password_length=16))
    for told in (await pinging.response(), await device.ask(plain("FolderSync", "14.1", old))):
        assert (told.status, b"\x03143\x00" in told.body) == (449, True)
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == msgspec.structs.replace(DEMANDED, min_device_password_length=16)
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"


async def test_a_provisioned_device_need_not_send_its_key_with_a_ping(make_enforced: MakeEnforced) -> None:
    """The backend gets its own all the same; until it has given one, the gateway says so itself."""
    stand, backend = await make_enforced()
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    assert (await device.ask(plain("Ping", "14.1", None))).status == 449
    assert stand.backend.seen == []
    key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert (await device.ask(plain("Ping", "14.1", None))).body == b"served"
    assert stand.backend.seen[-1].query.policy_key == backend.key


async def test_a_client_that_a_lenient_gateway_lets_pass_without_a_key_is_the_backends_to_judge(
    make_enforced: MakeEnforced,
) -> None:
    """The backend sees no key that this client has not shown, whatever a device of this id has shown before; and once the
    backend lets such clients pass, the gateway does not stand in their way."""
    stand, backend = await make_enforced(non_provisionable="allow")
    device = await stand.device()
    for _ in range(2):
        told = await device.ask(plain("FolderSync", "14.1", None))
        assert (told.status, b"\x03142\x00" in told.body) == (449, True)
        assert stand.backend.seen[-1].query.policy_key is None
    final = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", None))).status == 449
    assert stand.backend.seen[-1].query.policy_key is None
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    backend.demands = None
    assert (await device.ask(plain("FolderSync", "14.1", None))).body == b"served"


async def test_what_a_device_says_of_itself_is_told_to_the_agent(make_enforced: MakeEnforced) -> None:
    """With the document that it gets, or the directive."""
    stand, backend = await make_enforced()
    device = await stand.device()
    key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    await until(lambda: len(stand.agent.described) == 1)
    backend.wipe = "device"
    other = DeviceInformation(model="iPhone10C1", os="iOS 18.0")
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, other))).remote_wipe
    await until(lambda: len(stand.agent.described) == 2)
    assert [(one.key, one.information) for one in stand.agent.described] == [(PHONE, SAYS), (PHONE, other)]


async def test_a_modern_device_must_say_what_it_is_before_the_backend_is_asked(make_enforced: MakeEnforced) -> None:
    """As without such a backend."""
    stand, backend = await make_enforced()
    device = await stand.device()
    assert await say(device, plain, "14.1", Ask(EAS_WBXML)) == Response(165)
    assert backend.heard == []
    assert (await say(device, plain, "14.0", Ask(EAS_WBXML))).status == 1


# A device that has logged on


MakeLoggedOn = Callable[[], Awaitable[tuple[Stand, Enforcer]]]


@pytest.fixture
def make_logged_on(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch) -> MakeLoggedOn:
    """Make a stand whose gateway has a policy, before a backend that enforces one and lets devices log on by NTLM."""

    async def make() -> tuple[Stand, Enforcer]:
        stand = await make_stand(started=False)
        path = stand.folder / "fleet.key"
        path.write_bytes(SECRET)
        set_gateway(stand, policy=POLICY, fleet_secret=str(path))
        await ntlm_server.start(stand, monkeypatch, "ntlm")
        backend = Enforcer(stand.backend).install()
        await stand.agent.put(PHONE, State.ALLOWED)
        return stand, backend

    return make


def by_ntlm(command: str, key: int, body: bytes = b"") -> Asked:
    """A request that has its credentials, if any, of the log-on."""
    return Asked(post(command, body, authorization=None, user="anna", extra=f"X-MS-PolicyKey: {key}\r\n"))


async def test_a_device_that_has_logged_on_provisions_for_both_over_its_connection(
    make_logged_on: MakeLoggedOn,
) -> None:
    """The backend hears the gateway's own Provisions on the connection that the device has logged on, without credentials."""
    stand, backend = await make_logged_on()
    device = await stand.device()
    ask, client = by_ntlm("Provision", 0, encode_request(Ask(EAS_WBXML, SAYS))), NtlmClient("LAB\\anna")
    answer, _ = await log_on(device, ask, client)
    offered = decode_response(answer.body)
    assert offered.policy is not None
    assert offered.policy.document == BOTH
    temporary, theirs = key_in(offered), backend.temporary
    acknowledge = by_ntlm("Provision", temporary, encode_request(Acknowledgement(EAS_WBXML, temporary, 1)))
    final = key_in(decode_response((await device.ask(acknowledge(None))).body))
    assert backend.heard == [Ask(EAS_WBXML, SAYS), Acknowledgement(EAS_WBXML, theirs, 1)]
    assert (await device.ask(by_ntlm("FolderSync", final)(None))).body == b"served"
    assert stand.backend.seen[-1].query.policy_key == backend.key
    after = [*stand.backend.provisions, *stand.backend.seen]
    assert [seen.values("authorization") for seen in after] == [[], [], []]
    assert {seen.connection for seen in (*stand.backend.probes, *after)} == {1}


async def test_a_log_on_that_the_backend_takes_back_in_a_provision_is_over(make_logged_on: MakeLoggedOn) -> None:
    """The device is challenged, and logs on anew; nothing more goes over that connection."""
    stand, backend = await make_logged_on()

    async def refuse(turn: Turn) -> None:
        await turn.ok(status="401 Unauthorized")

    backend.fault = refuse
    device = await stand.device()
    ask = by_ntlm("Provision", 0, encode_request(Ask(EAS_WBXML, SAYS)))
    answer, last = await log_on(device, ask, NtlmClient("LAB\\anna"))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "NTLM")
    for authorization in (None, last):
        assert (await device.ask(ask(authorization))).status == 401
    assert (len(stand.backend.provisions), stand.backend.connections) == (1, 1)
    answer, _ = await log_on(device, ask, NtlmClient("LAB\\anna"))
    key_in(decode_response(answer.body))
    assert [seen.connection for seen in stand.backend.provisions] == [1, 2]


async def test_each_form_of_a_device_id_is_a_device_of_its_own_to_the_backend(make_enforced: MakeEnforced) -> None:
    """As it is in the list: one that changes its form provisions once more."""
    stand, _ = await make_enforced()
    device = await stand.device()
    final = await provision(device, plain)
    assert (await device.ask(packed("FolderSync", "14.1", final))).status == 449
    await provision(device, packed)
    assert stand.agent.held(PHONES[packed]) is not None


async def test_a_provision_may_be_the_first_contact(make_enforced: MakeEnforced) -> None:
    """The record is there before the backend's keys are."""
    stand, _ = await make_enforced()
    await stand.agent.remove(PHONE)

    async def allow(ask: control.Ask) -> Record:
        return await stand.agent.put(ask.key, State.ALLOWED)

    stand.agent.answer = allow
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"


async def test_without_a_policy_of_the_gateways_all_of_it_passes_untouched(make_enforced: MakeEnforced) -> None:
    """The backend's calls, its document, its keys, its wipe."""
    stand, backend = await make_enforced(policy=None)
    device = await stand.device()
    for call in (enforcer.call_449_with_status, enforcer.call_200):
        backend.call = call
        told = await device.ask(plain("FolderSync", "14.1", 77))
        assert told.status == (449 if call is enforcer.call_449_with_status else 200)
        assert b"\x03144\x00" in told.body
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == DEMANDED
    assert key_in(offered) == backend.temporary
    final = key_in(
        await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, backend.temporary, 1), backend.temporary)
    )
    assert final == backend.key
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    backend.wipe = "device"
    assert b"\x03140\x00" in (await device.ask(plain("FolderSync", "14.1", final))).body
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    assert stand.agent.held(PHONE) is None


# The backend's wipe


WIPES = [
    pytest.param(plain, "2.5", enforcer.call_449, "device", id="2.5"),
    pytest.param(plain, "12.1", enforcer.call_200, "device", id="12.1, called as Horde does"),
    pytest.param(packed, "14.0", enforcer.call_200, "device", id="14.0"),
    pytest.param(plain, "14.1", enforcer.call_449_with_status, "device", id="14.1, 449"),
    pytest.param(packed, "16.1", enforcer.call_200_compressed, "account", id="16.1, the account alone"),
]


@pytest.mark.parametrize(("form", "protocol", "call", "wipe"), WIPES)
@pytest.mark.parametrize("empty", [False, True], ids=["phase 1", "empty Provision"])
async def test_a_wipe_of_the_backends_reaches_the_device_and_its_acknowledgement_the_backend(
    make_enforced: MakeEnforced,
    form: Form,
    protocol: str,
    call: enforcer.Call,
    wipe: str,
    empty: bool,  # noqa: FBT001 - a table
) -> None:
    """Called for by a status, handed out by the Provision, acknowledged, audited, counted."""
    stand, backend = await make_enforced()
    device, kind = await stand.device(), kind_of(protocol)
    final = await provision(device, form, protocol)
    backend.wipe, backend.call = wipe, call
    told = await device.ask(form("FolderSync", protocol, final))
    assert told.status == 449
    assert (b"\x03140\x00" in told.body) == (call is not enforcer.call_449 and protocol not in ("2.5", "12.1"))
    directive = await say(device, form, protocol, Ask("") if empty else Ask(kind, SAYS))
    assert directive.status == 1
    assert (directive.remote_wipe, directive.account_only_remote_wipe) == (wipe == "device", wipe == "account")
    account_only = wipe == "account"
    heard = len(backend.heard)
    # The other kind of acknowledgement is none of what was ordered.
    assert (await say(device, form, protocol, WipeAcknowledgement(1, not account_only))).status == 2
    assert len(backend.heard) == heard
    done = await say(device, form, protocol, WipeAcknowledgement(1, account_only))
    assert done == Response(1)
    assert backend.heard[heard:] == [WipeAcknowledgement(1, account_only)]
    # Once is enough: said again it is as little asked for as before.
    assert (await say(device, form, protocol, WipeAcknowledgement(1, account_only))).status == 2
    words = await reasons(stand, 7)
    old_ping = call is enforcer.call_449
    assert words[2] == (("provision", ["backend_wants_provision"]) if old_ping else ("wipe", ["backend_wipe_pending"]))
    assert words[3] == ("wipe", ["backend_wipe_handed_out"])
    assert words[5] == ("wipe", ["backend_wipe_acknowledged"])
    await until(lambda: stand.status()["backend_wipes_acknowledged"] == 1)
    assert stand.status()["backend_wipes"] == 1


async def test_a_failed_wipe_is_reported_and_ordered_again(make_enforced: MakeEnforced) -> None:
    """The backend hears the device's own word on it."""
    stand, backend = await make_enforced()
    backend.wipe = "device"
    device = await stand.device()
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    again = await say(device, plain, "14.1", WipeAcknowledgement(2))
    assert (again.status, again.remote_wipe) == (2, True)
    assert backend.heard[1:] == [WipeAcknowledgement(2)]
    assert await say(device, plain, "14.1", WipeAcknowledgement(1)) == Response(1)
    assert backend.heard[2:] == [WipeAcknowledgement(1)]


async def test_a_wipe_acknowledgement_survives_the_worker(make_enforced: MakeEnforced) -> None:
    """It may come to another one than the directive went out from."""
    stand, backend = await make_enforced()
    backend.wipe = "device"
    assert (await say(await stand.device(), plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    assert stand.agent.held(PHONE) == Enforcement(wipe=Directive.DEVICE)
    (before,) = stand.workers()
    os.kill(before, signal.SIGKILL)
    await until(lambda: stand.workers() not in ([], [before]))
    assert await say(await stand.device(), plain, "14.1", WipeAcknowledgement(1)) == Response(1)
    assert backend.heard[1:] == [WipeAcknowledgement(1)]


async def test_an_acknowledgement_that_the_backend_does_not_take_is_said_to_be_lost(
    make_enforced: MakeEnforced,
) -> None:
    """In the audit trail; the device may try again, if there is still one."""
    stand, backend = await make_enforced()
    backend.wipe = "device"
    device = await stand.device()
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    backend.fault = internal_error
    answer = await device.ask(plain("Provision", "14.1", 0, encode_request(WipeAcknowledgement(1))))
    assert answer.status == 503
    assert (await reasons(stand, 2))[1] == ("fail", ["backend_wipe_report_lost"])
    assert await say(device, plain, "14.1", WipeAcknowledgement(1)) == Response(1)


async def test_a_wipe_that_is_taken_back_is_not_handed_out(make_enforced: MakeEnforced) -> None:
    """Each directive is the backend's word of this moment; a late acknowledgement is none of anything."""
    stand, backend = await make_enforced()
    backend.wipe = "device"
    device = await stand.device()
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    backend.wipe = ""
    final = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    assert (await say(device, plain, "14.1", WipeAcknowledgement(1))).status == 2
    assert not any(isinstance(one, WipeAcknowledgement) for one in backend.heard)


async def test_an_unasked_wipe_acknowledgement_never_reaches_the_backend(make_enforced: MakeEnforced) -> None:
    """Nobody marks a device as wiped that was not told to."""
    stand, backend = await make_enforced()
    device = await stand.device()
    await provision(device)
    for account_only in (False, True):
        assert (await say(device, plain, "16.1", WipeAcknowledgement(1, account_only))).status == 2
    assert len(backend.heard) == 2


async def test_a_client_that_keys_its_query_provisions_with_both(make_enforced: MakeEnforced) -> None:
    """There are some that have the temporary key in a parameter of phase 2 and in no header."""
    stand, backend = await make_enforced()
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    theirs = backend.temporary
    body = encode_request(Acknowledgement(EAS_WBXML, temporary, 1))
    request = plain("Provision", "14.1", None, body).replace(b"&DeviceType", b"&PolicyKey=%d&DeviceType" % temporary)
    key_in(decode_response((await device.ask(request)).body))
    assert f"PolicyKey={theirs}&" in stand.backend.provisions[-1].target
    assert str(temporary) not in stand.backend.provisions[-1].target


async def test_nothing_of_the_backends_document_is_lost(make_enforced: MakeEnforced) -> None:
    """What the gateway does not know stands in the joint document as it came."""
    stand, backend = await make_enforced()
    device = await stand.device()
    foreign = element(PROVISION, "Hash", "of a later version")

    async def demand_more(turn: Turn) -> None:
        whole = document(DEMANDED, "14.1")
        more = Element(whole.page, whole.token, (*whole.content, foreign))
        await turn.ok(encode_response(Response(policy=PolicyAnswer(EAS_WBXML, 1, 77, more)), "14.1"))

    backend.fault = demand_more
    answer = await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
    offered = decode_response(answer.body, as_sent=True)
    assert offered.policy is not None
    assert isinstance(offered.policy.document, Element)
    assert read_document(offered.policy.document) == BOTH
    assert offered.policy.document.content[-1] == foreign


async def test_another_kind_of_document_is_refused_without_asking_the_backend(make_enforced: MakeEnforced) -> None:
    """As without such a backend."""
    stand, backend = await make_enforced()
    device = await stand.device()
    other = await say(device, plain, "14.1", Ask(WAP_XML, SAYS))
    assert other.policy is not None
    assert other.policy.status == 3
    assert backend.heard == []
