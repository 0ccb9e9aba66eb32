"""What is done about a device: it reaches the UEM or the gateway as typed, with who asked for it."""

from typing import Any

import pytest

from appliance.configd import api
from sentry_runtime.control import (
    AssignPolicy,
    CancelWipe,
    ClearRedirects,
    ControlError,
    Explain,
    ExplainedStep,
    Explanation,
    Flag,
    OrderWipe,
)
from sentry_runtime.devices.record import Reason, Wipe, WipeKind, WipeMark
from tests.unit.appliance.configd.people import privileged, refusal
from tests.unit.appliance.workbench import ALICE, OLGA, Daemon


@pytest.mark.parametrize("principal", ["Bob@Lab.test", "CORP\\Bob"])
def test_a_device_action_reaches_the_uem_as_typed_with_who_asked_for_it(daemon: Daemon, principal: str) -> None:
    peer, handle = privileged(daemon, OLGA)
    daemon.say(peer, api.DeviceAction(session=handle, action="block", device_id="ABC123", principal=principal))
    path, request = daemon.asked[-1]
    assert path == "/run/sentry-uem/admin.sock"
    assert (request.device_id, request.principal, request.state, request.note, request.by) == (
        "ABC123",
        principal,
        "blocked",
        "by olga",
        "olga",
    )


@pytest.mark.parametrize(
    ("kind", "then"), [("invalid", "invalid"), ("unknown", "invalid"), ("unavailable", "unavailable")]
)
def test_what_the_uem_says_against_a_device_action_is_the_refusal(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, kind: str, then: str
) -> None:
    def refuse(*_: object) -> None:
        raise ControlError(f"{kind}: found 'b c'", kind)

    monkeypatch.setattr(daemon.actions, "_call", refuse)
    peer, handle = privileged(daemon, OLGA)
    said = refusal(
        daemon.say, peer, api.DeviceAction(session=handle, action="register", device_id="A", principal="b c")
    )
    assert said.kind == then
    assert "found 'b c'" in said.message


def test_a_device_of_another_vendors_uem_is_managed_there(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    peer, handle = privileged(daemon, OLGA)
    tree = {**daemon.actions.candidates.running(), "uem": {"mode": "epmm"}}
    monkeypatch.setattr(daemon.actions.candidates, "running", lambda: tree)
    for action in ("allow", "wipe", "cancel-wipe"):
        asked = api.DeviceAction(session=handle, action=action, device_id="A", principal="bob")
        said = refusal(daemon.say, peer, asked)
        assert (said.kind, "found the UEM mode epmm" in said.message) == ("invalid", True)
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("device", "principal", "note"), [("../x", "bob", ""), ("A", "", ""), ("A", "b\tc", ""), ("A", "bob", "a\nb")]
)
def test_a_malformed_device_action_is_refused(daemon: Daemon, device: str, principal: str, note: str) -> None:
    peer, handle = privileged(daemon, OLGA)
    action = api.DeviceAction(session=handle, action="allow", device_id=device, principal=principal, note=note)
    assert refusal(daemon.say, peer, action).kind == "invalid"
    assert daemon.asked == []


def test_redirections_are_cleared_in_the_gateway_one_or_all(daemon: Daemon) -> None:
    peer, handle = privileged(daemon, OLGA)
    for device, principal, about in (("PHONE1", "LAB\\anna", "PHONE1 LAB\\anna"), ("", "", "all")):
        asked = api.ClearRedirects(session=handle, device_id=device, principal=principal)
        assert daemon.say(peer, asked) == 0
        path, request = daemon.asked[-1]
        assert (path, request) == (
            "/run/sentry-gateway/control.sock",
            ClearRedirects(device_id=device, principal=principal),
        )
        assert (daemon.ledger.entries[-1].event, daemon.ledger.entries[-1].path) == ("redirects.clear", about)


@pytest.mark.parametrize(("device", "principal"), [("A", ""), ("", "bob"), ("../x", "bob"), ("A", "b\tc")])
def test_half_a_device_clears_nothing(daemon: Daemon, device: str, principal: str) -> None:
    peer, handle = privileged(daemon, OLGA)
    action = api.ClearRedirects(session=handle, device_id=device, principal=principal)
    assert refusal(daemon.say, peer, action).kind == "invalid"
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [
        ("wipe", WipeKind.DEVICE, "the device is refused until it is removed or the wipe is cancelled"),
        ("wipe-account", WipeKind.ACCOUNT, "from 16.1 on: a device that comes with an older version is blocked"),
    ],
)
def test_a_wipe_is_ordered_at_the_uem_and_said_in_words(
    daemon: Daemon, action: Any, kind: WipeKind, words: str
) -> None:
    peer, handle = privileged(daemon, OLGA)
    order = api.DeviceAction(session=handle, action=action, device_id="ABC123", principal="bob@lab.test", note="lost")
    said = daemon.say(peer, order, str)
    assert words in said
    assert daemon.asked[-1] == (
        "/run/sentry-uem/admin.sock",
        OrderWipe(device_id="ABC123", principal="bob@lab.test", kind=kind, note="lost", by="olga"),
    )
    line = daemon.ledger.entries[-1]
    assert (line.event, line.user, line.path) == ("device.action", "olga", f"{action} ABC123 bob@lab.test")


@pytest.mark.parametrize(
    ("marks", "words"),
    [((), "It had not been handed out."), ((WipeMark.HANDED_OUT,), "the device may wipe itself all the same")],
)
def test_a_cancelled_wipe_says_whether_it_may_happen_all_the_same(
    daemon: Daemon, marks: tuple[WipeMark, ...], words: str
) -> None:
    peer, handle = privileged(daemon, OLGA)
    daemon.told[CancelWipe] = Wipe(kind=WipeKind.DEVICE, order=3, marks=marks)
    cancel = api.DeviceAction(session=handle, action="cancel-wipe", device_id="ABC123", principal="bob@lab.test")
    assert words in daemon.say(peer, cancel, str)
    assert daemon.asked[-1][1] == CancelWipe(device_id="ABC123", principal="bob@lab.test", by="olga")


def test_a_wipe_needs_privilege_and_an_operator(daemon: Daemon) -> None:
    order = {"action": "wipe", "device_id": "ABC123", "principal": "bob@lab.test"}
    peer, session = daemon.open(OLGA)
    assert refusal(daemon.say, peer, api.DeviceAction(session=session.handle, **order)).kind == "privilege"  # type: ignore[arg-type]
    assert daemon.asked == []


@pytest.mark.parametrize("holds", [True, False])
def test_what_is_wrong_with_a_device_reaches_the_uem_with_who_said_so(daemon: Daemon, holds: bool) -> None:  # noqa: FBT001 - a table
    peer, handle = privileged(daemon, OLGA)
    verb = api.FlagDevice(session=handle, cause="compromised", holds=holds, device_id="ABC123", principal="CORP\\Bob")
    daemon.say(peer, verb)
    assert daemon.asked[-1] == (
        "/run/sentry-uem/admin.sock",
        Flag(device_id="ABC123", principal="CORP\\Bob", cause=Reason.COMPROMISED, holds=holds, by="olga"),
    )
    bad = api.FlagDevice(session=handle, cause="policy", holds=holds, device_id="../x", principal="bob")
    assert refusal(daemon.say, peer, bad).kind == "invalid"


EXPLAINED = Explanation(
    device_id="PHONE1",
    principal="bob",
    action="block",
    reasons=("unregistered",),
    softened=(),
    decided_by="blocked",
    rule="",
    answer="HTTP 403",
    steps=(ExplainedStep(row="blocked", asks="nothing lets it pass", saw="blocked, unregistered", applies=True),),
    notes=(),
)


def test_a_device_is_explained_by_the_gateway_with_the_names_as_typed(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which form of a name is the one is for the gateway to say; anybody with a session may ask."""
    asked: list[tuple[str, Any]] = []

    def call(path: str, request: Any, _kind: Any) -> Explanation:
        asked.append((path, request))
        return EXPLAINED

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, session = daemon.open(ALICE)
    verb = api.Explain(session=session.handle, device_id="phone1", principal="CORP\\Bob", source="192.0.2.1")
    assert daemon.say(peer, verb, Explanation) == EXPLAINED
    assert asked == [
        ("/run/sentry-gateway/control.sock", Explain(device_id="phone1", principal="CORP\\Bob", source="192.0.2.1"))
    ]


@pytest.mark.parametrize(("kind", "then"), [("invalid", "invalid"), ("", "unavailable")])
def test_what_the_gateway_says_against_an_explanation_is_the_refusal(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, kind: str, then: str
) -> None:
    """A name that is none, or a gateway that does not run."""

    def refuse(*_: object) -> None:
        raise ControlError(f"{kind or 'control.sock'}: no such thing", kind)

    monkeypatch.setattr(daemon.actions, "_call", refuse)
    peer, session = daemon.open(ALICE)
    said = refusal(daemon.say, peer, api.Explain(session=session.handle, device_id="A", principal="b"))
    assert (said.kind, "no such thing" in said.message) == (then, True)


@pytest.mark.parametrize("names", [{"device_id": "A\tB"}, {"principal": "b" * 321}, {"source": "x\n"}])
def test_a_malformed_question_does_not_reach_the_gateway(daemon: Daemon, names: dict[str, Any]) -> None:
    """Control characters and lines without end."""
    peer, session = daemon.open(ALICE)
    verb = api.Explain(session=session.handle, **{"device_id": "A", "principal": "b", **names})
    assert refusal(daemon.say, peer, verb).kind == "invalid"
    assert daemon.asked == []


@pytest.mark.parametrize("policy", ["strict", None])
def test_a_policy_is_assigned_and_taken_back_at_the_uem_with_who_asked_for_it(
    daemon: Daemon, policy: str | None
) -> None:
    peer, handle = privileged(daemon, OLGA)
    daemon.say(peer, api.DevicePolicy(session=handle, device_id="ABC123", principal="CORP\\Bob", policy=policy))
    path, request = daemon.asked[-1]
    assert path == "/run/sentry-uem/admin.sock"
    assert request == AssignPolicy(device_id="ABC123", principal="CORP\\Bob", policy=policy, by="olga")
    assert daemon.ledger.entries[-1].path == f"{policy or '(default)'} ABC123 CORP\\Bob"


@pytest.mark.parametrize(
    ("device", "principal", "policy"),
    [("../x", "bob", "a"), ("A", "", "a"), ("A", "bob", "a\nb"), ("A", "bob", "a" * 33)],
)
def test_a_malformed_assignment_is_refused(daemon: Daemon, device: str, principal: str, policy: str) -> None:
    peer, handle = privileged(daemon, OLGA)
    verb = api.DevicePolicy(session=handle, device_id=device, principal=principal, policy=policy)
    assert refusal(daemon.say, peer, verb).kind == "invalid"
    assert daemon.asked == []
