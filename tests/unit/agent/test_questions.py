"""First contacts: coalesced, bounded, and what is answered when the UEM cannot be asked."""

import asyncio
from collections.abc import Callable

import pytest

from sentry_runtime.agent.circuit import Circuit
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.questions import Bounds, Questions
from sentry_runtime.control import Ask
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.eas.policy import TEMPORARY
from sentry_runtime.settings import FailMode
from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem.link import (
    CONNECTIONS,
    LinkDownError,
    LinkError,
    LinkFullError,
    LinkLocalError,
    LinkRefusedError,
    LinkSlowError,
)
from tests.clock import Clock
from tests.unit.agent.ears import Ears

ANNA = DeviceKey("C1", "anna@lab.test")
BERT = DeviceKey("C2", "bert@lab.test")


class Uem:
    """Answers contacts as it is told: `trouble` is raised, `gate` is waited for; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Contact] = []
        self.arrivals: asyncio.Queue[Contact] = asyncio.Queue()
        self.trouble: LinkError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.state = State.ALLOWED
        self.removed_meanwhile = False

    async def contact(self, contact: Contact) -> Decision:
        """The next version's word."""
        self.asked.append(contact)
        self.arrivals.put_nowait(contact)
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return Decision(
            device_id=contact.device_id,
            principal=contact.principal,
            state=self.state,
            version=len(self.asked),
            removed=self.removed_meanwhile,
        )


@pytest.fixture
def clock() -> Clock:
    """Stands at 1,000."""
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    """Untried."""
    return Circuit(clock, draw=lambda: 1.0)


@pytest.fixture
async def uem() -> Uem:
    """Answers at once that everything is allowed."""
    return Uem()


Make = Callable[..., Questions]


@pytest.fixture
def make(devices: DeviceList, uem: Uem, circuit: Circuit, ears: Ears, clock: Clock) -> Make:
    """Questions with a fail mode and bounds."""

    def questions(fail_mode: FailMode = "block", bounds: Bounds | None = None) -> Questions:
        return Questions(devices, uem, circuit, fail_mode, audit=ears.audit, clock=clock, bounds=bounds)

    return questions


def ask(key: DeviceKey = ANNA, **more: object) -> Ask:
    """A first contact."""
    return Ask(key=key, device_type="iPhone", **more)  # type: ignore[arg-type]


async def refusal(questions: Questions, question: Ask) -> tuple[str, str]:
    """The kind and the message of the refusal that this meets."""
    with pytest.raises(Refused) as caught:
        await questions.ask(question)
    return caught.value.kind, caught.value.message


async def test_a_thousand_asks_for_one_device_are_one_question(make: Make, uem: Uem) -> None:
    """However many requests a phone opens with."""
    questions = make()
    uem.gate.clear()
    asks = [asyncio.create_task(questions.ask(ask())) for _ in range(1_000)]
    await uem.arrivals.get()
    uem.gate.set()
    answers = await asyncio.gather(*asks)
    assert len(uem.asked) == 1
    assert set(answers) == {Record(key=ANNA, state=State.ALLOWED, version=1, first_seen=1_000, updated=1_000)}


async def test_a_known_device_is_answered_without_a_question(make: Make, uem: Uem) -> None:
    """Not even while the link is down."""
    questions = make()
    first = await questions.ask(ask())
    uem.trouble = LinkDownError("gone")
    assert await questions.ask(ask()) == first
    assert len(uem.asked) == 1


async def test_the_answer_is_kept_although_the_one_who_asked_has_gone(
    make: Make, uem: Uem, devices: DeviceList
) -> None:
    """A phone that hangs up does not cost a second question."""
    questions = make()
    uem.gate.clear()
    asked = asyncio.create_task(questions.ask(ask()))
    await uem.arrivals.get()
    asked.cancel()
    uem.gate.set()
    assert await questions.ask(ask()) == devices.get(ANNA)
    assert len(uem.asked) == 1


async def test_more_questions_than_the_bound_are_busy_and_admit_nobody(
    make: Make, uem: Uem, devices: DeviceList
) -> None:
    """Even in fail mode `allow`: filling the queue gains nothing."""
    questions = make("allow", Bounds(questions=3))
    uem.gate.clear()
    waiting = [asyncio.create_task(questions.ask(ask(DeviceKey(f"D{number}", "x")))) for number in range(3)]
    for _ in waiting:
        await uem.arrivals.get()
    kind, message = await refusal(questions, ask())
    assert (kind, devices.get(ANNA)) == ("busy", None)
    assert "3 questions wait" in message
    uem.gate.set()
    await asyncio.gather(*waiting)
    assert questions.open == 0


async def test_a_crowded_list_takes_no_unknown_device_and_still_every_word_of_the_uem(
    make: Make, uem: Uem, devices: DeviceList, ears: Ears
) -> None:
    """Whoever fills it with invented ids cannot keep a block out."""
    questions = make(bounds=Bounds(entries=2))
    for name in ("R1", "R2"):
        await questions.ask(ask(DeviceKey(name, "eve@lab.test")))
    kind, message = await refusal(questions, ask(DeviceKey("R3", "eve@lab.test")))
    assert (kind, message) == ("unavailable", "the device list has 2 entries; no unknown device is taken")
    assert (len(uem.asked), ears.events[-1]) == (2, "device_list_crowded")
    word = Decision(device_id="C1", principal="anna@lab.test", state=State.BLOCKED, version=9)
    await devices.take([word])
    assert (await questions.ask(ask())).state is State.BLOCKED
    assert (await questions.ask(ask(DeviceKey("R1", "eve@lab.test")))).state is State.ALLOWED


async def test_trouble_of_our_own_admits_nobody(make: Make, uem: Uem, circuit: Circuit, ears: Ears) -> None:
    """No file handles left says nothing of the UEM."""
    uem.trouble = LinkLocalError("Too many open files")
    assert await refusal(make("allow"), ask()) == ("unavailable", "Too many open files")
    assert (circuit.is_down, ears.events) == (False, ["uem_undialled"])


async def test_a_question_that_waits_too_long_for_its_turn_is_busy(make: Make, uem: Uem, devices: DeviceList) -> None:
    """The slots are held by questions that the UEM does not answer."""
    questions = make("allow", Bounds(queue_seconds=0.01))
    uem.gate.clear()
    holding = [asyncio.create_task(questions.ask(ask(DeviceKey(f"D{n}", "x")))) for n in range(CONNECTIONS)]
    for _ in holding:
        await uem.arrivals.get()
    kind, _ = await refusal(questions, ask())
    assert (kind, devices.get(ANNA)) == ("busy", None)
    uem.gate.set()
    await asyncio.gather(*holding)


@pytest.mark.parametrize("trouble", [LinkSlowError("no answer within 5 s"), LinkRefusedError("`$.state` is odd")])
async def test_a_slow_or_wrong_uem_is_unavailable_and_admits_nobody(
    make: Make, uem: Uem, devices: DeviceList, circuit: Circuit, trouble: LinkError
) -> None:
    """In fail mode `allow` too; and the link does not count as down by it."""
    questions = make("allow")
    uem.trouble = trouble
    assert await refusal(questions, ask()) == ("unavailable", str(trouble))
    assert (devices.get(ANNA), circuit.is_down) == (None, False)
    uem.trouble = None
    assert (await questions.ask(ask())).state is State.ALLOWED


async def test_fail_mode_block_answers_blocked_and_keeps_nothing(
    make: Make, uem: Uem, devices: DeviceList, ears: Ears
) -> None:
    """With the reason, so that the gateway can tell it from a real block."""
    questions = make("block")
    uem.trouble = LinkDownError("connection refused")
    answer = await questions.ask(ask())
    assert (answer.state, answer.reasons, answer.provisional) == (State.BLOCKED, (Reason.UEM_UNREACHABLE,), True)
    assert (devices.count, ears.announced) == (0, [])


async def test_while_the_link_is_down_nobody_dials_for_a_question(
    make: Make, uem: Uem, circuit: Circuit, ears: Ears
) -> None:
    """The first one finds out and wakes the prober, the others are answered by the fail mode at once."""
    questions = make("block")
    uem.trouble = LinkDownError("connection refused")
    await questions.ask(ask(ANNA))
    assert (questions.link_lost.is_set(), circuit.is_down) == (True, True)
    await questions.ask(ask(BERT))
    assert len(uem.asked) == 1
    assert ears.events == ["uem_down"]


async def test_fail_mode_allow_admits_provisionally_and_the_returned_uem_corrects(
    make: Make, uem: Uem, devices: DeviceList, circuit: Circuit, ears: Ears
) -> None:
    """The correction asks with what the device said of itself, and a follower hears of it."""
    questions = make("allow")
    uem.trouble = LinkDownError("connection refused")
    guess = await questions.ask(ask(aliases=("4331",)))
    assert (guess.state, guess.provisional, devices.get(ANNA)) == (State.ALLOWED, True, guess)
    assert devices.policy(guess.policy) == TEMPORARY
    uem.trouble, uem.state = None, State.BLOCKED
    circuit.succeeded()
    await questions.correct()
    decided = devices.get(ANNA)
    assert decided is not None
    assert (decided.state, decided.provisional) == (State.BLOCKED, False)
    assert (decided.policy, decided.policy_before) == (b"", guess.policy)
    assert devices.policy(guess.policy) is None
    assert uem.asked[-1].device_aliases == ("4331",)
    assert ears.announced == [(ANNA,), (ANNA,)]
    assert ears.events == ["uem_down", "device_admitted", "device_corrected"]
    await questions.correct()
    assert len(uem.asked) == 2


async def test_a_correction_goes_on_later_when_the_link_is_lost_again_and_past_a_refused_device(
    make: Make, uem: Uem, devices: DeviceList
) -> None:
    """Nothing is forgotten, nothing blocks the rest."""
    questions = make("allow")
    uem.trouble = LinkDownError("connection refused")
    await questions.ask(ask(ANNA))
    await questions.ask(ask(BERT))
    await questions.correct()
    uem.trouble = LinkRefusedError("the UEM answered 500")
    before = len(uem.asked)
    await questions.correct()
    assert len(uem.asked) == before + 2
    assert devices.provisional == {ANNA, BERT}
    uem.trouble = None
    await questions.correct()
    assert devices.provisional == frozenset()


async def test_who_was_let_in_and_has_no_place_at_the_uem_goes(
    make: Make, uem: Uem, devices: DeviceList, ears: Ears
) -> None:
    """At once, and whoever follows hears of it; the fail mode's word is none against the UEM's."""
    questions = make("allow")
    uem.trouble = LinkDownError("connection refused")
    await questions.ask(ask(ANNA))
    uem.trouble = LinkFullError("the UEM answered 429: too many unregistered devices")
    await questions.correct()
    assert (devices.get(ANNA), devices.provisional) == (None, frozenset())
    assert ears.announced[-1] == (ANNA,)
    before = len(uem.asked)
    await questions.correct()
    assert len(uem.asked) == before


async def test_the_fail_mode_admits_no_more_than_its_bound(make: Make, uem: Uem, devices: DeviceList) -> None:
    """Beyond it the word is `blocked`."""
    questions = make("allow", Bounds(provisional=1))
    uem.trouble = LinkDownError("connection refused")
    states = [(await questions.ask(ask(key))).state for key in (ANNA, BERT)]
    assert (states, devices.count) == ([State.ALLOWED, State.BLOCKED], 1)


async def test_a_provisional_entry_expires_and_its_place_is_free_again(
    make: Make, uem: Uem, devices: DeviceList, clock: Clock, ears: Ears
) -> None:
    """Not a second before its age; the follower hears of it."""
    questions = make("allow", Bounds(provisional=1, provisional_seconds=60))
    uem.trouble = LinkDownError("connection refused")
    await questions.ask(ask(ANNA))
    clock.now += 59
    await questions.expire()
    assert devices.count == 1
    clock.now += 1
    await questions.expire()
    assert (devices.count, ears.announced[-1]) == (0, (ANNA,))
    assert (await questions.ask(ask(BERT))).state is State.ALLOWED


@pytest.mark.parametrize(
    ("question", "place"),
    [
        (ask(DeviceKey("c1", "anna")), "`device_id` is upper case"),
        (ask(DeviceKey("C1", "Anna")), "`principal` is in canonical form, 'anna'"),
        (ask(DeviceKey("C1", "lab\\anna")), "`principal` is in canonical form, 'anna@lab'"),
        (ask(DeviceKey("C1", "an na")), "without spaces"),
        (ask(DeviceKey("", "anna")), "`device_id` of 1 to 64 bytes"),
        (ask(DeviceKey("C1", "a" * 321)), "`principal` of 1 to 320 bytes"),
        (ask(DeviceKey("C\n1", "anna")), "control character"),
        (ask(aliases=("x" * 65,)), "$.aliases"),
        (ask(aliases=tuple(f"A{n}" for n in range(9))), "at most 8 aliases"),
        (Ask(key=ANNA, device_type="x" * 257), "$.device_type"),
    ],
)
async def test_what_cannot_be_in_the_list_is_refused_before_anybody_is_asked(
    make: Make, uem: Uem, question: Ask, place: str
) -> None:
    """The gateway hears which field it was."""
    kind, message = await refusal(make(), question)
    assert (kind, uem.asked) == ("invalid", [])
    assert place in message


async def test_what_only_describes_a_device_is_made_fit(make: Make, uem: Uem) -> None:
    """A long or odd user agent costs nobody the mail."""
    await make().ask(ask(user_agent="Apple\r\n" + "x" * 300, protocol="16.1"))
    assert (uem.asked[0].user_agent, uem.asked[0].protocol) == ("Apple" + "x" * 249, "16.1")


async def test_provisional_entries_of_a_former_process_are_dropped_at_start(
    make: Make, uem: Uem, devices: DeviceList
) -> None:
    """What was said about them is gone with that process, so their devices make a first contact again."""
    uem.trouble = LinkDownError("connection refused")
    await make("allow").ask(ask())
    await make("allow").forget_admitted()
    assert devices.count == 0
