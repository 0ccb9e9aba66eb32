"""Between a check and the scan: a check hands its verdict over here, and pytest's reports become results.

A check that records an open verdict ends by `Finding`; any other exception is an error of the check. So a broken check
can be neither a pass nor a finding.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

import pytest

from stig.answers import Answers
from stig.errors import FactError, ScanError
from stig.facts import Facts
from stig.results import Evidence
from stig.rules import Catalogue
from stig.verdict import Status, Verdict

Clock = Callable[[], datetime]
REASON_CHARACTERS = 600  # enough for what a tool says when it fails; a traceback belongs into a log


def utc_now() -> datetime:
    """The scan's default clock."""
    return datetime.now(UTC)


def stamp(when: datetime) -> str:
    """ISO 8601 in UTC to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Finding(AssertionError):  # noqa: N818 - it is an outcome, not an error
    """A recorded verdict is open."""


class NotReviewed(Exception):  # noqa: N818 - it is an outcome, not an error
    """A check cannot decide because something only the site can say was not given."""


class NotApplicable(Exception):  # noqa: N818 - it is an outcome, not an error
    """The rule does not apply to this machine; the message says why."""


def answered_or_tried(given: Answers | None, facts: Facts) -> None:
    """Raises `NotReviewed` where the site has said nothing and nobody can be tried to log in, as in an appliance's scan of
    itself: what is seen from there alone is no proof of what a stranger sees."""
    if given is None and facts.machine.target.admin.key is None:
        raise NotReviewed("needs the site's answer file (--answers), which was not given")


@dataclass(slots=True)
class Outcome:
    """What a check left behind."""

    status: Status
    reason: str = ""
    reading: str = ""
    evidence: tuple[Evidence, ...] = ()
    seconds: float = 0.0
    asked: tuple[str, ...] = ()


@dataclass(slots=True)
class Prove:
    """The fixture `prove`: call it once with the verdict."""

    clock: Clock
    verdict: Verdict | None = None
    evidence: tuple[Evidence, ...] = ()

    def __call__(self, verdict: Verdict) -> None:
        """Record the verdict; raises `Finding` when it is open."""
        when = stamp(self.clock())
        self.verdict = verdict
        self.evidence = tuple(
            Evidence(
                command=point.command,
                found=point.found,
                expected=point.expected,
                met=point.met,
                nature=point.nature,
                time=when,
            )
            for point in verdict.points
        )
        if verdict.status == "open":
            raise Finding("; ".join(point.found for point in verdict.points if not point.met))


@dataclass(slots=True, eq=False)  # pytest keeps its plugins in a set
class Recorder:
    """The pytest plugin of one scan: gives the checks their fixtures and keeps what each rule ended as."""

    catalogue: Catalogue
    facts: Facts
    answers: Answers | None
    clock: Clock
    say: Callable[[str], None]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _proofs: dict[str, Prove] = field(default_factory=dict)
    _ended: dict[str, BaseException] = field(default_factory=dict)
    _began: float = 0.0

    @pytest.fixture(scope="session", name="facts")
    def _facts_fixture(self) -> Facts:
        return self.facts

    @pytest.fixture(scope="session", name="host")
    def _host_fixture(self) -> Any:
        """Testinfra's host, for a check that wants its modules."""
        return getattr(self.facts.machine, "host", None)

    @pytest.fixture(name="answers")
    def _answers_fixture(self) -> Answers:
        if self.answers is None:
            raise NotReviewed("needs the site's answer file (--answers), which was not given")
        return self.answers

    @pytest.fixture(name="given")
    def _given_fixture(self) -> Answers | None:
        """The answers, for a check that can do without."""
        return self.answers

    @pytest.fixture(name="prove")
    def _prove_fixture(self, request: pytest.FixtureRequest) -> Prove:
        proof = Prove(self.clock)
        self._proofs[rule_of(request.node)] = proof
        return proof

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Time each check and say what it ended as."""
        rule, self._began = rule_of(item), time.monotonic()
        if rule in self.outcomes:
            raise ScanError(f"two checks claim {rule}; a rule has exactly one")
        self.facts.asked.clear()
        result = yield
        outcome = self._outcome(rule)
        outcome.seconds = round(time.monotonic() - self._began, 3)
        outcome.asked = tuple(self.facts.asked)
        self.outcomes[rule] = outcome
        self.say(f"{rule}  {outcome.status:<14}  {outcome.seconds:5.1f} s  {outcome.reason}".rstrip())
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Keep the first exception of a check, in set-up, call or tear-down."""
        if call.excinfo is not None:
            self._ended.setdefault(rule_of(item), call.excinfo.value)
        return (yield)

    def _outcome(self, rule: str) -> Outcome:
        proof = self._proofs.get(rule)
        ended = self._ended.get(rule)
        outcome = judged(proof, ended)
        if proof is not None and proof.verdict is not None and outcome.status in ("not_a_finding", "open"):
            outcome.reading, outcome.evidence = proof.verdict.reading, proof.evidence
        return outcome


def judged(proof: Prove | None, ended: BaseException | None) -> Outcome:
    """What a check ended as, from what it recorded and the exception it ended by."""
    recorded = proof is not None and proof.verdict is not None
    if isinstance(ended, Finding) and recorded:
        return Outcome("open", _short(str(ended)))
    if isinstance(ended, (NotReviewed, NotApplicable)):
        return Outcome("not_reviewed" if isinstance(ended, NotReviewed) else "not_applicable", str(ended))
    if ended is not None:
        told = str(ended) if isinstance(ended, FactError) else f"the check failed: {type(ended).__name__}: {ended}"
        return Outcome("error", _short(told))
    return Outcome("not_a_finding") if recorded else Outcome("error", "the check ended without recording a verdict")


def rule_of(item: Any) -> str:
    """The rule a check is marked with; `ScanError` when it has no such mark or an ill-formed one."""
    mark = item.get_closest_marker("stig")
    if mark is None or len(mark.args) != 1:
        _unmarked(str(item.nodeid))
    return str(mark.args[0])


def _unmarked(node: str) -> NoReturn:
    raise ScanError(f"{node}: a check carries exactly one mark stig(rule)")


def _short(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= REASON_CHARACTERS else f"{folded[:REASON_CHARACTERS]}..."
