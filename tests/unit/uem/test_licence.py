"""Which level covers what, by the table of the product's overview."""

import pytest

from sentry_runtime.settings import Licence
from sentry_runtime.uem.licence import FEATURES, lacking, refusal

GOLD = {
    "traffic_control",
    "outgoing_ciphers",
    "cifs",
    "sharepoint",
    "help",
    "web",
    "custom_http",
    "custom_tcp",
}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("level", ["gold", "platinum"])
def test_a_level_covers_what_it_says_and_what_is_below(feature: str, level: Licence) -> None:
    """Platinum has everything; gold lacks tunnels."""
    covered = level == "platinum" or feature in GOLD
    assert (refusal(feature, level) is None) is covered


def test_a_refusal_says_what_is_wanted_and_what_there_is() -> None:
    """In words for an administrator."""
    assert refusal("app_tunnel", "gold") == "AppTunnel needs the licence level platinum, this one is gold"
    assert lacking("gold") == ("tunnel", "app_tunnel")
    assert lacking("platinum") == ()


def test_what_is_not_built_is_marked_so() -> None:
    """Ten features of the overview, of which one is there."""
    assert len(FEATURES) == 10
    assert [name for name, one in FEATURES.items() if one.built] == ["app_tunnel"]
