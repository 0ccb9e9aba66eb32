"""What is shown of devices, their policies and wipes, and of the UEM that says so."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from appliance.configd import facts
from appliance.configd.errors import RefusedError
from appliance.configd.facts.context import Context
from appliance.features.base import Feature
from sentry_runtime.control import (
    ControlError,
    Details,
    ListDevices,
    ListPolicies,
    NamedPolicy,
    Registered,
    ShowDetails,
    ShowDevice,
    ShowRegistered,
)
from sentry_runtime.devices.record import DeviceKey, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import TEMPORARY, Policy, digest
from tests.unit.appliance.configd.shown import pairs, rows
from tests.unit.appliance.workbench import FEATURES


def test_the_device_list_comes_in_pages(context: Context) -> None:
    listed = [
        Record(key=DeviceKey(f"D{number:04}", "bob@lab.test"), state=State.ALLOWED, version=1, updated=1_800_000_000)
        for number in range(700)
    ]
    asked = []

    def call(path: str, request: Any, _type: Any) -> list[Record]:
        assert path == "/run/sentry-agent/agent.sock"
        asked.append(request)
        after = [record for record in listed if request.after is None or record.key > request.after]
        return after[: min(300, request.limit)]  # a page may be shorter than asked for: a line's size bounds it, too

    shown = rows(facts.show("devices", "", replace(context, call=call)))
    assert len(shown) == 700
    assert shown[0] == ("D0000", "bob@lab.test", "allowed", "", "", "no", "2027-01-15T08:00:00Z")
    after = [request.after.device_id if request.after else "" for request in asked]
    assert after == ["", "D0299", "D0599", "D0699"]
    assert asked[1] == ListDevices(after=DeviceKey("D0299", "bob@lab.test"), limit=500)


def test_a_device_wants_its_id(context: Context) -> None:
    asked: list[Any] = []

    def call(_path: str, request: Any, _type: Any) -> list[Record]:
        asked.append(request)
        return []

    context = replace(context, call=call)
    assert rows(facts.show("device", "ABC", context)) == ()
    assert asked == [ShowDevice(device_id="ABC")]
    with pytest.raises(RefusedError, match="found no device id"):
        facts.show("device", "", context)


STRICT = Policy(device_password_enabled=True, min_device_password_length=8)
ANNA, BERT = DeviceKey("ABC", "anna"), DeviceKey("ABC", "bert")


def sheets(context: Context, answers: dict[Any, Any]) -> dict[str, tuple[str, ...]]:
    """What `show device ABC` says where the data plane answers so; each fact with a value for each user."""

    def call(path: str, request: Any, _type: Any) -> Any:
        assert (
            path == f"/run/{'sentry-uem/admin' if isinstance(request, ShowRegistered) else 'sentry-agent/agent'}.sock"
        )
        assert request.device_id == "ABC"
        if type(request) not in answers:
            raise ControlError("nobody is there")
        return answers[type(request)]

    return {row[0]: row[1:] for row in rows(facts.show("device", "ABC", replace(context, call=call)))}


def test_a_device_has_a_column_for_each_of_its_users(context: Context) -> None:
    known = [
        Record(key=ANNA, state=State.ALLOWED, version=1, policy=digest(STRICT), registered=True),
        Record(key=BERT, state=State.ALLOWED, version=1),
    ]
    says = DeviceInformation(model="iPhone10C1", imei="490154203237518", os="iOS 17.0")
    shown = sheets(
        context,
        {
            ShowDevice: known,
            ShowDetails: [Details(key=ANNA, policy=STRICT, information=says), Details(key=BERT)],
            ShowRegistered: [Registered(key=ANNA, policy="strict"), Registered(key=BERT, information=says)],
        },
    )
    assert (shown["user"], shown["registered"]) == (("anna", "bert"), ("yes", "no"))
    assert shown["policy"] == (f"strict, assigned ({digest(STRICT).hex()[:12]})", "the gateway's own")
    assert shown["model"] == ("iPhone10C1", "iPhone10C1")  # of bert's the UEM alone has heard
    assert (shown["imei"], shown["os"]) == (("490154203237518",) * 2, ("iOS 17.0",) * 2)
    assert (shown["policy.min_device_password_length"], "phone number" in shown) == (("8", ""), False)


@pytest.mark.parametrize(
    ("record", "named", "words"),
    [
        (Record(key=ANNA, state=State.ALLOWED, version=1), "", "the gateway's own"),
        (Record(key=ANNA, state=State.ALLOWED, version=1), "gone", "gone, assigned, which is not in the settings"),
        (Record(key=ANNA, state=State.ALLOWED, version=1, policy=digest(STRICT)), "", "the default one of the UEM"),
        (
            Record(key=ANNA, state=State.ALLOWED, version=0, provisional=True, policy=digest(TEMPORARY)),
            None,
            "temporary: a simple passcode",
        ),
    ],
)
def test_where_a_policy_comes_from(context: Context, record: Record, named: str | None, words: str) -> None:
    answers: dict[Any, Any] = {ShowDevice: [record], ShowDetails: []}
    if named is not None:  # else the UEM does not answer
        answers[ShowRegistered] = [Registered(key=ANNA, policy=named)]
    (policy,) = sheets(context, answers)["policy"]
    assert policy.startswith(words)


def test_the_policies_of_the_uem(context: Context) -> None:
    listed = [
        NamedPolicy(name="strict", policy=STRICT, default=True, assigned=3),
        NamedPolicy(name="lax", policy=Policy()),
    ]

    def call(path: str, request: Any, _type: Any) -> list[NamedPolicy]:
        assert (path, request) == ("/run/sentry-uem/admin.sock", ListPolicies())
        return listed

    assert rows(facts.show("policies", "", replace(context, call=call))) == (
        ("strict", "yes", "3", "device_password_enabled yes, min_device_password_length 8"),
        ("lax", "no", "0", "restricts nothing"),
    )


@pytest.mark.parametrize(
    ("kind", "marks", "state", "told"),
    [
        (WipeKind.DEVICE, (), "wipe_pending", "the whole device, by olga: waits for the device"),
        (WipeKind.DEVICE, (WipeMark.HANDED_OUT,), "wipe_pending", "the whole device, by olga: handed out"),
        (
            WipeKind.DEVICE,
            (WipeMark.FAILED, WipeMark.HANDED_OUT),
            "wipe_pending",
            "the whole device, by olga: handed out; failed, asked again",
        ),
        (
            WipeKind.ACCOUNT,
            (WipeMark.TOO_OLD,),
            "wipe_pending",
            "the account only, by olga: came with a version below 16.1, which has no wipe of an account: blocked",
        ),
        (
            WipeKind.DEVICE,
            (WipeMark.HANDED_OUT, WipeMark.UNVERIFIED),
            "wiped, unverified",
            "the whole device, by olga: handed out; acknowledged, unverified",
        ),
        (
            WipeKind.ACCOUNT,
            (WipeMark.UNVERIFIED, WipeMark.VERIFIED),
            "wiped",
            "the account only, by olga: acknowledged, verified",
        ),
    ],
)
def test_a_device_shows_what_has_come_of_its_wipe_and_no_more(
    context: Context, kind: WipeKind, marks: tuple[WipeMark, ...], state: str, told: str
) -> None:
    wipe = Wipe(kind=kind, order=3, marks=marks, by="olga")
    record = Record(key=ANNA, state=wipe.state, version=3, wipe=wipe, note="lost")
    shown = sheets(context, {ShowDevice: [record], ShowDetails: []})
    assert (shown["state"], shown["wipe"], shown["note"]) == ((state,), (told,), ("lost",))
    listed = replace(context, call=lambda _path, request, _type: [] if request.after else [record])
    assert rows(facts.show("devices", "", listed))[0][2] == state


def test_a_device_that_nobody_has_wiped_or_said_anything_of_shows_neither(context: Context) -> None:
    shown = sheets(context, {ShowDevice: [Record(key=ANNA, state=State.ALLOWED, version=1)], ShowDetails: []})
    assert shown.keys().isdisjoint({"wipe", "note"})


def test_a_vendors_uem_is_shown_without_its_secret(context: Context) -> None:
    assert context.running is not None
    held = {"mode": "epmm", "epmm": {"account": "sentry-api", "password": f"secret:{'0' * 64}"}, "policies": {}}
    running = msgspec.structs.replace(context.running, tree={**context.running.tree, "uem": held})

    def say(*_: object) -> dict[str, object]:
        return {"link": "up", "uem": "Ivanti EPMM", "followers": 2, "uem_devices": 7, "uem_left_out": "1 with no user"}

    shown = pairs(facts.show("uem", "", replace(context, running=running, call=say)))
    assert shown["uem"] == "Ivanti EPMM"
    assert "followers" not in shown  # that is `show agent`'s
    assert (shown["uem_devices"], shown["uem_left_out"], shown["epmm.account"]) == ("7", "1 with no user", "sentry-api")
    assert shown["epmm.password"] == "********"


def test_what_the_stig_asks_of_the_uem(context: Context) -> None:
    uem = Feature(name="uem", label="U", schema={"type": "dict"}, default={"mode": "embedded"})
    assert context.running is not None
    running = msgspec.structs.replace(context.running, tree={**context.running.tree, "uem": {"mode": "embedded"}})
    assert uem not in FEATURES
    with_uem = replace(context, running=running)
    assert pairs(facts.show("emm-source-verify", "", with_uem)) == {"EMM-source-verify": "true"}
    assert pairs(facts.show("emm-ips", "", with_uem)) == {"emm-ips": "127.0.0.1"}
    assert pairs(facts.show("emm-ips", "", context)) == {"emm-ips": "not configured"}
