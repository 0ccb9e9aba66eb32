"""Orders to services and to the machine: whom they reach, as what, and what is said of it."""

from typing import Any

import pytest

from appliance.configd import api
from sentry_runtime import control
from tests.unit.appliance.configd.people import privileged, refusal
from tests.unit.appliance.workbench import ALICE, OLGA, Daemon


def test_operators_restart_services_and_administrators_stop_them(daemon: Daemon) -> None:
    stop: dict[str, Any] = {"service": "gateway", "action": "stop"}
    peer, handle = privileged(daemon, OLGA, 1)
    assert refusal(daemon.say, peer, api.ControlService(session=handle, **stop)).message == (
        "the role operator may not do this; allowed: administrator"
    )
    peer, handle = privileged(daemon, ALICE, 2)
    daemon.say(peer, api.ControlService(session=handle, **stop), api.Facts)
    assert daemon.commands.acted()[-1] == "stop -- sentry-gateway.service"


def test_operators_quiesce_the_gateway_and_administrators_drain_it(daemon: Daemon) -> None:
    """Each is an order to the gateway; what it answers is its state."""
    orders: list[tuple[str, object]] = []

    def call(path: str, request: object, _type: object = None) -> object:
        orders.append((path, request))
        return {"state": "quiesced"} if isinstance(request, control.Status) else None

    daemon.actions._call = call
    peer, handle = privileged(daemon, OLGA, 1)
    done = daemon.say(peer, api.Maintain(session=handle, action="quiesce"), api.Facts)
    assert dict(done.facts) == {"state": "quiesced"}
    drain = api.Maintain(session=handle, action="drain")
    assert refusal(daemon.say, peer, drain).message == "the role operator may not do this; allowed: administrator"
    daemon.say(peer, api.Maintain(session=handle, action="resume"), api.Facts)
    peer, handle = privileged(daemon, ALICE, 2)
    daemon.say(peer, api.Maintain(session=handle, action="drain"), api.Facts)
    status = control.Status()
    sent = [control.Quiesce(), status, control.Resume(), status, control.Drain(), status]
    assert orders == [("/run/sentry-gateway/control.sock", one) for one in sent]


def test_a_purge_of_revocation_names_who_asked_for_it(daemon: Daemon) -> None:
    """The agent writes it down."""
    peer, handle = privileged(daemon, OLGA)
    daemon.say(peer, api.PurgeRevocation(session=handle))
    assert daemon.asked[-1] == ("/run/sentry-agent/agent.sock", control.PurgeRevocation(by="olga"))


def test_the_device_list_is_persisted_by_the_agent(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says how much it is."""
    orders: list[control.Request] = []

    def call(_socket: str, request: control.Request, _kind: object) -> control.Persisted:
        orders.append(request)
        return control.Persisted(devices=7, bytes=20_480)

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, handle = privileged(daemon, OLGA)
    facts = daemon.say(peer, api.PersistDevices(session=handle), api.Facts)
    assert facts.facts == (("devices", "7"), ("bytes on the disk", "20480"))
    assert orders == [control.Persist()]


@pytest.mark.parametrize("mode", ["embedded", "core", "epmm"])
def test_outside_of_mode_cloud_a_check_in_is_not_applicable(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """It is said, and nobody is asked."""
    tree = {**daemon.actions.candidates.running(), "uem": {"mode": mode}}
    monkeypatch.setattr(daemon.actions.candidates, "running", lambda: tree)
    peer, handle = privileged(daemon, OLGA)
    asked = list(daemon.asked)
    said = refusal(daemon.say, peer, api.CheckIn(session=handle))
    assert (said.kind, said.message.partition(":")[0]) == ("invalid", "not applicable")
    assert f"the UEM mode {mode}" in said.message
    assert daemon.asked == asked


def test_a_forced_check_in_says_what_came_of_it(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """In mode cloud, by the agent."""
    tree = {**daemon.actions.candidates.running(), "uem": {"mode": "cloud"}}
    monkeypatch.setattr(daemon.actions.candidates, "running", lambda: tree)
    orders: list[control.Request] = []

    def call(_socket: str, request: control.Request, _kind: object) -> control.CheckedIn:
        orders.append(request)
        return control.CheckedIn(compliance=1, actions=2, inventory=3)

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, handle = privileged(daemon, OLGA)
    facts = daemon.say(peer, api.CheckIn(session=handle), api.Facts)
    assert [value for _, value in facts.facts] == ["1", "2", "3"]
    assert orders == [control.CheckIn()]


def test_an_administrator_enrols_the_gateway_and_has_it_renewed(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes to the agent and nowhere else; what is none does not even get there, and is not repeated."""
    orders: list[control.Request] = []

    def call(_socket: str, request: control.Request, _kind: object = None) -> dict[str, str]:
        orders.append(request)
        return {"enrolment": "enrolled as edge"}

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, handle = privileged(daemon)
    facts = daemon.say(peer, api.EnrolSentry(session=handle, token="t" * 43), api.Facts)
    assert facts.facts == (("enrolment", "enrolled as edge"),)
    daemon.say(peer, api.EnrolSentry(session=handle), api.Facts)
    asked = [one for one in orders if not isinstance(one, control.Status)]
    assert asked == [control.Enrol(token="t" * 43, by="alice"), control.RenewEnrolment()]
    refused = refusal(daemon.say, peer, api.EnrolSentry(session=handle, token="half a token"))
    assert (refused.kind, "half" in refused.message) == ("invalid", False)
    assert len(orders) == 4


def test_the_uems_word_on_a_token_reaches_the_administrator(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was said."""

    def call(_socket: str, _request: control.Request, _kind: object = None) -> None:
        raise control.ControlError("unavailable: the UEM answered 403: not enrolled", "unavailable")

    monkeypatch.setattr(daemon.actions, "_call", call)
    peer, handle = privileged(daemon)
    refused = refusal(daemon.say, peer, api.EnrolSentry(session=handle, token="t" * 43))
    assert (refused.kind, refused.message) == ("invalid", "the UEM answered 403: not enrolled")


@pytest.mark.parametrize("host", ["-f", "a b", "$(reboot)", "a;b", "", "a" * 254, "host\n", "../x", "a|b", "%s"])
def test_a_host_that_is_no_name_or_address_starts_nothing(daemon: Daemon, host: str) -> None:
    peer, session = daemon.open(ALICE)
    daemon.commands.log.clear()
    for verb in (api.Ping, api.Lookup, api.Trace):
        assert refusal(daemon.say, peer, verb(session=session.handle, host=host)).kind == "invalid"
    assert daemon.commands.log == []


def test_services_are_controlled_by_their_own_names(daemon: Daemon) -> None:
    peer, handle = privileged(daemon, OLGA)
    daemon.commands.log.clear()
    done = daemon.say(peer, api.ControlService(session=handle, service="gateway", action="restart"), api.Facts)
    assert daemon.commands.acted() == ["restart -- sentry-gateway.service"]
    assert dict(done.facts)["state"] == "active"


def test_power_asks_systemd_and_does_not_wait(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.Power(session=handle, action="reload"))
    assert daemon.commands.log[-1] == ["systemctl", "--no-block", "reboot"]
