"""A balancer that puts the requests of several devices and users on one connection: each is judged and served alone."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey, State
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.ntlm_server import USERS, Asked, NtlmClient, NtlmServer, start
from tests.gateway.stand import Device, Response, Stand, basic, post, until
from tests.gateway.test_provisioning import set_gateway

ANNA, BERT = "LAB\\anna", "LAB\\bert"
PAIRS = [("PHONE1", ANNA), ("PHONE2", ANNA), ("PHONE1", BERT), ("PHONE3", BERT)]


@pytest.fixture
async def stand(make_stand: MakeStand) -> Stand:
    """One that is not started yet. Wrong passwords and many equal requests are a matter of course in it."""
    limits = with_limits(logons_refused_per_source=0, logons_refused_per_principal=0)
    return await make_stand(started=False, limits=limits, throttle=None)


@pytest.fixture(params=[True, False], ids=["pooled", "a device's own"])
def pooled(request: pytest.FixtureRequest) -> bool:
    """What the site says of its connections."""
    return bool(request.param)


@pytest.fixture
async def server(stand: Stand, monkeypatch: pytest.MonkeyPatch, *, pooled: bool) -> NtlmServer:
    """A server that takes all requests of a connection for those of who has logged on there; every device may pass."""
    set_gateway(stand, pooled_connections=pooled)
    server = await start(stand, monkeypatch, "ntlm", "negotiate", "basic")
    for device_id, user in PAIRS:
        await stand.agent.put(DeviceKey(device_id, f"{user[4:]}@lab.test"), State.ALLOWED)
    return server


def requests_of(device_id: str) -> Asked:
    """What a device asks; its query says nothing of the user."""
    return Asked(post("Sync", b"abc", authorization=None, device=device_id).replace(b"&User=anna@lab.test", b""))


@dataclass
class Person:
    """A device of a user, and where its log-on stands."""

    device_id: str
    user: str
    client: NtlmClient | None = None
    challenge: str = ""
    last: str = ""

    async def act(self, device: Device, how: str) -> tuple[str, Response]:
        """Send one request; gives as whom its credentials would have it served ("" for nobody), and its answer."""
        asked = requests_of(self.device_id)
        match how:
            case "basic":
                return self.user, await device.ask(asked(basic(self.user, USERS[self.user])))
            case "basic, wrong":
                return "", await device.ask(asked(basic(self.user, "wrong")))
            case "nothing":
                return "", await device.ask(asked(None))
            case "again" if self.last:
                return self.user, await device.ask(asked(self.last))
            case "go on" if self.client is not None:
                self.last = self.client.last(self.challenge)
                self.client = None
                return self.user, await device.ask(asked(self.last))
            case _:
                self.client = NtlmClient(self.user, scheme="Negotiate" if how == "negotiate" else "NTLM")
                response = await device.ask(asked(self.client.first()))
                self.challenge = response.headers["www-authenticate"]
                return "", response


STEPS = st.tuples(
    st.integers(0, len(PAIRS) - 1),
    st.sampled_from(["basic", "basic, wrong", "nothing", "again", "ntlm", "negotiate", "go on", "go on"]),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(STEPS, min_size=1, max_size=14))
@example(steps=[(0, "ntlm"), (0, "go on"), (2, "nothing"), (0, "nothing")])
@example(steps=[(0, "ntlm"), (0, "go on"), (2, "ntlm"), (0, "nothing"), (2, "go on"), (0, "nothing"), (0, "again")])
@example(steps=[(0, "ntlm"), (1, "ntlm"), (0, "go on"), (1, "go on"), (0, "again"), (1, "again"), (0, "nothing")])
@example(steps=[(0, "basic"), (0, "basic, wrong"), (0, "basic"), (2, "basic"), (0, "nothing")])
async def test_nobody_is_served_as_somebody_else(
    stand: Stand, server: NtlmServer, steps: list[tuple[int, str]], *, pooled: bool
) -> None:
    """Whatever follows whatever; and no backend connection ever carries two devices, or two people's credentials.

    Where connections are devices' own, what comes without credentials is served as who has logged on with the same
    device id, but only while nobody else has been on the connection.
    """
    device = await stand.device()
    people = [Person(*pair) for pair in PAIRS]
    served: set[tuple[str, str]] = set()
    for number, how in steps:
        person = people[number]
        wanted, response = await person.act(device, how)
        assert response.status in (200, 401)
        if response.status == 200:
            who = response.body.decode()
            if how == "nothing":
                assert not pooled
                assert served == {(person.device_id, who)}
            else:
                assert who == wanted
            served.add((person.device_id, who))
        else:
            assert how != "basic"
    await device.close()
    for queries in server.devices.values():
        assert len(queries) == 1
    for sent in server.authorizations.values():
        assert len({one for one in sent if one.startswith("Basic")}) <= 1
        assert len({one.partition(" ")[0] for one in sent}) <= 1
        assert len(sent) <= 2 or sent[0].startswith("Basic")


async def test_two_users_in_turns_keep_their_backend_connections(stand: Stand, server: NtlmServer) -> None:
    """Nothing is dialled anew while they take turns; a third and a fourth find room, too."""
    device = await stand.device()
    for _ in range(3):
        for device_id, user in PAIRS:
            response = await device.ask(requests_of(device_id)(basic(user, USERS[user])))
            assert (response.status, response.body.decode()) == (200, user)
    assert stand.backend.connections == len(PAIRS)


async def test_more_devices_than_connections_are_kept_are_served_all_the_same(stand: Stand, server: NtlmServer) -> None:
    """What is not kept is dialled anew, and what is kept stays bounded."""
    device = await stand.device()
    for number in range(12):
        await stand.agent.put(DeviceKey(f"D{number}", "anna@lab.test"), State.ALLOWED)
    for _ in range(2):
        for number in range(12):
            response = await device.ask(requests_of(f"D{number}")(basic(ANNA, USERS[ANNA])))
            assert response.status == 200
    assert stand.backend.connections == 24
    await until(lambda: stand.backend.open <= 6)  # those that are let go end a moment later


async def test_log_ons_of_two_devices_may_overlap(stand: Stand, server: NtlmServer) -> None:
    """Each goes on with its own first message."""
    device = await stand.device()
    people = [Person(*PAIRS[0]), Person(*PAIRS[3])]
    for how in ("ntlm", "go on", "again"):
        answers = [await person.act(device, how) for person in people]
    assert [(response.status, response.body.decode()) for _, response in answers] == [(200, ANNA), (200, BERT)]
    assert stand.backend.connections == 2
