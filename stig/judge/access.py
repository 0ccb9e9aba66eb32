"""V-250983, V-250986, V-250987, V-251003: who gets to the log-in, what it says, and whom it lets in."""

from collections.abc import Mapping
from dataclasses import dataclass

from stig.parse.pam import Module
from stig.probe.network import folded
from stig.verdict import Point, Verdict

ATTEMPTS = 3  # V-250986
LOCK_SECONDS = 900  # V-250986
TALLY = "/usr/lib/sentry/bin/sentry-tally"
TALLY_DEFAULTS = {"deny": "3", "unlock_time": "900", "fail_interval": "900"}  # its own, where the file says nothing
STEPS_OVER_ONE = "[success=1 default=ignore]"  # only success steps over the line that refuses
UNUSABLE_SHELLS = ("nologin", "false", "sync", "halt", "shutdown")
LOCKED, EMPTY = "L", "NP"
FIRST_PERSON = 1_000  # login.defs UID_MIN: accounts below are the system's


@dataclass(frozen=True, slots=True)
class PortalReach:
    """Where the portal answers from outside (zone -> yes), and what the packet filter does with a new connection to it:
    per interface from a listed source, and on the management interface from a source that is not listed."""

    management: str
    management_interface: str
    other_interfaces: tuple[str, ...]
    answers: Mapping[str, bool]
    listed: Mapping[str, str]
    listed_source: str
    unlisted: Mapping[str, str]


def portal_reach(facts: PortalReach) -> Verdict:
    """A management interface of its own, the portal there and nowhere else, and only for listed sources."""
    interface, zone = facts.management_interface, facts.management
    seen = ", ".join(f"{name}: {'answers' if yes else 'silent'}" for name, yes in sorted(facts.answers.items()))
    inside = ", ".join(f"{name}: {answer}" for name, answer in sorted(facts.listed.items()))
    outside = ", ".join(f"{source}: {answer}" for source, answer in sorted(facts.unlisted.items()))
    return Verdict(
        (
            Point(
                "ip -j address show",
                f"management on {interface or 'no interface'}, beside {', '.join(facts.other_interfaces) or 'nothing'}",
                "an interface for management beside those for devices and backends",
                bool(interface) and bool(facts.other_interfaces),
            ),
            Point(
                "TCP connect to 8443 at the appliance's address in every zone",
                seen,
                f"answers in {zone} only",
                facts.answers.get(zone) is True and not any(yes for name, yes in facts.answers.items() if name != zone),
            ),
            Point(
                f"nft -j list ruleset: a new connection from {facts.listed_source} to 8443, per interface",
                inside,
                f"accept on {interface}, drop elsewhere",
                all((answer == "accept") == (name == interface) for name, answer in facts.listed.items()),
            ),
            Point(
                f"nft -j list ruleset: a new connection on {interface} from a source that is not listed",
                outside,
                "drop for each",
                bool(facts.unlisted) and all(answer == "drop" for answer in facts.unlisted.values()),
            ),
        ),
        reading=(
            "The check asks for a management interface, the title for a firewall and a list of sources: all three are "
            "looked at. The enterprise's own firewall in front is not the appliance's to show."
        ),
    )


@dataclass(frozen=True, slots=True)
class Lockout:
    """The auth stack of each log-in service, faillock.conf, and whether sshd uses PAM."""

    stacks: Mapping[str, tuple[Module, ...]]
    settings: Mapping[str, str]
    sshd_uses_pam: bool


def lockout(facts: Lockout) -> Verdict:
    """Three failures within 15 minutes or more lock for at least 900 s, on SSH, on the portal and at the console."""
    points = [Point("sshd -T (UsePAM)", "yes" if facts.sshd_uses_pam else "no", "yes", facts.sshd_uses_pam)]
    for service, stack in sorted(facts.stacks.items()):
        points.append(_order(service, stack))
        points.extend(_numbers(service, facts.settings))
    return Verdict(
        tuple(points),
        reading=(
            "PAM reads these files at every log-on, so they are the effective state. The check sets no window for counting, the "
            "fix says 15 minutes: a window of 900 s or more meets both. sentry-tally counts by administrator and by where the "
            "log-on comes from: three failures refuse that administrator there, thirty from anywhere refuse them at that door."
        ),
    )


def _order(service: str, stack: tuple[Module, ...]) -> Point:
    """sentry-tally must count before the password is checked, refuse by itself, and forget only afterwards."""
    names = [f"{one.control} {one.name} {_stage(one)}".strip() for one in stack]
    checks = [place for place, one in enumerate(stack) if one.name == "pam_unix"]
    stages = [(place, _stage(one), one.control) for place, one in enumerate(stack) if _stage(one)]
    right = (
        [stage for _place, stage, _control in stages] == ["count", "failed", "clear"]
        and stages[0][2] == STEPS_OVER_ONE
        and (stack[stages[0][0] + 1].name, stack[stages[0][0] + 1].control) == ("pam_deny", "requisite")
        and bool(checks)
        and stages[0][0] < checks[0] <= checks[-1] < stages[1][0]
    )
    return Point(
        f"/etc/pam.d/{service}: auth, includes followed",
        ", ".join(names) or "empty",
        "sentry-tally count or pam_deny, then pam_unix, then sentry-tally failed and clear",
        right,
    )


def _stage(module: Module) -> str:
    program, *stage = module.arguments[-2:] if module.name == "pam_exec" else ("",)
    return stage[0] if program == TALLY and stage else ""


def _numbers(service: str, settings: Mapping[str, str]) -> list[Point]:
    effective = {**TALLY_DEFAULTS, **settings}
    wanted = (("deny", ATTEMPTS, ATTEMPTS, "exactly 3"), ("unlock_time", LOCK_SECONDS, None, "at least 900"))
    rows = (*wanted, ("fail_interval", LOCK_SECONDS, None, "at least 900"))
    return [
        Point(
            f"faillock.conf and /etc/pam.d/{service}: {name}",
            effective[name],
            text,
            effective[name].isdigit()
            and low <= int(effective[name])
            and (high is None or int(effective[name]) <= high),
        )
        for name, low, high, text in rows
    ]


@dataclass(frozen=True, slots=True)
class Banners:
    """The text the site must show, and what strangers were shown."""

    required: str
    ssh: str
    portal_path: str
    portal: str


def banners(facts: Banners) -> Verdict:
    """The required text before log-in on SSH and on the portal's log-in page."""
    required = folded(facts.required)
    return Verdict(
        (
            Point(
                "SSH without authentication: the banner",
                _start(facts.ssh),
                _start(required),
                required in folded(facts.ssh),
            ),
            Point(
                f"GET https://:8443{facts.portal_path} without a session: the page's text",
                _around(facts.portal, required),
                _start(required),
                required in folded(facts.portal),
            ),
        ),
        reading="The title speaks of the web interface, the check of portal or CLI: both must show the text.",
    )


def _start(text: str) -> str:
    text = folded(text)
    return (text if len(text) <= 200 else f"{text[:200]}...") or "nothing"


def _around(text: str, wanted: str) -> str:
    return _start(wanted) if wanted in folded(text) else _start(text)


@dataclass(frozen=True, slots=True)
class Account:
    """One account: what getent and passwd -S say."""

    name: str
    uid: int
    shell: str
    password_state: str
    """L (locked), NP (no password) or P, as passwd(1) -S says."""


def can_log_in(account: Account) -> bool:
    """Whether somebody may get in by this account: a usable shell, and a person's number or a password that works."""
    usable = account.shell.rsplit("/", 1)[-1] not in UNUSABLE_SHELLS
    return usable and (account.uid >= FIRST_PERSON or account.password_state != LOCKED)


@dataclass(frozen=True, slots=True)
class Users:
    """The machine's accounts, and those the site has authorised."""

    accounts: tuple[Account, ...]
    authorised: tuple[str, ...]
    automation: tuple[str, ...]


def users(facts: Users) -> Verdict:
    """Nobody can log in whom the site has not named."""
    able = sorted(account.name for account in facts.accounts if can_log_in(account))
    strangers = sorted(set(able) - set(facts.authorised) - set(facts.automation))
    empty = sorted(one.name for one in facts.accounts if one.password_state == EMPTY)
    named = ", ".join((*facts.authorised, *(f"{name} (automation)" for name in facts.automation)))
    return Verdict(
        (
            Point(
                "getent passwd; passwd -S -a: accounts that can log in",
                ", ".join(able) + (f"; not authorised: {', '.join(strangers)}" if strangers else "") or "none",
                f"nobody but {named}",
                not strangers,
            ),
            Point("passwd -S -a: accounts with an empty password", ", ".join(empty) or "none", "none", not empty),
        )
    )
