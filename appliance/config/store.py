"""The kept configurations: numbered revisions, which of them runs, and what a crash in the middle of a commit needs.

Everything is written to a new file and renamed, so that a reader sees the old or the new, never half. `running.json` is the
one pointer: a commit happened when, and only when, it was renamed into place.

    format              the version of this layout
    running.json        `Running`
    revisions/N.json.gz `Kept`
    pending.json        `Pending`: a commit that waits for confirmation
    journal.json        `Journal`: how to undo the commit that is being applied
    reserve             room on the disk for undoing it
    last-login.json     when and from where each account last logged in
    ages.json           `Ages`: since when each password is there, and each account unused
    later/              revisions of a later version of the appliance, since an earlier one runs again
"""

import contextlib
import gzip
import os
import re
import secrets
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance.config import migrations
from appliance.config.diff import digest
from appliance.configd.api import Revision
from appliance.disk import sync_folder
from appliance.system import Held

FORMAT = 1
MAX_REVISIONS = 50  # a year of weekly changes; at 20 KiB each the folder stays near 1 MiB
RESERVE_BYTES = 1_048_576  # a file is undone at a time, and none that we render is as large
REVISION_BYTES = 16_777_216  # four times the longest message: a damaged file cannot fill the memory
LAST_LOGINS = 1_000  # of people of a directory there may be many; the oldest are forgotten first
_NAME = re.compile(r"([1-9][0-9]{0,8})\.json\.gz")

T = TypeVar("T")


class StoreError(RuntimeError):
    """The store cannot be read or written; the message names the file and what is wrong with it."""


class NoSuchRevisionError(LookupError):
    """A revision that is not kept; the message says which are."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One revision. `tree` holds references instead of secrets; `files` are the paths that were rendered from it; `schema` is
    the version of the settings it was written with."""

    format: int = FORMAT
    schema: int = migrations.FIRST
    number: int
    when: str
    user: str
    comment: str
    tree: dict[str, Any]
    files: tuple[str, ...]


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """Which revision runs. `token` names the commit that put it there."""

    revision: int
    token: str


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Revision `revision`, made by the commit `token`, waits for confirmation; then `previous` returns.

    It waits until `boot_deadline` (seconds since the start `boot` of the machine). After another start it waits until `deadline`
    (seconds since the epoch) or for `limit` seconds from that start, whichever comes first.
    """

    token: str
    revision: int
    previous: int
    deadline: float
    user: str
    boot: str = ""
    boot_deadline: float = 0.0
    limit: float = 0.0
    files: dict[str, Held | None] = {}
    """What stood where this commit brought files that no setting renders; `tells` are the units that use them."""
    tells: tuple[str, ...] = ()


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """The commit `token` is being applied: `before` says what stood at each path, `tree` what ran (None: nothing yet),
    `units` (name, action) who has to take notice when the files return; `schema` as of `Kept`."""

    token: str
    schema: int = migrations.FIRST
    before: dict[str, Held | None]
    tree: dict[str, Any] | None
    units: tuple[tuple[str, str], ...]


class LastLogin(msgspec.Struct, frozen=True, kw_only=True):
    """One log-in."""

    when: str
    source: str


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """An account: the digest of the `ways` into it, and since when it is `unused`, which is the last log-in or the last change of
    those ways; `logged_in` is the last log-in, 0 where there was none. In seconds since the epoch."""

    ways: str
    unused: float
    logged_in: float = 0.0


class Ages(msgspec.Struct, frozen=True, kw_only=True):
    """Since when passwords are there (seconds since the epoch), by the references to their hashes; and accounts, by name."""

    passwords: dict[str, float] = {}
    uses: dict[str, Use] = {}


class Store:
    """The folder `root` (made, root only). One process owns it at a time; `appliance.configd` holds a lock for that.

    What comes out of it is of this version: trees of earlier ones are migrated, and `complete` gives them the defaults of
    settings that are newer than they are.
    """

    def __init__(self, root: Path, *, complete: Callable[[dict[str, Any]], dict[str, Any]] = lambda tree: tree) -> None:
        self._root = root
        self._complete = complete
        self._held: tuple[tuple[int, int, int], Kept] | None = None
        self._revisions = root / "revisions"
        self._later = root / "later"
        self._logging_in = threading.Lock()
        for folder in (root, self._revisions):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        self._hold_format()
        self._clean()

    # --- opening -------------------------------------------------------------------------------------------------

    def _hold_format(self) -> None:
        place = self._root / "format"
        if not place.exists():
            self._write(place, f"{FORMAT}\n".encode())
        found = place.read_text().strip()
        if found != str(FORMAT):
            raise StoreError(f"{place}: the store has format {found!r}; this version reads format {FORMAT}")

    def _clean(self) -> None:
        """Remove what a crash left behind: half-written files and revisions that never came to run."""
        for folder in (self._root, self._revisions):
            for left in folder.glob(".*.new"):
                left.unlink()
        if not (self._root / "journal.json").exists():
            self.release()
        last = self.next_number() - 1
        for number in self._numbers():
            if number > last:
                self._place(number).unlink()

    # --- revisions -----------------------------------------------------------------------------------------------

    def running(self) -> Running | None:
        """Which revision runs; None before the first commit."""
        return self._read(self._root / "running.json", Running)

    def current(self) -> Kept | None:
        """The running revision; None before the first commit."""
        running = self.running()
        return self.load(running.revision) if running else None

    def digest(self) -> str:
        """The digest of the running configuration (of an empty one before the first commit)."""
        current = self.current()
        return digest(current.tree if current else {})

    def load(self, number: int) -> Kept:
        """Revision `number`; nobody may change its tree, for the next reader gets the same. Raises `NoSuchRevisionError`, or
        `StoreError` when its file is damaged or a later version of the appliance wrote it."""
        place = self._place(number)
        try:
            state = place.stat()
            key = (number, state.st_ino, state.st_mtime_ns)
        except (OSError, OverflowError):
            key = (number, 0, 0)
        held = self._held  # one word for both: several threads read
        if held is not None and held[0] == key:
            return held[1]
        kept = self._kept(number)
        tree = self._brought(place, kept.tree, kept.schema)
        kept = msgspec.structs.replace(kept, tree=tree, schema=migrations.VERSION)
        self._held = (key, kept)
        return kept

    def _kept(self, number: int) -> Kept:
        """A revision as it was written, of whatever version."""
        place = self._place(number)
        if not place.exists():
            kept = ", ".join(map(str, sorted(self._numbers(), reverse=True))) or "none"
            raise NoSuchRevisionError(f"revision {number} is not kept; kept are: {kept}")
        return self._unpacked(place)

    @staticmethod
    def _unpacked(place: Path) -> Kept:
        try:
            with gzip.open(place) as source:
                return msgspec.json.decode(source.read(REVISION_BYTES), type=Kept)
        except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
            raise StoreError(f"{place}: cannot be read as a revision: {error}") from error

    def _brought(self, place: Path, tree: dict[str, Any], schema: int) -> dict[str, Any]:
        try:
            return self._complete(migrations.brought(tree, schema))
        except migrations.VersionError as error:
            raise StoreError(f"{place}: cannot be read: {error}") from error

    def next_number(self) -> int:
        """The number the next revision will have."""
        running = self.running()
        return (running.revision if running else 0) + 1

    def keep(self, kept: Kept) -> None:
        """Write a revision; it does not run before `run` says so."""
        kept = msgspec.structs.replace(kept, schema=migrations.VERSION)
        self._write(self._place(kept.number), gzip.compress(msgspec.json.encode(kept), mtime=0))

    def run(self, running: Running) -> None:
        """Move the pointer: the moment of a commit."""
        self._write(self._root / "running.json", msgspec.json.encode(running))

    def numbers(self) -> tuple[int, ...]:
        """The numbers of the kept revisions, newest first."""
        return tuple(sorted(self._numbers(), reverse=True))

    def schema_of(self, number: int) -> int:
        """The version of the settings that a revision was written with. Raises as `load` does."""
        return self._kept(number).schema

    def step_back(self, running: Running) -> None:
        """An earlier version of the appliance goes on with `running`: revisions after that are put aside, and what of a commit
        waited or was cut short is forgotten. Done again, it changes nothing."""
        self._later.mkdir(mode=0o700, exist_ok=True)
        for number in self._numbers():
            if number > running.revision:
                aside = self._later / self._place(number).name
                aside.unlink(missing_ok=True)
                os.link(self._place(number), aside)
        sync_folder(self._later)
        self.set_pending(None)
        self.set_journal(None)
        self.run(running)
        self._clean()

    def prune(self) -> None:
        """Remove the oldest revisions beyond `MAX_REVISIONS`; the running one and the one to return to stay."""
        pending, running = self.pending(), self.running()
        held = {running.revision} if running else set()
        held |= {pending.previous} if pending else set()
        for number in sorted(self._numbers(), reverse=True)[MAX_REVISIONS:]:
            if number not in held:
                self._place(number).unlink()

    def revisions(self) -> tuple[Revision, ...]:
        """The kept revisions, newest first."""
        running = self.running()
        return tuple(
            Revision(
                number=kept.number,
                when=kept.when,
                user=kept.user,
                comment=kept.comment,
                current=running is not None and kept.number == running.revision,
            )
            for kept in self._all()
        )

    def kept(self) -> Iterator[Kept]:
        """The kept revisions whole, newest first."""
        return self._all()

    def trees(self) -> Iterator[dict[str, Any]]:
        """The trees of all kept revisions, of those put aside and of the journal, as they were written: what their secrets are
        needed for."""
        for kept in self._all():
            yield kept.tree
        for place in sorted(self._later.glob("*.json.gz")):
            with contextlib.suppress(StoreError):  # nobody can tell what a damaged one needed
                yield self._unpacked(place).tree
        journal = self.journal()
        if journal is not None and journal.tree is not None:
            yield journal.tree

    def _all(self) -> Iterator[Kept]:
        for number in sorted(self._numbers(), reverse=True):
            yield self._kept(number)

    def _numbers(self) -> list[int]:
        names = (_NAME.fullmatch(place.name) for place in self._revisions.iterdir())
        return [int(name[1]) for name in names if name]

    def _place(self, number: int) -> Path:
        return self._revisions / f"{number}.json.gz"

    # --- what a crash needs --------------------------------------------------------------------------------------

    def pending(self) -> Pending | None:
        """The commit that waits for confirmation; None when there is none, or when it never came to run."""
        pending, running = self._read(self._root / "pending.json", Pending), self.running()
        return pending if pending and running and pending.token == running.token else None

    def set_pending(self, pending: Pending | None) -> None:
        """Write or remove the commit that waits."""
        self._set(self._root / "pending.json", pending)

    def journal(self) -> Journal | None:
        """The commit that is being applied."""
        place = self._root / "journal.json"
        journal = self._read(place, Journal)
        if journal is None or journal.tree is None:
            return journal
        tree = self._brought(place, journal.tree, journal.schema)
        return msgspec.structs.replace(journal, tree=tree, schema=migrations.VERSION)

    def set_journal(self, journal: Journal | None) -> None:
        """Write or remove the journal."""
        written = msgspec.structs.replace(journal, schema=migrations.VERSION) if journal else None
        self._set(self._root / "journal.json", written)

    def reserve(self) -> None:
        """Take room on the disk that `release` gives back: what fills it meanwhile keeps nobody from undoing a commit. Raises
        `StoreError` where there is none."""
        place = self._root / "reserve"
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.release()
            said = error.strerror or str(error)
            raise StoreError(f"{place}: no room for a way back ({RESERVE_BYTES} bytes): {said}") from error

    def release(self) -> None:
        """Give the reserved room back."""
        (self._root / "reserve").unlink(missing_ok=True)

    def last_logins(self) -> dict[str, LastLogin]:
        """The last log-in of each account."""
        return self._read(self._root / "last-login.json", dict[str, LastLogin]) or {}

    def set_last_login(self, user: str, login: LastLogin) -> LastLogin | None:
        """Remember a log-in; returns the one before. Several people may log in at once."""
        with self._logging_in:
            before = self.last_logins()
            others = sorted((one for one in before.items() if one[0] != user), key=lambda one: one[1].when)
            self._set(self._root / "last-login.json", {**dict(others[1 - LAST_LOGINS :]), user: login})
            return before.get(user)

    def ages(self) -> Ages:
        """What is remembered of how old passwords are."""
        return self._read(self._root / "ages.json", Ages) or Ages()

    def set_ages(self, ages: Ages) -> None:
        """Remember it."""
        self._set(self._root / "ages.json", ages)

    # --- files ---------------------------------------------------------------------------------------------------

    def _read(self, place: Path, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(place.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{place}: cannot be read: {error}") from error

    def _set(self, place: Path, value: object) -> None:
        if value is None:
            place.unlink(missing_ok=True)
            sync_folder(place.parent)
        else:
            self._write(place, msgspec.json.encode(value))

    def _write(self, place: Path, data: bytes) -> None:
        new = place.with_name(f".{place.name}.{secrets.token_hex(4)}.new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                target.write(data)
                target.flush()
                os.fsync(descriptor)
            new.rename(place)
            sync_folder(place.parent)
        except OSError as error:
            with contextlib.suppress(OSError):  # the first failure is the one to tell
                new.unlink(missing_ok=True)
            raise StoreError(f"{place}: cannot be written: {error.strerror or error}") from error
