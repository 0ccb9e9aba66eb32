"""The circuit's clock: when the next probe is due, and who hears of a change."""

from functools import partial

from sentry_runtime.agent.circuit import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS, Circuit, LinkState
from tests.clock import Clock


def test_the_first_failure_opens_the_circuit_and_later_ones_are_no_news() -> None:
    """`failed` is true once, `succeeded` is true once."""
    circuit = Circuit(Clock(100.0), draw=lambda: 1.0)
    assert (circuit.state, circuit.is_down) == (LinkState.UNTRIED, False)
    assert [circuit.failed(), circuit.failed(), circuit.succeeded(), circuit.succeeded()] == [True, False, True, False]
    assert circuit.state is LinkState.UP


def test_delays_double_up_to_the_last_one() -> None:
    """With the draw at its highest the delay is the whole span."""
    clock = Clock(100.0)
    circuit = Circuit(clock, draw=lambda: 1.0)
    delays = []
    for _ in range(9):
        circuit.failed()
        delays.append(circuit.retry_at - clock.now)
        clock.now = circuit.retry_at
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert (delays[0], delays[-1]) == (BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)


def test_half_of_a_delay_is_drawn() -> None:
    """Sentries that lost one UEM together spread over the second half of the span."""
    clock = Clock(100.0)
    for draw, delay in ((0.0, 0.25), (0.5, 0.375), (1.0, 0.5)):
        circuit = Circuit(clock, draw=partial(float, draw))
        circuit.failed()
        assert circuit.retry_at - clock.now == delay


def test_failures_before_the_next_probe_count_as_one() -> None:
    """A burst of questions that all find the link down does not push the probe away."""
    clock = Clock(100.0)
    circuit = Circuit(clock, draw=lambda: 1.0)
    for _ in range(50):
        circuit.failed()
    assert circuit.retry_at - clock.now == BACKOFF_FIRST_SECONDS


def test_a_success_starts_the_delays_anew_and_since_tells_when_the_state_began() -> None:
    """After an outage the next one is probed quickly again."""
    clock = Clock(100.0)
    circuit = Circuit(clock, draw=lambda: 1.0)
    for _ in range(5):
        circuit.failed()
        clock.now = circuit.retry_at
    circuit.succeeded()
    assert circuit.since == clock.now
    clock.now += 10
    circuit.failed()
    assert (circuit.since, circuit.retry_at) == (clock.now, clock.now + BACKOFF_FIRST_SECONDS)


def test_a_doubt_ends_an_outage_and_is_probed_at_the_same_delays() -> None:
    """Who answers slowly is there: the fail mode must not go on speaking."""
    clock = Clock(100.0)
    circuit = Circuit(clock, draw=lambda: 1.0)
    circuit.failed()
    clock.now = circuit.retry_at
    assert circuit.doubted()
    assert (circuit.state, circuit.is_down, circuit.retry_at - clock.now) == (LinkState.UNTRIED, False, 1.0)
    clock.now = circuit.retry_at
    assert not circuit.doubted()
    assert circuit.retry_at - clock.now == 2.0
    assert circuit.failed()


def test_a_doubt_changes_nothing_while_the_link_is_up() -> None:
    """The first failure after it is probed as soon as ever."""
    clock = Clock(100.0)
    circuit = Circuit(clock, draw=lambda: 1.0)
    circuit.succeeded()
    assert not circuit.doubted()
    assert circuit.state is LinkState.UP
    circuit.failed()
    assert circuit.retry_at - clock.now == BACKOFF_FIRST_SECONDS
