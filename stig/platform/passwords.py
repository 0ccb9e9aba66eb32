"""What PAM demands of a password, and what it does when one was wrong."""

from collections.abc import Mapping

from stig.facts import Facts
from stig.parse import pam, words
from stig.parse.pam import Module
from stig.platform.accounts import login_defs
from stig.platform.proof import Proof, Setting, Want, exactly, found_lines, judged, table, within
from stig.verdict import Point, Verdict

LOGINS = ("login", "sshd", "sentry-portal")
CHANGES = ("passwd", "sshd", "login")
DELAY_SECONDS, MICROSECONDS = 4, 1_000_000
ROUNDS = 100_000
REMEMBERED = 5


def _credit(found: str | None) -> bool:
    return found is not None and found.lstrip("-").isdigit() and int(found) <= -1


CREDIT = Want("-1 or less: at least one is demanded", _credit)
QUALITY = (
    Setting("SENTRY-OS-0202", "minlen", within(15)),
    Setting("SENTRY-OS-0203", "ucredit", CREDIT),
    Setting("SENTRY-OS-0204", "lcredit", CREDIT),
    Setting("SENTRY-OS-0205", "dcredit", CREDIT),
    Setting("SENTRY-OS-0206", "ocredit", CREDIT),
    Setting("SENTRY-OS-0207", "difok", within(8)),
    Setting("SENTRY-OS-0208", "dictcheck", exactly("1")),
    Setting("SENTRY-OS-0209", "enforcing", exactly("1")),
    Setting("SENTRY-OS-0209", "retry", within(1, 3)),
    Setting("SENTRY-OS-0210", "enforce_for_root", exactly("yes", "1")),
    Setting("SENTRY-OS-0211", "maxrepeat", within(1, 3)),
)
NEVER = ("0", "never")
FAILURES = (
    Setting("SENTRY-OS-0221", "deny", within(1, 3)),
    Setting("SENTRY-OS-0221", "fail_interval", within(900)),
    Setting("SENTRY-OS-0222", "unlock_time", exactly(*NEVER)),
    Setting("SENTRY-OS-0223", "audit", exactly("yes")),
)
FAILURE_DEFAULTS = {"deny": "3", "fail_interval": "900", "unlock_time": "600"}  # faillock.conf(5)


def quality(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    """What pam_pwquality reads whenever a password is changed: the folder first, then the file, and the last value counts."""
    values = words.assignments(found_lines(facts, "pwquality"))
    return Verdict(judged(rows, "grep -rhs in pwquality.conf.d and pwquality.conf", values))


def failures(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    """What pam_faillock reads at every log-on; an argument in a stack would beat it."""
    stacks = _stacks(facts, LOGINS, "auth")
    values = FAILURE_DEFAULTS | words.assignments(facts.text("faillock").splitlines())
    names = {row.name for row in rows}
    argued = [
        f"{service}: {word}"
        for service, stack in stacks.items()
        for one in stack
        if one.name == "pam_faillock"
        for word in one.arguments
        if word.split("=")[0] in names
    ]
    argument = Point(
        "/etc/pam.d: arguments of pam_faillock that beat the file", ", ".join(argued) or "none", "none", not argued
    )
    return Verdict((*judged(rows, "cat /etc/security/faillock.conf", values), argument))


def no_empty_passwords(stacks: Mapping[str, tuple[Module, ...]]) -> Verdict:
    """No stack lets an account in that has no password."""
    found = sorted(
        f"{service}: {one.name}"
        for service, stack in stacks.items()
        for one in stack
        if {"nullok", "nullok_secure"} & set(one.arguments)
    )
    return Verdict((Point("/etc/pam.d: modules with nullok", ", ".join(found) or "none", "none", not found),))


def asked(stacks: Mapping[str, tuple[Module, ...]], module: str, *, before: str = "pam_unix") -> Verdict:
    """In each stack the module can refuse, and does so before the password is stored."""
    points = []
    for service, stack in sorted(stacks.items()):
        names = [one.name for one in stack]
        binding = [
            place for place, one in enumerate(stack) if one.name == module and one.control in ("required", "requisite")
        ]
        right = bool(binding) and before in names and binding[0] < names.index(before)
        found = ", ".join(f"{one.control} {one.name}" for one in stack) or "empty"
        points.append(
            Point(f"/etc/pam.d/{service}: password", found, f"required or requisite {module} before {before}", right)
        )
    return Verdict(tuple(points))


def arguments(stacks: Mapping[str, tuple[Module, ...]], module: str, wanted: Mapping[str, Want]) -> Verdict:
    """In each stack the module has these arguments."""
    points: list[Point] = []
    for service, stack in sorted(stacks.items()):
        given: dict[str, str] = {}
        for one in stack:
            if one.name == module:
                given |= {word.partition("=")[0]: word.partition("=")[2] or "yes" for word in one.arguments}
        points.extend(
            Point(
                f"/etc/pam.d/{service}: {module} {name}",
                given.get(name, "not given"),
                want.words,
                want.holds(given.get(name)),
            )
            for name, want in wanted.items()
        )
    return Verdict(tuple(points))


def delay(stacks: Mapping[str, tuple[Module, ...]], defaults: Mapping[str, str]) -> Verdict:
    """After a wrong password the next prompt takes its time. pam_faildelay without an argument takes FAIL_DELAY of login.defs."""
    points = []
    for service, stack in sorted(stacks.items()):
        words_of = next((one.arguments for one in stack if one.name == "pam_faildelay"), None)
        told = next((word.partition("=")[2] for word in words_of or () if word.startswith("delay=")), None)
        own = defaults.get("FAIL_DELAY", "0")
        seconds = 0.0
        if words_of is not None:
            seconds = (
                int(told) / MICROSECONDS
                if told is not None and told.isdigit()
                else float(own)
                if own.isdigit()
                else 0.0
            )
        found = "no pam_faildelay" if words_of is None else f"{seconds:g} s"
        points.append(
            Point(
                f"/etc/pam.d/{service}: pam_faildelay, and FAIL_DELAY in login.defs",
                found,
                f"at least {DELAY_SECONDS} s",
                seconds >= DELAY_SECONDS,
            )
        )
    return Verdict(tuple(points))


def su_closed(stack: tuple[Module, ...]) -> Verdict:
    """su asks nobody for a password: root may, everybody else is refused, or must be of a group."""
    names = [(one.control, one.name) for one in stack]
    refused = ("requisite", "pam_deny") in names or ("required", "pam_wheel") in names
    before = next((place for place, (_, name) in enumerate(names) if name in ("pam_deny", "pam_wheel")), len(names))
    asks = any(name == "pam_unix" and place < before for place, (_, name) in enumerate(names))
    found = ", ".join(f"{control} {name}" for control, name in names) or "empty"
    return Verdict(
        (
            Point(
                "/etc/pam.d/su: auth",
                found,
                "requisite pam_deny or required pam_wheel before any password",
                refused and not asks,
            ),
        )
    )


def _stacks(facts: Facts, services: tuple[str, ...], kind: str) -> dict[str, tuple[Module, ...]]:
    files = pam.files(facts.lines("pam"))
    return {service: pam.stack(files, service, kind) for service in services}


def _every_stack(facts: Facts) -> dict[str, tuple[Module, ...]]:
    files = pam.files(facts.lines("pam"))
    return {service: (*pam.stack(files, service, "auth"), *pam.stack(files, service, "password")) for service in files}


PROOFS = (
    Proof("SENTRY-OS-0201", lambda facts: asked(_stacks(facts, CHANGES, "password"), "pam_pwquality")),
    *table(QUALITY, quality),
    Proof(
        "SENTRY-OS-0212",
        lambda facts: arguments(
            _stacks(facts, CHANGES, "password"),
            "pam_pwhistory",
            {"remember": within(REMEMBERED), "use_authtok": exactly("yes")},
        ),
    ),
    Proof(
        "SENTRY-OS-0213",
        lambda facts: arguments(
            _stacks(facts, CHANGES, "password"),
            "pam_unix",
            {"sha512": exactly("yes"), "rounds": within(ROUNDS), "shadow": exactly("yes")},
        ),
    ),
    *table(FAILURES, failures),
    Proof("SENTRY-OS-0224", lambda facts: no_empty_passwords(_every_stack(facts))),
    Proof("SENTRY-OS-0225", lambda facts: delay(_stacks(facts, ("login", "sshd"), "auth"), login_defs(facts))),
    Proof("SENTRY-OS-0226", lambda facts: su_closed(_stacks(facts, ("su",), "auth")["su"])),
)
