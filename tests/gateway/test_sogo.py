"""The gateway before a real SOGo, alone and as a pool of two: it has no policies, and checks no policy key."""

import asyncio
import re
import secrets
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from pyactivesync import Client
from pyactivesync.exceptions import ProvisionError as ClientRefusesError

from images.paths import Layout
from sentry_runtime import settings
from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas.codepages import AIRSYNC, ESTIMATE, FOLDERS, ITEMS, PING, SETTINGS, Page
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.wbxml import Element, element, encode
from sentry_runtime.settings import ActiveHealth, PassiveHealth, Routing
from tests.e2e.mailserver.server import ALICE
from tests.gateway.backend_guest import SERVER_NAME
from tests.gateway.conftest import UNCHECKED, MakeStand
from tests.gateway.sogo import server
from tests.gateway.sogo.server import PORTS, Sogo
from tests.gateway.stand import PHONE, Certificates, Device, Response, Stand, basic, post, until
from tests.gateway.test_backends import belongs
from tests.gateway.test_newer_client import newer_client, play
from tests.gateway.test_provisioning import POLICY, SECRET, ToAServer, plain, provision, set_gateway, strict_client

__all__ = ["newer_client"]  # the fixture

FOLDER_SYNC = bytes.fromhex("03016a00000756520330000101")
KEY = DeviceKey(PHONE.device_id, ALICE.user)
ISSUED = re.compile(rb"sogo_[0-9a-f]+_[0-9a-f]+_[0-9a-f]+")  # the sync keys of the folder list: no two are the same
PASSES = ("content-type", "content-length", "ms-server-activesync")
PING_CHANGES_BYTES = 58  # SOGo's answer that there is something new in one folder
PING_ENDS_SECONDS = 25.0  # SOGo looks into the mailbox every 5 s; the rest is for a busy machine

MakeGateway = Callable[..., Awaitable[Stand]]


@pytest.fixture(scope="session")
def sogo(layout: Layout, certificates: Certificates) -> Iterator[Sogo]:
    """The real pool, in a guest of its own."""
    with server.running(layout, certificates) as running:
        yield running


@pytest.fixture
def before(make_stand: MakeStand, sogo: Sogo) -> MakeGateway:
    """Make a gateway before the pool, or before the first of it alone."""

    async def make(policy: Policy | None = None, *, pool: bool = False, routing: Routing = UNCHECKED) -> Stand:
        stand = await make_stand(started=False)
        (stand.folder / "fleet.key").write_bytes(SECRET)
        backends = tuple(
            settings.Backend(
                name=f"sogo{port}",
                host=sogo.address,
                port=port,
                server_name=SERVER_NAME,
                tls=settings.ClientTls(trust=stand.certificates.ca),
            )
            for port in (PORTS if pool else PORTS[:1])
        )
        secret = str(stand.folder / "fleet.key")
        set_gateway(stand, policy=policy, fleet_secret=secret, backends=backends, routing=routing)
        await stand.start()
        return stand

    return make


def new_id() -> str:
    """A device id that SOGo has never seen."""
    return secrets.token_hex(6).upper()


async def admitted(stand: Stand) -> str:
    """A device of alice's that may pass."""
    device_id = new_id()
    await stand.agent.put(DeviceKey(device_id, ALICE.user), State.ALLOWED)
    return device_id


async def straight(sogo: Sogo, port: int = PORTS[0]) -> Device:
    """A connection past every gateway."""
    context = ssl.create_default_context(cafile=sogo.certificates.ca)
    return Device(*await asyncio.open_connection(sogo.address, port, ssl=context, server_hostname=SERVER_NAME))


def request(command: str, body: bytes, device_id: str, password: str = ALICE.password, extra: str = "") -> bytes:
    """One of alice's device."""
    authorization = basic(ALICE.user, password)
    return post(command, body, device=device_id, user=ALICE.user, authorization=authorization, extra=extra)


# --- what a client sends ----------------------------------------------------------------------------------------------


def document(page: Page, *path: str, content: tuple[Element | str, ...]) -> bytes:
    """Elements of one page, one in the other, with this in the innermost."""
    inner = element(page, path[-1], *content)
    for name in reversed(path[:-1]):
        inner = element(page, name, inner)
    return encode(inner)


def sync(key: str, folder: str) -> bytes:
    """Sync of one folder."""
    more = (element(AIRSYNC, "GetChanges", "1"), element(AIRSYNC, "WindowSize", "50")) if key != "0" else ()
    content = (element(AIRSYNC, "SyncKey", key), element(AIRSYNC, "CollectionId", folder), *more)
    return document(AIRSYNC, "Sync", "Collections", "Collection", content=content)


def estimate(key: str, folder: str) -> bytes:
    """How many items a Sync would give."""
    content = (element(AIRSYNC, "SyncKey", key), element(ESTIMATE, "CollectionId", folder))
    return document(ESTIMATE, "GetItemEstimate", "Collections", "Collection", content=content)


def fetch(folder: str, item: str) -> bytes:
    """One mail as MIME."""
    where = (element(ITEMS, "Store", "Mailbox"), element(AIRSYNC, "CollectionId", folder))
    content = (
        *where,
        element(AIRSYNC, "ServerId", item),
        element(ITEMS, "Options", element(AIRSYNC, "MIMESupport", "2")),
    )
    return document(ITEMS, "ItemOperations", "Fetch", content=content)


def ping(folder: str) -> bytes:
    """A Ping of ten minutes."""
    watched = element(PING, "Folder", element(PING, "Id", folder), element(PING, "Class", "Email"))
    content = (element(PING, "HeartbeatInterval", "600"), element(PING, "Folders", watched))
    return document(PING, "Ping", content=content)


USER_INFORMATION = document(SETTINGS, "Settings", "UserInformation", content=(element(SETTINGS, "Get"),))


def inbox(answer: Response) -> str:
    """The id of the inbox, which is the first folder of the list."""
    found = re.search(rb"mail%2F[0-9a-f]+", answer.body)
    assert found is not None
    return found[0].decode()


async def conversation(device: Device, device_id: str) -> list[tuple[str, int, dict[str, str], bytes]]:
    """Everything that a new device asks until it has a mail, and what it is answered: command, status, fields, body."""
    folders = await device.ask(request("FolderSync", FOLDER_SYNC, device_id))
    issued = ISSUED.search(folders.body)
    assert issued is not None
    folder = inbox(folders)
    again = document(FOLDERS, "FolderSync", content=(element(FOLDERS, "SyncKey", issued[0].decode()),))
    asked = [("FolderSync", again), ("Sync", sync("0", folder)), ("Sync", sync("-1", folder))]
    asked += [("GetItemEstimate", estimate("-1", folder)), ("ItemOperations", fetch(folder, "1"))]
    asked += [("Settings", USER_INFORMATION), ("Search", b"no document"), ("Sync", b"")]
    told = [("FolderSync", folders)]
    told += [(command, await device.ask(request(command, body, device_id))) for command, body in asked]
    return [
        (
            command,
            one.status,
            {name: one.headers[name] for name in PASSES if name in one.headers},
            ISSUED.sub(b"", one.body),
        )
        for command, one in told
    ]


# --- what passes ------------------------------------------------------------------------------------------------------


async def test_a_device_is_answered_byte_for_byte_as_without_the_gateway(before: MakeGateway, sogo: Sogo) -> None:
    """Row 1: the same conversation straight with SOGo and through the gateway, by two new devices of one mailbox."""
    subject = new_id()
    sogo.deliver(ALICE.user, subject, "Ünïcode \0 and dots\n.\n..\n" + "x" * 5_000 + "\n")
    direct = await straight(sogo)
    expected = await conversation(direct, new_id())
    await direct.close()
    stand = await before()
    through = await conversation(await stand.device(), await admitted(stand))
    assert [one[:3] for one in through] == [one[:3] for one in expected]
    assert [one[3] for one in through] == [one[3] for one in expected]
    assert any(b"Welcome" in body for command, _, _, body in through if command == "ItemOperations")
    assert len({command for command, status, _, body in through if status == 200 and body}) >= 5


async def test_options_are_sogos_own_as_far_as_the_gateway_reads_them(before: MakeGateway, sogo: Sogo) -> None:
    """Row 16: the versions and commands that it has, and Provision, which it has not, from a gateway with a policy."""
    asked = f"OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: {SERVER_NAME}\r\n"
    asked += f"Authorization: {basic(ALICE.user, ALICE.password)}\r\n\r\n"
    direct = await straight(sogo)
    own = (await direct.ask(asked.encode())).headers
    await direct.close()
    assert "Provision" not in own["ms-asprotocolcommands"].split(",")
    for policy, more in ((None, []), (POLICY, ["Provision"])):
        stand = await before(policy)
        offered = (await (await stand.device()).ask(asked.encode())).headers
        assert offered["ms-asprotocolversions"] == own["ms-asprotocolversions"] == "2.5,12.0,12.1,14.0,14.1"
        assert offered["ms-asprotocolcommands"].split(",") == [*own["ms-asprotocolcommands"].split(","), *more]


async def test_sogo_vouches_for_a_first_contact(before: MakeGateway, sogo: Sogo) -> None:
    """Row 5: with a wrong password nobody is asked, and no mailbox is reached; with the right one the device is asked about."""
    stand = await before()
    device_id = new_id()
    device = await stand.device()
    wrong = await device.ask(request("FolderSync", FOLDER_SYNC, device_id, "guess"))
    assert (wrong.status, wrong.headers["www-authenticate"][:12]) == (401, "Basic realm=")
    assert (stand.agent.asked, stand.agent.get(DeviceKey(device_id, ALICE.user))) == ([], None)
    stand.agent.answer = lambda ask: stand.agent.put(ask.key, State.ALLOWED)
    right = await device.ask(request("FolderSync", FOLDER_SYNC, device_id))
    assert (right.status, right.body[:4]) == (200, b"\x03\x01\x6a\x00")
    assert [ask.key for ask in stand.agent.asked] == [DeviceKey(device_id, ALICE.user)]
    # The known device's wrong password is SOGo's own to refuse.
    assert (await (await stand.device()).ask(request("FolderSync", FOLDER_SYNC, device_id, "guess"))).status == 401
    assert len([line for line in sogo.requests_seen(device_id) if '" 200 ' in line]) == 1


async def caught_up(device: Device, device_id: str, folder: str, key: str = "0") -> str:
    """Sync until there is nothing new; the sync key then."""
    while body := (await device.ask(request("Sync", sync(key, folder), device_id))).body:
        found = re.search(rb"\x4b\x03([^\0]+)\0", body)
        assert found is not None
        key = found[1].decode()
    return key


async def hold(stand: Stand, device: Device, device_id: str, folder: str) -> None:
    """A Ping that hangs at SOGo."""
    await device.send(request("Ping", ping(folder), device_id))
    await until(lambda: stand.status()["exchanges_now"] == 1)


async def test_new_mail_ends_a_held_ping_and_a_block_cuts_it(before: MakeGateway, sogo: Sogo) -> None:
    """Rows 12 and 61: SOGo's own answer comes through once there is mail; a block ends what is held at once."""
    stand = await before()
    device_id = await admitted(stand)
    device = await stand.device()
    folder = inbox(await device.ask(request("FolderSync", FOLDER_SYNC, device_id)))
    key = await caught_up(device, device_id, folder)
    await hold(stand, device, device_id, folder)
    subject = new_id()
    sogo.deliver(ALICE.user, subject, "news\n")
    async with asyncio.timeout(PING_ENDS_SECONDS):
        await device.reader.readuntil(b"\r\n\r\n")
        ended = await device.reader.readexactly(PING_CHANGES_BYTES)
    assert b"\x47\x032\x00" in ended  # Status 2: changes
    assert subject.encode() in (await device.ask(request("Sync", sync(key, folder), device_id))).body
    await caught_up(device, device_id, folder, key)
    await hold(stand, device, device_id, folder)
    await stand.agent.put(DeviceKey(device_id, ALICE.user), State.BLOCKED, Reason.MANUAL)
    assert (await device.response()).body.endswith(b"\x03129\x00\x01\x01")


# --- policies that SOGo does not have -----------------------------------------------------------------------------------


def strict(sogo: Sogo, device_id: str) -> Client:
    """pyactivesync, which goes nowhere without a policy key, straight at SOGo."""
    client = Client(f"{sogo.address}:{PORTS[0]}", ALICE.user, ALICE.password, device_id=device_id, device_type="iPhone")
    client._transport.session.verify = sogo.certificates.ca
    client._transport.session.trust_env = False
    client._transport.session.mount("https://", ToAServer(SERVER_NAME))
    return client


async def test_the_strict_client_that_fails_at_bare_sogo_passes_through_the_gateway(
    before: MakeGateway, sogo: Sogo
) -> None:
    """pyactivesync 0.5.0 (14.1): SOGo gives it no key, at which it stops; the gateway's own answer lets it go on."""
    device_id = new_id()
    with strict(sogo, device_id) as client, pytest.raises(ClientRefusesError, match="no PolicyKey"):
        await asyncio.to_thread(client.list_folders)
    assert [line for line in sogo.requests_seen(device_id) if "Cmd=FolderSync" in line] == []
    stand = await before(POLICY)
    device_id = await admitted(stand)
    with strict_client(stand, ALICE.user, ALICE.password, device_id) as client:
        folders = await asyncio.to_thread(client.list_folders)
        result = await asyncio.to_thread(client.sync_folder, inbox_of(folders))
    assert result.sync_key
    only_asked(sogo, device_id)
    assert len([line for line in sogo.requests_seen(device_id) if "Cmd=FolderSync" in line]) == 1


def only_asked(sogo: Sogo, device_id: str) -> None:
    """SOGo was asked once whether it has a policy of its own, and nothing was acknowledged to it."""
    (asked,) = [line for line in sogo.requests_seen(device_id) if "Cmd=Provision" in line]
    assert '" 200 ' in asked


def inbox_of(folders: list[object]) -> str:
    """The inbox's id, as the library has it."""
    return next(str(one.id) for one in folders if one.name == "INBOX")  # type: ignore[attr-defined] # no types there


async def test_the_newer_client_provisions_with_the_gateway_and_reads_sogos_folders(
    before: MakeGateway, sogo: Sogo, newer_client: Path
) -> None:
    """pyactivesync 0.17.0 speaks 16.1 only, which SOGo does not offer but answers."""
    stand = await before(POLICY)
    device_id = await admitted(stand)
    said = await play(newer_client, stand, DeviceKey(device_id, ALICE.user), ALICE.password)
    assert "INBOX" in said["folders"]
    assert [line.get("reasons", []) for line in await stand.audit.outcomes(3)][:2] == [
        ["policy_offered"],
        ["policy_applied"],
    ]
    only_asked(sogo, device_id)


@pytest.mark.parametrize("protocol", ["2.5", "12.0", "12.1", "14.0", "14.1"])
async def test_every_version_that_sogo_speaks_provisions_with_the_gateway(
    before: MakeGateway, sogo: Sogo, protocol: str
) -> None:
    """Rows 39 and 40: 449 first; then SOGo serves, and sees no key."""
    stand = await before(POLICY)
    device_id = await admitted(stand)

    def form(command: str, protocol: str, key: int | None, body: bytes = b"") -> bytes:
        whole = plain(command, protocol, key, body).replace(b"DeviceId=PHONE1", f"DeviceId={device_id}".encode())
        whole = whole.replace(b"User=anna@lab.test", f"User={ALICE.user}".encode())
        return whole.replace(basic().encode(), basic(ALICE.user, ALICE.password).encode())

    device = await stand.device()
    assert (await device.ask(form("FolderSync", protocol, 0, FOLDER_SYNC))).status == 449
    assert sogo.requests_seen(device_id) == []
    final = await provision(device, form, protocol)
    served = await device.ask(form("FolderSync", protocol, final, FOLDER_SYNC))
    assert (served.status, b"INBOX" in served.body) == (200, True)


# --- the pool ---------------------------------------------------------------------------------------------------------

QUICK = ActiveHealth(interval_seconds=1.0, timeout_seconds=5.0, rise=1, fall=1)


async def test_a_pool_of_two_serves_each_device_by_its_own_and_by_the_other_while_that_is_down(
    before: MakeGateway, sogo: Sogo
) -> None:
    """Rows 52 to 55: sticky, over and back; the sync state holds, since both have one database."""
    routing = Routing(passive=PassiveHealth(failures=1, dead_seconds=1.0), active=QUICK)
    stand = await before(pool=True, routing=routing)
    phones: dict[int, str] = {}
    while len(phones) < len(PORTS):
        device_id = new_id()
        phones.setdefault(int(belongs(stand, device_id, ALICE.user).removeprefix("sogo")), device_id)
    folder = ""
    for device_id in phones.values():
        await stand.agent.put(DeviceKey(device_id, ALICE.user), State.ALLOWED)
        for _ in range(2):
            device = await stand.device()
            folder = inbox(await device.ask(request("FolderSync", FOLDER_SYNC, device_id)))
            assert (await device.ask(request("Sync", sync("0", folder), device_id))).status == 200
    for port, device_id in phones.items():
        assert {line.split(" ")[0] for line in sogo.requests_seen(device_id)} == {str(port)}
    gone, other = PORTS
    moved = phones[gone]
    await asyncio.to_thread(sogo.stop, gone)
    try:
        await until(lambda: stand.status()[f"backend.sogo{gone}.down"] == 1)
        answer = await (await stand.device()).ask(request("Sync", sync("-1", folder), moved))
        assert (answer.status, b"Welcome" in answer.body) == (200, True)
        await until(lambda: sogo.requests_seen(moved)[-1].startswith(f"{other} "))  # written once it has been answered
    finally:
        await asyncio.to_thread(sogo.start, gone)
    await until(lambda: stand.status()[f"backend.sogo{gone}.up"] == 1)
    assert (await (await stand.device()).ask(request("FolderSync", FOLDER_SYNC, moved))).status == 200
    await until(lambda: sogo.requests_seen(moved)[-1].startswith(f"{gone} "))
