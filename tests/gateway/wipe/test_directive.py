"""A device that is to be wiped: refused whatever it sends, told to wipe itself whoever it is, and what comes of it is kept."""

import pytest

from sentry_runtime.devices.record import DeviceKey, State, WipeKind, WipeMark
from sentry_runtime.eas.provision import (
    EAS_WBXML,
    WAP_XML,
    Acknowledgement,
    Ask,
    Response,
    WipeAcknowledgement,
    encode_request,
)
from sentry_runtime.eas.query import COMMANDS
from tests.gateway.stand import ORDER, PHONE, Stand, Turn, basic, post, until
from tests.gateway.test_provisioning import Form, packed, plain
from tests.gateway.wipe.asking import (
    DONE,
    FAILED,
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
)

ANSWERED = ("14.0", "14.1", "16.0", "16.1")
FORMS = [
    *(pytest.param(plain, one, id=f"plain {one}") for one in ("2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1")),
    *(pytest.param(packed, one, id=f"base64 {one}") for one in ("12.1", "14.0", "14.1", "16.0", "16.1")),
]
WITHOUT = {"GetAttachment", "GetHierarchy", "CreateCollection", "DeleteCollection", "MoveCollection"}


def key_of(form: Form) -> DeviceKey:
    """How the device is known that asks in this form."""
    return PHONE if form is plain else DeviceKey(b"PHONE1".hex().upper(), PHONE.principal)


@pytest.mark.parametrize(("form", "protocol"), FORMS)
async def test_a_device_is_refused_told_to_wipe_itself_and_believed(stand: Stand, form: Form, protocol: str) -> None:
    """From the order to the acknowledgement, which the backend verifies; the backend sees nothing else of it."""
    key, kind = key_of(form), WAP_XML if protocol == "2.5" else EAS_WBXML
    await stand.agent.order_wipe(key)
    device = await stand.device()
    refused = await device.ask(form("FolderSync", protocol, 5))
    document = "03 01 6a 00 00 07 56 4c 03 31 34 30 00 01 01" if protocol in ANSWERED else ""
    assert (refused.status, refused.body.hex(" ")) == (449, document)
    for asked in (b"", encode_request(Ask()), encode_request(Acknowledgement(kind, 1, 1))):
        answer = await device.ask(form("Provision", protocol, 5, asked))
        assert (answer.status, answer.body.hex()) == (200, "03016a00000e454b033100010c01")
    offered = await say(device, form("Provision", protocol, 0, encode_request(Ask(kind))))
    assert (offered.status, offered.remote_wipe) == (1, True)
    assert offered.policy is not None
    assert offered.policy.key
    assert (stand.backend.connections, stand.agent.asked) == (0, [])
    assert await say(device, form("Provision", protocol, 5, DONE)) == Response(status=1)
    await marked(stand, HANDED_OUT, UNVERIFIED, VERIFIED, key=key)
    assert [mark.order for mark in stand.agent.marked] == [ORDER] * 3
    assert (len(stand.backend.probes), stand.backend.seen) == (1, [])


async def test_every_command_is_refused_and_none_reaches_the_backend(stand: Stand) -> None:
    """Settings/UserInformation too, and an OPTIONS that names the device."""
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    for command in set(COMMANDS.values()) - {"Provision"}:
        for version in ("2.5", "12.1", "14.1", "16.1"):
            answer = await device.ask(post(command, b"\x03\x01\x6a\x00\x00\x12\x45", version=version))
            assert (command, answer.status) == (command, 449)
            assert (b"\x03140\x00" in answer.body) == (version in ANSWERED and command not in WITHOUT)
    assert (await device.ask(post("Sync").replace(b"POST", b"OPTIONS"))).status == 449
    assert (stand.backend.connections, marks(stand)) == (0, set())


@pytest.mark.parametrize(
    ("command", "version", "status", "body"),
    [
        ("Ping", "14.1", 449, "03 01 6a 00 00 0d 45 47 03 31 34 30 00 01 01"),
        ("Ping", "16.1", 449, "03 01 6a 00 00 0d 45 47 03 31 34 30 00 01 01"),
        ("Ping", "12.1", 200, "03 01 6a 00 00 0d 45 47 03 37 00 01 01"),
        ("Sync", "2.5", 449, ""),
    ],
)
async def test_what_is_held_ends_at_once_when_the_wipe_is_ordered(
    stand: Stand, command: str, version: str, status: int, body: str
) -> None:
    """So that the device comes back, and gets the directive with its next Provision."""

    async def hang(turn: Turn) -> None:
        await turn.body()
        await turn.reader.read()

    await stand.agent.put(PHONE, State.ALLOWED)
    stand.backend.script = hang
    device = await stand.device()
    await device.send(post(command, b"\x03\x01\x6a\x00", version=version))
    await stand.backend.wait_seen()
    await stand.agent.order_wipe(PHONE)
    response = await device.response()
    assert (response.status, response.body.hex(" ")) == (status, body)
    await stand.backend.lost.wait()
    (outcome,) = await stand.audit.outcomes(1)
    assert (outcome["action"], outcome["reasons"]) == ("wipe", ["revoked"])
    assert (await say(await stand.device(), provision(Ask(), version))).remote_wipe


async def test_the_password_was_changed_and_the_device_is_wiped_all_the_same(stand: Stand) -> None:
    """It is never sent away with 401; what it acknowledges is unverified, so the directive stays for who asks."""
    stand.backend.probe = refuse
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    assert (await device.ask(post(authorization=WRONG))).status == 449
    assert (await say(device, provision(Ask(EAS_WBXML)))).remote_wipe
    assert await say(device, provision(DONE)) == Response(status=1)
    await marked(stand, HANDED_OUT, UNVERIFIED)
    await until(lambda: len(stand.backend.probes) == 1)
    assert stand.agent.get(PHONE).state is State.WIPED  # type: ignore[union-attr] # it is there
    again = await stand.device()
    await heard(stand, again)
    assert (await again.ask(post("FolderSync"))).body.hex(" ").endswith("4c 03 31 34 30 00 01 01")
    assert (await say(again, provision(Ask()))).remote_wipe
    outcomes = await stand.audit.wait(lambda lines: any("wiped" in line.get("reasons", ()) for line in lines))
    assert all(line.get("status") != 401 for line in outcomes)
    assert marks(stand) == {HANDED_OUT, UNVERIFIED}


async def test_a_backend_that_is_down_verifies_nothing(stand: Stand) -> None:
    """The acknowledgement counts, as unverified."""
    await stand.agent.order_wipe(PHONE)
    await stand.backend.stop()
    device = await stand.device()
    assert await say(device, provision(DONE, authorization=basic())) == Response(status=1)
    await marked(stand, UNVERIFIED)
    assert (await say(device, provision(Ask()))).remote_wipe
    await marked(stand, UNVERIFIED, HANDED_OUT)


async def test_after_a_verified_acknowledgement_the_device_is_blocked(stand: Stand) -> None:
    """With its reason, whatever it sends: nothing is left to tell it."""
    await stand.agent.order_wipe(PHONE, WipeKind.DEVICE, UNVERIFIED, VERIFIED)
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 403
    for request in (post("Sync"), provision(Ask()), provision(DONE, authorization=basic())):
        assert b"\x03129\x00" in (await device.ask(request)).body
    outcomes = await stand.audit.outcomes(4)
    assert [(one["action"], one["reasons"]) for one in outcomes] == [("block", ["wiped"])] * 4
    assert stand.backend.connections == 0


async def test_a_device_that_failed_gets_the_directive_again(stand: Stand) -> None:
    """And is believed when it succeeds."""
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    assert await say(device, provision(FAILED, authorization=basic())) == Response(status=2, remote_wipe=True)
    await marked(stand, WipeMark.FAILED)
    assert (await say(device, provision(Ask(), authorization=basic()))).remote_wipe
    assert await say(device, provision(DONE, authorization=basic())) == Response(status=1)
    await marked(stand, WipeMark.FAILED, HANDED_OUT, UNVERIFIED, VERIFIED)


async def test_an_account_is_wiped_from_16_1_on_and_blocked_below(stand: Stand) -> None:
    """That it came with an older version is kept; with 16.1 it gets what was ordered."""
    await stand.agent.order_wipe(PHONE, WipeKind.ACCOUNT)
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 403
    assert b"\x03129\x00" in (await device.ask(post("Sync", version="16.0"))).body
    assert b"\x03129\x00" in (await device.ask(provision(Ask(EAS_WBXML)))).body
    await marked(stand, WipeMark.TOO_OLD)
    assert (await device.ask(post("Sync", version="16.1"))).status == 449
    directed = await device.ask(provision(Ask(), "16.1"))
    assert directed.body.hex() == "03016a00000e454b033100013b01"
    assert (await say(device, provision(DONE, "16.1"))).account_only_remote_wipe  # of a wipe that nobody ordered
    done = encode_request(WipeAcknowledgement(1, account_only=True))
    assert await say(device, provision(done, "16.1", basic())) == Response(status=1)
    await marked(stand, WipeMark.TOO_OLD, HANDED_OUT, UNVERIFIED, VERIFIED)
    assert stand.backend.seen == []
