"""What devices are offered through the gateway."""

from sentry_runtime.devices.record import State
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PHONE, Stand, Turn, basic, post
from tests.gateway.test_provisioning import set_gateway

ASKED = f"OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\nAuthorization: {basic()}\r\n\r\n".encode()
SAID = (
    "MS-ASProtocolVersions: 2.0,2.5\r\nMS-Server-ActiveSync: 17.0\r\nMS-ASProtocolVersions: 14.1,17.0\r\n"
    "MS-ASProtocolCommands: Sync,Teleport,Ping\r\n"
)


async def offer(turn: Turn) -> None:
    """A backend newer than the gateway."""
    await turn.body()
    await turn.ok(extra=SAID)


async def test_options_names_only_versions_and_commands_the_gateway_reads(stand: Stand) -> None:
    """A device could not use others: its requests would be refused. Without a policy of ours Provision is not added."""
    stand.backend.script = offer
    device = await stand.device()
    response = await device.ask(ASKED)
    assert response.headers["ms-asprotocolversions"] == "2.5,14.1"
    assert response.headers["ms-asprotocolcommands"] == "Sync,Ping"
    assert response.headers["ms-server-activesync"] == "17.0"


async def test_the_lists_are_cut_wherever_a_backend_sends_them(stand: Stand) -> None:
    """Exchange and SOGo name them again in a FolderSync with key 0."""
    await stand.agent.put(PHONE, State.ALLOWED)
    stand.backend.script = offer
    device = await stand.device()
    response = await device.ask(post("FolderSync"))
    assert response.headers["ms-asprotocolversions"] == "2.5,14.1"
    assert response.headers["ms-asprotocolcommands"] == "Sync,Ping"


async def test_a_site_may_offer_no_more_than_a_version_of_its_choice(make_stand: MakeStand) -> None:
    """The newest that it lets its devices have."""
    stand = await make_stand(started=False)
    set_gateway(stand, newest_protocol="12.1")
    await stand.start()
    stand.backend.script = offer
    response = await (await stand.device()).ask(ASKED)
    assert response.headers["ms-asprotocolversions"] == "2.5"
