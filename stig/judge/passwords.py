"""V-250989 to V-250993: what the installed password policy refuses."""

from dataclasses import dataclass

from stig.parse.pam import Module
from stig.verdict import Point, Verdict

LENGTH = 15  # V-250989

WORDS = {
    "length": f"{LENGTH - 1} characters",
    "upper": "no upper-case letter",
    "lower": "no lower-case letter",
    "digit": "no digit",
    "special": "no special character",
}
REASONS = {
    "length": "shorter than",
    "upper": "uppercase",
    "lower": "lowercase",
    "digit": "digits",
    "special": "non-alphanumeric",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """pwscore's answer to one candidate: exit status 0 is acceptance."""

    accepted: bool
    said: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The answers to a good candidate and to one that lacks `property`, and the password stacks in which PAM asks."""

    lacks: str
    good: Tried
    bad: Tried
    stacks: dict[str, tuple[Module, ...]]


def policy(facts: Policy) -> Verdict:
    """The candidate without the property is refused for that reason, a good one is not, and PAM asks that policy."""
    words, reason = WORDS[facts.lacks], REASONS[facts.lacks]
    points = [
        Point(
            f"pwscore with the installed policy: a password with {words}",
            "accepted" if facts.bad.accepted else f"refused: {facts.bad.said}",
            f"refused because of {words}",
            not facts.bad.accepted and reason in facts.bad.said,
        ),
        Point(
            f"pwscore with the installed policy: one of {LENGTH} characters with all four classes",
            "accepted" if facts.good.accepted else f"refused: {facts.good.said}",
            "accepted (so the refusal above has the one reason it names)",
            facts.good.accepted,
        ),
    ]
    for service, stack in sorted(facts.stacks.items()):
        points.append(_asked(service, stack))
    return Verdict(tuple(points))


def _asked(service: str, stack: tuple[Module, ...]) -> Point:
    """pam_pwquality must be able to refuse, before pam_unix stores, and must not override the file by arguments."""
    quality = [place for place, one in enumerate(stack) if one.name == "pam_pwquality"]
    stores = [place for place, one in enumerate(stack) if one.name == "pam_unix"]
    binding = bool(quality) and stack[quality[0]].control in ("required", "requisite")
    overrides = [
        word
        for place in quality
        for word in stack[place].arguments
        if word.split("=")[0] in ("minlen", "ucredit", "lcredit", "dcredit", "ocredit", "minclass", "enforcing")
    ]
    found = ", ".join(f"{one.control} {one.name} {' '.join(one.arguments)}".strip() for one in stack)
    return Point(
        f"/etc/pam.d/{service}: password, includes followed",
        found or "empty",
        "pam_pwquality required or requisite before pam_unix, with no argument that overrides the policy",
        binding and bool(stores) and quality[0] < stores[0] and not overrides,
    )
