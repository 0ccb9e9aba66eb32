"""Configurations of earlier versions go on to work: read, brought to this version, accepted by its schema and rendered."""

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from appliance import render
from appliance.config import migrations
from appliance.config.migrations import STEPS, VERSION, VersionError, brought, marked, taken
from appliance.config.schema import Schema
from appliance.config.secrets import Memory
from appliance.features import FEATURES
from appliance.plan import accept

OLD = Path(__file__).parent / "old"
"""Whole sites as each version wrote them: `vN-NAME.json`, and beside it as `vN-NAME.now.json` what this version makes of them.
A new version adds its own; none is ever changed, but for `.now.json` (GOLDEN=write)."""
OLD_SITES = sorted(place for place in OLD.glob("v*.json") if not place.name.endswith(".now.json"))


def rename(tree: dict[str, Any]) -> dict[str, Any]:
    """`ntp.servers` was `ntp_servers`."""
    tree = dict(tree)
    return {**tree, "ntp": {"servers": tree.pop("ntp_servers", [])}} | {"ntp_servers": None}


def drop(tree: dict[str, Any]) -> dict[str, Any]:
    """And the old word goes."""
    return {key: value for key, value in tree.items() if key != "ntp_servers"}


STEPS_OF_A_TEST = (rename, drop)
FIRST_TREE = {"hostname": "gw", "ntp_servers": ["192.0.2.1"]}
LAST_TREE = {"hostname": "gw", "ntp": {"servers": ["192.0.2.1"]}}


def test_there_are_sites_of_every_version() -> None:
    assert {int(place.name[1 : place.name.index("-")]) for place in OLD_SITES} == set(range(1, VERSION + 1))


@pytest.mark.parametrize("place", OLD_SITES, ids=lambda place: place.stem)
def test_an_old_site_is_what_it_was_in_the_words_of_this_version(place: Path) -> None:
    schema, vault = Schema(FEATURES), Memory()
    old = json.loads(place.read_text())
    assert old[migrations.KEY] == int(place.name[1 : place.name.index("-")])
    tree = accept(schema, taken(old), {}, vault)
    assert render.render_all(tree, FEATURES)
    golden = place.with_suffix(".now.json")
    now = json.dumps(taken(old), indent=1, sort_keys=True) + "\n"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(now)
    assert golden.read_text() == now


@pytest.mark.parametrize(("version", "expected"), [(1, LAST_TREE), (3, FIRST_TREE)])
def test_steps_are_taken_from_the_trees_own_version_on(version: int, expected: dict[str, Any]) -> None:
    assert brought(FIRST_TREE, version, steps=STEPS_OF_A_TEST) == expected


def test_a_tree_that_is_brought_here_stays_as_it_was() -> None:
    before = deepcopy(FIRST_TREE)

    def spoil(tree: dict[str, Any]) -> dict[str, Any]:
        tree["ntp_servers"].clear()
        return tree

    brought(FIRST_TREE, 1, steps=(spoil,))
    assert before == FIRST_TREE


@pytest.mark.parametrize("version", [0, -1, 4, "1", 1.0, None, True, [], "x" * 500])
def test_a_version_that_is_none_is_refused_with_what_is_allowed(version: object) -> None:
    with pytest.raises(VersionError, match=r"^version: found .*; allowed: 1 to 3$") as refused:
        brought({}, version, steps=STEPS_OF_A_TEST)
    assert len(str(refused.value)) < 150
    assert ("of a later version" in str(refused.value)) == (version == 4)


def test_a_site_says_its_version_or_is_of_the_first() -> None:
    assert taken(FIRST_TREE, steps=STEPS_OF_A_TEST) == LAST_TREE
    assert taken({"version": 3, **LAST_TREE}, steps=STEPS_OF_A_TEST) == LAST_TREE
    assert taken(marked(LAST_TREE)) == LAST_TREE


def test_no_feature_has_the_version_s_name_and_the_version_is_the_number_of_steps() -> None:
    assert migrations.KEY not in Schema(FEATURES).root
    assert 1 + len(STEPS) == VERSION
