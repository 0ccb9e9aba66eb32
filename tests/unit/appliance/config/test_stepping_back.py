"""An earlier version of the appliance runs again, and finds a configuration that it can read."""

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.config import migrations
from appliance.config.secrets import Secrets
from appliance.config.stepping_back import step_back
from appliance.config.store import Kept, Pending, Running, Store, StoreError

NOW = migrations.VERSION
"""The version of the test; what a later one wrote has the next number."""


class Later(Store):
    """The store as a later version of the appliance has it."""

    def keep(self, kept: Kept) -> None:
        super().keep(kept)
        raw = msgspec.structs.replace(kept, schema=NOW + 1)
        self._write(self._place(kept.number), gzip.compress(msgspec.json.encode(raw), mtime=0))


def commit(store: Store, number: int, **tree: Any) -> None:
    store.keep(Kept(number=number, when="2027-01-15T08:00:00Z", user="u", comment="c", tree=tree, files=()))
    store.run(Running(revision=number, token=f"t{number}"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two revisions of this version, then an update, and two of the later one, the last of which waits for confirmation."""
    store = Store(tmp_path / "config")
    commit(store, 1, n=1)
    commit(store, 2, n=2)
    later = Later(tmp_path / "config")
    commit(later, 3, n=3)
    commit(later, 4, n=4)
    later.set_pending(Pending(token="t4", revision=4, previous=3, deadline=0.0, user="u"))
    return tmp_path


def test_what_the_later_version_committed_cannot_be_read(folder: Path) -> None:
    with pytest.raises(StoreError, match="of a later version of the appliance"):
        Store(folder / "config").current()


def test_the_newest_revision_that_can_be_read_runs_and_nothing_waits(folder: Path) -> None:
    store = Store(folder / "config")
    said = step_back(store)
    assert "revision 2" in said
    current = store.current()
    assert current is not None
    assert (current.number, current.tree) == (2, {"n": 2})
    assert (store.pending(), store.journal()) == (None, None)
    assert [one.number for one in store.revisions()] == [2, 1]
    assert store.next_number() == 3


def test_nothing_of_the_later_version_is_lost(folder: Path) -> None:
    before = {place.name: place.read_bytes() for place in (folder / "config/revisions").glob("[34].json.gz")}
    step_back(Store(folder / "config"))
    aside = {place.name: place.read_bytes() for place in (folder / "config/later").iterdir()}
    assert len(before) == 2
    assert aside == before


def test_its_secrets_are_kept_too(folder: Path) -> None:
    vault = Secrets(folder / "secrets")
    reference = vault.keep("of the later version")
    commit(Later(folder / "config"), 5, password=reference)
    store = Store(folder / "config")
    step_back(store)
    assert vault.collect(store.trees()) == 0
    assert vault.reveal(reference) == "of the later version"


def test_done_again_it_changes_nothing(folder: Path) -> None:
    store = Store(folder / "config")
    step_back(store)
    before = store.running()
    assert step_back(Store(folder / "config")) == ""
    assert store.running() == before


def test_killed_before_the_pointer_moved_it_is_done_at_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(folder / "config")

    def killed(_running: Running) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        step_back(store)
    again = Store(folder / "config")
    assert "revision 2" in step_back(again)
    assert sorted(place.name for place in (folder / "config/later").iterdir()) == ["3.json.gz", "4.json.gz"]


def test_the_same_version_and_an_update_step_nowhere(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert step_back(store) == ""
    commit(store, 1, n=1)
    assert step_back(store) == ""
    assert step_back(store, version=NOW + 1) == ""
    assert not (tmp_path / "later").exists()


def test_with_nothing_to_read_it_says_so_and_leaves_all_as_it_is(tmp_path: Path) -> None:
    commit(Later(tmp_path), 1, n=1)
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="no other that is kept can be read"):
        step_back(store)
    assert store.running() == Running(revision=1, token="t1")


def test_a_damaged_revision_is_passed_over(folder: Path) -> None:
    (folder / "config/revisions/2.json.gz").write_bytes(b"x")
    store = Store(folder / "config")
    assert "revision 1" in step_back(store)


def test_a_running_revision_that_is_damaged_or_gone_is_not_this_step_s_business(folder: Path) -> None:
    place = folder / "config/revisions/4.json.gz"
    place.write_bytes(b"x")
    assert step_back(Store(folder / "config")) == ""
    place.unlink()
    assert step_back(Store(folder / "config")) == ""
    assert not (folder / "config/later").exists()


def test_a_damaged_one_that_was_put_aside_keeps_nothing_from_being_collected(folder: Path) -> None:
    store = Store(folder / "config")
    step_back(store)
    (folder / "config/later/3.json.gz").write_bytes(b"x")
    assert len(list(store.trees())) == 3  # two that are kept, one aside
