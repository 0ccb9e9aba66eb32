"""What is kept is whole or not there."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.config import migrations
from appliance.config.diff import digest
from appliance.config.migrations import STEPS, VERSION
from appliance.config.store import Journal, Kept, LastLogin, NoSuchRevisionError, Pending, Running, Store, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def kept(number: int, **tree: Any) -> Kept:
    return Kept(number=number, when="2027-01-15T08:00:00Z", user="u", comment="c", tree=tree, files=())


def run(store: Store, number: int) -> None:
    store.keep(kept(number, n=number))
    store.run(Running(revision=number, token=f"t{number}"))


def test_an_empty_store_runs_nothing(store: Store) -> None:
    assert (store.running(), store.current(), store.revisions(), store.next_number()) == (None, None, (), 1)


def test_a_revision_comes_back_as_it_was_kept(store: Store, tmp_path: Path) -> None:
    run(store, 1)
    again = Store(tmp_path)
    assert again.current() == msgspec.structs.replace(kept(1, n=1), schema=migrations.VERSION)
    assert again.digest() == store.digest()


def test_nothing_is_readable_for_others(store: Store, tmp_path: Path) -> None:
    run(store, 1)
    modes = {place.stat().st_mode & 0o077 for place in (tmp_path, *tmp_path.rglob("*"))}
    assert modes == {0}


def test_a_revision_that_never_ran_and_half_written_files_are_gone_at_the_next_start(
    store: Store, tmp_path: Path
) -> None:
    run(store, 1)
    store.keep(kept(2))
    (tmp_path / ".running.json.new").write_text("{")
    (tmp_path / "revisions/.2.json.gz.new").write_text("x")
    again = Store(tmp_path)
    assert [one.number for one in again.revisions()] == [1]
    assert list(tmp_path.rglob(".*.new")) == []


@pytest.mark.parametrize("number", [0, -1, 2, 10**12])
def test_a_revision_that_is_not_kept_says_which_are(store: Store, number: int) -> None:
    run(store, 1)
    with pytest.raises(NoSuchRevisionError, match=f"revision {number} is not kept; kept are: 1"):
        store.load(number)


@pytest.mark.parametrize("damage", [b"", b"no gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03damage"])
def test_a_damaged_revision_is_named(store: Store, tmp_path: Path, damage: bytes) -> None:
    run(store, 1)
    (tmp_path / "revisions/1.json.gz").write_bytes(damage)
    with pytest.raises(StoreError, match=r"1\.json\.gz: cannot be read as a revision"):
        store.current()


def test_a_store_of_another_format_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "format").write_text("2\n")
    with pytest.raises(StoreError, match="the store has format '2'; this version reads format 1"):
        Store(tmp_path)


def test_a_confirmation_counts_for_its_own_commit_only(store: Store) -> None:
    run(store, 1)
    store.set_pending(Pending(token="t2", revision=2, previous=1, deadline=5.0, user="u"))
    assert store.pending() is None
    store.keep(kept(2))
    store.run(Running(revision=2, token="other"))
    assert store.pending() is None
    store.run(Running(revision=2, token="t2"))
    assert store.pending() is not None
    store.set_pending(None)
    assert store.pending() is None


def test_log_ins_are_remembered_by_account(store: Store) -> None:
    store.set_last_login("a", LastLogin(when="1", source="x"))
    store.set_last_login("b", LastLogin(when="2", source=""))
    store.set_last_login("a", LastLogin(when="3", source="y"))
    assert store.last_logins() == {"a": LastLogin(when="3", source="y"), "b": LastLogin(when="2", source="")}


def test_the_oldest_log_ins_make_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.config.store.LAST_LOGINS", 3)
    for number, user in enumerate("abcad"):
        store.set_last_login(user, LastLogin(when=f"{number}", source=""))
    assert {user: one.when for user, one in store.last_logins().items()} == {"c": "2", "a": "3", "d": "4"}


def test_a_full_disk_is_told_with_the_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(store, 1)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"running\.json: cannot be written: No space left on device"):
        store.run(Running(revision=1, token="t"))
    monkeypatch.undo()
    assert Store(tmp_path).running() == Running(revision=1, token="t1")


def test_people_who_log_in_at_once_are_all_remembered(store: Store) -> None:
    """None fails, and none overwrites another's."""
    names = [f"user{number}" for number in range(16)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: store.set_last_login(name, LastLogin(when="1", source=name)), names))
    assert sorted(store.last_logins()) == sorted(names)


# --- versions of the schema --------------------------------------------------------------------------------------


def _older(tree: dict[str, Any]) -> dict[str, Any]:
    """From a version before: `was` is called `n` now."""
    return {"n" if key == "was" else key: value for key, value in tree.items()}


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose schema has changed once more."""
    real = migrations.brought
    monkeypatch.setattr(migrations, "VERSION", migrations.VERSION + 1)
    monkeypatch.setattr(migrations, "brought", lambda tree, version: real(tree, version, steps=(*STEPS, _older)))


def test_what_an_earlier_version_kept_is_read_as_a_tree_of_this_one(
    store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store.keep(kept(1, was=5))
    store.run(Running(revision=1, token="t1"))
    store.set_journal(Journal(token="t2", before={}, tree={"was": 5}, units=()))
    request.getfixturevalue("next_version")
    newer = Store(tmp_path)
    assert newer.load(1).tree == {"n": 5}
    assert newer.digest() == digest({"n": 5})
    journal = newer.journal()
    assert journal is not None
    assert journal.tree == {"n": 5}
    newer.keep(kept(2, n=6))
    assert newer.load(2).tree == {"n": 6}


def test_what_a_later_version_kept_is_refused_with_words_and_still_listed(
    store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As after an upgrade that was taken back."""
    with pytest.MonkeyPatch.context() as later:
        later.setattr(migrations, "VERSION", migrations.VERSION + 1)
        run(store, 1)
        store.set_journal(Journal(token="t2", before={}, tree={}, units=()))
    older = Store(tmp_path)
    with pytest.raises(
        StoreError,
        match=rf"1\.json\.gz: .*version: found {VERSION + 1}, of a later version of the appliance; allowed: 1 to {VERSION}",
    ):
        older.current()
    with pytest.raises(StoreError, match=r"journal\.json: .*of a later version"):
        older.journal()
    assert [one.number for one in older.revisions()] == [1]


def test_settings_that_are_newer_than_a_revision_have_their_defaults_in_it(tmp_path: Path, store: Store) -> None:
    run(store, 1)
    completed = Store(tmp_path, complete=lambda tree: {"new": 1, **tree})
    current = completed.current()
    assert current is not None
    assert current.tree == {"new": 1, "n": 1}


def test_a_revision_is_read_once_and_anew_when_its_file_is_another(store: Store, tmp_path: Path) -> None:
    run(store, 1)
    first = store.current()
    assert store.current() is first
    store.keep(kept(1, n=2))
    again = store.current()
    assert again is not None
    assert again.tree == {"n": 2}
