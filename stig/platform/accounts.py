"""Whose accounts there are, what a new one is like, and who becomes root."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stig.answers import Answers
from stig.facts import Facts
from stig.judge.access import EMPTY, FIRST_PERSON, LOCKED, UNUSABLE_SHELLS, Account, Users
from stig.judge.access import users as authorised
from stig.parse import words
from stig.parse.sudo import Sudoers, sudoers
from stig.platform.proof import Proof, Setting, SiteProof, Want, exactly, found_lines, judged, listed, table, within
from stig.verdict import Point, Verdict

NOBODY = 65_534
SHA512, ROUNDS = "$6$", 100_000
SESSIONS = 10  # SRG-OS-000027-GPOS-00008, by DISA's number for all accounts
IDLE_SECONDS = 600
PASSWORD_DAYS = 60
INACTIVE_DAYS = 35
_SHADOW_FIELDS, _NO_LIMITS = 7, ["-1"] * 4  # of `passwd -S`


@dataclass(frozen=True, slots=True)
class User:
    """One row of `getent passwd`."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    @property
    def logs_in(self) -> bool:
        """Whether its shell is one."""
        return self.shell.rsplit("/", 1)[-1] not in UNUSABLE_SHELLS

    @property
    def is_person(self) -> bool:
        """Whether its number is one for people."""
        return FIRST_PERSON <= self.uid < NOBODY


@dataclass(frozen=True, slots=True)
class Password:
    """One row of `passwd -S`: L (locked), NP (none) or P; and days, -1 where there is no limit."""

    name: str
    state: str
    least: int
    most: int
    inactive: int


def users(facts: Facts) -> tuple[User, ...]:
    """The machine's accounts."""
    rows = [row.split(":") for row in facts.lines("accounts")]
    return tuple(User(row[0], int(row[2]), int(row[3]), row[5], row[6]) for row in rows)


def passwords(facts: Facts) -> tuple[Password, ...]:
    """What is known of their passwords. An account without a row in the shadow file is shown without days: it has no limit."""
    rows = [row.split() for row in facts.lines("passwords")]
    days = [row[3:] if len(row) == _SHADOW_FIELDS else _NO_LIMITS for row in rows]
    return tuple(
        Password(row[0], row[1], int(least), int(most), int(inactive))
        for row, (least, most, _warned, inactive) in zip(rows, days, strict=True)
    )


def unique(names: Iterable[tuple[int, str]], what: str, command: str) -> Verdict:
    """No number is anybody else's too."""
    rows = tuple(names)
    count = Counter(number for number, _ in rows)
    twice = [f"{name} ({number})" for number, name in rows if count[number] > 1]
    return Verdict(
        (Point(f"{command}: {what} that are not the only ones with their number", listed(twice), "none", not twice),)
    )


def _group_rows(facts: Facts) -> tuple[tuple[int, str], ...]:
    return tuple((int(row.split(":")[2]), row.split(":")[0]) for row in facts.lines("groups"))


def root_locked(facts: Facts) -> Verdict:
    """Nobody logs in as root: it has no password that could be right."""
    state = next((one.state for one in passwords(facts) if one.name == "root"), "not there")
    return Verdict((Point("passwd -S root", state, LOCKED, state == LOCKED),))


def one_root(known: Iterable[User]) -> Verdict:
    """Root's number is root's alone."""
    roots = [one.name for one in known if one.uid == 0]
    return Verdict((Point("getent passwd: accounts with the number 0", listed(roots), "root", roots == ["root"]),))


def no_empty(known: Iterable[Password]) -> Verdict:
    """Nobody gets in without a password being asked."""
    empty = [one.name for one in known if one.state == EMPTY]
    return Verdict((Point("passwd -S -a: accounts without a password", listed(empty), "none", not empty),))


def services(known: Iterable[User]) -> Verdict:
    """An account of the system has no shell; root keeps its own, and is locked."""
    wrong = [f"{one.name} ({one.shell})" for one in known if one.uid > 0 and not one.is_person and one.logs_in]
    return Verdict((Point("getent passwd: accounts of the system with a shell", listed(wrong), "none", not wrong),))


def groups_there(known: Iterable[User], numbers: Iterable[int]) -> Verdict:
    """Everybody's group exists."""
    there = frozenset(numbers)
    wrong = [f"{one.name} ({one.gid})" for one in known if one.gid not in there]
    return Verdict(
        (Point("getent passwd, getent group: accounts whose group is not there", listed(wrong), "none", not wrong),)
    )


# --- how long a password lives --------------------------------------------------------------------------------------


def ages(known: Iterable[Password], column: str, low: int, high: int, expected: str) -> Verdict:
    """Each account that has a password keeps it so long. `column` is the field of `Password`."""
    points = tuple(
        Point(
            f"passwd -S {one.name}: {column}",
            f"{getattr(one, column)} days",
            expected,
            low <= getattr(one, column) <= high,
        )
        for one in known
        if one.state == "P"
    )
    return Verdict(points or (Point("passwd -S -a", "no account has a password", expected, met=True),))


def _aged(setting: str, column: str, low: int, high: int, expected: str, facts: Facts) -> Verdict:
    file = judged([Setting("", setting, within(low, high))], "cat /etc/login.defs", login_defs(facts), "configured")
    return Verdict((*ages(passwords(facts), column, low, high, expected).points, *file))


def _inactive(facts: Facts) -> Verdict:
    values = words.assignments(facts.lines("new_accounts"))
    file = judged([Setting("", "INACTIVE", within(0, INACTIVE_DAYS))], "useradd -D", values, "configured")
    expected = f"locked after at most {INACTIVE_DAYS} days without a log-on"
    return Verdict((*ages(passwords(facts), "inactive", 0, INACTIVE_DAYS, expected).points, *file))


# --- how it is kept -------------------------------------------------------------------------------------------------


def hashed(rows: Iterable[str], known: Iterable[Password]) -> Verdict:
    """Every password that works is kept as SHA-512 with enough rounds. `rows`: the account and the method of its hash."""
    methods = dict(row.split(None, 1) for row in rows if len(row.split()) == 2)
    points = tuple(
        Point(
            f"/etc/shadow: method of {one.name} (the hash itself is not read)",
            methods.get(one.name, "unknown"),
            f"{SHA512} with at least {ROUNDS} rounds",
            _enough(methods.get(one.name, "")),
        )
        for one in known
        if one.state == "P"
    )
    return Verdict(points or (Point("passwd -S -a", "no account has a password", "no password in clear", met=True),))


def _enough(method: str) -> bool:
    number = method.removeprefix(f"{SHA512}rounds=")
    return method.startswith(SHA512) and number.isdigit() and int(number) >= ROUNDS


LOGIN = (
    Setting("SENTRY-OS-0115", "ENCRYPT_METHOD", exactly("SHA512")),
    Setting("SENTRY-OS-0115", "SHA_CRYPT_MIN_ROUNDS", within(ROUNDS)),
    Setting("SENTRY-OS-0118", "UMASK", exactly("077")),
    Setting("SENTRY-OS-0118", "HOME_MODE", exactly("0700", "0750")),
)


def login(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    """What the programs that make accounts and sessions read."""
    return Verdict(judged(rows, "cat /etc/login.defs", login_defs(facts)))


def login_defs(facts: Facts) -> dict[str, str]:
    """The settings of login.defs(5)."""
    rows = [line.split() for line in facts.lines("login_defs") if not line.lstrip().startswith("#")]
    return {row[0]: row[1] for row in rows if len(row) >= 2}


# --- sessions -------------------------------------------------------------------------------------------------------


def session_limit(lines: Iterable[str]) -> Verdict:
    """PAM refuses whoever has so many sessions already."""
    rows = [line.split("#", 1)[0].split() for line in lines]
    found = [row for row in rows if len(row) == 4 and row[2] in ("maxlogins", "maxsyslogins")]
    right = [
        row
        for row in found
        if row[0] == "*" and row[1] in ("hard", "-") and row[3].isdigit() and int(row[3]) <= SESSIONS
    ]
    told = listed(" ".join(row) for row in found)
    return Verdict(
        (
            Point(
                "grep -rhs in limits.conf and limits.d: maxlogins",
                told,
                f"* hard maxlogins {SESSIONS} or less",
                bool(right),
            ),
        )
    )


def idle_shell(lines: Iterable[str]) -> Verdict:
    """A shell that waits for its user longer than this ends, and the user cannot say otherwise."""
    text = [line.strip() for line in lines]
    set_to = [
        one.partition("=")[2]
        for one in text
        if one.startswith(("TMOUT=", "export TMOUT=", "declare -xr TMOUT=", "readonly TMOUT="))
    ]
    numbers = [one for one in set_to if one.isdigit()]
    fixed = any(one.startswith(("readonly TMOUT", "declare -xr TMOUT")) for one in text)
    want = Want(
        f"from 1 to {IDLE_SECONDS}",
        lambda found: found is not None and found.isdigit() and 0 < int(found) <= IDLE_SECONDS,
    )
    last = numbers[-1] if numbers else None
    command = "grep -rhs in /etc/profile, /etc/profile.d and /etc/bash.bashrc"
    return Verdict(
        (
            Point(f"{command}: TMOUT", last or "not set", want.words, want.holds(last), "configured"),
            Point(
                f"{command}: readonly TMOUT", "readonly" if fixed else "can be changed", "readonly", fixed, "configured"
            ),
        )
    )


# --- who becomes root -----------------------------------------------------------------------------------------------

DEFAULTS = (
    Setting("SENTRY-OS-0122", "timestamp_timeout", within(0, 0)),
    Setting("SENTRY-OS-0123", "targetpw", exactly("no")),
    Setting("SENTRY-OS-0123", "rootpw", exactly("no")),
    Setting("SENTRY-OS-0123", "runaspw", exactly("no")),
    Setting("SENTRY-OS-0124", "use_pty", exactly("yes")),
    Setting(
        "SENTRY-OS-0125", "logfile", Want("a file below /var/log", lambda found: (found or "").startswith("/var/log/"))
    ),
)
ADMINISTRATORS = ("sudo", "admin", "wheel", "adm", "disk", "shadow")
"""Groups whose members are root, or nearly: by sudo's own file on other systems, or by what their files let them read."""
OF_LOGS = "sentry-log in adm"
"""Whom rsyslog runs as, in the group of the log's files: what it writes is what that group reads."""


def _sudoers(facts: Facts) -> Sudoers:
    return sudoers(facts.lines("sudoers"))


def defaults(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    """What sudo does unless a line says otherwise."""
    known = _sudoers(facts)
    for_some = [line for row in rows for line in known.for_some(row.name)]
    names = ", ".join(dict.fromkeys(row.name for row in rows))
    return Verdict(
        (
            *judged(rows, "cvtsudoers -f sudoers: Defaults", known.defaults),
            Point(f"cvtsudoers -f sudoers: {names} for some only", listed(for_some), "none", not for_some),
        )
    )


def administrators(groups: Mapping[str, tuple[str, ...]], known: Sudoers, answers: Answers) -> Verdict:
    """Root's rights are root's, and those of the accounts the site keeps for its automation."""
    members = [f"{user} in {name}" for name in ADMINISTRATORS for user in groups.get(name, ())]
    members = [member for member in members if member != OF_LOGS]
    allowed = {"root", *answers.automation_accounts}
    granted = [line for user, line in known.grants if user not in allowed]
    named = ", ".join(sorted(allowed))
    return Verdict(
        (
            Point(f"getent group {' '.join(ADMINISTRATORS)}", listed(members), f"none but {OF_LOGS}", not members),
            Point("cvtsudoers -f sudoers: who may use sudo, beside " + named, listed(granted), "nobody", not granted),
        )
    )


def asked_again(known: Sudoers, states: Iterable[Password], answers: Answers) -> Verdict:
    """Whoever becomes root is asked who they are, but for a program of the site's that has no password at all."""
    without = [(user, line) for user, line in known.grants if "NOPASSWD" in line or "!authenticate" in line]
    locked = {one.name for one in states if one.state == LOCKED}
    wrong = [line for user, line in without if user not in answers.automation_accounts or user not in locked]
    general = known.defaults.get("authenticate") == "no"
    for_some = known.for_some("authenticate")
    unasked = (("!authenticate",) if general else ()) + for_some
    return Verdict(
        (
            Point(
                "cvtsudoers -f sudoers: NOPASSWD, !authenticate; passwd -S",
                listed(line for _, line in without),
                f"only automation accounts without a password ({', '.join(answers.automation_accounts) or 'none'})",
                not wrong,
            ),
            Point("cvtsudoers -f sudoers: Defaults !authenticate", listed(unasked), "none", not unasked),
        ),
        reading=(
            "An account for automation logs in by a key and has no password it could be asked for; the site names it in its "
            "answer file, which is its decision to have one. Nobody else may be spared the question."
        ),
    )


def _members(facts: Facts) -> dict[str, tuple[str, ...]]:
    rows = [row.split(":") for row in facts.lines("groups")]
    return {row[0]: tuple(name for name in row[3].split(",") if name) for row in rows}


def nobodys(facts: Facts, answers: Answers) -> Verdict:
    """Every account that can log in is one the site has named."""
    states = {one.name: one.state for one in passwords(facts)}
    known = tuple(Account(one.name, one.uid, one.shell, states.get(one.name, LOCKED)) for one in users(facts))
    return authorised(Users(known, answers.authorised_users, answers.automation_accounts))


def banner(shown: str, answers: Answers) -> Verdict:
    """The console shows the text the site must show before it asks who is there."""
    wanted, found = (
        " ".join(answers.banner.split()),
        " ".join(shown.replace("\\\\", "\\").split()),
    )  # agetty(8) halves them
    return Verdict((Point("cat /etc/issue", found or "nothing", wanted, wanted in found),))


PROOFS = (
    Proof(
        "SENTRY-OS-0101",
        lambda facts: unique(((one.uid, one.name) for one in users(facts)), "accounts", "getent passwd"),
    ),
    Proof("SENTRY-OS-0102", root_locked),
    Proof("SENTRY-OS-0103", lambda facts: no_empty(passwords(facts))),
    Proof("SENTRY-OS-0105", lambda facts: one_root(users(facts))),
    Proof("SENTRY-OS-0106", lambda facts: services(users(facts))),
    Proof("SENTRY-OS-0107", lambda facts: groups_there(users(facts), (number for number, _ in _group_rows(facts)))),
    Proof("SENTRY-OS-0108", lambda facts: unique(_group_rows(facts), "groups", "getent group")),
    Proof("SENTRY-OS-0110", _inactive),
    Proof(
        "SENTRY-OS-0112",
        lambda facts: _aged("PASS_MAX_DAYS", "most", 1, PASSWORD_DAYS, f"at most {PASSWORD_DAYS} days", facts),
    ),
    Proof("SENTRY-OS-0113", lambda facts: _aged("PASS_MIN_DAYS", "least", 1, 9_999, "at least one day", facts)),
    Proof("SENTRY-OS-0114", lambda facts: hashed(facts.lines("hashes"), passwords(facts))),
    *table(LOGIN, login),
    Proof("SENTRY-OS-0116", lambda facts: session_limit(found_lines(facts, "limits"))),
    Proof("SENTRY-OS-0117", lambda facts: idle_shell(found_lines(facts, "profile"))),
    *table(DEFAULTS, defaults),
)
SITE_PROOFS = (
    SiteProof("SENTRY-OS-0104", lambda facts, answers: administrators(_members(facts), _sudoers(facts), answers)),
    SiteProof("SENTRY-OS-0121", lambda facts, answers: asked_again(_sudoers(facts), passwords(facts), answers)),
    SiteProof("SENTRY-OS-0134", nobodys),
    SiteProof("SENTRY-OS-0126", lambda facts, answers: banner(facts.text("issue"), answers)),
)
