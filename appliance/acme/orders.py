"""The orders and when each is tried (pure: the time is given, in seconds since the epoch).

    asked for -> due -> attempt -> ready, until configd has judged the chain -> gone
                    ^      |          |
                    +- later, twice as long each time, and not before the server says

All times are of the clock that people set: they must outlive a start of the machine. One that was set back makes nothing wait
longer than it would have waited.
"""

from collections.abc import Collection

import msgspec

from appliance.acme.api import Report, Standing
from appliance.acme.api import State as Stage

FIRST_TRY = 120.0  # five attempts in the first hour: public authorities allow five failed proofs of a name in an hour
LAST_TRY = 3_600.0  # and then one an hour, so that a server that is back is not waited for any longer
LONGEST_HOLD = 86_400.0  # of a server that asks to be left alone (Retry-After): a day, whatever it says
ORDERS = 8  # three services have one each; whoever asks for more is not configd


class Order(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A request that a certificate is wanted for. `finalizing` is the order's URL at the server once its request was sent there:
    the certificate may exist, and is fetched rather than asked for again."""

    request: str
    tries: int = 0
    tried: float = 0.0
    not_before: float = 0.0
    problem: str = ""
    finalizing: str = ""
    chain: str = ""


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All that is remembered. `settings` says by which settings: with others it begins anew. `held_until`: the server asked to be
    left alone until then."""

    format: int = 1
    settings: str = ""
    account: str = ""
    held_until: float = 0.0
    orders: dict[str, Order] = {}


def ask(state: State, service: str, request: str) -> Order | None:
    """The order for this request; a new one, without the failures of before, where it is another request. None: too many."""
    known = state.orders.get(service)
    if known is None or known.request != request:
        if known is None and len(state.orders) >= ORDERS:
            return None
        known = state.orders[service] = Order(request=request)
    return known


def judge(state: State, service: str, problem: str, now: float) -> None:
    """configd took the chain over, or refused it: then it is gone, and the next attempt asks for another."""
    order = state.orders.get(service)
    if order is None or not order.chain:
        return
    if not problem:
        del state.orders[service]
        return
    order.chain = ""
    fail(state, service, problem, now)


def begin(state: State, service: str, now: float) -> None:
    """An attempt begins. If the process does not live to see its end, the next waits as after a failure: a fault that ends the
    process each time must not ask the server each second."""
    order = state.orders[service]
    order.tried = now
    order.not_before = now + _pause(order.tries)


def fail(state: State, service: str, problem: str, now: float, *, hold: float | None = None) -> None:
    """An attempt ended without a certificate. `hold`: for how many seconds the server wants to be left alone, if it said so."""
    order = state.orders[service]
    order.tries += 1
    order.tried = now
    order.problem = problem
    order.finalizing = ""
    order.not_before = now + _pause(order.tries - 1)
    if hold is not None:
        state.held_until = now + min(max(hold, 0.0), LONGEST_HOLD)


def _pause(failures: int) -> float:
    return float(min(LAST_TRY, FIRST_TRY * 2 ** min(failures, 16)))


def obtain(state: State, service: str, chain: str, now: float) -> None:
    """An attempt ended with a certificate."""
    order = state.orders[service]
    order.chain, order.finalizing, order.tried = chain, "", now


def next_try(state: State, order: Order, now: float) -> float:
    """When this order is tried next: a moment that is past where it is due."""
    held = state.held_until if state.held_until <= now + LONGEST_HOLD else now
    own = order.not_before if order.not_before <= now + LAST_TRY else now
    return max(held, own)


def due(state: State, now: float, wanted: Collection[str]) -> str | None:
    """The service among `wanted` whose order is due, the one that has waited longest first."""
    listed = ((service, order) for service, order in state.orders.items() if service in wanted and not order.chain)
    open_orders = {service: next_try(state, order, now) for service, order in listed}
    ripe = [service for service, moment in open_orders.items() if moment <= now]
    return min(ripe, key=lambda service: (open_orders[service], service), default=None)


def standing(state: State, service: str, now: float, *, working: str | None, chain: bool) -> Standing:
    """How an order stands; with its chain where that is wanted."""
    order = state.orders[service]
    moment = next_try(state, order, now)
    stage: Stage = "ready" if order.chain else "works" if working == service else "waits"
    return Standing(
        state=stage,
        tries=order.tries,
        tried=order.tried,
        next_try=moment if stage == "waits" and moment > now else 0.0,
        problem=order.problem,
        chain=order.chain if chain else "",
    )


def report(state: State, directory: str, now: float, *, working: str | None) -> Report:
    """How all of it stands."""
    orders = {name: standing(state, name, now, working=working, chain=False) for name in sorted(state.orders)}
    return Report(directory=directory, account=state.account, orders=orders)
