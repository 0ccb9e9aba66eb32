"""Two administrators who edit, commit, roll back and meet faults in any order: configuration, files and revisions stay in step,
and nobody overwrites what they have not seen."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance import render
from appliance.config import paths
from appliance.configd import api, passwords
from appliance.configd.client import Refused
from appliance.configd.sessions import Peer
from tests.unit.appliance.workbench import ALICE, NAMES, Crash, Daemon

BERT = 1_004
ENABLE = "Enable-Secret-12345"
HASH = passwords.hashed(ENABLE)
TREE: dict[str, Any] = {
    "name": "box",
    "users": {"accounts": {"alice": {"role": "administrator"}, "bert": {"role": "administrator"}}},
    "cli": {"enable_secret_hash": HASH},
}
WHO = st.sampled_from(["alice", "bert"])
EDITS = st.sampled_from(
    (
        (("name",), "box"), (("name",), "other"), (("web", "port"), "9443"), (("web", "port"), "1024"), (("web", "on"), "no"),
        (("web", "words"), "a,b"), (("web", "token"), "token-2"), (("web", "sites", "one", "root"), "/srv"),
        (("web", "sites", "two", "root"), "/srv"), (("users", "accounts", "eve", "role"), "operator"),
    )
)  # fmt: skip
WRONG = st.sampled_from(
    ((("web", "port"), "0"), (("name",), "UPPER"), (("web", "prot"), "1"), (("web", "words", "9"), "a"))
)
FAULTS = st.sampled_from(["unit", "kernel", "checker", "full", "killed"])
STEPS = st.sampled_from(
    ["vetted", "journal", "wrote /etc/web/web.conf", "reconciled", "probed", "kept", "running", "journal gone"]
)


@contextlib.contextmanager
def full_disk(after: int) -> Iterator[None]:
    """From this `fsync` on, nothing new fits on the disk. What is removed makes no room: others take it."""
    real, left = os.fsync, [after]

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - a folder's own entry always finds room
            return real(descriptor)
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


class TwoAdministrators(RuleBasedStateMachine):
    """Each has a session; `mine` is what each believes the candidate to be, `seen` the revision it was made from."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edits-"))
        NAMES[BERT] = "bert"
        self.box = Daemon(self.folder)
        self.mine: dict[str, dict[str, Any] | None] = {}
        self.seen: dict[str, str] = {}

    def teardown(self) -> None:
        del NAMES[BERT]
        shutil.rmtree(self.folder)

    @initialize()
    def first(self) -> None:
        """There is a revision, and both have logged in."""
        self.box.commit(TREE)
        self._log_in()

    def _log_in(self) -> None:
        self.handles: dict[str, tuple[Peer, str]] = {}
        for number, (name, uid) in enumerate((("alice", ALICE), ("bert", BERT)), 1):
            peer, session = self.box.open(uid, number)
            self.box.say(peer, api.Enable(session=session.handle, secret=ENABLE))
            self.handles[name] = (peer, session.handle)
            self.mine[name] = None

    def _say(self, who: str, verb: type, **fields: Any) -> Any:
        peer, handle = self.handles[who]
        return self.box.say(peer, verb(session=handle, **fields))

    def _refused(self, who: str, verb: type, **fields: Any) -> str:
        with pytest.raises(Refused) as refused:
            self._say(who, verb, **fields)
        return refused.value.refusal.kind

    # --- what people do ------------------------------------------------------------------------------------------

    @rule(who=WHO, edit=EDITS)
    def edit(self, who: str, edit: tuple[tuple[str, ...], str]) -> None:
        """A setting of one's own candidate; the other's and what runs do not change."""
        path, value = edit
        before, other = self.box.running(), self._candidate("bert" if who == "alice" else "alice")
        self._say(who, api.SetConfig, path=path, value=value)
        if self.mine[who] is None:
            self.mine[who], self.seen[who] = deepcopy(self.box.schema.fill(before)), self.box.digest()
        held = self.mine[who]
        assert held is not None
        self.mine[who] = self.box.schema.fill(paths.put(self.box.schema, held, path, value))
        assert self._candidate("bert" if who == "alice" else "alice") == other
        assert self.box.running() == before

    @rule(who=WHO, wrong=WRONG)
    def edit_wrongly(self, who: str, wrong: tuple[tuple[str, ...], str]) -> None:
        """Refused at once, and the candidate is as it was."""
        before = self._candidate(who)
        assert self._refused(who, api.SetConfig, path=wrong[0], value=wrong[1]) == "invalid"
        assert self._candidate(who) == before

    @rule(who=WHO)
    def discard(self, who: str) -> None:
        """Forget it."""
        self._say(who, api.Discard)
        self.mine[who] = None

    @rule(who=WHO)
    def commit(self, who: str) -> None:
        """Goes through when nobody else has committed since the first edit; else it says so and does nothing."""
        self._settle()
        before, number = self.box.running(), self.box.store.next_number()
        held = self.mine[who]
        if held is not None and self.seen[who] != self.box.digest():
            assert self._refused(who, api.Commit) == "conflict"
            assert (self.box.running(), self.box.store.next_number()) == (before, number)
            return
        self._say(who, api.Commit, comment=f"by {who}")
        if held is not None:
            assert self._plain(self.box.running()) == self._plain(held)
            self.mine[who] = None
            if self.box.running() != before:
                assert self.box.store.revisions()[0].user == who
                assert self.box.store.next_number() == number + 1

    @rule(
        who=WHO,
        minutes=st.integers(1, 120),
        keep=st.booleans(),
        how=st.sampled_from(["wait", "jump", "restart", "power"]),
    )
    def try_for_a_while(self, who: str, minutes: int, *, keep: bool, how: str) -> None:
        """A commit with a time limit: confirmed it stays, else the revision before comes back, whatever becomes of the clock,
        of configd and of the machine meanwhile."""
        self._settle()
        before = self.box.running()
        if self.mine[who] is not None and self.seen[who] != self.box.digest():
            return
        waits = bool(self._say(who, api.Commit, confirm_minutes=minutes)["confirm_by"])
        self.mine[who] = None
        after = self.box.running()
        if how == "jump":
            self.box.set_clock(-86_400)
        if how in ("restart", "power"):
            self.box.restart() if how == "restart" else self.box.power_cut(clock=-86_400)
            self._log_in()
        if waits and keep:
            self._say(who, api.Confirm)
        self.box.clock.now += 60 * minutes
        self.box.watch.tick()
        assert self.box.running() == (after if keep or not waits else before)

    @rule(who=WHO, data=st.data())
    def roll_back(self, who: str, data: st.DataObject) -> None:
        """Any kept revision runs again; whoever was editing meanwhile is told at their commit."""
        number = data.draw(st.sampled_from([one.number for one in self.box.store.revisions()]))
        tree = self.box.store.load(number).tree
        self._say(who, api.Rollback, revision=number)
        self.mine[who] = None
        assert self.box.running() == tree

    # --- what goes wrong -----------------------------------------------------------------------------------------

    @rule(who=WHO, fault=FAULTS, step=STEPS, fits=st.integers(0, 14))
    def commit_with_a_fault(self, who: str, fault: str, step: str, fits: int) -> None:
        """A daemon refuses or does not come back, the disk fills up, configd is killed: the old revision or the new one."""
        self._settle()
        if self.mine[who] is not None and self.seen[who] != self.box.digest():
            return
        self._say(who, api.SetConfig, path=("web", "port"), value=str(2_000 + self.box.store.next_number()))
        before, files, candidate = self.box.running(), self.box.files(), self._candidate(who)
        if fault == "checker":
            self._say(who, api.SetConfig, path=("web", "words"), value="nonsense")
            candidate = self._candidate(who)
        kind = self._commit_in(who, fault, step, fits)
        if fault == "killed":
            self.box.crash_at = None
            self.box.restart()
            self._log_in()
            return
        if kind is None:  # there was room enough, after all
            self.mine[who] = None
            return
        assert kind == "apply"
        assert (self.box.running(), self.box.files()) == (before, files)
        assert self._candidate(who) == candidate  # to be mended and committed again
        self._say(who, api.Discard)
        self.mine[who] = None

    def _commit_in(self, who: str, fault: str, step: str, fits: int) -> str | None:
        """The commit under that fault; the refusal's kind."""
        self.box.commands.dies_after = {"web.service"} if fault == "unit" else set()
        if fault == "kernel":
            (self.box.root / "kernel-name").write_text("drifted")
            self.box.commands.failing = {"hostname"}
        self.box.crash_at = step if fault == "killed" else None
        kind: str | None = None
        try:
            with full_disk(fits) if fault == "full" else contextlib.nullcontext():
                self._say(who, api.Commit)
        except Refused as refused:
            kind = refused.refusal.kind
        except Crash:
            kind = "killed"
        self.box.commands.dies_after, self.box.commands.failing = set(), set()
        if kind == "apply" and fault in ("kernel", "full"):
            self.box.engine.recover()  # what could not be undone then is undone now, or by the next start or commit
        return kind

    # --- what holds ----------------------------------------------------------------------------------------------

    def _candidate(self, who: str) -> Any:
        return self._say(who, api.GetConfig, view="candidate")

    def _plain(self, tree: Any) -> Any:
        """With the secrets in it, however they were written."""
        if isinstance(tree, dict):
            return {key: self._plain(value) for key, value in tree.items()}
        return self.box.vault.reveal(tree) if isinstance(tree, str) and tree.startswith("secret:") else tree

    def _settle(self) -> None:
        if self.box.store.pending() is not None:
            self.box.engine.confirm("tester")

    @invariant()
    def files_are_what_the_running_revision_renders(self) -> None:
        """Text and mode of each, and not one more; and the kernel has the name."""
        current = self.box.store.current()
        if current is None:
            return
        wanted = render.render_all(current.tree, self.box.features)
        assert self.box.files() == {path: (file.text, file.mode) for path, file in wanted.items()}
        assert set(current.files) == set(wanted)
        assert self.box.commands.kernel_name == current.tree["name"]

    @invariant()
    def revisions_are_whole(self) -> None:
        """Numbered in a row, one of them running, no journal and nothing half-written."""
        numbers = [one.number for one in self.box.store.revisions()]
        assert numbers == sorted(numbers, reverse=True)
        assert sum(one.current for one in self.box.store.revisions()) == (1 if numbers else 0)
        assert self.box.store.journal() is None
        assert not list(self.folder.rglob("*.sentry-new"))
        assert not list((self.folder / "config").rglob("*.new"))


TestTwoAdministrators = TwoAdministrators.TestCase
TestTwoAdministrators.settings = settings(max_examples=15, stateful_step_count=12)
