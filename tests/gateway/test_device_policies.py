"""Policies that the UEM wants on one device: handed out, changed under a held Ping, with and without the site's own beside them;
clients that never provision; what devices say of themselves."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
import requests

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record, State
from sentry_runtime.eas.codepages import SETTINGS
from sentry_runtime.eas.device_information import write
from sentry_runtime.eas.policy import TEMPORARY, Policy, digest
from sentry_runtime.eas.provision import EAS_WBXML, Acknowledgement, Ask, decode_response, encode_request
from sentry_runtime.eas.wbxml import element, encode
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PATIENCE, PHONE, Device, Seen, Stand, Turn, until
from tests.gateway.test_provisioning import (
    SAYS,
    SECRET,
    key_in,
    packed,
    plain,
    provision,
    reload,
    say,
    say_no_policy,
    set_gateway,
    strict_client,
    without_policies,
)

SITES = Policy(device_password_enabled=True)
STRICT = Policy(device_password_enabled=True, min_device_password_length=8)
LAX = Policy(allow_camera=True)
OTHER = DeviceKey("PHONE2", PHONE.principal)
# Documents of 14.0 and later: a status in the command's own page.
PING_143 = "03 01 6a 00 00 0d 45 47 03 31 34 33 00 01 01"
PING_7 = "03 01 6a 00 00 0d 45 47 03 37 00 01 01"

MakeGateway = Callable[..., Awaitable[Stand]]


@pytest.fixture
def gateway(make_stand: MakeStand) -> MakeGateway:
    """Make a stand whose gateway has the fleet's secret, and a policy of its own where one is given."""

    async def make(policy: Policy | None = None, **changes: object) -> Stand:
        stand = await make_stand(started=False)
        path = stand.folder / "fleet.key"
        path.write_bytes(SECRET)
        set_gateway(stand, **{"policy": policy, "fleet_secret": str(path), **changes})
        stand.backend.provision = say_no_policy
        await stand.start()
        return stand

    return make


async def offered(device: Device) -> Policy:
    """The policy that a Provision is answered with."""
    answer = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert answer.policy is not None
    assert isinstance(answer.policy.document, Policy)
    return answer.policy.document


async def status_of(device: Device, command: str = "FolderSync", key: int | None = None, version: str = "14.1") -> int:
    """What a request with this key is answered."""
    return (await device.ask(plain(command, version, key))).status


async def refused(device: Device, request: bytes) -> tuple[int, bytes]:
    """What a request is answered, and the status in its document, as soon as the worker has heard that it may not pass."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await device.ask(request)).status == 200:
            pass
    return answer.status, answer.body[-6:-3]


async def test_a_device_gets_the_uems_policy_and_the_others_the_sites(gateway: MakeGateway) -> None:
    """By the entry of exactly this device and principal."""
    stand = await gateway(SITES)
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    await stand.agent.put(OTHER, State.ALLOWED)
    device = await stand.device()
    assert await offered(device) == STRICT
    final = await provision(device)
    assert await status_of(device, key=final) == 200
    asked = plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))).replace(b"PHONE1", b"PHONE2")
    response = decode_response((await device.ask(asked)).body).policy
    assert response is not None
    assert response.document == SITES


async def test_without_a_policy_of_the_sites_only_the_uems_devices_are_provisioned_here(gateway: MakeGateway) -> None:
    """The others' Provision and keys go to the backend as they come; theirs do not."""
    stand = await gateway()
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    await stand.agent.put(OTHER, State.ALLOWED)
    device = await stand.device()
    assert await status_of(device) == 449
    assert await status_of(device, key=await provision(device)) == 200
    for command in ("FolderSync", "Provision"):
        asked = plain(command, "14.1", 77, b"body").replace(b"PHONE1", b"PHONE2")
        assert (await device.ask(asked)).status == 200
    mine, sync = stand.backend.seen
    ours, asked_there = stand.backend.provisions
    assert [seen.values("X-MS-PolicyKey") for seen in (mine, ours)] == [[], []]
    assert [seen.values("X-MS-PolicyKey") for seen in (sync, asked_there)] == [["77"], ["77"]]
    assert asked_there.body == b"body"


def options(device: str = "") -> bytes:
    """An OPTIONS, with or without a device."""
    asked = plain("FolderSync", "14.1", None).replace(b"POST", b"OPTIONS")
    if not device:
        return b"OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\n" + asked.partition(b"\r\n")[2]
    return asked.replace(b"PHONE1", device.encode())


async def test_provision_is_offered_where_somebody_provisions_here(gateway: MakeGateway) -> None:
    """A device that is named, when it does; one that is not, as soon as anybody does."""

    async def sogo(turn: Turn) -> None:
        await turn.body()
        await turn.ok(extra="MS-ASProtocolCommands: Sync,FolderSync\r\n")

    stand = await gateway()
    stand.backend.script = sogo
    await stand.agent.put(PHONE, State.ALLOWED)
    await stand.agent.put(OTHER, State.ALLOWED)
    device = await stand.device()

    async def commands(name: str = "") -> str:
        return (await device.ask(options(name))).headers["ms-asprotocolcommands"]

    assert [await commands(name) for name in ("", "PHONE1", "PHONE2")] == ["Sync,FolderSync"] * 3
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    await refused(device, plain("FolderSync", "14.1", None))
    assert await commands() == await commands("PHONE1") == "Sync,FolderSync,Provision"
    assert await commands("PHONE2") == "Sync,FolderSync"


@pytest.mark.parametrize("form", [plain, packed])
async def test_a_changed_policy_is_told_from_a_wrong_key(gateway: MakeGateway, form: Callable[..., bytes]) -> None:
    """143 for the key of the policy before, 144 for any other, 142 for none; and the new policy's key opens."""
    stand = await gateway()
    key = PHONE if form is plain else DeviceKey(b"PHONE1".hex().upper(), PHONE.principal)
    await stand.agent.put(key, State.ALLOWED, policy=LAX)
    device = await stand.device()
    old = await provision(device, form)
    assert (await device.ask(form("FolderSync", "14.1", old))).status == 200
    await stand.agent.put(key, State.ALLOWED, policy=STRICT)
    for held, status in ((old, b"143"), (old ^ 1, b"144"), (0, b"142")):
        assert await refused(device, form("FolderSync", "14.1", held)) == (449, status)
    new = await provision(device, form)
    assert new != old
    assert (await device.ask(form("FolderSync", "14.1", new))).status == 200
    outcomes = await stand.audit.wait(
        lambda lines: sum("policy_applied" in line.get("reasons", []) for line in lines) == 2
    )
    assert [line["reasons"] for line in outcomes if line.get("action") == "provision"] == [
        ["policy_offered"],
        ["policy_applied"],
        ["policy_changed"],
        ["policy_key_wrong"],
        ["policy_key_missing"],
        ["policy_offered"],
        ["policy_applied"],
    ]


async def hold(turn: Turn) -> None:
    """A backend that answers a Ping when its heartbeat ends, which is never."""
    await turn.body()
    if "Cmd=Ping" in turn.seen.target:
        await turn.reader.read()
    else:
        await turn.ok()


@pytest.mark.parametrize(
    ("version", "keyed", "status", "body"),
    [
        ("14.1", True, 449, PING_143),
        ("12.1", True, 449, ""),
        ("14.1", False, 200, PING_7),
        ("12.1", False, 200, PING_7),
    ],
)
async def test_a_changed_policy_ends_a_held_ping(
    gateway: MakeGateway,
    version: str,
    keyed: bool,  # noqa: FBT001 - a table
    status: int,
    body: str,
) -> None:
    """So that the device comes back at once: its next request is told to provision. A client need not send a key with a Ping;
    such a one is told to do a FolderSync, which has one."""
    stand = await gateway()
    stand.backend.script = hold
    await stand.agent.put(PHONE, State.ALLOWED, policy=LAX)
    device = await stand.device()
    old = await provision(device, protocol=version)
    await device.send(plain("Ping", version, old if keyed else None))
    await stand.backend.wait_seen()
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    ended = await device.response()
    assert (ended.status, ended.body.hex(" ")) == (status, body)
    # The connection stays for what comes next.
    assert await status_of(device, key=old, version=version) == 449
    assert await offered(device) == STRICT
    assert await status_of(device, key=await provision(device, protocol=version), version=version) == 200


async def test_a_changed_policy_ends_nothing_else(gateway: MakeGateway) -> None:
    """A mail that is being sent would be sent twice; and the Ping of another device goes on."""
    stand = await gateway()
    held = asyncio.Event()

    async def slow(turn: Turn) -> None:
        await turn.body()
        if "Cmd=FolderSync" not in turn.seen.target:
            await held.wait()
        await turn.ok(b"done")

    stand.backend.script = slow
    for key in (PHONE, OTHER):
        await stand.agent.put(key, State.ALLOWED, policy=LAX)
    device, other = await stand.device(), await stand.device()
    old = await provision(device)
    await device.send(plain("SendMail", "14.1", old, b"mail"))
    await other.send(plain("Ping", "14.1", None).replace(b"PHONE1", b"PHONE2"))
    await stand.backend.wait_seen(2)
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    await refused(await stand.device(), plain("FolderSync", "14.1", old))
    held.set()
    assert [(await one.response()).body for one in (device, other)] == [b"done", b"done"]


async def test_a_policy_that_comes_and_goes_ends_the_ping_too(gateway: MakeGateway) -> None:
    """From the backend's business to ours, and back."""
    stand = await gateway()
    stand.backend.script = hold
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    await device.send(plain("Ping", "14.1", 77))
    await stand.backend.wait_seen()
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    assert (await device.response()).status == 449
    final = await provision(device)
    await device.send(plain("Ping", "14.1", final))
    await stand.backend.wait_seen(2)
    await stand.agent.put(PHONE, State.ALLOWED)
    assert (await device.response()).body.hex(" ") == PING_7


async def test_new_settings_with_another_policy_send_devices_to_the_new_worker(gateway: MakeGateway) -> None:
    """A held Ping ends, an idle connection closes, and the key of the policy before is known as such."""
    stand = await gateway(SITES)
    stand.backend.script = hold
    await stand.agent.put(PHONE, State.ALLOWED)
    pinging, idle = await stand.device(), await stand.device()
    old = await provision(pinging)
    assert await status_of(idle, key=old) == 200
    await pinging.send(plain("Ping", "14.1", old))
    await stand.backend.wait_seen(2)
    set_gateway(stand, policy=STRICT)
    await reload(stand)
    ended = await pinging.response()
    assert (ended.body.hex(" "), ended.headers["connection"]) == (PING_7, "close")
    assert await idle.ended() == b""
    device = await stand.device()
    answer = await device.ask(plain("FolderSync", "14.1", old))
    assert (answer.status, answer.body[-6:-3]) == (449, b"143")
    assert await status_of(device, key=await provision(device)) == 200


async def test_a_ping_that_an_older_worker_still_holds_ends_too(gateway: MakeGateway) -> None:
    """Settings that changed nothing of this came in between."""
    stand = await gateway(SITES)
    stand.backend.script = hold
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    await device.send(plain("Ping", "14.1", await provision(device)))
    await stand.backend.wait_seen()
    for change in ({"non_provisionable": "allow"}, {"policy": STRICT}):
        set_gateway(stand, **change)
        await reload(stand)
    assert (await device.response()).body.hex(" ") == PING_7


async def test_new_settings_with_the_same_policy_leave_a_held_ping_alone(gateway: MakeGateway) -> None:
    """And its key."""
    stand = await gateway(SITES)
    answer = asyncio.Event()

    async def until_told(turn: Turn) -> None:
        await turn.body()
        if "Cmd=Ping" in turn.seen.target:
            await answer.wait()
        await turn.ok(b"mail")

    stand.backend.script = until_told
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    final = await provision(device)
    await device.send(plain("Ping", "14.1", final))
    await stand.backend.wait_seen()
    set_gateway(stand, non_provisionable="allow")
    await reload(stand)
    other = await stand.device()
    assert await status_of(other, key=final) == 200
    answer.set()
    assert (await device.response()).body == b"mail"


async def test_the_temporary_policy_is_handed_out_at_a_first_contact_and_replaced(gateway: MakeGateway) -> None:
    """The agent's answer names it while the UEM is away; the entry that follows names another."""
    stand = await gateway(SITES)

    async def guess(ask: control.Ask) -> Record:
        await stand.agent.put(ask.key, State.ALLOWED, policy=TEMPORARY)
        return Record(key=ask.key, state=State.ALLOWED, version=0, provisional=True, policy=digest(TEMPORARY))

    stand.agent.answer = guess
    device = await stand.device()
    assert await status_of(device, key=0) == 449
    assert await offered(device) == TEMPORARY
    final = await provision(device)
    assert await status_of(device, key=final) == 200
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    assert await refused(device, plain("FolderSync", "14.1", final)) == (449, b"143")
    assert await offered(device) == STRICT


async def test_two_gateways_agree_on_the_uems_policy(gateway: MakeGateway) -> None:
    """A provisioning may begin at one and end at the other."""
    one, two = await gateway(), await gateway(SITES)
    for stand in (one, two):
        await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    first, second = await one.device(), await two.device()
    temporary = key_in(await say(first, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    final = key_in(await say(second, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert [await status_of(device, key=final) for device in (first, second)] == [200, 200]


async def test_a_gateway_without_the_secret_lets_no_device_pass_that_the_uem_wants_a_policy_on(
    make_stand: MakeStand,
) -> None:
    """It could not know who has applied it."""
    stand = await make_stand()
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    device = await stand.device()
    for key in (None, 0, 7):
        assert await status_of(device, key=key) == 449
    answer = await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert stand.backend.seen == []
    await stand.agent.put(OTHER, State.ALLOWED)
    assert (await device.ask(plain("FolderSync", "14.1", None).replace(b"PHONE1", b"PHONE2"))).status == 200


async def test_a_policy_that_cannot_be_read_now_is_asked_for_again(gateway: MakeGateway) -> None:
    """Nobody gets another one instead."""
    stand = await gateway(SITES)
    await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
    stand.agent.forget_policy(STRICT)
    device = await stand.device()
    answer = await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    (outcome,) = await stand.audit.outcomes(1)
    assert outcome["reasons"] == ["policy_unreadable"]


@pytest.mark.parametrize("version", ["2.5", "12.1", "14.1", "16.1"])
async def test_a_lenient_site_lets_clients_pass_that_do_not_provision(gateway: MakeGateway, version: str) -> None:
    """They send no key at all; who sends 0 can provision and is told to, as everybody is at a strict site."""
    lenient, strict = await gateway(SITES, non_provisionable="allow"), await gateway(SITES)
    for stand, passes in ((lenient, 200), (strict, 449)):
        await stand.agent.put(PHONE, State.ALLOWED)
        device = await stand.device()
        assert await status_of(device, version=version) == passes
        for key in (0, 7):
            assert await status_of(device, key=key, version=version) == 449
    (seen,) = lenient.backend.seen
    assert seen.values("X-MS-PolicyKey") == []


async def test_what_a_modern_device_says_in_provision_is_told_to_the_agent(gateway: MakeGateway) -> None:
    """Once its credentials are proved; without it there is no policy (165)."""
    stand = await gateway(SITES)
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    refused = await say(device, plain, "14.1", Ask(EAS_WBXML))
    assert (refused.status, refused.policy) == (165, None)
    says = msgspec.structs.replace(SAYS, friendly_name="Anna\x1b[2J's", imei="490154203237518")
    await say(device, plain, "14.1", Ask(EAS_WBXML, says))
    await until(lambda: len(stand.agent.described) == 1)
    (told,) = stand.agent.described
    assert (told.key, told.information) == (PHONE, msgspec.structs.replace(says, friendly_name="Anna[2J's"))

    async def refuse(turn: Turn) -> None:
        await turn.ok(status="401 Unauthorized")

    stand.backend.probe = refuse
    assert (await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))).status == 401
    assert len(stand.agent.described) == 1
    assert "490154203237518" not in "".join(str(line) for line in stand.audit.lines())


SETTINGS_BODY = encode(element(SETTINGS, "Settings", write(SAYS)))


async def settings_seen(stand: Stand, device: Device, answer: str, extra: str = "") -> Seen:
    """Send a Settings request in two pieces to a backend that answers so; what it got."""

    async def answers(turn: Turn) -> None:
        await turn.body()
        await turn.ok(status=answer)

    stand.backend.script = answers
    request = plain("Settings", "12.1", 7, SETTINGS_BODY).replace(b"Content-Length", extra.encode() + b"Content-Length")
    await device.send(request[:-10])
    await stand.backend.wait_seen(len(stand.backend.seen) + 1)
    await device.send(request[-10:])
    assert (await device.response()).status == int(answer[:3])
    return stand.backend.seen[-1]


async def test_what_an_older_device_says_in_settings_is_heard_as_it_passes(make_stand: MakeStand) -> None:
    """The body streams on; nothing is told when the backend refuses it, or of a body that cannot be read."""
    stand = await make_stand()
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    for answer, extra in (("401 Unauthorized", ""), ("200 OK", "Content-Encoding: gzip\r\n"), ("200 OK", "")):
        seen = await settings_seen(stand, device, answer, extra)
        assert seen.body == SETTINGS_BODY
    await until(lambda: len(stand.agent.described) == 1)
    assert stand.agent.described == [control.Describe(key=PHONE, information=SAYS)]


async def test_what_is_said_while_the_agent_is_away_is_told_when_it_is_back(gateway: MakeGateway) -> None:
    """The device may not say it again for a year."""
    stand = await gateway(SITES)
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    await stand.agent.stop_socket()
    await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert stand.agent.described == []
    await stand.agent.start()
    await until(lambda: stand.agent.described == [control.Describe(key=PHONE, information=SAYS)])


async def test_a_strict_client_gets_the_uems_policy_and_the_next_one(gateway: MakeGateway) -> None:
    """pyactivesync: it is refused with its old key, provisions, and reads on."""
    stand = await gateway()
    stand.backend.script = without_policies
    await stand.agent.put(PHONE, State.ALLOWED, policy=LAX)
    with strict_client(stand) as client:
        assert [folder.name for folder in await asyncio.to_thread(client.list_folders)] == ["Inbox"]
        old = client._transport.policy_key
        await stand.agent.put(PHONE, State.ALLOWED, policy=STRICT)
        await refused(await stand.device(), plain("FolderSync", "14.1", int(old)))
        with pytest.raises(requests.HTTPError, match="449"):
            await asyncio.to_thread(client.list_folders)
        assert await asyncio.to_thread(client.provision) != old
        assert [folder.name for folder in await asyncio.to_thread(client.list_folders)] == ["Inbox"]
