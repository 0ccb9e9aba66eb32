"""V-251008, V-251010: whether a device that the UEM does not know, or reports as compromised, is really kept out.

Only what could let it in all the same is looked at: a gateway that observes instead of blocking, local rules that let devices
pass, and a UEM that does not block unregistered devices. That leaves a part of both rules to other evidence, so these
verdicts can end a rule as open and never as not a finding.
"""

from dataclasses import dataclass

from stig.verdict import Point, Verdict

NO_ANSWER = "status"  # what `show gateway` has instead of counters when the gateway does not answer


@dataclass(frozen=True, slots=True)
class Softening:
    """Until when the running gateway observes (empty: it enforces), and the names of the local rules in force that allow."""

    observing_until: str
    allowing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Registration:
    """The same, and whether the UEM in the box blocks devices nobody registered (None: it is another UEM, who says that), and
    after how long."""

    softening: Softening
    auto_block: bool | None
    grace_seconds: int = 0


def compromised(facts: Softening) -> Verdict:
    """Nothing lets a device pass that the UEM reports as compromised."""
    return Verdict(_points(facts), reading=_READING)


def unregistered(facts: Registration) -> Verdict:
    """Nothing lets a device pass that the UEM does not know."""
    auto_block = (
        "not in the settings: the UEM is another machine" if facts.auto_block is None else _yes(facts.auto_block)
    )
    return Verdict(
        (
            Point(
                "cat /etc/sentry/runtime.json (uem_server.auto_block_unregistered)",
                auto_block,
                "yes",
                facts.auto_block is not False,
                "configured",
            ),
            Point(
                "cat /etc/sentry/runtime.json (uem_server.unregistered_grace_seconds)",
                f"{facts.grace_seconds} s from the first contact on such a device passes",
                "0 s",
                facts.grace_seconds == 0,
                "configured",
            ),
            *_points(facts.softening),
        ),
        reading=_READING,
    )


_READING = (
    "A gateway that only observes lets unregistered and non-compliant devices pass, and so does a local rule that allows: while "
    "either is in force the requirement is not met, whatever the UEM says. That neither is in force does not prove the rule."
)


def _points(facts: Softening) -> tuple[Point, Point]:
    until = facts.observing_until
    return (
        Point(
            "CLI: show gateway (observing_until)",
            f"observing until {until}: such devices pass" if until else "not observing",
            "not observing",
            not until,
        ),
        Point(
            "CLI: show sentry rules (in force, allow)",
            ", ".join(facts.allowing) or "none",
            "no rule that lets such devices pass",
            not facts.allowing,
        ),
    )


def _yes(value: bool) -> str:  # noqa: FBT001 - a word for a value
    return "yes" if value else "no"
