"""V-250982, V-250984, V-250996: how many sessions, and how long they may be idle."""

from dataclasses import dataclass
from fnmatch import fnmatch

from stig.parse.words import seconds
from stig.verdict import Point, Verdict

LOWEST, HIGHEST = 1, 10  # V-250982
PORTAL_MINUTES = 15  # V-250984: equality is asked for
CLI_MINUTES = 10  # V-250996


@dataclass(frozen=True, slots=True)
class SessionLimit:
    """The site's number (None: it has not said), the number the CLI shows, how many sessions the probe held, how many the machine
    had in all at that moment, and what the next one was told (None: nothing refused it)."""

    site: int | None
    shown: str
    opened: int
    present: int
    refusal: str | None


def session_limit(facts: SessionLimit) -> Verdict:
    """The limit is the site's, and the session after the last allowed one is really refused."""
    refused = "not refused" if facts.refusal is None else f"refused: {facts.refusal}"
    others = facts.present - facts.opened
    wanted = facts.site if facts.site is not None else int(facts.shown) if facts.shown.isdigit() else 0
    whose = f"{facts.site}, the site's number," if facts.site is not None else "a number"
    return Verdict(
        (
            Point(
                "CLI: show timeout (CLI sessions at once)",
                facts.shown,
                f"{whose} from {LOWEST} to {HIGHEST}",
                facts.shown == str(wanted) and LOWEST <= wanted <= HIGHEST,
            ),
            Point(
                "SSH as an administrator until refused, every session held; pgrep -c of the command lines meanwhile",
                f"{facts.present} at once ({facts.opened} by the probe, {others} by others), the next one {refused}",
                f"{wanted} at once, the next one refused",
                facts.refusal is not None and facts.present == wanted and others >= 0,
            ),
        )
    )


@dataclass(frozen=True, slots=True)
class PortalIdle:
    """Minutes: what configd ends portal sessions by (CLI), and what the portal's settings file says."""

    enforced: str
    file: int


def portal_idle(facts: PortalIdle) -> Verdict:
    """Both must be exactly 15."""
    wanted = f"exactly {PORTAL_MINUTES} minutes"
    return Verdict(
        (
            Point(
                "CLI: show timeout (portal session timeout)",
                f"{facts.enforced} minutes",
                wanted,
                facts.enforced == str(PORTAL_MINUTES),
            ),
            Point(
                "cat /etc/sentry/portal.json (idle_minutes)",
                f"{facts.file} minutes",
                wanted,
                facts.file == PORTAL_MINUTES,
                "configured",
            ),
        ),
        reading="The check text asks for equality with 15, so a stricter value would be a finding too.",
    )


@dataclass(frozen=True, slots=True)
class CliIdle:
    """What the CLI ends idle sessions by (minutes), and sshd's own cut for a silent session (seconds; None: never)."""

    shown: str
    channel: int | None
    sshd_line: str


def cli_idle(facts: CliIdle) -> Verdict:
    """Exactly ten minutes, in the CLI and in sshd, so that the connection is released too."""
    wanted = f"exactly {CLI_MINUTES} minutes"
    found = "never" if facts.channel is None else f"{facts.channel} s"
    return Verdict(
        (
            Point(
                "CLI: show timeout (CLI session timeout)",
                f"{facts.shown} minutes",
                wanted,
                facts.shown == str(CLI_MINUTES),
            ),
            Point(
                "sshd -T -C user=<administrator> (ChannelTimeout of sessions)",
                f"{found} ({facts.sshd_line or 'not set'})",
                wanted,
                facts.channel == CLI_MINUTES * 60,
            ),
        ),
        reading=(
            "Title, introduction and fix say 10 minutes; the finding sentence says it is one unless the value is greater than "
            "10, which contradicts them. It is read as exactly 10: neither longer nor shorter."
        ),
    )


def session_channel_seconds(line: str) -> int | None:
    """After how long sshd cuts a silent shell or command (sshd_config(5) ChannelTimeout), the later of the two; None: never."""
    rules = [word.partition("=")[::2] for word in line.split() if "=" in word]
    found: list[int] = []
    for kind in ("session:shell", "session:command"):
        duration = next((value for pattern, value in rules if fnmatch(kind, pattern)), "0")
        found.append(seconds(duration))
    return max(found) if all(found) else None
