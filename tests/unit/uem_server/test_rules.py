"""What an alias does to a device's word."""

import pytest

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.uem_server.rules import Standing, effective, unregistered

ALLOWED = Standing(State.ALLOWED)
UNREGISTERED = Standing(State.BLOCKED, (Reason.UNREGISTERED,))
MANUAL = Standing(State.BLOCKED, (Reason.MANUAL,))
WIPE = Standing(State.WIPE_PENDING, (Reason.MANUAL,))


@pytest.mark.parametrize(
    ("own", "aliases", "then"),
    [
        pytest.param(ALLOWED, [], ALLOWED, id="no alias"),
        pytest.param(UNREGISTERED, [ALLOWED], UNREGISTERED, id="an allowed alias grants nothing"),
        pytest.param(ALLOWED, [MANUAL], MANUAL, id="a blocked alias blocks"),
        pytest.param(ALLOWED, [UNREGISTERED], ALLOWED, id="an alias that nobody registered does not"),
        pytest.param(
            ALLOWED,
            [Standing(State.BLOCKED, (Reason.UNREGISTERED, Reason.OS_VERSION)), MANUAL],
            Standing(State.BLOCKED, (Reason.MANUAL, Reason.OS_VERSION)),
            id="the reasons of all aliases hold",
        ),
        pytest.param(
            ALLOWED,
            [WIPE],
            Standing(State.BLOCKED, (Reason.COMPROMISED,)),
            id="a wipe under an alias blocks, never wipes",
        ),
        pytest.param(WIPE, [MANUAL], WIPE, id="a device's own restriction stands"),
    ],
)
def test_effective(own: Standing, aliases: list[Standing], then: Standing) -> None:
    """One row each: the own word, the aliases' words, the outcome."""
    assert effective(own, aliases) == then


def test_the_setting_decides_about_unregistered_devices() -> None:
    """Auto-block on and off."""
    assert (unregistered(auto_block=True), unregistered(auto_block=False)) == (UNREGISTERED, ALLOWED)
