"""Which backend is next."""

from sentry_runtime.gateway.backends import REST_SECONDS, Backends, Target
from sentry_runtime.settings import Backend


def pool(count: int) -> tuple[list[Target], Backends]:
    """So many backends."""
    targets = [Target(Backend(name=f"mail{number}", host="192.0.2.1"), None) for number in range(count)]
    return targets, Backends(targets, 1.0)


def names(targets: list[Target]) -> str:
    """Their numbers."""
    return "".join(target.backend.name[-1] for target in targets)


def test_they_take_turns() -> None:
    """Each is first once, and all others follow in their order."""
    _, backends = pool(3)
    assert [names(backends.order(0.0)) for _ in range(4)] == ["012", "120", "201", "012"]


def test_one_that_failed_is_tried_last_for_a_while() -> None:
    """It is still tried, and later it takes its turn again."""
    targets, backends = pool(3)
    targets[0].resting_until = 100.0 + REST_SECONDS
    assert [names(backends.order(100.0)) for _ in range(3)] == ["120", "120", "210"]
    assert names(backends.order(100.0 + REST_SECONDS)) == "012"


def test_whether_any_is_up() -> None:
    """One is enough."""
    targets, backends = pool(2)
    targets[0].resting_until = 5.0
    assert backends.any_up(1.0)
    targets[1].resting_until = 5.0
    assert not backends.any_up(1.0)
    assert backends.any_up(5.0)
