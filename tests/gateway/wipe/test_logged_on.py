"""A wipe over a connection that has logged on."""

import pytest

from sentry_runtime.devices.record import State, WipeMark
from sentry_runtime.eas.provision import EAS_WBXML, Ask, Request, Response, decode_response, encode_request
from tests.gateway.conftest import MakeStand
from tests.gateway.ntlm_server import USERS, Asked, NtlmClient, log_on, no_canary
from tests.gateway.ntlm_server import start as start_ntlm
from tests.gateway.stand import PHONE, basic, post, until
from tests.gateway.wipe.asking import DONE, HANDED_OUT, UNVERIFIED, VERIFIED, marked, say


def asked(body: bytes | Request) -> Asked:
    """A Provision without credentials, to which a log-on's messages are added."""
    data = body if isinstance(body, bytes) else encode_request(body)
    return Asked(post("Provision", data, authorization=None, user="anna"))


@pytest.mark.parametrize(("password", "also"), [(None, {VERIFIED}), ("changed-since", set())])
async def test_a_device_that_logs_on_by_ntlm_is_told_and_its_acknowledgement_is_worth_what_its_password_is(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, password: str | None, also: set[WipeMark]
) -> None:
    """Its name is known before the backend sees the last message; that is taken there only to verify the acknowledgement."""
    stand = await make_stand(started=False)
    await start_ntlm(stand, monkeypatch, "ntlm")
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    refused, _ = await log_on(device, Asked(post(authorization=None, user="anna")), NtlmClient("LAB\\anna", password))
    assert refused.status == 449
    told, _ = await log_on(device, asked(Ask(EAS_WBXML)), NtlmClient("LAB\\anna", password))
    assert decode_response(told.body).remote_wipe
    firsts = [probe.value("authorization")[:20] for probe in stand.backend.probes]
    assert firsts == ["NTLM TlRMTVNTUAABAAA"] * 2
    done, last = await log_on(device, asked(DONE), NtlmClient("LAB\\anna", password))
    assert decode_response(done.body) == Response(status=1)
    await until(lambda: last in [probe.value("authorization") for probe in stand.backend.probes])
    await marked(stand, HANDED_OUT, UNVERIFIED, *also)
    assert stand.backend.seen == []
    await until(lambda: stand.backend.open <= 1)  # what was begun before may still wait for its last message
    no_canary(stand, USERS["LAB\\anna"], last.partition(" ")[2])


async def test_on_a_connection_that_has_logged_on_an_acknowledgement_is_verified_by_that(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend has vouched for whoever holds the connection; it is not asked again."""
    stand = await make_stand(started=False)
    await start_ntlm(stand, monkeypatch, "ntlm", "basic")
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    sync = Asked(post(authorization=None, user="anna"))
    assert (await log_on(device, sync, NtlmClient("LAB\\anna")))[0].status == 200
    await stand.agent.order_wipe(PHONE)
    await stand.until_answered(
        post(version="12.1", authorization=basic("LAB\\anna", USERS["LAB\\anna"]), user="anna"), 449
    )
    probes, connections = len(stand.backend.probes), stand.backend.connections
    assert (await device.ask(sync(None))).status == 449
    assert (await say(device, asked(Ask(EAS_WBXML))(None))).remote_wipe
    assert await say(device, asked(DONE)(None)) == Response(status=1)
    await marked(stand, HANDED_OUT, UNVERIFIED, VERIFIED)
    assert (len(stand.backend.probes), stand.backend.connections) == (probes, connections)
