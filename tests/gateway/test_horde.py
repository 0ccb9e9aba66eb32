"""The gateway with a policy of its own before a real Horde that enforces one too."""

import asyncio
import base64
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from images.paths import Layout
from sentry_runtime import settings
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas import demand
from sentry_runtime.eas.device_information import DeviceInformation
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
from sentry_runtime.eas.query import COMMANDS, VERSIONS
from tests.e2e.mailserver.server import ALICE, Account
from tests.gateway.backend_guest import SERVER_NAME
from tests.gateway.conftest import MakeStand
from tests.gateway.horde import server
from tests.gateway.horde.server import Horde, Wipe
from tests.gateway.stand import Certificates, Device, Stand, basic, post
from tests.gateway.stand import Response as Answer
from tests.gateway.test_provisioning import SECRET, key_in, set_gateway, strict_client

POLICY = Policy(device_password_enabled=True, min_device_password_length=6, allow_camera=False)
FOLDER_SYNC = bytes.fromhex("03016a00000756520330000101")
PHONE = DeviceInformation(model="iPhone10C1", os="iOS 17.0", friendly_name="test")


def new_id() -> str:
    """A device id that Horde has never seen, also where its guest has served other sessions; it would remember a wipe."""
    return secrets.token_hex(6).upper()


@pytest.fixture(scope="session")
def horde(layout: Layout, certificates: Certificates) -> Iterator[Horde]:
    """The real server, in a guest of its own."""
    with server.running(layout, certificates) as running:
        yield running


@dataclass
class Phone:
    """A device of alice's that nobody has seen before, on a gateway before Horde."""

    stand: Stand
    connection: Device
    protocol: str = "14.1"
    packed: bool = False
    account: Account = ALICE
    device_id: str = field(default_factory=new_id)

    @property
    def known_as(self) -> str:
        """Its id in lists: Horde reads the base64 form's as we do."""
        return self.device_id.encode().hex().upper() if self.packed else self.device_id

    @property
    def kind(self) -> str:
        """The kind of document that it asks for."""
        return WAP_XML if self.protocol == "2.5" else EAS_WBXML

    async def admit(self) -> "Phone":
        """Put it into the gateway's list."""
        await self.stand.agent.put(DeviceKey(self.known_as, self.account.user), State.ALLOWED)
        return self

    async def post(self, command: str, body: bytes, key: int = 0) -> Answer:
        """Send one command."""
        if not self.packed:
            return await self.connection.ask(
                post(
                    command,
                    body,
                    device=self.device_id,
                    version=self.protocol,
                    authorization=basic(self.account.user, self.account.password),
                    user=self.account.user,
                    extra=f"X-MS-PolicyKey: {key}\r\n",
                )
            )
        number = next(code for code, name in COMMANDS.items() if name == command)
        version = next(code for code, name in VERSIONS.items() if name == self.protocol)
        device = self.device_id.encode()
        blob = bytes((version, number, 9, 4, len(device))) + device + b"\4" + key.to_bytes(4, "little") + b"\6iPhone"
        head = (
            f"POST /Microsoft-Server-ActiveSync?{base64.b64encode(blob).decode()} HTTP/1.1\r\nHost: a\r\n"
            f"Authorization: {basic(self.account.user, self.account.password)}\r\nUser-Agent: Apple-iPhone10C1/1501.100\r\n"
            f"Content-Type: application/vnd.ms-sync.wbxml\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return await self.connection.ask(head.encode() + body)

    async def provision(self, request: Request, key: int = 0) -> Response:
        """Send one Provision."""
        answer = await self.post("Provision", encode_request(request), key)
        assert answer.status == 200
        return decode_response(answer.body, as_sent=True)

    async def apply(self) -> tuple[Policy, int]:
        """Both phases: the document as values, and the final key."""
        offered = await self.provision(Ask(self.kind, PHONE))
        temporary = key_in(offered)
        final = key_in(await self.provision(Acknowledgement(self.kind, temporary, 1), temporary))
        assert offered.policy is not None
        assert offered.policy.document is not None
        assert not isinstance(offered.policy.document, Policy)
        return demand.read(offered.policy.document).policy, final

    async def folder_sync(self, key: int = 0) -> Answer:
        """FolderSync from the beginning."""
        return await self.post("FolderSync", FOLDER_SYNC, key)


MakePhone = Callable[..., Awaitable[Phone]]


@pytest.fixture
def gateway(make_stand: MakeStand, horde: Horde) -> Callable[..., Awaitable[Stand]]:
    """Make a gateway before Horde."""

    async def make(policy: Policy | None = POLICY) -> Stand:
        stand = await make_stand(started=False)
        path = stand.folder / "fleet.key"
        path.write_bytes(SECRET)
        backend = settings.Backend(
            name="horde",
            host=horde.address,
            server_name=SERVER_NAME,
            tls=settings.ClientTls(trust=stand.certificates.ca),
        )
        set_gateway(stand, policy=policy, fleet_secret=str(path), backends=(backend,))
        await stand.start()
        return stand

    return make


@pytest.fixture
def make_phone(gateway: Callable[..., Awaitable[Stand]]) -> MakePhone:
    """Make a device on a gateway of its own."""

    async def make(policy: Policy | None = POLICY, *, protocol: str = "14.1", packed: bool = False) -> Phone:
        stand = await gateway(policy)
        return await Phone(stand, await stand.device(), protocol, packed).admit()

    return make


FORMS = [
    pytest.param("2.5", False, id="plain 2.5"),
    pytest.param("12.0", False, id="plain 12.0"),
    pytest.param("12.1", False, id="plain 12.1"),
    pytest.param("12.1", True, id="base64 12.1"),
    pytest.param("14.0", False, id="plain 14.0"),
    pytest.param("14.1", False, id="plain 14.1"),
    pytest.param("14.1", True, id="base64 14.1"),
]


@pytest.mark.parametrize(("protocol", "packed"), FORMS)
async def test_a_device_applies_both_policies_and_horde_sees_its_own_key(
    make_phone: MakePhone,
    horde: Horde,
    protocol: str,
    packed: bool,  # noqa: FBT001 - a table
) -> None:
    """In every version that Horde speaks and in both forms of the query."""
    horde.demand(DevicePasswordEnabled=True, MinDevicePasswordLength=9)
    phone = await make_phone(protocol=protocol, packed=packed)
    assert (await phone.folder_sync()).status == 449
    document, final = await phone.apply()
    assert document.device_password_enabled
    assert document.min_device_password_length == 9
    assert document.allow_camera is (None if protocol in ("2.5", "12.0") else False)
    served = await phone.folder_sync(final)
    assert (served.status, served.body[:4]) == (200, b"\x03\x01\x6a\x00")
    theirs = horde.policy_key(phone.known_as)
    assert theirs not in (0, final)
    line = horde.requests_seen()[-1]
    assert packed or f"key={theirs}" in line
    assert "200" in line
    # Without the gateway's key there is no way, whatever Horde would say to its own.
    assert (await phone.folder_sync(theirs)).status == 449


async def test_the_strict_client_passes(gateway: Callable[..., Awaitable[Stand]], horde: Horde) -> None:
    """pyactivesync, which provisions once, never again, and goes nowhere without a key."""
    horde.demand(DevicePasswordEnabled=True, MinDevicePasswordLength=4)
    stand = await gateway()
    device_id = new_id()
    await stand.agent.put(DeviceKey(device_id, ALICE.user), State.ALLOWED)
    with strict_client(stand, ALICE.user, ALICE.password, device_id) as client:
        folders = await asyncio.to_thread(client.list_folders)
    assert "INBOX" in {folder.name.upper() for folder in folders}
    assert horde.policy_key(device_id)


async def test_a_policy_changed_at_horde_reaches_the_device_with_the_stricter_result(
    make_phone: MakePhone, horde: Horde
) -> None:
    """Horde calls for a Provision, the gateway passes the call on, and each side's stricter word stands."""
    horde.demand(DevicePasswordEnabled=True, MinDevicePasswordLength=8)
    phone = await make_phone()
    document, old = await phone.apply()
    assert document.min_device_password_length == 8
    assert (await phone.folder_sync(old)).status == 200
    horde.demand(DevicePasswordEnabled=True, MinDevicePasswordLength=4, AllowBrowser=False, AllowCamera=True)
    told = await phone.folder_sync(old)
    assert (told.status, told.body.hex(" ")) == (449, "03 01 6a 00 00 07 56 4c 03 31 34 32 00 01 01")
    document, new = await phone.apply()
    assert (document.min_device_password_length, document.allow_browser, document.allow_camera) == (6, False, False)
    assert new != old
    assert (await phone.folder_sync(old)).status == 449
    assert (await phone.folder_sync(new)).status == 200


async def test_a_wipe_ordered_at_horde_reaches_the_device_and_its_acknowledgement_horde(
    make_phone: MakePhone, horde: Horde
) -> None:
    """Its database says so. It counts a device as wiped once it has handed the directive out, so that the acknowledgement is
    seen, the wipe is ordered once more between the two."""
    horde.demand(DevicePasswordEnabled=True, MinDevicePasswordLength=4)
    phone = await make_phone()
    _, key = await phone.apply()
    assert (await phone.folder_sync(key)).status == 200
    horde.wipe(phone.known_as)
    assert horde.wipe_status(phone.known_as) == Wipe.PENDING
    told = await phone.folder_sync(key)
    assert (told.status, told.body.hex(" ")) == (449, "03 01 6a 00 00 07 56 4c 03 31 34 30 00 01 01")
    # An empty Provision, which MS-ASPROV asks for here, makes Horde itself fail.
    assert (await phone.provision(Ask())).remote_wipe
    assert horde.wipe_status(phone.known_as) == Wipe.WIPED
    horde.wipe(phone.known_as)
    assert horde.wipe_status(phone.known_as) == Wipe.PENDING
    assert await phone.provision(WipeAcknowledgement(1)) == Response(1)
    assert horde.wipe_status(phone.known_as) == Wipe.WIPED
    lines = await phone.stand.audit.outcomes(6)
    assert [(line["action"], line["reasons"]) for line in lines[3:6]] == [
        ("wipe", ["backend_wipe_pending"]),
        ("wipe", ["backend_wipe_handed_out"]),
        ("wipe", ["backend_wipe_acknowledged"]),
    ]
    # Taken back there, the device begins again here.
    horde.cancel_wipe(phone.known_as)
    assert horde.wipe_status(phone.known_as) in Wipe.NOT_ASKED
    _, key = await phone.apply()
    assert (await phone.folder_sync(key)).status == 200


async def test_a_wipe_for_an_older_client(make_phone: MakePhone, horde: Horde) -> None:
    """Horde calls it with Status 140, which such a client does not know; by phase 1 it gets the directive."""
    horde.demand(DevicePasswordEnabled=True, MinDevicePasswordLength=4)
    phone = await make_phone(protocol="12.1")
    _, key = await phone.apply()
    horde.wipe(phone.known_as)
    told = await phone.folder_sync(key)
    assert (told.status, told.body) == (449, b"")
    assert (await phone.provision(Ask(EAS_WBXML, PHONE))).remote_wipe
    assert await phone.provision(WipeAcknowledgement(1)) == Response(1)


async def test_where_horde_demands_nothing_the_gateways_own_policy_holds(make_phone: MakePhone, horde: Horde) -> None:
    """It says so by Policy Status 2, before which strict clients stop."""
    horde.demand("false")
    phone = await make_phone()
    document, key = await phone.apply()
    assert document == POLICY
    assert (await phone.folder_sync(key)).status == 200
    # And it is not missed when it begins to.
    horde.demand(DevicePasswordEnabled=True, MinDevicePasswordLength=7)
    assert (await phone.folder_sync(key)).status == 449
    document, key = await phone.apply()
    assert document.min_device_password_length == 7
    assert (await phone.folder_sync(key)).status == 200


async def test_without_a_policy_of_the_gateways_horde_provisions_the_device(
    make_phone: MakePhone, horde: Horde
) -> None:
    """As if there were no gateway: the device holds Horde's own key."""
    horde.demand(DevicePasswordEnabled=True, MinDevicePasswordLength=7)
    phone = await make_phone(None)
    assert (await phone.folder_sync()).status == 449
    document, key = await phone.apply()
    assert (document.min_device_password_length, document.allow_camera) == (7, None)
    assert horde.policy_key(phone.known_as) == key
    assert (await phone.folder_sync(key)).status == 200
