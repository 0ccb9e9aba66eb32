"""No credential and nothing that a device says of itself is in a log of gateway, agent or UEM, all of them real processes."""

import asyncio

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.provision import EAS_WBXML, Acknowledgement, Ask, WipeAcknowledgement, encode_request
from tests.agent.stage import Stage
from tests.agent.test_policies import assign, register, told
from tests.agent.test_policy_to_device import stage
from tests.agent.test_three_processes import device
from tests.gateway.stand import PASSWORD, PHONE, Backend, basic, post
from tests.gateway.test_canaries import forms

__all__ = ["stage"]  # a fixture

SAYS = DeviceInformation(
    model="canarymodel-7d1f",
    imei="canaryimei-490154203237518",
    friendly_name="canaryname-5c1e",
    phone_number="canarynumber-4711-0815",
    user_agent="canaryagent-99ab",
)
COOKIE, MAIL = "canarycookie-31f0", "canarymail-8d2c"


async def test_no_secret_of_a_device_is_in_any_log(
    stage: Stage, backend: Backend, capfd: pytest.CaptureFixture[str]
) -> None:
    """From its first contact over its policy to its wipe, with the UEM and the agent killed in between; the UEM itself knows."""
    with stage.audit() as trail, trail.kept(asyncio.get_running_loop()) as kept:
        uem = stage.uem()
        await asyncio.to_thread(register, stage, PHONE)
        await asyncio.to_thread(assign, stage, PHONE, "strict")
        agent, gateway = stage.agent(), stage.start("gateway")

        async def say(command: str, body: bytes, key: int = 0, device_id: str = "PHONE1") -> bytes:
            phone = await device(stage)
            extra = f"X-MS-PolicyKey: {key}\r\nCookie: {COOKIE}\r\n"
            answer = await phone.ask(post(command, body, device=device_id, extra=extra))
            await phone.close()
            return answer.body

        offers = Ask(EAS_WBXML, SAYS)
        for device_id in ("PHONE1", "PHONE2"):  # one that may pass, and a stranger
            await say("Provision", encode_request(offers), device_id=device_id)
            await say("Provision", encode_request(Acknowledgement(EAS_WBXML, 1, 1)), device_id=device_id)
            await say("SendMail", MAIL.encode(), device_id=device_id)

        def known() -> bool:
            return [one.information for one in told(stage, PHONE)] == [SAYS]

        await asyncio.to_thread(stage.wait, known)
        await asyncio.to_thread(uem.kill)
        await say("Provision", encode_request(Ask(EAS_WBXML, msgspec.structs.replace(SAYS, os="canaryos-77aa"))))
        await asyncio.to_thread(agent.kill)
        await say("Provision", encode_request(offers))
        await asyncio.to_thread(stage.uem)
        await asyncio.to_thread(stage.agent)
        order = control.OrderWipe(device_id=PHONE.device_id, principal=PHONE.principal)
        await asyncio.to_thread(control.call, stage.paths.uem_admin, order)
        await asyncio.to_thread(stage.wait, lambda: "wipe" in stage.listed()[0].state)
        await say("Provision", encode_request(WipeAcknowledgement(1)))
        for process in (gateway, *stage.running[-2:]):
            await asyncio.to_thread(process.terminate)
    lines = b"\n".join(kept)
    written = lines + "".join(capfd.readouterr()).encode()
    assert lines.count(b'"request"') >= 8
    assert b"wipe_acknowledged" in lines
    assert b"uem_" in lines
    secrets = (PASSWORD, basic()[6:], COOKIE, MAIL, "canaryos-77aa", *msgspec.structs.astuple(SAYS))
    assert [one for one in secrets if one for form in forms(one.encode()) if form in written] == []
