"""A device that has logged on: the gateway provisions for it over its own connection."""

from collections.abc import Awaitable, Callable

import pytest

from sentry_runtime.devices.record import State
from sentry_runtime.eas.provision import EAS_WBXML, Acknowledgement, Ask, decode_response, encode_request
from tests.gateway import ntlm_server
from tests.gateway.backend_policy.conftest import BOTH, POLICY
from tests.gateway.conftest import MakeStand
from tests.gateway.enforcer import Enforcer
from tests.gateway.ntlm_server import Asked, NtlmClient, log_on
from tests.gateway.stand import PHONE, Stand, Turn, post
from tests.gateway.test_provisioning import SAYS, SECRET, key_in, set_gateway

MakeLoggedOn = Callable[[], Awaitable[tuple[Stand, Enforcer]]]


@pytest.fixture
def make_logged_on(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch) -> MakeLoggedOn:
    """Make a stand whose gateway has a policy, before a backend that enforces one and lets devices log on by NTLM."""

    async def make() -> tuple[Stand, Enforcer]:
        stand = await make_stand(started=False)
        path = stand.folder / "fleet.key"
        path.write_bytes(SECRET)
        set_gateway(stand, policy=POLICY, fleet_secret=str(path))
        await ntlm_server.start(stand, monkeypatch, "ntlm")
        backend = Enforcer(stand.backend).install()
        await stand.agent.put(PHONE, State.ALLOWED)
        return stand, backend

    return make


def by_ntlm(command: str, key: int, body: bytes = b"") -> Asked:
    """A request that has its credentials, if any, of the log-on."""
    return Asked(post(command, body, authorization=None, user="anna", extra=f"X-MS-PolicyKey: {key}\r\n"))


async def test_a_device_that_has_logged_on_provisions_for_both_over_its_connection(
    make_logged_on: MakeLoggedOn,
) -> None:
    """The backend hears the gateway's own Provisions on the connection that the device has logged on, without credentials."""
    stand, backend = await make_logged_on()
    device = await stand.device()
    ask, client = by_ntlm("Provision", 0, encode_request(Ask(EAS_WBXML, SAYS))), NtlmClient("LAB\\anna")
    answer, _ = await log_on(device, ask, client)
    offered = decode_response(answer.body)
    assert offered.policy is not None
    assert offered.policy.document == BOTH
    temporary, theirs = key_in(offered), backend.temporary
    acknowledge = by_ntlm("Provision", temporary, encode_request(Acknowledgement(EAS_WBXML, temporary, 1)))
    final = key_in(decode_response((await device.ask(acknowledge(None))).body))
    assert backend.heard == [Ask(EAS_WBXML, SAYS), Acknowledgement(EAS_WBXML, theirs, 1)]
    assert (await device.ask(by_ntlm("FolderSync", final)(None))).body == b"served"
    assert stand.backend.seen[-1].query.policy_key == backend.key
    after = [*stand.backend.provisions, *stand.backend.seen]
    assert [seen.values("authorization") for seen in after] == [[], [], []]
    assert {seen.connection for seen in (*stand.backend.probes, *after)} == {1}


async def test_a_log_on_that_the_backend_takes_back_in_a_provision_is_over(make_logged_on: MakeLoggedOn) -> None:
    """The device is challenged, and logs on anew; nothing more goes over that connection."""
    stand, backend = await make_logged_on()

    async def refuse(turn: Turn) -> None:
        await turn.ok(status="401 Unauthorized")

    backend.fault = refuse
    device = await stand.device()
    ask = by_ntlm("Provision", 0, encode_request(Ask(EAS_WBXML, SAYS)))
    answer, last = await log_on(device, ask, NtlmClient("LAB\\anna"))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "NTLM")
    for authorization in (None, last):
        assert (await device.ask(ask(authorization))).status == 401
    assert (len(stand.backend.provisions), stand.backend.connections) == (1, 1)
    answer, _ = await log_on(device, ask, NtlmClient("LAB\\anna"))
    key_in(decode_response(answer.body))
    assert [seen.connection for seen in stand.backend.provisions] == [1, 2]
