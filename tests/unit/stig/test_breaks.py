"""Each rule that a check decides has a way to break it on a running appliance, or it is said why there is none."""

from itertools import combinations

from stig import written
from tests.boot import kernel_breaks
from tests.stig import platform_breaks, product_breaks
from tests.stig.platform_breaks import BATCHES, turn

PRODUCT = {rule.id for rule in written.load().rules if rule.not_reviewed is None} - platform_breaks.AUTOMATED
MOST_BATCHES = 8


def test_every_rule_of_the_operating_system_has_a_break_or_a_reason() -> None:
    """In the guest, or on a machine with a kernel of its own. None has both: a reason that no longer holds has to go."""
    in_the_guest = frozenset[str]().union(*(batch.rules for batch in BATCHES))
    broken = in_the_guest | kernel_breaks.BROKEN
    assert broken | platform_breaks.NO_BREAK.keys() == platform_breaks.AUTOMATED
    assert broken & platform_breaks.NO_BREAK.keys() == set()
    assert in_the_guest & kernel_breaks.BROKEN == set()
    assert all(platform_breaks.NO_BREAK.values())


def test_every_rule_of_the_product_has_a_break() -> None:
    """Open in the ordinary lab, or broken there, or on sites/stig.yml."""
    broken = product_breaks.OPEN_IN_THE_LAB | product_breaks.BROKEN | product_breaks.BROKEN_ON_THE_SITE
    assert broken | {product_breaks.UEM_ELSEWHERE} == PRODUCT


def test_batches_are_few_and_each_breaks_something_of_its_own() -> None:
    """A rule that two batches broke would be tried twice; a break that names no rule proves nothing."""
    assert len(BATCHES) <= MOST_BATCHES
    assert all(one.rules for batch in BATCHES for one in batch.breaks)
    assert [(one.name, other.name) for one, other in combinations(BATCHES, 2) if one.rules & other.rules] == []


def test_the_turn_is_the_commits_and_comes_to_every_batch() -> None:
    """The same commit has the same batch, wherever and whenever it is tested."""
    assert turn("c257233aa0") == turn("C257233AFF")
    assert {turn(f"{number:08x}{'0' * 32}") for number in range(len(BATCHES))} == set(range(len(BATCHES)))
    assert all(0 <= turn(one) < len(BATCHES) for one in ("0", "ffffffff"))
