"""A rule and how it is decided from facts; and what most rules of an operating system have in common: values that must be so."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from stig.answers import Answers
from stig.errors import FactError
from stig.facts import Facts
from stig.recorder import NotReviewed
from stig.verdict import Nature, Point, Verdict

CONTAINED = "This machine is a container: {what} its host's. Only a machine that boots a kernel of its own can show it."


@dataclass(frozen=True, slots=True)
class Proof:
    """One rule's decision. It raises `FactError`, `NotReviewed` or `NotApplicable` where there is none."""

    rule: str
    verdict: Callable[[Facts], Verdict]


@dataclass(frozen=True, slots=True)
class SiteProof:
    """As `Proof`, of a rule for which the site has to say something."""

    rule: str
    verdict: Callable[[Facts, Answers], Verdict]


@dataclass(frozen=True, slots=True)
class Want:
    """What a value must be: in words, and as a test. None is a value that is not set."""

    words: str
    holds: Callable[[str | None], bool]


def exactly(*values: str) -> Want:
    """One of these words, in any case."""
    allowed = [value.lower() for value in values]
    return Want(" or ".join(values), lambda found: found is not None and found.lower() in allowed)


def within(low: int, high: int | None = None, *, or_one_of: tuple[str, ...] = ()) -> Want:
    """A whole number from `low` to `high`; None: no upper bound."""
    words = f"at least {low}" if high is None else str(low) if low == high else f"from {low} to {high}"

    def holds(found: str | None) -> bool:
        if found in or_one_of:
            return True
        number = _number(found)
        return number is not None and low <= number and (high is None or number <= high)

    return Want(" or ".join((words, *or_one_of)), holds)


def only(*allowed: str) -> Want:
    """A list of words, separated by commas, of which each is allowed, and at least one is there."""
    return Want(
        f"only of {', '.join(allowed)}", lambda found: bool(found) and set(str(found).split(",")) <= set(allowed)
    )


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that a rule asks about."""

    rule: str
    name: str
    want: Want


def judged(
    settings: Iterable[Setting], command: str, values: Mapping[str, str], nature: Nature = "effective"
) -> tuple[Point, ...]:
    """A point for each setting, by what `command` showed."""
    return tuple(
        Point(
            f"{command}: {one.name}",
            values.get(one.name, "not set"),
            one.want.words,
            one.want.holds(values.get(one.name)),
            nature,
        )
        for one in settings
    )


def by_rule(settings: Iterable[Setting]) -> dict[str, tuple[Setting, ...]]:
    """The settings of each rule, in the order of the table."""
    found: dict[str, list[Setting]] = {}
    for one in settings:
        found.setdefault(one.rule, []).append(one)
    return {rule: tuple(rows) for rule, rows in found.items()}


def table(settings: Iterable[Setting], verdict: Callable[[tuple[Setting, ...], Facts], Verdict]) -> tuple[Proof, ...]:
    """A proof for each rule of a table, all decided in the same way."""

    def proof(rule: str, rows: tuple[Setting, ...]) -> Proof:
        return Proof(rule, lambda facts: verdict(rows, facts))

    return tuple(proof(rule, rows) for rule, rows in by_rule(settings).items())


def contained(facts: Facts) -> bool:
    """Whether the machine shares another's kernel."""
    return facts.answer("container").status == 0


def needs_a_kernel(facts: Facts, what: str) -> None:
    """`NotReviewed` in a container; `what` names, with its verb, what a container has from its host ("its boot loader is")."""
    if contained(facts):
        raise NotReviewed(CONTAINED.format(what=what))


_HARMLESS = ("No such file or directory", "File system loop detected")


def found_lines(facts: Facts, name: str) -> tuple[str, ...]:
    """The lines of a command whose failure is an answer too: `grep` that found nothing or not all of its files, `find` and
    `stat` of what is not there, `cat` of what this kernel does not have. Any other complaint is a `FactError`."""
    done = facts.answer(name)
    complaints = [
        line for line in done.errors.splitlines() if line.strip() and not any(map(line.__contains__, _HARMLESS))
    ]
    # grep -s says nothing of a file that is not there, but for its exit status.
    answers = (0, 1, 2) if facts.argv(name)[0] == "grep" else (0, 1)
    if done.status not in answers or complaints:
        said = complaints[0] if complaints else f"exit status {done.status}"
        raise FactError(f"{facts.command(name)}: {said}")
    return tuple(line for line in done.output.splitlines() if line.strip())


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names for evidence; many are cut, with their number."""
    rows = list(names)
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return ", ".join(rows[:most]) + more if rows else "none"
