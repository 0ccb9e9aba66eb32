"""The life of a wipe between a UEM and a Sentry: whatever is ordered, acknowledged, lost, repeated or late, it ends consistent.

The UEM is the real registry over a database in memory; of the Sentry what matters is the pure core of its device list, whose
entry goes through its form on the disk with every step.
"""

from collections.abc import Callable

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sentry_runtime.agent.changes import Answered, Known, Marked, News, effect
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.uem.api import Contact, Decision, DecisionPage, Push, WipeReport
from sentry_runtime.uem.messages import decode
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.tables import open_engine
from sentry_runtime.uem_server.wipes import NotNowError

KEY = DeviceKey("PHONE1", "anna@lab.test")
SET = ("register", "allow", "block")
FOUND = ("compromised", "mended")
VALID = {
    "allowed": {*SET, *FOUND, "remove", "device", "account"},
    "blocked": {*SET, *FOUND, "remove", "device", "account"},
    "wipe_pending": {*FOUND, "cancel", "device", "account"},
    "wiped": {*FOUND, "remove"},
    "removed": {*SET},
    "unknown": {*SET},
}
"""What an administrator may say, by what stands; an order of another kind than the pending one is refused, too."""

MARKS = [*WipeMark, *[WipeMark.UNVERIFIED] * 3]  # acknowledgements are what most depends on


class Sentry:
    """One entry of a device list."""

    def __init__(self) -> None:
        self.disk: bytes = b""
        self.removed_at = 0
        self.cursor = 0

    @property
    def record(self) -> Record | None:
        """The entry, as it is read from the disk."""
        return msgspec.msgpack.decode(self.disk, type=Record) if self.disk else None

    def take(self, news: News) -> None:
        """What the agent does with it."""
        change = effect(Known(self.record, self.removed_at, self.cursor), news, 1_000)
        if change is not None:
            self.disk = b"" if change.record is None else msgspec.msgpack.encode(change.record)
            self.removed_at = change.removed_at


class WipeLife(RuleBasedStateMachine):
    """An administrator, a UEM, a lossy and disorderly net, a Sentry, and devices (and strangers) at its gateway."""

    @initialize()
    def begin(self) -> None:
        """The device is registered and to be wiped, and the Sentry has heard of it."""
        self.sentry = Sentry()
        self.pushes: list[Decision] = []
        self.reports: list[WipeReport] = []
        self.answers: list[Answered] = []
        self.acknowledged: set[int] = set()
        self.answered: set[int] = set()  # of them those whose report was answered, and the Sentry has heard it
        self.last_order = 0
        self.removals = 0
        self.wiped_since: tuple[int, int] | None = None  # (order, removals then) of an entry that is wiped
        self.engine = open_engine("sqlite://")
        self.restart_uem()
        self.say("register", pushed=True)
        self.say("device", pushed=True)

    def teardown(self) -> None:
        """When the net is quiet and the link is up, both say the same."""
        if not hasattr(self, "sentry"):
            return
        self.wait_for_quiet()
        self.engine.dispose()

    def wait_for_quiet(self) -> None:
        """All that is said arrives."""
        self.pull()
        while (record := self.sentry.record) is not None and record.unreported:
            self.report()
            self.hear(self.answers[-1])
        self.pull()
        decision, record = self.word, self.sentry.record
        if decision is None or decision.removed:
            assert record is None
        else:
            assert record is not None
            assert (record.state, record.reasons, record.wipe) == (decision.state, decision.reasons, decision.wipe)

    # The UEM and its administrator.

    @rule(what=st.sampled_from(["restart_uem", "pull", "contact"]))
    def time_passes(self, what: str) -> None:
        """What happens by itself."""
        getattr(self, what)()

    def restart_uem(self) -> None:
        """The database is all it has."""
        self.registry = Registry(self.engine, auto_block=True, now=lambda: 0.001)
        self.look()

    def look(self) -> None:
        """See what the UEM says."""
        found = self.registry.changes(0, 10).decisions
        self.word = found[0] if found else None

    @property
    def stands(self) -> str:
        """The state at the UEM."""
        word = self.word
        return "unknown" if word is None else "removed" if word.removed else word.state.value

    @precondition(lambda self: self.stands in ("allowed", "blocked"))
    @rule(kind=st.sampled_from(["device", "device", "account"]), pushed=st.booleans())
    def order(self, kind: str, pushed: bool) -> None:  # noqa: FBT001
        """What this is about, so it is done often."""
        self.say(kind, pushed=pushed)

    @precondition(lambda self: self.stands == "wipe_pending")
    @rule(pushed=st.booleans())
    def cancel(self, pushed: bool) -> None:  # noqa: FBT001
        """The same."""
        self.say("cancel", pushed=pushed)

    @precondition(lambda self: self.stands in ("wiped", "removed", "unknown"))
    @rule(pushed=st.booleans())
    def begin_anew(self, pushed: bool) -> None:  # noqa: FBT001
        """The phone is found, or there is another one."""
        if self.stands == "wiped":
            self.say("remove", pushed=pushed)
        self.say("register", pushed=pushed)
        self.say("device", pushed=pushed)

    @rule(word=st.sampled_from([*SET, *FOUND, "remove", "device", "account", "cancel"]))
    def say_anything(self, word: str) -> None:
        """Valid or not."""
        self.say(word)

    def say(self, word: str, *, pushed: bool = False) -> None:
        """Valid words are done, all others are refused and change nothing. `pushed`: the Sentry hears at once."""
        before, stood = self.word, self.stands
        other_kind = stood == "wipe_pending" and word in ("device", "account") and before.wipe.kind != word  # type: ignore[union-attr]
        try:
            changed = self._words[word]()
        except (NotNowError, UnknownDeviceError):
            self.look()
            assert word not in VALID[stood] or other_kind
            assert self.word == before
            return
        self.look()
        assert word in VALID[stood]
        assert not other_kind
        self.removals += word == "remove"
        if word in ("device", "account"):
            assert self.word is not None
            assert self.word.wipe is not None
            self.last_order = self.word.wipe.order
        self.pushes += changed
        if pushed:
            for decision in changed:
                self.sentry.take(decision)

    @property
    def _words(self) -> dict[str, Callable[[], list[Decision]]]:
        uem = self.registry
        return {
            "register": lambda: uem.register(KEY, "", ""),
            "allow": lambda: uem.set_state(KEY, State.ALLOWED, [], ""),
            "block": lambda: uem.set_state(KEY, State.BLOCKED, [Reason.MANUAL], ""),
            "compromised": lambda: uem.flag(KEY, Reason.COMPROMISED, holds=True),
            "mended": lambda: uem.flag(KEY, Reason.COMPROMISED, holds=False),
            "remove": lambda: uem.remove(KEY),
            "device": lambda: uem.order_wipe(KEY, WipeKind.DEVICE, "", "olga"),
            "account": lambda: uem.order_wipe(KEY, WipeKind.ACCOUNT, "", "olga"),
            "cancel": lambda: uem.cancel_wipe(KEY, "")[1],
        }

    # The net.

    @precondition(lambda self: self.pushes)
    @rule(data=st.data(), kind=st.sampled_from(["push", "report", "answer"]))
    def something_comes_late_or_again(self, data: st.DataObject, kind: str) -> None:
        """Anything that was ever sent."""
        if kind == "push":
            push = Push(decisions=(data.draw(st.sampled_from(self.pushes)),))
            self.sentry.take(decode(_json(push), Push).decisions[0])
        elif kind == "report" and self.reports:
            self._send(data.draw(st.sampled_from(self.reports)))
        elif kind == "answer" and self.answers:
            self.hear(data.draw(st.sampled_from(self.answers)))

    def pull(self) -> None:
        """A resync."""
        page = decode(_json(self.registry.changes(self.sentry.cursor, 10)), DecisionPage)
        for decision in page.decisions:
            self.sentry.take(decision)
        self.sentry.cursor = max(self.sentry.cursor, page.next)

    def contact(self) -> None:
        """A device that the Sentry does not have makes a first contact."""
        if self.sentry.record is None:
            contact = Contact(device_id=KEY.device_id, principal=KEY.principal, device_type="", seen=1)
            self.sentry.take(self.registry.contact(contact))
            self.look()

    @precondition(lambda self: (record := self.sentry.record) is not None and record.unreported)
    @rule()
    def report(self) -> None:
        """The answer is on its way."""
        record = self.sentry.record
        assert record is not None
        assert record.wipe is not None
        self._send(WipeReport(device_id=KEY.device_id, principal=KEY.principal, wipe=record.wipe))

    def _send(self, report: WipeReport) -> None:
        self.reports.append(report)
        before = self.word
        decision, changed = self.registry.report_wipe(decode(_json(report), WipeReport))
        self.look()
        assert changed or self.word == before
        self.pushes += changed
        self.answers.append(Answered(decode(_json(decision), Decision), report.wipe))

    def hear(self, answer: Answered) -> None:
        """The Sentry gets an answer to a report."""
        self.sentry.take(answer)
        if answer.told.acknowledged:
            self.answered.add(answer.told.order)

    # The gateway.

    @precondition(lambda self: (record := self.sentry.record) is not None and record.wipe is not None)
    @rule(mark=st.sampled_from(MARKS), reported=st.sampled_from([False, False, True]))
    def mark(self, mark: WipeMark, reported: bool) -> None:  # noqa: FBT001
        """A device, or a stranger, has done something. `reported`: the UEM hears at once, and its answer is heard."""
        record = self.sentry.record
        assert record is not None
        assert record.wipe is not None
        self.sentry.take(Marked(KEY, record.wipe.order, mark))
        if mark in (WipeMark.UNVERIFIED, WipeMark.VERIFIED):
            self.acknowledged.add(record.wipe.order)
        marked = self.sentry.record
        if reported and marked is not None and marked.unreported:
            self.report()
            self.hear(self.answers[-1])

    @precondition(lambda self: (record := self.sentry.record) is not None and record.wipe is not None)
    @rule(mark=st.sampled_from(WipeMark))
    def mark_an_order_of_the_past(self, mark: WipeMark) -> None:
        """A worker that knew an earlier one; nothing comes of it."""
        record = self.sentry.record
        assert record is not None
        assert record.wipe is not None
        self.sentry.take(Marked(KEY, record.wipe.order - 1, mark))
        assert self.sentry.record == record

    # What always holds.

    @invariant()
    def who_has_acknowledged_is_refused_until_removed(self) -> None:
        """At the Sentry, from that moment on, whatever the UEM says in ignorance of it.

        In knowledge of it the UEM may have ordered anew, which makes the acknowledgement one of the past, and taken that back.
        """
        record = self.sentry.record
        if self.wiped_since is not None and (record is None or record.state in (State.ALLOWED, State.BLOCKED)):
            order, removals = self.wiped_since
            assert self.removals > removals or (order in self.answered and self.last_order > order)
        if self.wiped_since is not None and record is not None and record.state is State.WIPE_PENDING:
            assert record.wipe is not None
            assert record.wipe.order > self.wiped_since[0]
        if record is None or record.state is not State.WIPED:
            self.wiped_since = None
        elif self.wiped_since is None:
            assert record.wipe is not None
            self.wiped_since = (record.wipe.order, self.removals)

    @invariant()
    def nothing_is_wiped_that_nobody_acknowledged(self) -> None:
        """Neither here nor there; and state and marks never contradict each other."""
        for holder in (self.sentry.record, self.word):
            wipe: Wipe | None = None if holder is None else holder.wipe
            if holder is None or (isinstance(holder, Decision) and holder.removed):
                continue
            assert (wipe is None) == (holder.state in (State.ALLOWED, State.BLOCKED))
            if wipe is not None:
                assert holder.state is wipe.state
                assert wipe.acknowledged <= (wipe.order in self.acknowledged)


def _json(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)


WipeLife.TestCase.settings = settings(max_examples=40, stateful_step_count=40)
TestWipeLife = WipeLife.TestCase


def test_an_acknowledgement_of_an_order_before_the_last_is_of_the_past() -> None:
    """Until the UEM has answered its report the device is refused; then the last word counts, which knows of it."""
    life = WipeLife()
    life.begin()
    life.cancel(pushed=False)
    life.order("device", pushed=False)
    life.mark(WipeMark.UNVERIFIED, reported=False)
    life.cancel(pushed=True)
    states = [life.sentry.record and life.sentry.record.state]
    life.report()
    life.hear(life.answers[-1])
    states.append(life.sentry.record and life.sentry.record.state)
    assert states == [State.WIPED, State.ALLOWED]
    life.teardown()
