"""The gateway before each kind of server that companies use (see `profiles`)."""

import msgspec
import pytest

from sentry_runtime.devices.record import State
from sentry_runtime.settings import Redirects, Routing
from tests.gateway.conftest import MakeStand
from tests.gateway.profiles import PROFILES, Profile, Trouble
from tests.gateway.stand import PHONE, Device, Stand, basic, post, until
from tests.gateway.test_backends import QUICK

BODY = bytes.fromhex("03016a00455c4f4b0330000157033100010101")
OPTIONS = "OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n"
PER_PROFILE = pytest.mark.parametrize("profile", PROFILES, ids=[one.name for one in PROFILES])
LEADS_AWAY = {"x-ms-location", "location", "alt-svc", "set-cookie", "refresh", "content-location"}


@pytest.fixture
async def before(make_stand: MakeStand) -> Stand:
    """A gateway before two servers, of which the first serves everybody; redirections are followed."""
    routing = Routing(scheduling="priority", active=QUICK, redirects=Redirects(hosts=("elsewhere.lab.test",)))
    stand = await make_stand(backends=2, certificate=None, routing=routing, started=False)
    named = tuple(
        msgspec.structs.replace(one, server_name=f"{one.name}.lab.test", priority=number + 1)
        for number, one in enumerate(stand.settings.gateway.backends)
    )
    gateway = msgspec.structs.replace(stand.settings.gateway, backends=named)
    stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway)
    return stand


async def play(stand: Stand, profile: Profile, trouble: Trouble | None = None, *, moved: bool = False) -> Device:
    """Start the gateway before a server of this kind; a connection of an allowed device."""
    first, second = stand.backends
    to = f"http://mail1.lab.test:{second.port}/Microsoft-Server-ActiveSync" if moved else ""
    first.script = first.probe = profile.script(moved_to=to, trouble=trouble, body=BODY)
    second.script = second.probe = profile.script(body=BODY)
    for one in stand.backends:
        one.check = one.script
    await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)
    return await stand.device()


@PER_PROFILE
async def test_its_answer_to_a_check_is_that_of_a_server_that_is_well(before: Stand, profile: Profile) -> None:
    """401, whatever it challenges with."""
    await play(before, profile)
    await until(lambda: len(before.backend.checks) >= 2)
    assert before.status()["backend.mail0.up"] == 1


@PER_PROFILE
async def test_its_offer_reaches_the_device_as_far_as_the_gateway_can_read_it(before: Stand, profile: Profile) -> None:
    """Versions and commands cut, the rest as it was, and nothing that would lead past the gateway."""
    device = await play(before, profile)
    response = await device.ask(OPTIONS.format(basic()).encode())
    assert (response.status, response.headers["ms-asprotocolversions"]) == (200, profile.offered)
    offered = response.headers["ms-asprotocolcommands"].split(",")
    assert [one for one in profile.commands.split(",") if one not in offered] == []
    fields = {name.lower(): value for name, _, value in (one.partition(": ") for one in profile.fields)}
    assert response.headers["ms-server-activesync"] == fields["ms-server-activesync"]
    assert not LEADS_AWAY & response.headers.keys()
    assert fields.keys() - LEADS_AWAY <= response.headers.keys()


@PER_PROFILE
async def test_its_documents_pass(before: Stand, profile: Profile) -> None:
    """Two in a row over one connection, in whatever framing."""
    device = await play(before, profile)
    for _ in range(2):
        response = await device.ask(post("Sync", BODY))
        assert (response.status, response.body) == (200, BODY)
        assert not LEADS_AWAY & response.headers.keys()
    assert {seen.connection for seen in before.backend.seen} == {before.backend.seen[0].connection}


@PER_PROFILE
async def test_a_wrong_password_is_401_for_a_known_and_for_a_new_device(before: Stand, profile: Profile) -> None:
    """The known one's is the server's own, but for its challenges; both hear what the site offers, and the agent is not asked."""
    await play(before, profile)
    wrong = basic(password="wrong")
    for asked in (post(authorization=wrong), post(device="PHONE2", authorization=wrong)):
        device = await before.device()
        await device.send(asked)
        status, *lines = (await device.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert status.split(" ")[1] == "401"
        offers = [line for line in lines if line.lower().startswith("www-authenticate:")]
        assert offers == ['WWW-Authenticate: Basic realm="ActiveSync", charset="UTF-8"']
    assert (len(before.backend.seen), len(before.backend.probes)) == (1, 1)
    assert before.agent.asked == []


@PER_PROFILE
async def test_where_it_sends_a_device_on_the_gateway_goes_or_nobody_does(before: Stand, profile: Profile) -> None:
    """A 451 is followed to the other server; an ordinary redirection, which is not ActiveSync's way, is 503."""
    device = await play(before, profile, moved=True)
    response = await device.ask(post("Sync", BODY))
    followed = profile.moves == "451"
    assert response.status == (200 if followed else 503)
    assert not LEADS_AWAY & response.headers.keys()
    assert len(before.backends[1].seen) == followed


@pytest.mark.parametrize(
    ("profile", "trouble"),
    [(profile, trouble) for profile in PROFILES for trouble in profile.troubles],
    ids=[f"{profile.name} {trouble.code}" for profile in PROFILES for trouble in profile.troubles],
)
async def test_its_refusals_pass_as_they_are(before: Stand, profile: Profile, trouble: Trouble) -> None:
    """Status, body and the fields that a device goes by; and however often, they are no sign of a server that is down."""
    device = await play(before, profile, trouble)
    said = {name.lower(): value for name, _, value in (one.partition(": ") for one in trouble.fields)}
    for _ in range(4):
        response = await device.ask(post("Sync", BODY))
        assert (response.status, response.body) == (trouble.code, trouble.body)
        assert {name: response.headers[name] for name in trouble.kept} == {name: said[name] for name in trouble.kept}
    assert len(before.backend.seen) == 4
