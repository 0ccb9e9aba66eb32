"""The commit: from a tree of settings to a machine that runs it, or to the machine as it was.

    check, render, stage -> vet, guard -> journal -> swap files -> reconcile -> reload -> compare -> settle, probe -> keep
    -> run -> tidy

The journal says how to undo, and is on disk before the first file changes. The commit happened when `running.json` was
renamed (`Store.run`): a failure or a crash before that brings the old revision back, one after it has nothing to undo.
"""

import contextlib
import dataclasses
import datetime
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance import render
from appliance.config.diff import digest
from appliance.config.schema import Schema
from appliance.config.secrets import Secrets
from appliance.config.store import Journal, Kept, Pending, Running, Store, StoreError
from appliance.configd.api import Committed
from appliance.features.base import File, Problem, Tree, Unit
from appliance.plan import InvalidError, Plan, accept, plan
from appliance.process import CommandError
from appliance.system import Ahead, Boot, Held, Machine, UnitState
from appliance.vet import ApplyError, vet

CONFIRM_MINUTES = 120  # the longest somebody may try a change before it returns; a working day's longest window
TEND_SECONDS = (
    30.0  # how long a commit waits for what configd does by itself: six keys and certificates, and who is told
)
UNIT_FOLDERS = ("/etc/systemd/system/", "/run/systemd/system/")
_log = logging.getLogger(__name__)

T = TypeVar("T")


class ConflictError(RuntimeError):
    """Somebody else changed, or is changing, the configuration."""


Guard = Callable[[Schema, Tree, Tree], Iterable[Problem]]


def no_step_back(schema: Schema, before: Tree, after: Tree) -> Iterable[Problem]:
    """The features' own rules on what may follow on what."""
    return (problem for feature in schema.features for problem in feature.verify_change(before, after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody asks to be committed. `base` is the digest of the configuration the tree was made from."""

    tree: object
    base: str
    user: str
    comment: str = ""
    confirm_minutes: int | None = None
    over_pending: bool = False
    """A way back may be taken while an earlier commit waits for confirmation."""
    guard: Guard | None = no_step_back
    """Says why this must not follow on what runs; None for the return of a commit that nobody confirmed."""
    brings: Mapping[str, File] = field(default_factory=dict)
    """Files that no setting renders and that come with the tree: keys and certificates of a backup. They are in place before
    the system is brought in step, and the way back knows what stood there."""
    returns: Mapping[str, Held | None] = field(default_factory=dict)
    """What stood where such a commit, which nobody confirmed, has brought files."""
    tells: tuple[str, ...] = ()
    """The units that must take notice where any of these files changes."""


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What a start has put back: the paths that were written, and what could not be done, with the reason."""

    written: tuple[str, ...]
    left: tuple[str, ...]


def _no_stop(_step: str) -> None:
    """The default checkpoint."""


class Engine:
    """Commits, one at a time. `checkpoint` is called between steps (tests crash there), `in_use` gives the trees of open
    candidates, whose secrets must not be collected."""

    def __init__(
        self,
        schema: Schema,
        store: Store,
        vault: Secrets,
        machine: Machine,
        *,
        staging: Path,
        wall_clock: Callable[[], float] = time.time,
        checkpoint: Callable[[str], None] = _no_stop,
        in_use: Callable[[], Iterable[object]] = tuple,
        boot: Boot | None = None,
    ) -> None:
        self.schema = schema
        self.store = store
        self.vault = vault
        self.machine = machine
        self.in_use = in_use
        self._staging = staging
        self._now = wall_clock
        self._boot = boot or Boot()
        self._checkpoint = checkpoint
        self._lock = threading.Lock()
        self._tending = False

    # --- the commit ----------------------------------------------------------------------------------------------

    def check(self, order: Order) -> Committed:
        """Validate, render and vet, change nothing. Raises what `commit` raises before it touches the machine."""
        with self._alone():
            try:
                made = self._prepare(order)
            finally:
                self._collect()  # the order's secrets, which nothing refers to
            done = self._report(made, self.store.next_number() - 1, changed=bool(made.changes or made.touched))
            return msgspec.structs.replace(done, digest=order.base)

    def commit(self, order: Order) -> Committed:
        """Make `order.tree` the running configuration.

        Raises `ConflictError`, `InvalidError`, `RenderError` (nothing was touched) or `ApplyError` (the old revision
        stands again, unless the message says otherwise).
        """
        with self._alone():
            self._recover()  # what could not be undone before is tried again; its journal makes way for ours
            made = self._prepare(order)
            before = self.store.current()
            if order.confirm_minutes is not None and before is None:
                raise ConflictError("there is no revision yet to return to; commit without a time limit first")
            journal = self._journal(made, before)
            self._arm(journal)
            self._checkpoint("journal")
            number, reconciled = self._bring(made, before, journal, order)
            self._tidy()
            return self._report(made, number, changed=reconciled or bool(made.changes or made.touched))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # What configd does by itself is over in a moment; a commit may take a minute, and its author should know of it.
        free = self._lock.acquire(timeout=TEND_SECONDS) if self._tending else self._lock.acquire(blocking=False)
        if not free:
            raise ConflictError("another commit is being applied; try again when it is done")
        try:
            yield
        finally:
            self._lock.release()

    def _prepare(self, order: Order) -> Plan:
        """Everything that touches nothing."""
        current = self.store.current()
        tree = current.tree if current else {}
        if order.base != digest(tree):
            who = f"by {current.user} (revision {current.number})" if current else ""
            raise ConflictError(f"the configuration changed meanwhile {who}; discard your changes and make them again")
        pending = self.store.pending()
        if pending is not None and not order.over_pending:
            raise ConflictError(
                f"revision {pending.revision} by {pending.user} waits for confirmation; confirm it or roll it back"
            )
        if order.confirm_minutes is not None and not 1 <= order.confirm_minutes <= CONFIRM_MINUTES:
            raise ConflictError(f"found {order.confirm_minutes} minutes to confirm; allowed: 1 to {CONFIRM_MINUTES}")
        made = plan(
            self.schema,
            accept(self.schema, order.tree, tree, self.vault),
            current,
            self.machine,
            brings=order.brings,
            returns=order.returns,
            tells=order.tells,
        )
        vet(self.schema.features, made, self._staging, Ahead(self.machine, made.brought))
        if current is not None and order.guard is not None:
            wrong = tuple(order.guard(self.schema, tree, made.tree))
            if wrong:
                raise InvalidError(wrong)
        self._checkpoint("vetted")
        return made

    def _journal(self, made: Plan, before: Kept | None) -> Journal:
        return Journal(
            token=secrets.token_hex(16),
            before={path: self.machine.held(path) for path in made.touched},
            tree=before.tree if before else None,
            units=tuple((unit.name, unit.action) for unit in made.units),
        )

    def _arm(self, journal: Journal) -> None:
        """Make the way back sure, before anything changes."""
        self.store.reserve()
        try:
            self.store.set_journal(journal)
        except StoreError:
            self.store.release()
            raise

    def _bring(self, made: Plan, before: Kept | None, journal: Journal, order: Order) -> tuple[int, bool]:
        """Change the machine and keep the revision; on any failure bring it back and raise `ApplyError`.

        Returns the revision's number and whether reconciling did anything.
        """
        try:
            reconciled = self._change(made)
            return self._keep(made, before, journal, order), reconciled
        except Exception as error:  # whatever it was, the old revision must stand again; it is raised as ApplyError
            if self._is_committed(journal):
                raise ApplyError(f"{error}; the new revision stands") from error
            left = self._undo(journal)
            self._cleared(left)
            stands = (
                "the old revision stands again"
                if not left
                else f"the old revision could NOT be restored: {'; '.join(left)}"
            )
            raise ApplyError(f"{error}; {made.told()}{stands}") from error

    def _is_committed(self, journal: Journal) -> bool:
        running = self.store.running()
        return running is not None and running.token == journal.token

    def _cleared(self, left: list[str]) -> None:
        if not left:  # else the journal stays, and the next start tries again
            self.store.set_journal(None)
            self.store.release()

    def _change(self, made: Plan) -> bool:
        listening = self.machine.listening()
        for path in made.write:
            feature, file = made.files[path]
            with _blamed(feature, path):
                self.machine.write(path, file)
            self._checkpoint(f"wrote {path}")
        for path in made.remove:
            self.machine.restore(path, None)
            self._checkpoint(f"removed {path}")
        for path, brought in made.brought.items():
            self.machine.write(path, brought)
            self._checkpoint(f"brought {path}")
        for path, held in made.returned.items():
            self.machine.restore(path, held)
            self._checkpoint(f"returned {path}")
        self._units_changed(made.touched)
        reconciled = self._reconcile(made.tree)
        self._checkpoint("reconciled")
        self._notify(made)
        self._checkpoint("reloaded")
        self._compare(made)
        self._settle(made.tree)
        self._probe(made, listening)
        self._checkpoint("probed")
        return reconciled

    def _units_changed(self, paths: Iterable[str]) -> None:
        if any(path.startswith(UNIT_FOLDERS) for path in paths):
            self.machine.daemon_reload()

    def _reconcile(self, tree: Mapping[str, Any]) -> bool:
        changed = False
        for feature in self.schema.features:
            if feature.reconcile is not None:
                with _blamed(feature.name, "bringing the system in step"):
                    changed = feature.reconcile(tree, self.machine) or changed
        return changed

    def _notify(self, made: Plan) -> None:
        for unit, take_notice in self._notices(made.units):
            concerned = sorted(unit.concerned(made.touched)) or ["files that came with the settings"]
            owner = next(feature.name for feature in self.schema.features if unit in feature.units)
            with _blamed(owner, f"{unit.name} ({unit.action} for {', '.join(concerned)})"):
                take_notice()

    def _notices(self, units: tuple[Unit, ...]) -> Iterator[tuple[Unit, Callable[[], None]]]:
        """Each unit in its turn, and what has it take notice or raises `ApplyError`. Those that follow each other and do not run
        yet are started side by side, which at a start of the machine are all services: nobody is served by them meanwhile."""
        states = self._states(units) if len(units) > 1 else {}
        for idle, found in itertools.groupby(units, lambda unit: unit in states and states[unit].idle):
            group = tuple(found)
            ended = self._started(group) if idle and len(group) > 1 else {}
            for unit in group:
                yield unit, partial(self._look, unit, ended[unit]) if unit in ended else partial(self._act, unit)

    def _started(self, units: tuple[Unit, ...]) -> dict[Unit, UnitState]:
        """How units stand of which a start of all together has decided. Where that failed, the others are to be started one by
        one, so that the reason has a name: such as were dropped with what they need, or still start when the time is up."""
        try:
            self.machine.start([unit.name for unit in units])
        except CommandError:
            return {unit: state for unit, state in self._states(units).items() if state.active in ("active", "failed")}
        return self._states(units)

    def _states(self, units: tuple[Unit, ...]) -> dict[Unit, UnitState]:
        """How units stand; nothing where systemd does not tell, for then each is asked in its turn."""
        try:
            return dict(zip(units, self.machine.units([unit.name for unit in units]), strict=True))
        except CommandError:
            return {}

    def _act(self, unit: Unit) -> None:
        try:
            self.machine.act(unit.name, unit.action)
            state = self.machine.unit(unit.name)
        except CommandError as error:
            raise ApplyError(self.machine.last_words(unit.name) or str(error)) from error
        self._look(unit, state)

    def _look(self, unit: Unit, state: UnitState) -> None:
        if state.failed:
            said = self.machine.last_words(unit.name)
            raise ApplyError(f"is {state.active} after its {unit.action}" + (f": {said}" if said else ""))

    def _compare(self, made: Plan) -> None:
        for path, (feature, file) in made.files.items():
            if not self.machine.matches(path, file):
                raise ApplyError(f"{feature}: {path} is not what was written: something else writes it too")

    def _probe(self, made: Plan, before: frozenset[int]) -> None:
        wanted = set()
        for port, service in made.ports.items():
            state = self.machine.unit(service)
            if state.enabled == "enabled" and (port in before or state.active == "active"):
                wanted.add(port)
        missing = self.machine.await_ports(wanted)
        if missing:
            names = ", ".join(f"{port} ({made.ports[port]})" for port in sorted(missing))
            raise ApplyError(f"nobody listens on port {names} any more")

    def _settle(self, tree: Tree) -> None:
        """Wait until the machine is what the features say, beyond what files and ports show."""
        for feature in self.schema.features:
            if feature.unsettled is not None:
                with _blamed(feature.name, "the machine did not follow"):
                    left = self.machine.await_silence(partial(feature.unsettled, tree, self.machine))
                    if left:
                        raise ApplyError(left)

    def _keep(self, made: Plan, before: Kept | None, journal: Journal, order: Order) -> int:
        """Keep the revision (if it differs from the running one) and move the pointer: from here on it is committed."""
        number = before.number if before else 0
        if made.changes or before is None or set(before.files) != set(made.files) or made.besides:
            number = self.store.next_number()
            self.store.keep(
                Kept(
                    number=number,
                    when=stamp(self._now()),
                    user=order.user,
                    comment=order.comment,
                    tree=made.tree,
                    files=tuple(made.files),
                )
            )
            self._checkpoint("kept")
            if order.confirm_minutes is not None and before is not None:
                self.store.set_pending(self._pending(journal, number, before, order, made))
                self._checkpoint("armed")
        self.store.run(Running(revision=number, token=journal.token))
        self._checkpoint("running")
        return number

    def _pending(self, journal: Journal, number: int, before: Kept, order: Order, made: Plan) -> Pending:
        seconds = 60.0 * (order.confirm_minutes or 0)
        return Pending(
            token=journal.token,
            revision=number,
            previous=before.number,
            deadline=self._now() + seconds,
            user=order.user,
            boot=self._boot.name(),
            boot_deadline=self._boot.seconds() + seconds,
            limit=seconds,
            files={path: journal.before[path] for path in made.besides},
            tells=order.tells,
        )

    def _tidy(self) -> None:
        """What a finished commit no longer needs. A failure here is not the commit's: the next one tidies again."""
        try:
            self.store.set_journal(None)
            self._checkpoint("journal gone")
            self.store.release()
            if self.store.pending() is None:
                self.store.set_pending(None)
            self.store.prune()
        except (StoreError, OSError) as error:
            _log.warning("after a commit: %s", error)
        self._collect()

    def _collect(self) -> None:
        """Forget the secrets that no revision and no candidate refers to."""
        try:
            with self.vault.guard:
                self.vault.collect([*self.store.trees(), *self.in_use()])
        except (StoreError, OSError) as error:
            _log.warning("secrets that nothing refers to: %s", error)

    def _report(self, made: Plan, number: int, *, changed: bool) -> Committed:
        pending = self.store.pending()
        return Committed(
            changed=changed,
            revision=number,
            changes=made.changes,
            files=tuple(sorted(made.touched)),
            units=tuple(unit.name for unit in made.units),
            confirm_by=stamp(pending.deadline) if pending and pending.revision == number else "",
        )

    # --- back ----------------------------------------------------------------------------------------------------

    def recover(self) -> str | None:
        """At start: finish or undo the commit a crash interrupted; returns what was done in words, None if nothing was.

        configd must be ready by then: bringing the system in step may wait for units that are ordered after it.
        """
        with self._alone():
            return self._recover()

    def _recover(self) -> str | None:
        journal = self.store.journal()
        if journal is None:
            return None
        running = self.store.running()
        if running is not None and self._is_committed(journal):
            self._tidy()
            return f"revision {running.revision} was committed; what the interruption left was tidied up"
        left = self._undo(journal, wait=False)
        self._cleared(left)
        if left:
            return f"an interrupted commit could not be undone: {'; '.join(left)}"
        return "an interrupted commit was undone; the old revision stands"

    def _undo(self, journal: Journal, *, wait: bool = True) -> list[str]:
        """Bring back what `journal` says; every step is tried, what failed is returned."""
        left: list[str] = []
        with _noted(left, "the room reserved for it"):
            self.store.release()
        for path, held in journal.before.items():
            with _noted(left, path):
                self.machine.restore(path, held)
        with _noted(left, "systemd"):
            self._units_changed(journal.before)
        if journal.tree is not None:
            with _noted(left, "reconcile"):
                self._reconcile(journal.tree)
        for unit, action in self._back(journal):
            with _noted(left, unit):
                self.machine.act(unit, action, wait=wait)
        return left

    def _back(self, journal: Journal) -> Iterator[tuple[str, str]]:
        """What is done to each unit. One of whose files none was there before has nothing to read anew, and would go on by the
        new ones, as an open packet filter does: it is started anew, and its own conditions say whether it may."""
        units = {unit.name: unit for feature in self.schema.features for unit in feature.units}
        for name, action in journal.units:
            touched = units[name].concerned(journal.before) if name in units else frozenset[str]()
            new = touched and all(journal.before[path] is None for path in touched)
            yield name, "restart" if new else action

    def lay_out(self) -> LaidOut:
        """After a start of a machine whose /etc is in memory: put back what the running revision renders, bring the system in
        step and tell the units. Nothing before the first commit. Each step is tried, whatever became of the one before: a
        machine that serves and has one fault is worth more than a closed one.

        Raises `ConflictError` while a commit is being applied, `StoreError`, `RenderError`, `MachineError`.
        """
        with self._alone():
            current = self.store.current()
            if current is None:
                return LaidOut((), ())
            made = plan(self.schema, dict(current.tree), current, self.machine)
            left: list[str] = []
            for path in made.write:
                with _noted(left, path):
                    self.machine.write(path, made.files[path][1])
            with _noted(left, "systemd"):
                self._units_changed(made.write)
            with _noted(left, "reconcile"):
                self._reconcile(made.tree)
            for unit, take_notice in self._notices(made.units):
                with _noted(left, unit.name):
                    take_notice()
            return LaidOut(made.write, tuple(left))

    def confirm(self, user: str) -> None:
        """Keep the commit that waits. Raises `ConflictError` when none does."""
        with self._alone():
            if self.store.pending() is None:
                raise ConflictError(f"no commit waits for confirmation (asked by {user})")
            self.store.set_pending(None)

    def overdue(self) -> Pending | None:
        """The commit whose time to be confirmed is up."""
        pending = self.store.pending()
        if pending is None:
            return None
        # A clock that is set must give neither more time nor less. After another start of the machine there is only the wall
        # clock, which may be years off until the network is back, and it is the network that the commit may have cut: so it
        # waits at most as long again.
        up = self._boot.seconds()
        if pending.boot == self._boot.name():
            return pending if up >= pending.boot_deadline else None
        return pending if up >= pending.limit or self._now() >= pending.deadline else None

    def drift(self) -> tuple[str, ...]:
        """What of the machine is not as the running revision says: files that somebody else changed, and units of ours
        that failed. Raises `StoreError`, `RenderError`, `MachineError` or `CommandError` when it cannot be told."""
        current = self.store.current()
        if current is None:
            return ()
        files = render.render_owned(current.tree, self.schema.features)
        changed = [
            f"{path} was changed" for path, (_feature, file) in files.items() if not self.machine.matches(path, file)
        ]
        units = dict.fromkeys(unit.name for feature in self.schema.features for unit in feature.units)
        return (*changed, *(f"{unit} failed" for unit in units if self.machine.unit(unit).active == "failed"))

    def tend(self, paths: Iterable[str], work: Callable[[Tree, Machine], T]) -> T | None:
        """Do what falls due without a commit, in a commit's manners: alone, with the tree that runs, and where it fails the files
        at `paths` stand as before. None before the first commit.

        Raises `ConflictError` while a commit is being applied, `ApplyError` where the work failed.
        """
        with self._alone():
            if self.store.journal() is not None:
                raise ConflictError("an interrupted commit must be undone first")
            current = self.store.current()
            if current is None:
                return None
            before = {path: self.machine.held(path) for path in paths}
            self._tending = True
            try:
                return work(current.tree, self.machine)
            except (
                Exception
            ) as error:  # whatever it was, what was shown before must be shown again; it is raised as ApplyError
                left: list[str] = []
                for path, held in before.items():
                    with _noted(left, path):
                        if self.machine.held(path) != held:
                            self.machine.restore(path, held)
                stands = f"could NOT be restored: {'; '.join(left)}" if left else "stands as before"
                raise ApplyError(f"{error}; what was there {stands}") from error
            finally:
                self._tending = False

    def return_to(self, number: int, user: str, comment: str, *, guard: Guard | None = no_step_back) -> Committed:
        """Commit revision `number` again, whatever waits for confirmation; the files that it brought go with it.
        Raises as `commit`, and `NoSuchRevisionError`."""
        tree = self.store.load(number).tree
        base = self.store.digest()
        pending = self.store.pending()
        order = Order(tree=tree, base=base, user=user, comment=comment, over_pending=True, guard=guard)
        if pending is not None and pending.previous == number:
            order = dataclasses.replace(order, returns=pending.files, tells=pending.tells)
        return self.commit(order)


def stamp(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the second."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def _blamed(feature: str, what: str) -> Iterator[None]:
    """Name the feature and the file or unit in whatever goes wrong."""
    try:
        yield
    except Exception as error:  # a feature's reconcile may raise anything; it is raised on, with its name
        raise ApplyError(f"{feature}: {what}: {error}") from error


@contextlib.contextmanager
def _noted(left: list[str], what: str) -> Iterator[None]:
    """While undoing, nothing that fails may keep the rest from being undone."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - noted for the caller, who reports it
        left.append(f"{what}: {error}")
