"""A wipe beside what else the site says: rules, throttling, observing."""

import msgspec

from sentry_runtime import settings
from sentry_runtime.devices.record import State, WipeKind, WipeMark
from sentry_runtime.eas.provision import EAS_WBXML, Ask, Response
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PHONE, basic, post, until
from tests.gateway.test_decision import THROTTLE, explain, rule, soon
from tests.gateway.wipe.asking import DONE, HANDED_OUT, UNVERIFIED, VERIFIED, heard, marked, provision, say


async def test_a_denied_device_is_told_to_wipe_itself_all_the_same(make_stand: MakeStand) -> None:
    """Nothing else passes: no rule counts, neither before nor after. The trail and the explanation name the order's row."""
    stand = await make_stand(rules=(rule("lost", "deny", device="PHONE*"),))
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 403
    await stand.agent.order_wipe(PHONE)
    await heard(stand, device)
    assert (explain(stand).action, explain(stand).decided_by) == ("wipe", "wipe_pending")
    assert explain(stand, command="Provision").answer == "the gateway hands out the order to wipe"
    assert (await say(device, provision(Ask(EAS_WBXML)))).remote_wipe
    assert await say(device, provision(DONE, authorization=basic())) == Response(status=1)
    await marked(stand, HANDED_OUT, UNVERIFIED, VERIFIED)
    await heard(stand, device, 403)
    lines = await stand.audit.outcomes(1)
    while lines[-1].get("decided_by") != "wiped":
        lines = await stand.audit.outcomes(len(lines) + 1)
    rows = [(line["decided_by"], line["action"], line.get("rule", "")) for line in lines]
    assert set(rows) == {
        ("denied_by_rule", "block", "lost"),
        ("wipe_pending", "wipe", ""),
        ("wiped", "block", ""),
    } | ({("wipe_unverified", "wipe", "")} & set(rows))
    assert explain(stand).decided_by == "wiped"
    assert stand.backend.seen == []


async def test_a_throttled_device_is_told_to_wipe_itself_all_the_same(make_stand: MakeStand) -> None:
    """Its pause goes on beside that, for when the order is taken back."""
    stand = await make_stand(throttle=msgspec.structs.replace(THROTTLE, burst=1, pause_seconds=600.0))
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    for number in range(3):
        await device.ask(post("Sync", b"%d" % number, version="12.1"))
    assert (await device.ask(post(version="12.1"))).status == 503
    await stand.agent.order_wipe(PHONE)
    await heard(stand, device)
    await until(lambda: any("throttle this device" in note for note in explain(stand).notes))
    assert explain(stand).decided_by == "wipe_pending"
    assert (await say(device, provision(Ask(EAS_WBXML)))).remote_wipe
    await marked(stand, HANDED_OUT)
    await stand.agent.put(PHONE, State.ALLOWED)
    await heard(stand, device, 503)


async def test_a_rule_that_allows_and_observing_let_no_device_pass_that_is_to_be_wiped(make_stand: MakeStand) -> None:
    """Neither is a wipe among what is softened."""
    observe = settings.Observe(until=soon(days=1))
    stand = await make_stand(rules=(rule("pilot", "allow", device="PHONE1"),), observe=observe)
    assert stand.status()["observing_until"]
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    assert (await device.ask(post(authorization=basic()))).status == 449
    assert (stand.backend.connections, stand.agent.asked) == (0, [])


async def test_an_account_that_cannot_be_wiped_below_16_1_is_told_so_in_the_sites_words(make_stand: MakeStand) -> None:
    """The row and the explanation say why; the notice is the one of every block."""
    stand = await make_stand(block_notice="Ask the help desk.")
    await stand.agent.order_wipe(PHONE, WipeKind.ACCOUNT)
    device = await stand.device()
    answer = await device.ask(post(version="12.1"))
    assert (answer.status, answer.body) == (403, b"Ask the help desk.\n")
    (line,) = await stand.audit.outcomes(1)
    assert (line["decided_by"], line["action"]) == ("wipe_too_old", "wipe")
    await marked(stand, WipeMark.TOO_OLD)
    said = explain(stand, protocol="12.1")
    assert (said.decided_by, said.answer) == ("wipe_too_old", "HTTP 403")
    assert said.steps[-1].saw == "wipe_pending; wipe of the account: too_old; the version has none"
    assert explain(stand, protocol="16.1").decided_by == "wipe_pending"
