"""Old releases go, and never the one to go back to."""

from pathlib import Path

import pytest

from tests.unit.roles.conftest import Module

MODULE = "roles/sentry/library/sentry_releases.py"
OLD, USED, NEW = "0" * 16, "1" * 16, "a" * 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (OLD, USED, NEW, "bin"):
        (tmp_path / name / "appliance").mkdir(parents=True)
    (tmp_path / "current").symlink_to(USED)
    (tmp_path / "closed.nft").write_text("")
    return tmp_path


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_release_in_use_and_the_next_one_stay_and_so_does_what_is_no_release(module: Module, folder: Path) -> None:
    answer = module(MODULE, folder=str(folder), digest=NEW)
    assert (answer["changed"], answer["removed"]) == (True, [OLD])
    assert left(folder) == {USED, NEW, "bin", "current", "closed.nft"}
    assert module(MODULE, folder=str(folder), digest=NEW)["changed"] is False


def test_the_release_in_use_put_in_place_again_removes_nothing(module: Module, folder: Path) -> None:
    assert module(MODULE, folder=str(folder), digest=USED)["changed"] is False
    assert OLD in left(folder)


def test_check_mode_says_what_would_go(module: Module, folder: Path) -> None:
    answer = module(MODULE, check=True, folder=str(folder), digest=NEW)
    assert (answer["changed"], answer["removed"]) == (True, [OLD])
    assert OLD in left(folder)


def test_a_first_release_has_nothing_to_remove(module: Module, tmp_path: Path) -> None:
    assert module(MODULE, folder=str(tmp_path / "none"), digest=NEW)["changed"] is False


def test_a_digest_that_is_none_is_refused(module: Module, folder: Path) -> None:
    answer = module(MODULE, folder=str(folder), digest="../..")
    assert answer["failed"] is True
    assert "16 hexadecimal digits" in answer["msg"]
    assert OLD in left(folder)
