"""Policies and what devices say, through the real agent and UEM: assigned, changed, kept over restarts, passed on."""

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError, Details, NamedPolicy, Registered
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import TEMPORARY, Policy, digest
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem_server import admin
from tests.agent.conftest import MakeStage
from tests.agent.stage import Stage

ANNA, BERT = DeviceKey("C1", "anna@lab.test"), DeviceKey("C2", "bert@lab.test")
STRICT = Policy(device_password_enabled=True, min_device_password_length=8)
LAX = Policy(device_password_enabled=True)
SAYS = DeviceInformation(model="iPhone10C1", imei="490154203237518")


def set_policies(stage: Stage, default: str | None = None, **named: Policy) -> None:
    """The UEM's policies, from its next start on."""
    assert stage.settings.uem_server is not None
    uem = msgspec.structs.replace(stage.settings.uem_server, policies=named, default_policy=default)
    stage.settings = msgspec.structs.replace(stage.settings, uem_server=uem)


def say(stage: Stage, request: control.Request) -> Decision:
    """An administrator's word."""
    decision = control.call(stage.paths.uem_admin, request, Decision)
    assert isinstance(decision, Decision)
    return decision


def register(stage: Stage, *keys: DeviceKey) -> None:
    """These devices may pass."""
    for key in keys:
        say(stage, control.Register(device_id=key.device_id, principal=key.principal))


def assign(stage: Stage, key: DeviceKey, policy: str | None) -> Decision:
    """This device must apply that policy."""
    return say(stage, control.AssignPolicy(device_id=key.device_id, principal=key.principal, policy=policy, by="root"))


def details(stage: Stage, key: DeviceKey) -> Details:
    """What the agent keeps beside an entry."""
    (found,) = control.call(stage.paths.agent_socket, control.ShowDetails(device_id=key.device_id), list[Details])
    assert isinstance(found, Details)
    return found


def entry(stage: Stage, key: DeviceKey) -> Record:
    """An entry of the list."""
    return next(record for record in stage.listed() if record.key == key)


def test_a_device_has_its_policy_from_its_first_contact_on(stage: Stage) -> None:
    """The assigned one or the default; the list holds each once, and its entry the digest."""
    set_policies(stage, "lax", strict=STRICT, lax=LAX)
    stage.uem()
    register(stage, ANNA, BERT)
    assign(stage, ANNA, "strict")
    stage.agent()
    assert [stage.ask(key).policy for key in (ANNA, BERT)] == [digest(STRICT), digest(LAX)]
    assert [details(stage, key).policy for key in (ANNA, BERT)] == [STRICT, LAX]


def test_an_assignment_reaches_the_list_at_once_with_what_it_replaces(stage: Stage) -> None:
    """And is taken back."""
    set_policies(stage, strict=STRICT)
    stage.uem()
    register(stage, ANNA)
    stage.agent()
    assert stage.ask(ANNA).policy == b""
    follower = stage.follow()
    with stage.audit() as trail:
        assign(stage, ANNA, "strict")
        while "by" not in (line := trail.until("uem_changed")[-1]):  # the first is the registration's
            pass
    assert (line["device_id"], line["by"], line["detail"]) == ("C1", "root", "policy strict")
    follower.until(ANNA)
    assert (entry(stage, ANNA).policy, entry(stage, ANNA).policy_before) == (digest(STRICT), b"")
    assign(stage, ANNA, None)
    follower.until(ANNA)
    follower.close()
    assert (entry(stage, ANNA).policy, entry(stage, ANNA).policy_before) == (b"", digest(STRICT))
    assert details(stage, ANNA).policy is None
    with pytest.raises(ControlError, match="invalid: there is no policy 'strikt'; allowed: strict"):
        assign(stage, ANNA, "strikt")


def test_policies_survive_a_restart_of_the_agent_without_the_uem(stage: Stage) -> None:
    """The information in the list includes the ActiveSync policy for each device."""
    set_policies(stage, "lax", strict=STRICT, lax=LAX)
    uem = stage.uem()
    register(stage, ANNA, BERT)
    assign(stage, ANNA, "strict")
    agent = stage.agent()
    before = [stage.ask(key) for key in (ANNA, BERT)]
    uem.kill()
    agent.kill()
    stage.agent()
    assert [stage.ask(key) for key in (ANNA, BERT)] == before
    assert [details(stage, key).policy for key in (ANNA, BERT)] == [STRICT, LAX]
    assert stage.status()["questions"] == 0


def test_a_policy_that_changes_in_the_settings_is_pushed_when_the_uem_is_back(stage: Stage) -> None:
    """To those that have it; nobody waits for a resync."""
    set_policies(stage, "lax", strict=STRICT, lax=LAX)
    uem = stage.uem()
    register(stage, ANNA, BERT)
    assign(stage, ANNA, "strict")
    stage.agent()
    for key in (ANNA, BERT):
        stage.ask(key)
    pushes = stage.status()["pushes"]
    follower = stage.follow()
    assert uem.terminate() == 0
    stricter = msgspec.structs.replace(STRICT, min_device_password_length=10)
    set_policies(stage, "lax", strict=stricter, lax=LAX)
    stage.uem()
    follower.until(ANNA)
    follower.close()
    changed, same = entry(stage, ANNA), entry(stage, BERT)
    assert (changed.policy, changed.policy_before, same.policy) == (digest(stricter), digest(STRICT), digest(LAX))
    assert details(stage, ANNA).policy == stricter
    stage.wait(lambda: stage.status()["pushes"] > pushes)


@pytest.mark.shows("core away 3", "core away 2", "core resync policy")
def test_while_the_uem_is_away_a_device_has_the_temporary_policy_until_the_resync(make_stage: MakeStage) -> None:
    """Neither the site's nor the UEM's default; in fail mode `allow`."""
    stage = make_stage("allow")
    set_policies(stage, "lax", lax=LAX)
    uem = stage.uem()
    register(stage, ANNA)
    uem.kill()
    stage.agent()
    guess = stage.ask(ANNA)
    assert (guess.provisional, guess.policy, details(stage, ANNA).policy) == (True, digest(TEMPORARY), TEMPORARY)
    follower = stage.follow()
    stage.uem()
    follower.until(ANNA)
    follower.close()
    decided = entry(stage, ANNA)
    assert (decided.provisional, decided.policy, decided.policy_before) == (False, digest(LAX), digest(TEMPORARY))
    assert details(stage, ANNA).policy == LAX


def told(stage: Stage, key: DeviceKey) -> list[Registered]:
    """What the UEM knows of a device."""
    found = control.call(stage.paths.uem_admin, control.ShowRegistered(device_id=key.device_id), list[Registered])
    assert isinstance(found, list)
    return found


def describe(stage: Stage, key: DeviceKey, information: DeviceInformation = SAYS) -> None:
    """The gateway tells what a device says."""
    control.call(stage.paths.agent_socket, control.Describe(key=key, information=information))


def test_what_a_device_says_is_shown_by_agent_and_uem(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Also after both were killed."""
    set_policies(stage, strict=STRICT)
    uem = stage.uem()
    register(stage, ANNA)
    assign(stage, ANNA, "strict")
    agent = stage.agent()
    stage.ask(ANNA)
    describe(stage, ANNA)
    stage.wait(lambda: told(stage, ANNA) == [Registered(key=ANNA, policy="strict", information=SAYS)])
    for process in (agent, uem):
        process.kill()
    stage.uem()
    stage.agent()
    assert details(stage, ANNA).information == SAYS
    stage.wait(
        lambda: stage.status()["untold"] == 0
    )  # the agent may have been killed before it had heard that the UEM has it
    assert admin.main(["--socket", stage.paths.uem_admin, "show", "c1"]) == 0
    assert admin.main(["--socket", stage.paths.uem_admin, "policies"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        'C1\tanna@lab.test\tstrict\t{"model":"iPhone10C1","imei":"490154203237518"}',
        'strict\t-\t1\t{"device_password_enabled":true,"min_device_password_length":8}',
    ]


def test_a_uem_that_is_away_hears_of_it_when_it_is_back(stage: Stage) -> None:
    """Even if the agent was killed in between."""
    uem = stage.uem()
    register(stage, ANNA)
    agent = stage.agent()
    stage.ask(ANNA)
    uem.kill()
    describe(stage, ANNA)
    agent.kill()
    stage.agent()
    assert stage.status()["untold"] == 1
    stage.uem()
    stage.wait(lambda: told(stage, ANNA) == [Registered(key=ANNA, information=SAYS)])


def test_only_a_device_with_an_entry_says_something(stage: Stage) -> None:
    """A message of the gateway's that comes too late."""
    stage.agent()
    with pytest.raises(ControlError, match="unavailable: the device has no entry"):
        describe(stage, ANNA)


def test_the_administrators_program_assigns_and_reverts(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """In a root shell."""
    set_policies(stage, strict=STRICT)
    stage.uem()
    register(stage, ANNA)
    socket = ["--socket", stage.paths.uem_admin]
    assert admin.main([*socket, "assign-policy", "c1", "Anna@Lab.test", "strict"]) == 0
    assert told(stage, ANNA) == [Registered(key=ANNA, policy="strict")]
    assert admin.main([*socket, "revert-policy", "c1", "Anna@Lab.test"]) == 0
    assert told(stage, ANNA) == [Registered(key=ANNA)]
    assert admin.main([*socket, "assign-policy", "c1", "Anna@Lab.test", "strikt"]) == 1
    assert "allowed: strict" in capsys.readouterr().err
    listed = control.call(stage.paths.uem_admin, control.ListPolicies(), list[NamedPolicy])
    assert listed == [NamedPolicy(name="strict", policy=STRICT)]
