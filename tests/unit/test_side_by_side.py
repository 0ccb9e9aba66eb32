"""The tests are shared out so that none meets another."""

from itertools import combinations

import pytest

from tests import ports
from tests.side_by_side import IMAGES, LAB, portion


@pytest.mark.parametrize(
    ("nodeid", "together_with"),
    [
        ("tests/unit/gateway/test_head.py::test_it[a::b]", "tests/unit/gateway/test_head.py"),
        ("tests/unit/stig/test_scan.py::test_it", "tests/unit/stig/test_scan.py"),
        ("tests/gateway/test_sogo.py::test_it", "tests/gateway/test_sogo.py"),
        ("tests/boot/test_boot.py::test_it", IMAGES),
        ("tests/images/test_lab.py::test_it", LAB),
        ("tests/appliance/features/test_vetting.py::test_it", LAB),
        ("tests/portal/test_browser.py::test_it", LAB),
        ("tests/e2e/test_faults.py::TestIt::test_it", LAB),
        ("tests/stig/test_seen_red.py::test_it", LAB),
    ],
)
def test_a_module_stays_together_and_so_does_what_needs_the_appliance(nodeid: str, together_with: str) -> None:
    """There is one appliance, and some tests break it on purpose."""
    assert portion(nodeid) == together_with


def test_no_two_workers_have_a_port_in_common_nor_one_with_the_kernel() -> None:
    """A port is chosen a moment before it is bound."""
    spans = [set(ports._span(f"gw{number}")) for number in range(ports.SPANS)]
    assert all(one.isdisjoint(another) for one, another in combinations(spans, 2))
    assert max(set.union(*spans)) < 32_768
    assert ports._span("") == ports._span("gw0") == range(10_000, 12_000)


def test_a_port_is_not_given_twice() -> None:
    """Not within one round of the span, even while nobody has bound the first."""
    assert len({ports.free_port() for _ in range(100)}) == 100
