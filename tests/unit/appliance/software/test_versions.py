"""Which of two versions is the newer one."""

import itertools

import pytest

from appliance.software.versions import VersionError, newer

IN_ORDER = (
    "0.9",
    "1.0-alpha",
    "1.0-rc1",
    "1.0-rc2",
    "1.0-rc10",
    "1.0",
    "1.0.1",
    "1.2.3~beta.2",
    "1.2.3",
    "1.2.10",
    "1.10",
    "2.0",
)


def test_versions_in_their_order() -> None:
    for (place, one), (other_place, other) in itertools.product(enumerate(IN_ORDER), repeat=2):
        assert newer(one, other) == (place > other_place), (one, other)


def test_zeros_that_are_not_written_count() -> None:
    assert not newer("1.0.0", "1.0")
    assert not newer("1.0", "1.0.0")


@pytest.mark.parametrize("version", ["", "1", "1.0/..", "v1.0", "1.0 ", "1.0-RC1", "1.0\n", "1." + "9" * 30])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(VersionError, match="allowed: numbers with dots"):
        newer(version, "1.0")
