"""Every file of two whole sites, letter by letter.

After a change that is meant: `GOLDEN=write pytest tests/unit/appliance/features/test_golden.py`, then read the diff.
"""

import os
from pathlib import Path

import pytest

from appliance.features import FEATURES
from appliance.features.base import Tree
from appliance.render import render_all

from .conftest import MATERIAL, SITES

GOLDEN = Path(__file__).parent / "golden"


def rendered(tree: Tree) -> dict[str, str]:
    """The files by path, each with a first line that says whose it is."""
    return {
        path: f"{file.owner}:{file.group} {file.mode:04o}\n{file.text}"
        for path, file in render_all(tree, FEATURES).items()
    }


@pytest.mark.parametrize("name", SITES)
def test_a_site_renders_the_files_that_were_read_and_found_right(name: str, trees: dict[str, Tree]) -> None:
    """No file more, no file less, no letter different."""
    folder = GOLDEN / name
    found = rendered(trees[name])
    if os.environ.get("GOLDEN") == "write":
        for path, text in found.items():
            place = folder / f"{path.lstrip('/')}.golden"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    kept = {f"/{place.relative_to(folder)}".removesuffix(".golden"): place for place in folder.rglob("*.golden")}
    assert sorted(found) == sorted(kept)
    for path, place in kept.items():
        assert found[path] == place.read_text(), path


def test_rendering_is_pure(trees: dict[str, Tree]) -> None:
    """The same tree renders the same files each time."""
    assert rendered(trees["lab"]) == rendered(trees["lab"])


def test_no_secret_is_in_any_rendered_file(trees: dict[str, Tree]) -> None:
    """Neither a secret nor a reference to one leaves the secret store by rendering."""
    fleet = (MATERIAL / "fleet.secret").read_text().strip()
    texts = [text for tree in trees.values() for text in rendered(tree).values()]
    assert len(texts) > 30
    assert not [text for text in texts if "$6$" in text or "secret:" in text or fleet in text]
