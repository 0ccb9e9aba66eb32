"""Which backends enforce a policy, as they show it, and what passes where there is nothing to join."""

from collections.abc import Awaitable, Callable

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.eas.provision import EAS_WBXML, Acknowledgement, Ask, encode_request
from tests.gateway import enforcer
from tests.gateway.backend_policy.conftest import POLICY, MakeEnforced
from tests.gateway.enforcer import DEMANDED
from tests.gateway.stand import PHONE, Turn
from tests.gateway.test_provisioning import SAYS, key_in, plain, provision, say


async def test_a_backend_that_enforces_no_more_is_forgotten(make_enforced: MakeEnforced) -> None:
    """The device has to apply the gateway's own policy then, and gets another key for it."""
    stand, backend = await make_enforced()
    device = await stand.device()
    joint = await provision(device)
    backend.demands, backend.key = None, 0
    assert (await device.ask(plain("FolderSync", "14.1", joint))).body == b"served"
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == POLICY
    assert stand.agent.held(PHONE) is None
    temporary = key_in(offered)
    own = key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert own != joint
    assert (await device.ask(plain("FolderSync", "14.1", own))).body == b"served"
    assert stand.backend.seen[-1].values("X-MS-PolicyKey") == []


async def test_a_backend_that_begins_to_enforce_is_found_out(make_enforced: MakeEnforced) -> None:
    """By its first call."""
    stand, backend = await make_enforced()
    backend.demands = None
    device = await stand.device()
    own = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", own))).body == b"served"
    backend.demands = DEMANDED
    assert (await device.ask(plain("FolderSync", "14.1", own))).status == 449
    assert stand.agent.held(PHONE) == Enforcement()
    joint = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", joint))).body == b"served"


VAGUE = [
    "200 OK",
    "400 Bad Request",
    "404 Not Found",
    "405 Method Not Allowed",
    "501 Not Implemented",
    "505 HTTP Version Not Supported",
]


async def test_a_backend_that_does_not_know_the_command_enforces_nothing(make_enforced: MakeEnforced) -> None:
    """Unless it is known to: then it has just lost its memory, and the device waits until it is itself again."""
    stand, backend = await make_enforced()
    device = await stand.device()

    def answers(status: str) -> Callable[[Turn], Awaitable[None]]:
        return lambda turn: turn.ok(status=status)

    for status in VAGUE:
        backend.fault = answers(status)
        offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
        assert offered.policy is not None
        assert offered.policy.document == POLICY
    await provision(device)
    for status in VAGUE:
        backend.fault = answers(status)
        assert (await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))).status == 503
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"


async def test_a_client_that_a_lenient_gateway_lets_pass_without_a_key_is_the_backends_to_judge(
    make_enforced: MakeEnforced,
) -> None:
    """The backend sees no key that this client has not shown, whatever a device of this id has shown before; and once the
    backend lets such clients pass, the gateway does not stand in their way."""
    stand, backend = await make_enforced(non_provisionable="allow")
    device = await stand.device()
    for _ in range(2):
        told = await device.ask(plain("FolderSync", "14.1", None))
        assert (told.status, b"\x03142\x00" in told.body) == (449, True)
        assert stand.backend.seen[-1].query.policy_key is None
    final = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", None))).status == 449
    assert stand.backend.seen[-1].query.policy_key is None
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    backend.demands = None
    assert (await device.ask(plain("FolderSync", "14.1", None))).body == b"served"


async def test_without_a_policy_of_the_gateways_all_of_it_passes_untouched(make_enforced: MakeEnforced) -> None:
    """The backend's calls, its document, its keys, its wipe."""
    stand, backend = await make_enforced(policy=None)
    device = await stand.device()
    for call in (enforcer.call_449_with_status, enforcer.call_200):
        backend.call = call
        told = await device.ask(plain("FolderSync", "14.1", 77))
        assert told.status == (449 if call is enforcer.call_449_with_status else 200)
        assert b"\x03144\x00" in told.body
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == DEMANDED
    assert key_in(offered) == backend.temporary
    final = key_in(
        await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, backend.temporary, 1), backend.temporary)
    )
    assert final == backend.key
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    backend.wipe = "device"
    assert b"\x03140\x00" in (await device.ask(plain("FolderSync", "14.1", final))).body
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    assert stand.agent.held(PHONE) is None
