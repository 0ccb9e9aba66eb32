"""What the gateway has the agent keep of backends' own policies, on a real agent."""

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.store import Reader
from tests.agent.stage import ME, Stage
from tests.agent.test_ports import GOOD, push

ANNA = DeviceKey("C1", "anna@lab.test")
HELD = Enforcement(final=7, digest=bytes(range(32)))


def keep(stage: Stage, enforcement: Enforcement | None, after: int | None = None, key: DeviceKey = ANNA) -> bool:
    """The gateway's message."""
    message = control.KeepEnforcement(key=key, enforcement=enforcement, after=after)
    answer = control.call(stage.paths.agent_socket, message, bool)
    assert isinstance(answer, bool)
    return answer


def held(stage: Stage) -> Enforcement | None:
    """What a worker reads."""
    reader = Reader(stage.paths.devices)
    try:
        return reader.enforcement(ANNA)
    finally:
        reader.close()


def test_it_is_announced_and_survives_the_agent(stage: Stage) -> None:
    """On the disk when the answer comes, and gone with the entry."""
    agent = stage.agent()
    assert not keep(stage, HELD)
    assert push(stage, GOOD)[0] == 204
    follower = stage.follow()
    assert keep(stage, HELD)
    agent.kill()
    assert held(stage) == HELD
    follower.until(ANNA)
    follower.close()
    stage.agent()
    assert not keep(stage, Enforcement(), after=6)
    assert keep(stage, Enforcement(), after=7)
    assert held(stage) == Enforcement()
    assert keep(stage, None)
    assert held(stage) is None
    assert keep(stage, HELD)
    assert push(stage, {**GOOD, "version": 9, "removed": True})[0] == 204
    assert held(stage) is None


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"final": 2**32}, "$.enforcement.final"),
        ({"temporary": -1}, "$.enforcement.temporary"),
        ({"digest": "A" * 48}, "$.enforcement.digest"),
        ({"wipe": "everything"}, "$.enforcement.wipe"),
        ({"password": "x"}, "password"),
    ],
)
def test_what_is_out_of_bounds_is_refused(stage: Stage, wrong: dict[str, object], place: str) -> None:
    """By name."""
    stage.agent()
    message = {"do": "enforcement.keep", "key": msgspec.to_builtins(ANNA), "enforcement": wrong}
    answer = msgspec.json.decode(stage.raw(msgspec.json.encode(message) + b"\n"))
    assert answer["error"]["kind"] == "invalid"
    assert place in answer["error"]["message"]


def test_a_key_that_no_list_can_have_is_refused(stage: Stage) -> None:
    """As everywhere."""
    stage.agent()
    with pytest.raises(ControlError, match="invalid"):
        keep(stage, HELD, key=DeviceKey("", "anna"))


def test_only_the_gateway_may_say_it(stage: Stage) -> None:
    """By the kernel's word for who that is."""
    stage.start("agent", "--gateway-user", "nobody", "--management-user", ME)
    with pytest.raises(ControlError, match="forbidden"):
        keep(stage, HELD)
