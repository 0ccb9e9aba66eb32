"""How a backend calls for a Provision: told from every other answer, and passed on in the device's own form."""

import asyncio

import pytest

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.eas.policy import Policy
from tests.gateway import enforcer
from tests.gateway.backend_policy.conftest import MakeEnforced, held_ping, reasons
from tests.gateway.stand import PHONE, Turn, until
from tests.gateway.test_provisioning import plain, provision

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
