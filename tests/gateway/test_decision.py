"""What the site says beside the UEM, on the real gateway: rules, observing, throttling, notices, and the explanation."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from sentry_runtime import control, settings
from sentry_runtime.devices.record import DeviceKey, Reason, State
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, Turn, basic, post, until

OTHER = DeviceKey("PHONE2", PHONE.principal)
FAR = "2099-12-31T23:59Z"
PAST = "2001-01-01T00:00Z"


def rule(name: str, action: str, **fields: str) -> settings.Rule:
    """A rule as the settings have it."""
    return msgspec.convert({"name": name, "action": action, **fields}, settings.Rule)


def soon(days: int) -> str:
    """The minute that is so many days ahead."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%MZ")


async def reload(stand: Stand, **changes: object) -> None:
    """Put changed settings of the gateway in force."""
    gateway = msgspec.structs.replace(stand.settings.gateway, **changes)
    stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway)
    stand.write_settings()
    assert stand.process is not None
    before = stand.log().count("new settings are in force")
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: stand.log().count("new settings are in force") > before)


async def hang(turn: Turn) -> None:
    """A held Ping: the backend reads the request and says nothing."""
    await turn.body()
    await turn.reader.read()


async def held(stand: Stand, state: State, *reasons: Reason) -> Device:
    """A device whose Ping waits at the backend."""
    await stand.agent.put(PHONE, state, *reasons)
    stand.backend.script = hang
    device = await stand.device()
    await device.send(post("Ping", b"\x03\x01\x6a\x00"))
    await stand.backend.wait_seen()
    return device


def explain(stand: Stand, device: str = "PHONE1", who: str = PHONE.principal, **more: Any) -> control.Explanation:
    """What the gateway says would become of a request."""
    asked = control.Explain(device_id=device, principal=who, **more)
    said = control.call(stand.settings.paths.gateway_control, asked, control.Explanation)
    assert isinstance(said, control.Explanation)
    return said


# --- rules ------------------------------------------------------------------------------------------------------------


async def test_a_rule_that_denies_stands_above_the_uem_and_reaches_no_backend(make_stand: MakeStand) -> None:
    """Feature row 22: by user, device, type or source; the trail names the rule and the row that decided."""
    stand = await make_stand(rules=(rule("lost", "deny", device="PHONE1"),))
    await stand.agent.put(PHONE, State.ALLOWED)
    await stand.agent.put(OTHER, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 403
    assert (await device.ask(post(device="PHONE2"))).status == 200
    assert [seen.target.count("PHONE1") for seen in stand.backend.seen] == [0]
    denied, let = await stand.audit.outcomes(2)
    assert (denied["action"], denied["reasons"]) == ("block", ["local_rule"])
    assert (denied["decided_by"], denied["rule"]) == ("denied_by_rule", "lost")
    assert (let["decided_by"], "rule" in let) == ("allowed", False)


async def test_a_denied_stranger_is_not_even_asked_about(make_stand: MakeStand) -> None:
    """Neither a backend nor the agent hears of it."""
    stand = await make_stand(rules=(rule("net", "deny", network="127.0.0.0/8"),))
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 403
    assert (stand.agent.asked, stand.backend.probes) == ([], [])


async def test_a_rule_that_allows_stands_above_posture_and_below_an_administrator(make_stand: MakeStand) -> None:
    """What would have blocked is written beside what became of it."""
    stand = await make_stand(rules=(rule("pilot", "allow", user="LAB.TEST\\Anna"),))
    await stand.agent.put(PHONE, State.BLOCKED, Reason.UNREGISTERED, Reason.POLICY)
    await stand.agent.put(OTHER, State.BLOCKED, Reason.UNREGISTERED, Reason.MANUAL)
    device = await stand.device()
    assert (await device.ask(post())).status == 200
    assert (await device.ask(post(device="PHONE2", version="12.1"))).status == 403
    let, blocked = await stand.audit.outcomes(2)
    assert (let["action"], let["softened"], let["rule"]) == ("allow", ["unregistered", "policy"], "pilot")
    assert (blocked["decided_by"], blocked["reasons"]) == ("blocked_by_hand", ["unregistered", "manual"])
    await until(lambda: stand.status()["softened"] == 1)


async def test_a_new_rule_ends_what_an_older_workers_device_holds(make_stand: MakeStand) -> None:
    """The Ping is held by a worker of the settings before; others that it holds go on."""
    stand = await make_stand()
    device = await held(stand, State.ALLOWED)
    await stand.agent.put(OTHER, State.ALLOWED)
    second = await stand.device()
    await second.send(post("Ping", device="PHONE2"))
    await stand.backend.wait_seen(2)
    await reload(stand, rules=(rule("lost", "deny", device="PHONE1"),))
    assert (await device.response()).body.endswith(b"\x03129\x00\x01\x01")
    assert stand.status()["workers_retired"] == 1
    outcomes = await stand.audit.outcomes(1)
    assert [(one["device_id"], one["reasons"], one["rule"]) for one in outcomes] == [
        ("PHONE1", ["revoked", "local_rule"], "lost")
    ]
    await reload(stand, rules=(rule("lost", "deny", device="PHONE2"),))  # now two generations hear of it
    assert (await second.response()).body.endswith(b"\x03129\x00\x01\x01")


async def test_a_rule_that_goes_takes_its_leave_with_it(make_stand: MakeStand) -> None:
    """Also from a Ping that it had let through."""
    stand = await make_stand(rules=(rule("pilot", "allow", device="PHONE1"),))
    device = await held(stand, State.BLOCKED, Reason.UNREGISTERED)
    await reload(stand, rules=(rule("pilot", "allow", device="PHONE1", expires=PAST),))
    assert (await device.response()).body.endswith(b"\x03129\x00\x01\x01")
    assert stand.status()["rules_in_force"] == 0


async def test_a_change_of_the_entry_judges_what_runs_by_the_rules_too(make_stand: MakeStand) -> None:
    """A Ping that a rule has let through is not ended by news that leave the rule's word standing, and is by others."""
    stand = await make_stand(rules=(rule("pilot", "allow", device="PHONE1"),))
    device = await held(stand, State.BLOCKED, Reason.UNREGISTERED)
    await stand.agent.put(OTHER, State.ALLOWED)
    second = await stand.device()
    await second.send(post("Ping", device="PHONE2"))
    await stand.backend.wait_seen(2)
    await stand.agent.put(PHONE, State.BLOCKED, Reason.UNREGISTERED, Reason.OS_VERSION)
    await stand.agent.put(OTHER, State.BLOCKED, Reason.MANUAL)  # what is told comes in order: heard after the news
    await second.response()
    await stand.agent.put(PHONE, State.BLOCKED, Reason.UNREGISTERED, Reason.MANUAL)
    assert (await device.response()).body.endswith(b"\x03129\x00\x01\x01")
    assert [one["device_id"] for one in await stand.audit.outcomes(2)] == ["PHONE2", "PHONE1"]


async def test_a_rule_that_cannot_be_used_leaves_the_old_ones_in_force(make_stand: MakeStand) -> None:
    """And the reason stands in the status."""
    stand = await make_stand(rules=(rule("lost", "deny", device="PHONE1"),))
    gateway = msgspec.structs.replace(stand.settings.gateway, rules=(rule("all", "allow", network="0.0.0.0/0"),))
    stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway)
    stand.write_settings()
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: "gateway.rules[0].network" in stand.status()["reload_error"])
    assert stand.status()["rules_in_force"] == 1


# --- observing --------------------------------------------------------------------------------------------------------


async def test_observing_lets_blocked_devices_pass_and_writes_down_what_would_have_blocked(
    make_stand: MakeStand,
) -> None:
    """Feature row 21. Neither an administrator's word nor a wipe is softened; a strange device is still asked about."""
    stand = await make_stand(observe=settings.Observe(until=soon(29)))
    await stand.agent.put(PHONE, State.BLOCKED, Reason.COMPROMISED)
    await stand.agent.put(OTHER, State.BLOCKED, Reason.MANUAL)
    device = await stand.device()
    assert (await device.ask(post())).status == 200
    assert (await device.ask(post(device="PHONE2", version="12.1"))).status == 403
    assert (await device.ask(post(device="PHONE3"))).status == 200
    assert [ask.key.device_id for ask in stand.agent.asked] == ["PHONE3"]
    seen, refused, new = await stand.audit.outcomes(3)
    assert (seen["action"], seen["softened"], seen["decided_by"]) == ("allow", ["compromised"], "observed")
    assert (refused["action"], "softened" in refused) == ("block", False)
    assert new["softened"] == ["unregistered"]
    await until(lambda: stand.status()["softened"] == 2)
    assert stand.status()["observing_until"] == stand.settings.gateway.observe.until  # type: ignore[union-attr]


@pytest.mark.parametrize("end", [PAST, FAR])
async def test_observing_that_is_over_or_was_never_allowed_softens_nothing(make_stand: MakeStand, end: str) -> None:
    """An end that no site may set is none."""
    stand = await make_stand(observe=settings.Observe(until=end))
    await stand.agent.put(PHONE, State.BLOCKED, Reason.COMPROMISED)
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 403
    assert stand.status()["observing_until"] == ""


async def test_when_observing_is_turned_off_what_it_had_let_through_ends(make_stand: MakeStand) -> None:
    """A held Ping too."""
    stand = await make_stand(observe=settings.Observe(until=soon(1)))
    device = await held(stand, State.BLOCKED, Reason.POLICY)
    await reload(stand, observe=None)
    assert (await device.response()).body.endswith(b"\x03129\x00\x01\x01")


# --- throttling -------------------------------------------------------------------------------------------------------

THROTTLE = settings.Throttle(requests_per_second=0.001, burst=20, repeats=8, pause_seconds=120.0)


async def test_a_device_that_asks_too_much_is_throttled_and_others_are_not(make_stand: MakeStand) -> None:
    """Feature row 23: 503 with Retry-After and Exchange's word for the reason."""
    stand = await make_stand(throttle=THROTTLE)
    await stand.agent.put(PHONE, State.ALLOWED)
    await stand.agent.put(OTHER, State.ALLOWED)
    device = await stand.device()
    for number in range(21):
        assert (await device.ask(post("Sync", b"%d" % number))).status == 200
    answer = await device.ask(post("Sync"))
    assert (answer.status, answer.headers["x-ms-asthrottle"]) == (503, "CommandFrequency")
    assert 100 < int(answer.headers["retry-after"]) <= 120
    assert (await device.ask(post("Sync", device="PHONE2"))).status == 200
    assert len(stand.backend.seen) == 22
    throttled = (await stand.audit.outcomes(22))[21]
    assert (throttled["action"], throttled["reasons"]) == ("throttle", ["too_many_requests"])
    assert throttled["decided_by"] == "excess"
    await until(lambda: stand.status()["throttled"] == 1)


async def test_a_sync_loop_is_throttled_and_ends_by_itself(make_stand: MakeStand) -> None:
    """The same request with the same answer, one after the other, in a circle of two; then the device has a new start."""
    limits = msgspec.structs.replace(THROTTLE, burst=1_000, pause_seconds=1.0)
    stand = await make_stand(throttle=limits)
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    answers = [await device.ask(post(command, b"again")) for command in ("Sync", "FolderSync") * 6]
    statuses = [answer.status for answer in answers]
    assert statuses == [200] * 10 + [503] * 2
    assert answers[-1].headers["x-ms-asthrottle"] == "RecentCommands"
    async with asyncio.timeout(PATIENCE):
        while (await device.ask(post("Sync", b"new"))).status == 503:  # noqa: ASYNC110 - nobody tells of the end
            await asyncio.sleep(0.05)


async def test_a_device_whose_requests_get_on_is_not_throttled(make_stand: MakeStand) -> None:
    """Each Sync has another key; a body in two parts is one body."""
    stand = await make_stand(throttle=msgspec.structs.replace(THROTTLE, burst=1_000))
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    for number in range(30):
        request = post("Sync", b"key %04d" % number)
        await device.send(request[:-4])
        await device.send(request[-4:])
        assert (await device.response()).status == 200


async def test_who_does_not_know_the_password_uses_up_nobodys_share(make_stand: MakeStand) -> None:
    """What the backend refuses is not counted."""
    limits = with_limits(logons_refused_per_source=0, logons_refused_per_principal=0)
    stand = await make_stand(throttle=THROTTLE, limits=limits)
    await stand.agent.put(PHONE, State.ALLOWED)

    async def check(turn: Turn) -> None:
        await turn.body()
        known = turn.seen.value("authorization") == basic()
        await turn.ok(status="200 OK" if known else "401 Unauthorized")

    stand.backend.script = check
    stranger = await stand.device()
    for _ in range(60):
        assert (await stranger.ask(post("Sync", authorization=basic(password="guess")))).status == 401
    device = await stand.device()
    assert (await device.ask(post("Sync"))).status == 200


# --- notices ----------------------------------------------------------------------------------------------------------


async def test_a_blocked_device_is_told_why_where_there_is_a_place_for_it(make_stand: MakeStand) -> None:
    """Feature row 20: words in the body of an HTTP status, the reasons in a field; the status document is what it was."""
    stand = await make_stand(block_notice="Call the help desk: 4711")
    await stand.agent.put(PHONE, State.BLOCKED, Reason.UNREGISTERED, Reason.OS_VERSION)
    device = await stand.device()
    old = await device.ask(post("Sync", version="12.1"))
    assert (old.status, old.headers["content-type"]) == (403, "text/plain; charset=utf-8")
    assert old.body.decode() == "Call the help desk: 4711\nReason: unregistered, os_version\n"
    new = await device.ask(post("Sync"))
    assert (new.status, new.body.hex(" ")) == (200, "03 01 6a 00 45 4e 03 31 32 39 00 01 01")
    assert old.headers["x-block-reason"] == new.headers["x-block-reason"] == "unregistered, os_version"


async def test_without_a_notice_nothing_is_told(stand: Stand) -> None:
    """Who only knows a name and a device id learns no reasons."""
    await stand.agent.put(PHONE, State.BLOCKED, Reason.COMPROMISED)
    device = await stand.device()
    answer = await device.ask(post("Sync", version="12.1"))
    assert (answer.status, answer.body, "x-block-reason" in answer.headers) == (403, b"", False)


# --- the explanation --------------------------------------------------------------------------------------------------


async def test_the_explanation_has_the_words_of_the_request(make_stand: MakeStand) -> None:
    """Feature row 24: the same verdict, row, rule and reasons as on the request's line, for every kind of device."""
    rules = rule("lost", "deny", device="LOST*"), rule("pilot", "allow", device="PILOT")
    stand = await make_stand(rules=rules)
    entries: dict[str, tuple[State, tuple[Reason, ...]]] = {
        "PHONE1": (State.ALLOWED, ()),
        "PHONE2": (State.BLOCKED, (Reason.POLICY, Reason.OS_VERSION)),
        "PHONE3": (State.BLOCKED, (Reason.MANUAL,)),
        "PHONE4": (State.WIPED, ()),
        "LOST7": (State.ALLOWED, ()),
        "PILOT": (State.BLOCKED, (Reason.UNREGISTERED,)),
    }
    device = await stand.device()
    for name, (state, reasons) in entries.items():
        await stand.agent.put(DeviceKey(name, PHONE.principal), state, *reasons)
        await device.ask(post("Sync", device=name))
    for line in await stand.audit.outcomes(len(entries)):
        said = explain(stand, line["device_id"], "LAB.TEST\\anna", source="127.0.0.1", device_type="iPhone")
        assert (said.action, said.decided_by) == (line["action"], line["decided_by"])
        assert (list(said.reasons), list(said.softened)) == (line.get("reasons", []), line.get("softened", []))
        assert said.rule == line.get("rule", "")


async def test_the_explanation_sees_what_the_workers_throttle(make_stand: MakeStand) -> None:
    """Within a sign of life, and no longer than it lasts."""
    stand = await make_stand(throttle=msgspec.structs.replace(THROTTLE, burst=1, pause_seconds=4.0), workers=2)
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    for number in range(3):
        await device.ask(post("Sync", b"%d" % number))
    await until(lambda: explain(stand).action == "throttle")
    said = explain(stand)
    assert (said.reasons, said.decided_by) == (("too_many_requests",), "excess")
    assert any(note.startswith("1 of 2 workers throttle this device") for note in said.notes)
    await until(lambda: explain(stand).action == "allow")


async def test_the_explanation_follows_the_list_and_does_no_harm_to_it(stand: Stand) -> None:
    """Asked again and again while workers are replaced, it is always the list of this moment."""
    for state, action in ((State.ALLOWED, "allow"), (State.BLOCKED, "block")) * 10:
        await stand.agent.put(PHONE, state)
        assert explain(stand).action == action
    await reload(stand)
    assert explain(stand).action == "block"
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 403


async def test_what_cannot_be_explained_is_refused(stand: Stand) -> None:
    """And the next request is served."""
    with pytest.raises(control.ControlError, match="invalid: a device id is"):
        explain(stand, device="no device")
    assert explain(stand).action == "ask"
