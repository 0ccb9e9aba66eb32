"""The UEM's digests: step by step the same as made anew, and what a bucket's pages hold."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sentry_runtime.devices.record import DeviceKey, Reason, State, WipeKind
from sentry_runtime.uem import digests
from sentry_runtime.uem.api import Contact, Decision, DecisionPage, Digests
from sentry_runtime.uem.messages import decode
from sentry_runtime.uem_server import feed, ledger
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.tables import open_engine

KEYS = [DeviceKey(f"C{number}", f"user{number % 3}@lab.test") for number in range(9)]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    made = open_engine(f"sqlite:///{tmp_path}/uem.sqlite")
    yield made
    made.dispose()


def opened(engine: Engine) -> Registry:
    """The UEM, as after a start; versions count by one."""
    return Registry(engine, auto_block=True, devices_per_mailbox=2, now=lambda: 0.001)


def whole(registry: Registry) -> Digests:
    """The digests, once they are made."""
    while (found := registry.digests("")) is None:
        pass
    return found


def by_hand(registry: Registry) -> tuple[str, ...]:
    """The same from the decisions that the feed has."""
    sums = digests.Sums()
    for one in registry.changes(0, 1_000).decisions:
        if not one.removed:
            sums.put(digests.bucket_of(one.device_id, one.principal), digests.of_decision(one))
    return sums.words()


def test_after_every_kind_of_change_the_digests_are_those_of_what_the_feed_says(engine: Engine) -> None:
    """Also of devices whose word another one's change has changed; and a restart makes the same."""
    registry = opened(engine)
    assert whole(registry).buckets == by_hand(registry)
    changes: list[Callable[[], object]] = [
        *(functools.partial(registry.register, key, "iPhone", "") for key in KEYS),
        lambda: registry.set_state(KEYS[0], State.BLOCKED, [Reason.MANUAL], "lost"),
        lambda: registry.flag(KEYS[1], Reason.COMPROMISED, holds=True),
        lambda: registry.order_wipe(KEYS[2], WipeKind.DEVICE, "", "olga"),
        lambda: registry.remove(KEYS[3]),
        lambda: registry.contact(
            Contact(device_id="4337", device_aliases=("C7",), principal=KEYS[7].principal, device_type="x", seen=5)
        ),
        lambda: registry.set_state(KEYS[7], State.BLOCKED, [Reason.MANUAL], ""),
        lambda: registry.flag(KEYS[1], Reason.COMPROMISED, holds=False),
        lambda: registry.register(KEYS[3], "", ""),
    ]
    for change in changes:
        change()
        found = whole(registry)
        assert found.buckets == by_hand(registry)
        assert found.root == digests.root(found.buckets)
    assert whole(opened(engine)) == found
    again = registry.digests(found.root)
    assert again == Digests(version=found.version, root=found.root)


def test_the_digests_are_made_in_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that contacts get their turn in between."""
    registry = opened(engine)
    for key in KEYS:
        registry.register(key, "", "")
    monkeypatch.setattr(ledger, "AT_ONCE", 4)
    again = opened(engine)
    assert [again.digests("") is None, again.bucket(0, 0, 10) is None] == [True, True]
    assert again.digests("") == whole(registry)


def test_the_feed_from_memory_is_the_feed_from_the_database(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, with removals, behind every version, before and after it is all in memory; and when what was outlived is
    swept out."""
    monkeypatch.setattr(feed, "WASTE", 3)
    registry = opened(engine)
    for number in range(30):
        key = KEYS[number % 9]
        registry.register(key, "", f"note {number}")
        if number % 7 == 0:
            registry.remove(key)
    last = registry.changes(0, 1_000).next
    monkeypatch.setattr(ledger, "AT_ONCE", 4)
    for made in (opened(engine), registry):
        for _ in range(2):
            for after in (0, *range(last - 12, last + 3)):
                for limit in (1, 2, 1_000):
                    page = decode(made.feed(after, limit), DecisionPage)
                    whole = made.changes(after, limit)
                    if page.more and len(page.decisions) < limit:  # it is not all in memory yet
                        assert page.decisions == whole.decisions[: len(page.decisions)] != ()
                        assert page.next == page.decisions[-1].version
                    else:
                        assert page == whole


def test_while_the_feed_is_being_made_it_tells_nobody_what_has_been_changed_since(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was allowed when it was taken in and is blocked now is not on the page; the block is on a later one."""
    registry = opened(engine)
    for key in KEYS[:6]:
        registry.register(key, "", "")
    monkeypatch.setattr(ledger, "AT_ONCE", 3)
    again = opened(engine)
    assert again.digests("") is None
    again.set_state(KEYS[1], State.BLOCKED, [Reason.MANUAL], "lost")
    monkeypatch.setattr(again._ledger, "advance", lambda _session: False)
    page = decode(again.feed(0, 1_000), DecisionPage)
    assert [one.device_id for one in page.decisions] == [KEYS[0].device_id, KEYS[2].device_id]
    assert page.more
    monkeypatch.undo()
    rest = decode(again.feed(page.next, 1_000), DecisionPage)
    found = {one.device_id: one.state for one in rest.decisions}
    assert found[KEYS[1].device_id] is State.BLOCKED


def test_the_pages_of_a_bucket_are_all_that_is_known_of_it(engine: Engine) -> None:
    """In the order of versions, without the removed, as of the last version."""
    registry = opened(engine)
    one = digests.bucket_of(KEYS[0].device_id, KEYS[0].principal)
    same: list[DeviceKey] = []
    number = 0
    while len(same) < 5:
        key = DeviceKey(f"D{number}", f"u{number}")
        if digests.bucket_of(*(key.device_id, key.principal)) == one:
            same.append(key)
        number += 1
    for key in [*KEYS, *same]:
        registry.register(key, "", "")
    registry.remove(same[2])
    found: list[Decision] = []
    more, pages, at = True, 0, 0
    while more:
        page = registry.bucket(one, found[-1].version if found else 0, 2)
        assert page is not None
        found += page.decisions
        more, pages, at = page.more, pages + 1, page.version
    wanted = [KEYS[0], *same[:2], *same[3:]]
    assert [DeviceKey(word.device_id, word.principal) for word in found] == wanted
    assert pages == 3
    assert at == whole(registry).version
    assert digests.word(map(digests.of_decision, found)) == whole(registry).buckets[one]
