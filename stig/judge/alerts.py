"""V-250998, V-251021, V-251035: who is told when auditing fails, and nobody else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stig.verdict import Point, Verdict

DELIVERY, IDS = "CLI: show alerts delivery", "CLI: show alerts ids"
NONE = "none"
AUDIT_FAILURES = ("audit_disk_full", "audit_log_stopped", "audit_records_lost", "alerts_incomplete")


@dataclass(frozen=True, slots=True)
class Alerts:
    """What the running alert service goes by: its mail server, the recipients, and what it does with each alert."""

    server: str
    recipients: frozenset[str]
    actions: Mapping[str, str]


def audit_failure(found: Alerts) -> Verdict:
    """V-250998: there is somebody to tell and a way to do it, and every failure of auditing is told by mail."""
    return Verdict(
        (
            Point(DELIVERY, f"mail server: {found.server}", "a mail server", found.server != NONE),
            Point(DELIVERY, f"recipients: {_listed(found.recipients)}", "at least one", bool(found.recipients)),
            _told(found),
        ),
        reading=(
            "Failures of auditing are critical: their mail goes at once, whatever the batch interval, and the hour's last "
            "mail is kept for them. Whether recipients and rates suit the site is for a person."
        ),
    )


def named_people(found: Alerts, wanted: frozenset[str]) -> Verdict:
    """V-251021: the ISSO, the ISSM and the SCA are among the recipients, and failures of auditing are told."""
    return Verdict(
        (
            Point(
                DELIVERY,
                f"recipients: {_listed(found.recipients)}",
                f"among them {_listed(wanted)}, whom the site names",
                bool(wanted) and wanted <= found.recipients and found.server != NONE,
            ),
            _told(found),
        ),
        reading="The title names the ISSO and the SCA, check and fix the ISSM and the SCA: all three are looked for.",
    )


def nobody_else(found: Alerts, wanted: frozenset[str]) -> Verdict:
    """V-251035: they are the recipients, and nobody else is."""
    return Verdict(
        (
            Point(
                DELIVERY,
                f"recipients: {_listed(found.recipients)}",
                f"{_listed(wanted)}, whom the site names, and nobody else",
                bool(wanted) and wanted == found.recipients and found.server != NONE,
            ),
        ),
        reading=(
            "What is looked at is who gets alerts by mail. What the appliance answers on its ports when something is wrong, "
            "and who reads its logs, is not measured here."
        ),
    )


def _told(found: Alerts) -> Point:
    said = ", ".join(f"{name}: {found.actions.get(name, 'no such alert')}" for name in AUDIT_FAILURES)
    mailed = all(found.actions.get(name) == "mail" for name in AUDIT_FAILURES)
    return Point(IDS, said, "mail for each failure of auditing", mailed)


def _listed(addresses: Iterable[str]) -> str:
    return ", ".join(sorted(addresses)) or NONE
