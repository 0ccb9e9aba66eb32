"""The gateway's own policy: a device provisions in two phases before it is let through, and again when the policy changes."""

import asyncio
import base64
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import requests.adapters
from pyactivesync import Client
from pyactivesync.exceptions import ProvisionError as ClientRefusesError

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.eas.codepages import FOLDERS
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy, wap_document
from sentry_runtime.eas.provision import (
    BYTES,
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
from sentry_runtime.eas.query import COMMANDS, VERSIONS
from sentry_runtime.eas.wbxml import Element, element, encode
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PASSWORD, PATIENCE, PHONE, Device, Stand, Turn, basic, post

POLICY = Policy(device_password_enabled=True, min_device_password_length=6, allow_camera=False)
SECRET = bytes(range(32))
PHONE_BYTES = b"PHONE1"
SAYS = DeviceInformation(model="iPhone10C1", os="iOS 17.0")

MakeProvisioner = Callable[..., Awaitable[Stand]]


@pytest.fixture
def provisioner(make_stand: MakeStand) -> MakeProvisioner:
    """Make a stand whose gateway has a policy; PHONE1 may pass in the plain and in the base64 form."""

    async def make(policy: Policy = POLICY, secret: bytes = SECRET, **changes: object) -> Stand:
        stand = await make_stand(started=False)
        path = stand.folder / "fleet.key"
        path.write_bytes(secret)
        set_gateway(stand, policy=policy, fleet_secret=str(path), **changes)
        stand.backend.provision = say_no_policy
        await stand.start()
        await stand.agent.put(PHONE, State.ALLOWED)
        await stand.agent.put(DeviceKey(PHONE_BYTES.hex().upper(), PHONE.principal), State.ALLOWED)
        return stand

    return make


def set_gateway(stand: Stand, **changes: object) -> None:
    """Change the gateway's settings."""
    gateway = msgspec.structs.replace(stand.settings.gateway, **changes)
    stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway)


async def until(true: Callable[[], bool]) -> None:
    """Until it holds; a condition in another process can only be looked at."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.02)


async def reload(stand: Stand) -> None:
    """Put the changed settings in force."""
    stand.write_settings()
    assert stand.process is not None
    before = stand.log().count("new settings are in force")
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: stand.log().count("new settings are in force") > before)


def plain(command: str, protocol: str, key: int | None, body: bytes = b"") -> bytes:
    """A request with the key in its header."""
    extra = "" if key is None else f"X-MS-PolicyKey: {key}\r\n"
    return post(command, body, version=protocol, extra=extra)


def packed(command: str, protocol: str, key: int | None, body: bytes = b"") -> bytes:
    """A request with everything in the base64 query."""
    number = next(code for code, name in COMMANDS.items() if name == command)
    version = next(code for code, name in VERSIONS.items() if name == protocol)
    held = b"" if key is None else key.to_bytes(4, "little")
    blob = bytes((version, number, 9, 4, len(PHONE_BYTES))) + PHONE_BYTES + bytes((len(held),)) + held
    query = base64.b64encode(blob + b"\x06iPhone").decode()
    head = f"POST /Microsoft-Server-ActiveSync?{query} HTTP/1.1\r\nHost: a\r\nAuthorization: {basic()}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


Form = Callable[..., bytes]
FORMS = [
    pytest.param(plain, "2.5", id="plain 2.5"),
    pytest.param(plain, "12.1", id="plain 12.1"),
    pytest.param(plain, "14.1", id="plain 14.1"),
    pytest.param(plain, "16.1", id="plain 16.1"),
    pytest.param(packed, "12.1", id="base64 12.1"),
    pytest.param(packed, "14.1", id="base64 14.1"),
    pytest.param(packed, "16.1", id="base64 16.1"),
]


def kind_of(protocol: str) -> str:
    """The kind of document a client of this version asks for."""
    return WAP_XML if protocol == "2.5" else EAS_WBXML


async def say(device: Device, form: Form, protocol: str, request: Request, key: int | None = 0) -> Response:
    """Send a Provision and read the answer."""
    answer = await device.ask(form("Provision", protocol, key, encode_request(request)))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/vnd.ms-sync.wbxml")
    return decode_response(answer.body)


def key_in(response: Response) -> int:
    """The policy key that the gateway gave."""
    assert response.status == 1
    assert response.policy is not None
    assert response.policy.status == 1
    assert response.policy.key is not None
    return response.policy.key


async def provision(device: Device, form: Form = plain, protocol: str = "14.1") -> int:
    """Both phases; the final key."""
    kind = kind_of(protocol)
    temporary = key_in(await say(device, form, protocol, Ask(kind, SAYS)))
    return key_in(await say(device, form, protocol, Acknowledgement(kind, temporary, 1), temporary))


@pytest.mark.parametrize(("form", "protocol"), FORMS)
async def test_a_device_provisions_in_two_phases_and_is_let_through(
    provisioner: MakeProvisioner, form: Form, protocol: str
) -> None:
    """Until then 449, with status 142 from 14.0 on; the backend sees nothing of it, and no key of the gateway's."""
    stand = await provisioner()
    device, kind = await stand.device(), kind_of(protocol)
    for key in (None, 0):
        refused = await device.ask(form("FolderSync", protocol, key))
        modern = protocol >= "14.0" and protocol != "2.5"
        assert (refused.status, refused.body.hex(" ")) == (
            449,
            "03 01 6a 00 00 07 56 4c 03 31 34 32 00 01 01" if modern else "",
        )
    offered = await say(device, form, protocol, Ask(kind, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == (wap_document(POLICY) if protocol == "2.5" else POLICY)
    assert offered.device_status == (1 if protocol in ("14.1", "16.1") else None)
    temporary = key_in(offered)
    # The temporary key opens nothing.
    assert (await device.ask(form("FolderSync", protocol, temporary))).status == 449
    acknowledged = await say(device, form, protocol, Acknowledgement(kind, temporary, 1), temporary)
    final = key_in(acknowledged)
    assert acknowledged.policy is not None
    assert acknowledged.policy.document is None
    assert final != temporary
    assert stand.backend.seen == []
    assert (await device.ask(form("FolderSync", protocol, final, b"body"))).status == 200
    (seen,) = stand.backend.seen
    assert seen.body == b"body"
    assert seen.values("X-MS-PolicyKey") == []
    asked = form("FolderSync", protocol, 0).split(b" ")[1].decode()
    assert seen.target == asked


async def test_a_wrong_key_is_told_so_and_a_provision_mends_it(provisioner: MakeProvisioner) -> None:
    """Status 144 for every command in its own document, and 449 alone where the command has none."""
    stand = await provisioner()
    device = await stand.device()
    refused = await device.ask(plain("Sync", "14.1", 123456789, b"x" * 1000))
    assert (refused.status, refused.body.hex(" ")) == (449, "03 01 6a 00 45 4e 03 31 34 34 00 01 01")
    refused = await device.ask(plain("GetAttachment", "14.1", 123456789))
    assert (refused.status, refused.body) == (449, b"")
    assert (await device.ask(plain("Sync", "12.1", 123456789))).body == b""
    final = await provision(device)
    assert (await device.ask(plain("Sync", "14.1", final))).status == 200
    assert (await device.ask(plain("Sync", "14.1", final ^ 1))).status == 449
    outcomes = await stand.audit.outcomes(7)
    assert [(line["action"], line.get("reasons", [])) for line in outcomes] == [
        *[("provision", ["policy_key_wrong"])] * 3,
        ("provision", ["policy_offered"]),
        ("provision", ["policy_applied"]),
        ("allow", []),
        ("provision", ["policy_key_wrong"]),
    ]
    await until(lambda: stand.status()["unprovisioned"] == 4)  # told once a second
    assert stand.status()["provisioned"] == 1


async def test_a_key_is_one_devices_and_one_principals(provisioner: MakeProvisioner) -> None:
    """Nobody passes with another's."""
    stand = await provisioner()
    await stand.agent.put(DeviceKey("PHONE2", PHONE.principal), State.ALLOWED)
    device = await stand.device()
    final = await provision(device)
    asked = post("Sync", device="PHONE2", extra=f"X-MS-PolicyKey: {final}\r\n")
    assert (await device.ask(asked)).status == 449
    assert stand.backend.seen == []


async def test_a_device_that_changes_between_the_forms_keeps_its_key(provisioner: MakeProvisioner) -> None:
    """Its id is text in one and bytes in the other."""
    stand = await provisioner()
    device = await stand.device()
    final = await provision(device, plain)
    assert (await device.ask(packed("FolderSync", "14.1", final))).status == 200


async def test_a_changed_policy_reaches_the_device_with_its_next_request(provisioner: MakeProvisioner) -> None:
    """The old key is worth nothing, and the same policy again makes the old key good."""
    stand = await provisioner()
    device = await stand.device()
    old = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", old))).status == 200
    stricter = msgspec.structs.replace(POLICY, min_device_password_length=8)
    set_gateway(stand, policy=stricter)
    await reload(stand)
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", old))).status == 449
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == stricter
    # A key of the old policy acknowledges nothing of the new one.
    stale = await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, old, 1), old)
    assert stale.policy is not None
    assert (stale.policy.status, stale.policy.key) == (5, None)
    new = await provision(device)
    assert new != old
    assert (await device.ask(plain("FolderSync", "14.1", new))).status == 200
    set_gateway(stand, policy=POLICY)
    await reload(stand)
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", old))).status == 200


async def test_two_gateways_with_one_secret_give_and_take_the_same_keys(provisioner: MakeProvisioner) -> None:
    """Nothing is shared but the secret and the policy; even one provisioning may go over both."""
    one, two, stranger = await provisioner(), await provisioner(), await provisioner(secret=b"another" * 6)
    first, second = await one.device(), await two.device()
    temporary = key_in(await say(first, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    final = key_in(await say(second, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    for device in (first, second):
        assert (await device.ask(plain("FolderSync", "14.1", final))).status == 200
    elsewhere = await stranger.device()
    assert (await elsewhere.ask(plain("FolderSync", "14.1", final))).status == 449


async def test_a_policy_that_restricts_nothing_is_handed_out_all_the_same(provisioner: MakeProvisioner) -> None:
    """Clients refuse to go on without a document and a key."""
    stand = await provisioner(policy=Policy())
    device = await stand.device()
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == Policy()
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).status == 200


@pytest.mark.parametrize(
    ("protocol", "status", "http", "words"),
    [("14.1", 3, 200, 139), ("14.1", 2, 200, 139), ("16.1", 4, 200, 145), ("12.1", 3, 403, None)],
)
async def test_a_device_that_does_not_apply_the_policy_gets_no_key(
    provisioner: MakeProvisioner, protocol: str, status: int, http: int, words: int | None
) -> None:
    """Unless the settings let such devices pass."""
    stand = await provisioner()
    device = await stand.device()
    temporary = key_in(await say(device, plain, protocol, Ask(EAS_WBXML, SAYS)))
    refusal = encode_request(Acknowledgement(EAS_WBXML, temporary, status))
    answer = await device.ask(plain("Provision", protocol, temporary, refusal))
    assert answer.status == http
    assert (None if not answer.body else decode_response(answer.body)) == (None if words is None else Response(words))
    set_gateway(stand, non_provisionable="allow")
    await reload(stand)
    device = await stand.device()
    final = key_in(await say(device, plain, protocol, Acknowledgement(EAS_WBXML, temporary, status), temporary))
    assert (await device.ask(plain("FolderSync", protocol, final))).status == 200


async def test_only_an_allowed_device_is_provisioned(provisioner: MakeProvisioner) -> None:
    """A blocked one hears that it is blocked, whatever it sends; OPTIONS needs no key."""
    stand = await provisioner()
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", None).replace(b"POST", b"OPTIONS"))).status == 200
    final = await provision(device)
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    for command, key in (("Provision", 0), ("FolderSync", final), ("FolderSync", 0)):
        answer = await device.ask(plain(command, "14.1", key, encode_request(Ask(EAS_WBXML, SAYS))))
        assert (answer.status, b"\x03129\x00" in answer.body) == (200, True)


async def test_a_provision_needs_credentials_that_the_backend_accepts(provisioner: MakeProvisioner) -> None:
    """The device list says which devices may pass, not who knows the password."""
    stand = await provisioner()

    async def refuse(turn: Turn) -> None:
        await turn.ok(status="401 Unauthorized", extra='WWW-Authenticate: basic realm="SOGo"\r\n')

    stand.backend.probe = refuse
    device = await stand.device()
    answer = await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
    assert (answer.status, answer.body) == (401, b"")
    assert len(stand.backend.probes) == 1


async def test_a_provision_may_be_the_first_contact(provisioner: MakeProvisioner) -> None:
    """The device is asked about once, its credentials are proved once, and it gets its policy."""
    stand = await provisioner()
    await stand.agent.remove(PHONE)

    async def allow(ask: control.Ask) -> Record:
        return await stand.agent.put(ask.key, State.ALLOWED)

    stand.agent.answer = allow
    device = await stand.device()
    request = plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS)))
    end = request.index(b"\r\n\r\n") + 10
    await device.send(request[:end])
    await device.send(request[end:])
    key_in(decode_response((await device.response()).body))
    assert (len(stand.agent.asked), len(stand.backend.probes)) == (1, 1)


@pytest.mark.parametrize(
    ("body", "extra", "status", "reason"),
    [
        (b"", "", 400, "provision_malformed"),
        (b"\x03\x01\x6a\x00\x00\x0e\x45", "", 400, "provision_malformed"),
        (b"\x03\x01\x6a\x00\x00\x0e\x45" + b"\x46" * 100, "", 400, "provision_malformed"),
        (b"x" * (BYTES + 1), "", 413, "provision_too_large"),
        (encode_request(Ask(EAS_WBXML, SAYS)), "Content-Encoding: gzip\r\n", 415, "provision_encoded"),
    ],
)
async def test_what_is_no_provision_is_refused(
    provisioner: MakeProvisioner, body: bytes, extra: str, status: int, reason: str
) -> None:
    """With one HTTP error, and nothing goes to the backend."""
    stand = await provisioner()
    device = await stand.device()
    assert (await device.ask(post("Provision", body, extra=extra))).status == status
    (outcome,) = await stand.audit.outcomes(1)
    assert (outcome["action"], outcome["reasons"]) == ("deny", [reason])
    assert stand.backend.seen == []


async def test_an_endless_provision_is_cut_off(provisioner: MakeProvisioner) -> None:
    """A chunked body ends where its bound is passed."""
    stand = await provisioner()
    device = await stand.device()
    await device.send(post("Provision", extra="Transfer-Encoding: chunked\r\n"))
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    await device.send(chunk * 5)
    assert (await device.response()).status == 413
    assert stand.backend.seen == []


async def test_requests_that_ask_for_nothing_we_have(provisioner: MakeProvisioner) -> None:
    """An empty Provision, a wipe nobody ordered, and another kind of document."""
    stand = await provisioner()
    device = await stand.device()
    assert await say(device, plain, "14.1", Ask()) == Response(status=2)
    assert await say(device, plain, "14.1", WipeAcknowledgement(1)) == Response(status=2)
    other = await say(device, plain, "14.1", Ask(WAP_XML, SAYS))
    assert other.policy is not None
    assert (other.policy.policy_type, other.policy.status, other.policy.key) == (WAP_XML, 3, None)


async def test_a_client_that_waits_for_100_continue_provisions(provisioner: MakeProvisioner) -> None:
    """The gateway itself invites the body."""
    stand = await provisioner()
    device = await stand.device()
    request = post("Provision", encode_request(Ask(EAS_WBXML, SAYS)), extra="Expect: 100-continue\r\n")
    end = request.index(b"\r\n\r\n") + 4
    await device.send(request[:end])
    assert (await device.head())[0] == 100
    key_in(decode_response((await device.ask(request[end:])).body))


async def test_without_a_policy_provision_and_keys_are_the_backends(stand: Stand) -> None:
    """As sent."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", 77))).status == 200
    assert (await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))).status == 200
    sync, asked = stand.backend.seen
    assert (sync.value("X-MS-PolicyKey"), asked.value("X-MS-PolicyKey")) == ("77", "0")
    assert asked.body == encode_request(Ask(EAS_WBXML, SAYS))


async def test_a_policy_without_its_secret_is_no_settings(provisioner: MakeProvisioner) -> None:
    """The settings in force stay, and the journal says what is wrong; the secret itself never stands there."""
    stand = await provisioner()
    device = await stand.device()
    final = await provision(device)
    for path, words in (("nowhere.key", "No such file"), ("short.key", "5 bytes; 32 to 4096")):
        (stand.folder / "short.key").write_bytes(b"short")
        set_gateway(stand, fleet_secret=str(stand.folder / path))
        stand.write_settings()
        assert stand.process is not None
        stand.process.send_signal(signal.SIGHUP)
        await until(lambda words=words: words in stand.log())  # type: ignore[misc]
    assert (await device.ask(plain("FolderSync", "14.1", final))).status == 200
    stand.audit.lines()
    assert SECRET.hex() not in stand.log()
    assert all(SECRET not in line and SECRET.hex().encode() not in line for line in stand.audit.raw)


class ToAServer(requests.adapters.HTTPAdapter):
    """Dials an address and expects a server of this name."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        options |= {"assert_hostname": self._name, "server_hostname": self._name}
        super().init_poolmanager(*arguments, **options)


def strict_client(
    stand: Stand, user: str = PHONE.principal, password: str = PASSWORD, device_id: str = "PHONE1"
) -> Client:
    """pyactivesync, which goes nowhere without a policy key."""
    client = Client(f"127.0.0.1:{stand.port}", user, password, device_id=device_id, device_type="iPhone")
    client._transport.session.verify = stand.certificates.ca
    client._transport.session.trust_env = False
    client._transport.session.mount("https://", ToAServer("mail.lab.test"))
    return client


async def say_no_policy(turn: Turn) -> None:
    """Answer a Provision as SOGo does: "no policy" (Status 2)."""
    await turn.body()
    await turn.ok(
        bytes.fromhex(
            "03016a00000e454b03310001464748034d532d4541532d50726f766973696f6e696e672d5742584d4c00014b03320001010101"
        )
    )


async def without_policies(turn: Turn) -> None:
    """A backend as SOGo is: one folder, and "no policy" for a Provision."""
    if turn.seen.query.command == "Provision":
        await say_no_policy(turn)
        return
    await turn.body()

    def folders(name: str, *content: Element | str) -> Element:
        return element(FOLDERS, name, *content)

    inbox = [("ServerId", "mail1"), ("ParentId", "0"), ("DisplayName", "Inbox"), ("Type", "2")]
    added = folders("Add", *(folders(name, text) for name, text in inbox))
    root = folders("FolderSync", folders("Status", "1"), folders("SyncKey", "1"), folders("Changes", added))
    await turn.ok(encode(root))


async def test_a_strict_client_that_fails_at_the_bare_backend_passes_through_the_gateway(
    provisioner: MakeProvisioner, make_stand: MakeStand
) -> None:
    """pyactivesync, with its own body and its temporary key in the query."""
    bare = await make_stand()
    await bare.agent.put(PHONE, State.ALLOWED)
    bare.backend.script = without_policies
    with strict_client(bare) as client, pytest.raises(ClientRefusesError, match="no PolicyKey"):
        await asyncio.to_thread(client.list_folders)
    stand = await provisioner()
    stand.backend.script = without_policies
    with strict_client(stand) as client:
        folders = await asyncio.to_thread(client.list_folders)
    assert [folder.name for folder in folders] == ["Inbox"]
    await until(lambda: len(stand.agent.described) == 1)
    assert (stand.agent.described[0].key, stand.agent.described[0].information.model) == (PHONE, "pyactivesync")
    assert [seen.target.partition("?Cmd=")[2][:10] for seen in stand.backend.seen] == ["FolderSync"]
