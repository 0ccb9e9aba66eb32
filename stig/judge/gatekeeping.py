"""V-251008, V-251010: whether something lets a device in that the UEM does not know, or reports as compromised; V-251025,
V-251028, V-251031, V-251032: how devices prove what they are.

What could let a device in all the same: a gateway that observes instead of blocking, local rules that let devices pass, and a
UEM that does not block unregistered devices. That none is there does not prove the rules; `judge.devices` has what was tried.
"""

from collections.abc import Collection, Mapping
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
    return Verdict(_points(facts), reading=READING)


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
        reading=READING,
    )


READING = (
    "A gateway that only observes lets unregistered and non-compliant devices pass, and so does a local rule that allows: while "
    "either is in force the requirement is not met, whatever the UEM says. The UEM's policies are seen by what they do: devices "
    "that lack one thing each were tried."
)
CERTIFICATE_MODES = ("group_certificate", "identity_certificate")
MODE = "cat /etc/sentry/runtime.json (gateway.device_authentication.mode)"


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


def several_factors(mode: str, tried: tuple[Point, ...]) -> Verdict:
    """V-251025, V-251031: a certificate is asked for, and the device has to be unlocked."""
    return Verdict(
        (_mode(mode), *tried),
        reading=(
            "The rule's factors are the device, which is to be unlocked, and a certificate. Both settings live in the UEM; what "
            "they do is seen here: the gateway refuses who shows no certificate, and the policy it hands out demands a password."
        ),
    )


def mapped(mode: str, mapping: Collection[str], tried: tuple[Point, ...]) -> Verdict:
    """V-251028: a certificate is a user's, or nobody's."""
    fields = ", ".join(mapping) or "none"
    return Verdict(
        (
            Point(MODE, mode, "identity_certificate", mode == "identity_certificate", "configured"),
            Point(
                "cat /etc/sentry/runtime.json (gateway.device_authentication.mapping)",
                fields,
                "fields of the certificate that name its user",
                bool(mapping),
                "configured",
            ),
            *tried,
        )
    )


def approved(believed: Mapping[str, str], allowed: Mapping[str, str], tried: tuple[Point, ...]) -> Verdict:
    """V-251032: none but approved authorities are believed for devices. Both by the fingerprints of their certificates."""
    strangers = sorted(name for fingerprint, name in believed.items() if fingerprint not in allowed)
    return Verdict(
        (
            Point(
                "cat /var/lib/sentry/tls/devices/authorities.pem",
                ", ".join(believed.values()) or "none",
                "at least one authority",
                bool(believed),
                "configured",
            ),
            Point(
                "the same, of which the site has not approved",
                ", ".join(strangers) or "none",
                "none",
                bool(believed) and not strangers,
                "configured",
            ),
            *tried,
        ),
        reading=(
            "Which authorities are approved (DoD's, or those it approved) is for the site to say; its list is compared with "
            "those the gateway believes, by their fingerprints. Read strictly: no other may be among them."
        ),
    )


def _mode(mode: str) -> Point:
    return Point(MODE, mode, " or ".join(CERTIFICATE_MODES), mode in CERTIFICATE_MODES, "configured")
