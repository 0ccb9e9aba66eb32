"""The backend's wipe: handed to the device, its acknowledgement to the backend, and none without the other."""

import os
import signal

import pytest

from sentry_runtime.devices.enforcement import Directive, Enforcement
from sentry_runtime.eas.provision import EAS_WBXML, Ask, Response, WipeAcknowledgement, encode_request
from tests.gateway import enforcer
from tests.gateway.backend_policy.conftest import MakeEnforced, reasons
from tests.gateway.enforcer import internal_error
from tests.gateway.stand import PHONE, until
from tests.gateway.test_provisioning import SAYS, Form, kind_of, packed, plain, provision, say

WIPES = [
    pytest.param(plain, "2.5", enforcer.call_449, "device", id="2.5"),
    pytest.param(plain, "12.1", enforcer.call_200, "device", id="12.1, called as Horde does"),
    pytest.param(packed, "14.0", enforcer.call_200, "device", id="14.0"),
    pytest.param(plain, "14.1", enforcer.call_449_with_status, "device", id="14.1, 449"),
    pytest.param(packed, "16.1", enforcer.call_200_compressed, "account", id="16.1, the account alone"),
]


@pytest.mark.parametrize(("form", "protocol", "call", "wipe"), WIPES)
@pytest.mark.parametrize("empty", [False, True], ids=["phase 1", "empty Provision"])
async def test_a_wipe_of_the_backends_reaches_the_device_and_its_acknowledgement_the_backend(
    make_enforced: MakeEnforced,
    form: Form,
    protocol: str,
    call: enforcer.Call,
    wipe: str,
    empty: bool,  # noqa: FBT001 - a table
) -> None:
    """Called for by a status, handed out by the Provision, acknowledged, audited, counted."""
    stand, backend = await make_enforced()
    device, kind = await stand.device(), kind_of(protocol)
    final = await provision(device, form, protocol)
    backend.wipe, backend.call = wipe, call
    told = await device.ask(form("FolderSync", protocol, final))
    assert told.status == 449
    assert (b"\x03140\x00" in told.body) == (call is not enforcer.call_449 and protocol not in ("2.5", "12.1"))
    directive = await say(device, form, protocol, Ask("") if empty else Ask(kind, SAYS))
    assert directive.status == 1
    assert (directive.remote_wipe, directive.account_only_remote_wipe) == (wipe == "device", wipe == "account")
    account_only = wipe == "account"
    heard = len(backend.heard)
    # The other kind of acknowledgement is none of what was ordered.
    assert (await say(device, form, protocol, WipeAcknowledgement(1, not account_only))).status == 2
    assert len(backend.heard) == heard
    done = await say(device, form, protocol, WipeAcknowledgement(1, account_only))
    assert done == Response(1)
    assert backend.heard[heard:] == [WipeAcknowledgement(1, account_only)]
    # Once is enough: said again it is as little asked for as before.
    assert (await say(device, form, protocol, WipeAcknowledgement(1, account_only))).status == 2
    words = await reasons(stand, 7)
    old_ping = call is enforcer.call_449
    assert words[2] == (("provision", ["backend_wants_provision"]) if old_ping else ("wipe", ["backend_wipe_pending"]))
    assert words[3] == ("wipe", ["backend_wipe_handed_out"])
    assert words[5] == ("wipe", ["backend_wipe_acknowledged"])
    await until(lambda: stand.status()["backend_wipes_acknowledged"] == 1)
    assert stand.status()["backend_wipes"] == 1


async def test_a_failed_wipe_is_reported_and_ordered_again(make_enforced: MakeEnforced) -> None:
    """The backend hears the device's own word on it."""
    stand, backend = await make_enforced()
    backend.wipe = "device"
    device = await stand.device()
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    again = await say(device, plain, "14.1", WipeAcknowledgement(2))
    assert (again.status, again.remote_wipe) == (2, True)
    assert backend.heard[1:] == [WipeAcknowledgement(2)]
    assert await say(device, plain, "14.1", WipeAcknowledgement(1)) == Response(1)
    assert backend.heard[2:] == [WipeAcknowledgement(1)]


async def test_a_wipe_acknowledgement_survives_the_worker(make_enforced: MakeEnforced) -> None:
    """It may come to another one than the directive went out from."""
    stand, backend = await make_enforced()
    backend.wipe = "device"
    assert (await say(await stand.device(), plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    assert stand.agent.held(PHONE) == Enforcement(wipe=Directive.DEVICE)
    (before,) = stand.workers()
    os.kill(before, signal.SIGKILL)
    await until(lambda: stand.workers() not in ([], [before]))
    assert await say(await stand.device(), plain, "14.1", WipeAcknowledgement(1)) == Response(1)
    assert backend.heard[1:] == [WipeAcknowledgement(1)]


async def test_an_acknowledgement_that_the_backend_does_not_take_is_said_to_be_lost(
    make_enforced: MakeEnforced,
) -> None:
    """In the audit trail; the device may try again, if there is still one."""
    stand, backend = await make_enforced()
    backend.wipe = "device"
    device = await stand.device()
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    backend.fault = internal_error
    answer = await device.ask(plain("Provision", "14.1", 0, encode_request(WipeAcknowledgement(1))))
    assert answer.status == 503
    assert (await reasons(stand, 2))[1] == ("fail", ["backend_wipe_report_lost"])
    assert await say(device, plain, "14.1", WipeAcknowledgement(1)) == Response(1)


async def test_a_wipe_that_is_taken_back_is_not_handed_out(make_enforced: MakeEnforced) -> None:
    """Each directive is the backend's word of this moment; a late acknowledgement is none of anything."""
    stand, backend = await make_enforced()
    backend.wipe = "device"
    device = await stand.device()
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))).remote_wipe
    backend.wipe = ""
    final = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    assert (await say(device, plain, "14.1", WipeAcknowledgement(1))).status == 2
    assert not any(isinstance(one, WipeAcknowledgement) for one in backend.heard)


async def test_an_unasked_wipe_acknowledgement_never_reaches_the_backend(make_enforced: MakeEnforced) -> None:
    """Nobody marks a device as wiped that was not told to."""
    stand, backend = await make_enforced()
    device = await stand.device()
    await provision(device)
    for account_only in (False, True):
        assert (await say(device, plain, "16.1", WipeAcknowledgement(1, account_only))).status == 2
    assert len(backend.heard) == 2
