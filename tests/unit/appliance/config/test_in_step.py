"""Whatever happens, in whatever order: configuration, files, kernel and secrets stay in step."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from appliance import render
from appliance.config.secrets import references
from appliance.plan import InvalidError
from appliance.vet import ApplyError
from tests.unit.appliance.workbench import Bench, Crash

NAMES = st.sampled_from(["box", "other", "third"])
WEB = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(1024, 1030),
        "words": st.lists(st.sampled_from(["a", "b"]), max_size=3),
        "token": st.sampled_from(["token-1", "token-2", "token-3"]),
        "sites": st.dictionaries(st.sampled_from(["one", "two"]), st.fixed_dictionaries({"root": st.just("/srv")})),
    },
)
TREES = st.fixed_dictionaries({"name": NAMES, "web": WEB})
STEPS = st.sampled_from(
    (
        "vetted", "journal", "wrote /etc/name", "wrote /etc/web/web.conf", "reconciled", "reloaded", "probed",
        "kept", "armed", "running", "journal gone",
    )
)  # fmt: skip
FAULTS = st.sampled_from(["unit", "kernel", "checker", "value"])


class InStep(RuleBasedStateMachine):
    """Commits, faults, crashes, edits by hand and ways back, at random."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="in-step-"))
        self.bench = Bench(self.folder)
        self.spoilt: set[str] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(tree=TREES)
    def first(self, tree: dict[str, Any]) -> None:
        """There is a revision."""
        self.bench.commit(tree)

    @rule(tree=TREES)
    def commit(self, tree: dict[str, Any]) -> None:
        """A commit goes through, and mends what was spoilt; done again it changes nothing."""
        self._settle_pending()
        self.bench.commit(tree)
        self.spoilt.clear()
        assert not self.bench.commit(tree).changed
        assert self.bench.running()["name"] == tree["name"]

    @rule(tree=TREES, minutes=st.integers(1, 120), confirmed=st.booleans(), restart=st.booleans())
    def commit_confirmed(self, tree: dict[str, Any], minutes: int, *, confirmed: bool, restart: bool) -> None:
        """A commit with a time limit stays only when it is confirmed, also across a restart."""
        self._settle_pending()
        before = self.bench.running()
        waits = bool(self.bench.commit(tree, confirm_minutes=minutes).confirm_by)
        self.spoilt.clear()
        after = self.bench.running()
        assert waits == (after != before)
        if restart:
            self.bench.restart()
        if waits and confirmed:
            self.bench.engine.confirm("tester")
        self.bench.clock.now += 60 * minutes
        pending = self.bench.engine.overdue()
        assert (pending is not None) == (waits and not confirmed)
        if pending is not None:
            self.bench.engine.return_to(pending.previous, "configd", "")
            after = before
        assert self.bench.running() == after

    @rule(tree=TREES, fault=FAULTS)
    def commit_that_fails(self, tree: dict[str, Any], fault: str) -> None:
        """A commit that fails leaves everything as it was."""
        self._settle_pending()
        before, files = self.bench.running(), self.bench.files()
        tree = {**tree, "web": {**tree["web"], "port": 2000}}
        if fault == "checker":
            tree["web"]["words"] = ["nonsense"]
        if fault == "value":
            tree["web"]["port"] = 0
        self.bench.commands.dies_after = {"web.service"} if fault == "unit" else set()
        if fault == "kernel":
            (self.bench.root / "kernel-name").write_text("drifted")
            self.bench.commands.failing = {"hostname"}
        with pytest.raises((ApplyError, InvalidError)):
            self.bench.commit(tree)
        self.bench.commands.dies_after, self.bench.commands.failing = set(), set()
        if fault == "kernel":
            self.bench.restart()  # the old name could not be given back either; the next start does it
        assert (self.bench.running(), self.bench.files()) == (before, files)

    @rule(tree=TREES, step=STEPS, limit=st.booleans())
    def crash(self, tree: dict[str, Any], step: str, *, limit: bool) -> None:
        """Killed at any step, configd comes back with the old or the new revision."""
        self._settle_pending()
        before, files, spoilt = self.bench.running(), self.bench.files(), set(self.spoilt)
        self.bench.crash_at = step
        try:
            self.bench.commit(tree, confirm_minutes=5 if limit else None)
        except Crash:
            self.bench.crash_at = None
            self.bench.restart()
        self.bench.crash_at = None
        self.spoilt.clear()
        if self.bench.running() == before and self.bench.files() == files:
            self.spoilt = spoilt

    @precondition(lambda self: self.bench.files())
    @rule(data=st.data(), how=st.sampled_from(["text", "mode", "gone"]))
    def spoil(self, data: st.DataObject, how: str) -> None:
        """Somebody edits a rendered file by hand."""
        path = data.draw(st.sampled_from(sorted(self.bench.files())))
        place = self.bench.root / path.lstrip("/")
        if how == "text":
            place.write_text("by hand")
        elif how == "mode":
            place.chmod(0o600)
        else:
            place.unlink()
        self.spoilt.add(path)

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """Any kept revision can run again, whatever waits for confirmation."""
        number = data.draw(st.sampled_from([one.number for one in self.bench.store.revisions()]))
        tree = self.bench.store.load(number).tree
        self.bench.engine.return_to(number, "tester", "")
        self.spoilt.clear()
        assert self.bench.running() == tree

    @rule()
    def restart(self) -> None:
        """A restart of configd changes nothing."""
        before = self.bench.files()
        assert self.bench.restart() is None
        assert self.bench.files() == before

    def _settle_pending(self) -> None:
        if self.bench.store.pending() is not None:
            self.bench.engine.confirm("tester")

    @invariant()
    def files_are_what_the_running_revision_renders(self) -> None:
        """But for what was edited by hand since."""
        current = self.bench.store.current()
        if current is None:
            return
        wanted = render.render_all(current.tree, self.bench.features)
        found = self.bench.files()
        for path, file in wanted.items():
            assert path in self.spoilt or found[path] == (file.text, file.mode)
        assert set(found) - self.spoilt <= set(wanted)
        assert set(current.files) == set(wanted)
        assert self.bench.commands.kernel_name == current.tree["name"]

    @invariant()
    def nothing_is_left_half_done(self) -> None:
        """No journal, no temporary file, one running revision, and every secret that is referred to is there."""
        assert self.bench.store.journal() is None
        assert not list(self.bench.root.rglob("*.sentry-new"))
        assert not (self.bench.folder / "config/staging").exists()
        assert not (self.bench.folder / "config/reserve").exists()
        assert sum(one.current for one in self.bench.store.revisions()) <= 1
        for tree in self.bench.store.trees():
            for reference in references(tree):
                assert self.bench.vault.reveal(reference)


TestInStep = InStep.TestCase
TestInStep.settings = settings(max_examples=30, stateful_step_count=12)
