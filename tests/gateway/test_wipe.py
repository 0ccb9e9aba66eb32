"""A device that is to be wiped: refused whatever it sends, told to wipe itself whoever it is, and what comes of it is kept."""

import asyncio
import os
import signal

import msgspec
import pytest
import requests
from pyactivesync import Client
from pyactivesync._wbxml import WBXMLReader, WBXMLWriter, find, text_of, wtag

from sentry_runtime import control, settings
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, WipeKind, WipeMark
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import (
    EAS_WBXML,
    WAP_XML,
    Acknowledgement,
    Ask,
    Request,
    Response,
    WipeAcknowledgement,
    decode_response,
    encode_request,
)
from sentry_runtime.eas.query import COMMANDS
from sentry_runtime.gateway.wipe_marks import PROBES
from tests.gateway.conftest import MakeStand
from tests.gateway.ntlm_server import USERS, Asked, NtlmClient, log_on, no_canary
from tests.gateway.ntlm_server import start as start_ntlm
from tests.gateway.stand import ORDER, PASSWORD, PHONE, Device, Stand, Turn, basic, post, until
from tests.gateway.test_decision import THROTTLE, explain, rule, soon
from tests.gateway.test_provisioning import Form, packed, plain, set_gateway, strict_client

WRONG = basic(password="wr0ng-pa55word")
ANSWERED = ("14.0", "14.1", "16.0", "16.1")
FORMS = [
    *(pytest.param(plain, one, id=f"plain {one}") for one in ("2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1")),
    *(pytest.param(packed, one, id=f"base64 {one}") for one in ("12.1", "14.0", "14.1", "16.0", "16.1")),
]
WITHOUT = {"GetAttachment", "GetHierarchy", "CreateCollection", "DeleteCollection", "MoveCollection"}
DONE, FAILED = encode_request(WipeAcknowledgement(1)), encode_request(WipeAcknowledgement(2))
HANDED_OUT, UNVERIFIED, VERIFIED = WipeMark.HANDED_OUT, WipeMark.UNVERIFIED, WipeMark.VERIFIED


def key_of(form: Form) -> DeviceKey:
    """How the device is known that asks in this form."""
    return PHONE if form is plain else DeviceKey(b"PHONE1".hex().upper(), PHONE.principal)


async def refuse(turn: Turn) -> None:
    """A backend that knows another password."""
    await turn.body()
    await turn.ok(status="401 Unauthorized", extra='WWW-Authenticate: basic realm="SOGo"\r\n')


async def say(device: Device, request: bytes) -> Response:
    """Send a Provision and read the answer."""
    answer = await device.ask(request)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/vnd.ms-sync.wbxml")
    return decode_response(answer.body)


def provision(body: bytes | Request, version: str = "14.1", authorization: str = WRONG) -> bytes:
    """A Provision by whoever names the device and the user."""
    data = body if isinstance(body, bytes) else encode_request(body)
    return post("Provision", data, version=version, authorization=authorization)


def marks(stand: Stand, key: DeviceKey = PHONE) -> set[WipeMark]:
    """What is kept of the order."""
    record = stand.agent.get(key)
    assert record is not None
    assert record.wipe is not None
    return set(record.wipe.marks)


async def marked(stand: Stand, *expected: WipeMark, key: DeviceKey = PHONE) -> None:
    """Until exactly these marks are kept."""
    await until(lambda: marks(stand, key) == set(expected))


async def heard(stand: Stand, device: Device, status: int = 449) -> None:
    """Until the worker knows what the list says: it tells by how a FolderSync of 12.1 is answered."""
    async with asyncio.timeout(10):
        while (await device.ask(post(version="12.1"))).status != status:
            pass


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


# Strangers: somebody who knows the device id and the user's name.


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
        await (refuse if turn.seen.value("Authorization") == WRONG else turn_ok)(turn)

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


async def turn_ok(turn: Turn) -> None:
    """A backend that knows the password."""
    await turn.body()
    await turn.ok()


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


# What goes wrong meanwhile.


async def test_the_device_hangs_up_with_its_acknowledgement_and_it_counts(stand: Stand) -> None:
    """It wipes itself without waiting for an answer."""
    release = asyncio.Event()

    async def slow(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok()

    stand.backend.probe = slow
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    await device.send(provision(DONE, authorization=basic()))
    await until(lambda: len(stand.backend.probes) == 1)
    await device.close()
    await marked(stand, UNVERIFIED)
    release.set()
    await marked(stand, UNVERIFIED, VERIFIED)


async def test_new_settings_take_no_verification_with_them(stand: Stand) -> None:
    """The old worker stays, without any connection, until the backend has said what the acknowledgement is worth."""
    await stand.agent.order_wipe(PHONE)
    answer = asyncio.Event()

    async def slow(turn: Turn) -> None:
        await answer.wait()
        await turn.ok()

    stand.backend.probe = slow
    device = await stand.device()
    assert (await device.ask(provision(WipeAcknowledgement(1), authorization=basic()))).status == 200
    await until(lambda: len(stand.backend.probes) == 1)
    await until(lambda: stand.status()["connections_now"] == 1)
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: stand.status()["workers_retired"] == 1)
    await device.close()
    await until(lambda: (stand.status()["connections"], stand.status()["connections_now"]) == (1, 0))
    answer.set()
    await until(lambda: WipeMark.VERIFIED in marks(stand))
    await until(lambda: stand.status()["workers_retired"] == 0)


async def test_the_agent_is_away_for_a_moment_and_the_device_waits(stand: Stand) -> None:
    """An agent restarts in a second."""
    await stand.agent.order_wipe(PHONE)
    await stand.agent.stop_socket()
    device = await stand.device()
    await device.send(provision(DONE, authorization=basic()))
    await until(lambda: len(stand.backend.probes) == 1)
    await stand.agent.start()
    assert decode_response((await device.response()).body) == Response(status=1)
    await marked(stand, UNVERIFIED, VERIFIED)


async def test_the_agent_is_away_for_long_and_the_device_may_come_back(stand: Stand) -> None:
    """503; the worker goes on telling, and the device is refused all the time."""
    await stand.agent.order_wipe(PHONE)
    await stand.agent.stop_socket()
    device = await stand.device()
    answer = await device.ask(provision(DONE, authorization=basic()))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert (await device.ask(post(version="12.1"))).status == 449
    await stand.agent.start()
    await marked(stand, UNVERIFIED, VERIFIED)


async def test_a_worker_killed_after_its_answer_has_lost_nothing(stand: Stand) -> None:
    """The acknowledgement was kept first; that nobody could verify it any more is what is seen of it."""

    async def never(turn: Turn) -> None:
        await turn.body()
        await turn.reader.read()

    stand.backend.probe = never
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    assert await say(device, provision(DONE, authorization=basic())) == Response(status=1)
    (worker,) = stand.workers()
    os.kill(worker, signal.SIGKILL)
    assert marks(stand) == {UNVERIFIED}
    again = await stand.device()
    assert (await again.ask(post(version="12.1"))).status == 449


async def test_a_wipe_cancelled_while_the_body_comes_is_not_handed_out(stand: Stand) -> None:
    """The list has the last word; the request goes where it was meant to go."""
    await stand.agent.order_wipe(PHONE)
    device, request = await stand.device(), provision(Ask(), authorization=basic())
    end = request.index(b"\r\n\r\n") + 6
    await device.send(request[:end])
    await stand.audit.count(1)
    await stand.agent.put(PHONE, State.ALLOWED)
    other = await stand.device()
    async with asyncio.timeout(10):
        while (await other.ask(post(version="12.1"))).status != 200:
            pass
    assert (await device.ask(request[end:])).status == 200
    assert stand.backend.seen[-1].target.startswith("/Microsoft-Server-ActiveSync?Cmd=Provision&")
    assert stand.backend.seen[-1].body == encode_request(Ask())


async def test_a_wipe_ordered_while_the_gateways_own_policy_is_asked_for(make_stand: MakeStand) -> None:
    """The device gets the directive and no key of the policy."""
    stand = await make_stand(started=False)
    (stand.folder / "fleet.key").write_bytes(bytes(32))
    set_gateway(stand, policy=Policy(min_device_password_length=6), fleet_secret=str(stand.folder / "fleet.key"))
    await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)

    async def ordered_meanwhile(turn: Turn) -> None:
        await stand.agent.order_wipe(PHONE)
        await turn_ok(turn)

    stand.backend.probe = ordered_meanwhile
    device = await stand.device()
    offered = await say(device, provision(Ask(EAS_WBXML), authorization=basic()))
    assert offered.remote_wipe
    assert offered.policy is not None
    assert offered.policy.document == Policy()
    refused = await device.ask(plain("FolderSync", "14.1", offered.policy.key))
    assert (refused.status, b"\x03140\x00" in refused.body) == (449, True)


async def test_a_first_contact_may_be_of_a_device_that_is_to_be_wiped(stand: Stand) -> None:
    """Its entry was lost here; the UEM knows."""

    async def wipe(ask: control.Ask) -> Record:
        return await stand.agent.order_wipe(ask.key)

    stand.agent.answer = wipe
    device = await stand.device()
    assert (await say(device, provision(Ask(), authorization=basic()))).remote_wipe


async def test_an_entry_from_before_orders_were_kept_is_refused_and_gets_the_directive(stand: Stand) -> None:
    """Nothing can be kept of it; a wiped one is blocked."""
    stand.agent.put_silently(Record(key=PHONE, state=State.WIPE_PENDING, version=1, reasons=(Reason.MANUAL,)))
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 449
    assert (await say(device, provision(Ask()))).remote_wipe
    assert await say(device, provision(DONE)) == Response(status=1)
    assert stand.agent.marked == []
    other = DeviceKey("PHONE2", PHONE.principal)
    stand.agent.put_silently(Record(key=other, state=State.WIPED, version=1))
    assert (await device.ask(post(device="PHONE2", version="12.1"))).status == 403


# A client of somebody else's.


def acknowledge(client: Client, status: str) -> bytes:
    """An acknowledgement by the client's own codec."""
    writer = WBXMLWriter()
    directive = wtag("Provision", "RemoteWipe", children=[wtag("Provision", "Status", text=status)])
    writer.tag("Provision", "Provision", children=[directive])
    answer: bytes = client._transport.post("Provision", PHONE.principal, writer.render())
    return answer


async def test_pyactivesync_reads_the_directive_and_is_believed(stand: Stand) -> None:
    """With its own codec; and its ordinary way, which knows of no wipe, leads to no mail."""
    await stand.agent.order_wipe(PHONE)
    with strict_client(stand) as client:
        with pytest.raises(requests.HTTPError, match="449"):
            await asyncio.to_thread(client.list_folders)
        writer = WBXMLWriter()
        writer.tag("Provision", "Provision", children=[])
        answer = await asyncio.to_thread(client._transport.post, "Provision", PHONE.principal, writer.render())
        nodes = WBXMLReader(answer).parse()
        assert text_of(find(nodes, "Provision.Status")) == "1"
        assert find(nodes, "Provision.RemoteWipe") is not None
        failed = WBXMLReader(await asyncio.to_thread(acknowledge, client, "2")).parse()
        assert (text_of(find(failed, "Provision.Status")), find(failed, "Provision.RemoteWipe") is None) == ("2", False)
        done = WBXMLReader(await asyncio.to_thread(acknowledge, client, "1")).parse()
        assert (text_of(find(done, "Provision.Status")), find(done, "Provision.RemoteWipe")) == ("1", None)
    await marked(stand, HANDED_OUT, WipeMark.FAILED, UNVERIFIED, VERIFIED)
    assert stand.backend.seen == []


# --- beside what else the site says -----------------------------------------------------------------------------------


async def test_a_denied_device_is_told_to_wipe_itself_all_the_same(make_stand: MakeStand) -> None:
    """Nothing else passes: no rule counts, neither before nor after. The trail and the explanation name the order's row."""
    stand = await make_stand(rules=(rule("lost", "deny", device="PHONE*"),))
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 403
    await stand.agent.order_wipe(PHONE)
    await heard(stand, device)
    assert (explain(stand).action, explain(stand).decided_by) == ("wipe", "wipe_pending")
    assert explain(stand, command="Provision").answer == "the gateway hands out the order to wipe"
    assert (await say(device, provision(Ask(EAS_WBXML)))).remote_wipe
    assert await say(device, provision(DONE, authorization=basic())) == Response(status=1)
    await marked(stand, HANDED_OUT, UNVERIFIED, VERIFIED)
    await heard(stand, device, 403)
    lines = await stand.audit.outcomes(1)
    while lines[-1].get("decided_by") != "wiped":
        lines = await stand.audit.outcomes(len(lines) + 1)
    rows = [(line["decided_by"], line["action"], line.get("rule", "")) for line in lines]
    assert set(rows) == {
        ("denied_by_rule", "block", "lost"),
        ("wipe_pending", "wipe", ""),
        ("wiped", "block", ""),
    } | ({("wipe_unverified", "wipe", "")} & set(rows))
    assert explain(stand).decided_by == "wiped"
    assert stand.backend.seen == []


async def test_a_throttled_device_is_told_to_wipe_itself_all_the_same(make_stand: MakeStand) -> None:
    """Its pause goes on beside that, for when the order is taken back."""
    stand = await make_stand(throttle=msgspec.structs.replace(THROTTLE, burst=1, pause_seconds=600.0))
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    for number in range(3):
        await device.ask(post("Sync", b"%d" % number, version="12.1"))
    assert (await device.ask(post(version="12.1"))).status == 503
    await stand.agent.order_wipe(PHONE)
    await heard(stand, device)
    await until(lambda: any("throttle this device" in note for note in explain(stand).notes))
    assert explain(stand).decided_by == "wipe_pending"
    assert (await say(device, provision(Ask(EAS_WBXML)))).remote_wipe
    await marked(stand, HANDED_OUT)
    await stand.agent.put(PHONE, State.ALLOWED)
    await heard(stand, device, 503)


async def test_a_rule_that_allows_and_observing_let_no_device_pass_that_is_to_be_wiped(make_stand: MakeStand) -> None:
    """Neither is a wipe among what is softened."""
    observe = settings.Observe(until=soon(days=1))
    stand = await make_stand(rules=(rule("pilot", "allow", device="PHONE1"),), observe=observe)
    assert stand.status()["observing_until"]
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    assert (await device.ask(post(authorization=basic()))).status == 449
    assert (stand.backend.connections, stand.agent.asked) == (0, [])


async def test_an_account_that_cannot_be_wiped_below_16_1_is_told_so_in_the_sites_words(make_stand: MakeStand) -> None:
    """The row and the explanation say why; the notice is the one of every block."""
    stand = await make_stand(block_notice="Ask the help desk.")
    await stand.agent.order_wipe(PHONE, WipeKind.ACCOUNT)
    device = await stand.device()
    answer = await device.ask(post(version="12.1"))
    assert (answer.status, answer.body) == (403, b"Ask the help desk.\n")
    (line,) = await stand.audit.outcomes(1)
    assert (line["decided_by"], line["action"]) == ("wipe_too_old", "wipe")
    await marked(stand, WipeMark.TOO_OLD)
    said = explain(stand, protocol="12.1")
    assert (said.decided_by, said.answer) == ("wipe_too_old", "HTTP 403")
    assert said.steps[-1].saw == "wipe_pending; wipe of the account: too_old; the version has none"
    assert explain(stand, protocol="16.1").decided_by == "wipe_pending"


# --- log-ons that belong to the connection ----------------------------------------------------------------------------


def asked(body: bytes | Request) -> Asked:
    """A Provision without credentials, to which a log-on's messages are added."""
    data = body if isinstance(body, bytes) else encode_request(body)
    return Asked(post("Provision", data, authorization=None, user="anna"))


@pytest.mark.parametrize(("password", "also"), [(None, {VERIFIED}), ("changed-since", set())])
async def test_a_device_that_logs_on_by_ntlm_is_told_and_its_acknowledgement_is_worth_what_its_password_is(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, password: str | None, also: set[WipeMark]
) -> None:
    """Its name is known before the backend sees the last message; that is taken there only to verify the acknowledgement."""
    stand = await make_stand(started=False)
    await start_ntlm(stand, monkeypatch, "ntlm")
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    refused, _ = await log_on(device, Asked(post(authorization=None, user="anna")), NtlmClient("LAB\\anna", password))
    assert refused.status == 449
    told, _ = await log_on(device, asked(Ask(EAS_WBXML)), NtlmClient("LAB\\anna", password))
    assert decode_response(told.body).remote_wipe
    firsts = [probe.value("authorization")[:20] for probe in stand.backend.probes]
    assert firsts == ["NTLM TlRMTVNTUAABAAA"] * 2
    done, last = await log_on(device, asked(DONE), NtlmClient("LAB\\anna", password))
    assert decode_response(done.body) == Response(status=1)
    await until(lambda: last in [probe.value("authorization") for probe in stand.backend.probes])
    await marked(stand, HANDED_OUT, UNVERIFIED, *also)
    assert stand.backend.seen == []
    await until(lambda: stand.backend.open <= 1)  # what was begun before may still wait for its last message
    no_canary(stand, USERS["LAB\\anna"], last.partition(" ")[2])


async def test_on_a_connection_that_has_logged_on_an_acknowledgement_is_verified_by_that(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend has vouched for whoever holds the connection; it is not asked again."""
    stand = await make_stand(started=False)
    await start_ntlm(stand, monkeypatch, "ntlm", "basic")
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    sync = Asked(post(authorization=None, user="anna"))
    assert (await log_on(device, sync, NtlmClient("LAB\\anna")))[0].status == 200
    await stand.agent.order_wipe(PHONE)
    await stand.until_answered(
        post(version="12.1", authorization=basic("LAB\\anna", USERS["LAB\\anna"]), user="anna"), 449
    )
    probes, connections = len(stand.backend.probes), stand.backend.connections
    assert (await device.ask(sync(None))).status == 449
    assert (await say(device, asked(Ask(EAS_WBXML))(None))).remote_wipe
    assert await say(device, asked(DONE)(None)) == Response(status=1)
    await marked(stand, HANDED_OUT, UNVERIFIED, VERIFIED)
    assert (len(stand.backend.probes), stand.backend.connections) == (probes, connections)
