"""The password policy: what libpwquality is told, and which rules cannot hold together."""

from collections.abc import Callable
from typing import Any

import pytest

from appliance.features import FEATURES
from appliance.features.base import Tree
from appliance.plan import InvalidError
from appliance.render import render_all

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]


def with_policy(**policy: Any) -> Callable[[dict[str, Any]], None]:
    """The lab with this policy."""
    return lambda tree: tree["users"].update(password_policy=policy)


def test_the_least_number_of_classes_is_libpwqualitys_to_hold(lab_with: LabWith) -> None:
    files = render_all(lab_with(with_policy(min_classes=3, special=False)), FEATURES)
    lines = files["/etc/security/pwquality.conf"].text.splitlines()
    assert {"minclass = 3", "ocredit = 0", "usercheck = 1"} <= set(lines)


def test_a_longest_password_below_the_shortest_is_refused(lab_with: LabWith) -> None:
    with pytest.raises(InvalidError, match=r"max_length: found 16, which is below min_length 20"):
        lab_with(with_policy(min_length=20, max_length=16))


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        ({"min_classes": 5}, "from 1 to 4"),
        ({"max_length": 4}, "from 16 to 256"),
        ({"remember": 25}, "from 0 to 24"),
        ({"change_hours": 169}, "from 0 to 168"),
        ({"lifetime_days": 366}, "from 0 to 365"),
        ({"inactive_days": 366}, "from 0 to 365"),
        ({"lifetime_days": 2, "change_hours": 48}, "found 2, and change_hours 48; allowed: more than change_hours"),
        ({"lifetime_days": 60, "remember": 0}, "found 0; allowed: at least 1, since passwords end"),
    ],
)
def test_bounds(policy: dict[str, int], allowed: str, lab_with: LabWith) -> None:
    with pytest.raises(InvalidError, match=allowed):
        lab_with(with_policy(**policy))
