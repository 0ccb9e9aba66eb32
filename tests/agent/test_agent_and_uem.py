"""First contact, registration, block and restart, through the real processes."""

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.uem.api import Decision
from tests.agent.stage import Stage

PHONE = DeviceKey("ANDROIDC1", "anna@lab.test")
OTHER = DeviceKey("APPLDN6K", "bert@lab.test")


def register(stage: Stage, key: DeviceKey) -> Decision:
    """An administrator registers a device."""
    message = control.Register(device_id=key.device_id, principal=key.principal)
    decision = control.call(stage.paths.uem_admin, message, Decision)
    assert isinstance(decision, Decision)
    return decision


def block(stage: Stage, key: DeviceKey) -> Decision:
    """An administrator blocks a device."""
    message = control.SetState(device_id=key.device_id, principal=key.principal, state=State.BLOCKED)
    decision = control.call(stage.paths.uem_admin, message, Decision)
    assert isinstance(decision, Decision)
    return decision


def test_a_registered_device_is_allowed_and_an_unknown_one_is_blocked(stage: Stage) -> None:
    """The UEM's word on first contact, with its reason, is what the gateway gets and what the list keeps."""
    stage.uem()
    register(stage, PHONE)
    stage.agent()
    known, unknown = stage.ask(PHONE), stage.ask(OTHER)
    assert (known.state, known.registered, known.reasons) == (State.ALLOWED, True, ())
    assert (unknown.state, unknown.registered, unknown.reasons) == (State.BLOCKED, False, (Reason.UNREGISTERED,))
    assert stage.listed() == [known, unknown]


def test_an_administrators_block_reaches_a_follower_at_once(stage: Stage) -> None:
    """The push changes the list and the announcement names the device, long before the next resync."""
    stage.uem()
    register(stage, PHONE)
    stage.agent()
    assert stage.ask(PHONE).state is State.ALLOWED
    follower = stage.follow()
    block(stage, PHONE)
    follower.until(PHONE)
    follower.close()
    blocked = stage.ask(PHONE)
    assert (blocked.state, blocked.reasons) == (State.BLOCKED, (Reason.MANUAL,))


def test_after_kill_9_of_both_the_agent_knows_every_device_without_the_uem(stage: Stage) -> None:
    """What was answered once is on the disk: a new agent gives it with the UEM gone."""
    uem = stage.uem()
    register(stage, PHONE)
    agent = stage.agent()
    before = [stage.ask(PHONE), stage.ask(OTHER)]
    agent.kill()
    uem.kill()
    stage.agent()
    assert [stage.ask(PHONE), stage.ask(OTHER)] == before
    assert stage.status()["questions"] == 0


def test_sigterm_ends_both_cleanly_and_takes_the_sockets_away(stage: Stage) -> None:
    """Exit code 0, and nothing is left that a client could hang on."""
    uem, agent = stage.uem(), stage.agent()
    assert (agent.terminate(), uem.terminate()) == (0, 0)
    assert not list(stage.folder.glob("*.sock"))
