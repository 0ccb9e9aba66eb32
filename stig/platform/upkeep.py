"""The clock, the logs, whether anybody has changed the system, and the cryptography every program shares."""

import re
from collections.abc import Iterable, Mapping

from stig.facts import Facts
from stig.judge import upkeep as sentry
from stig.parse import rsyslog, words
from stig.platform.files import Listed, parsed
from stig.platform.proof import Proof, found_lines, listed
from stig.platform.software import Units, units
from stig.verdict import Point, Verdict

MOST_POLL = 16  # 2**16 s: about 18 hours
DEFAULT_POLL = 10  # chrony.conf(5)
STEP_SECONDS = 1.0
SUITES = frozenset(
    f"{exchange}{cipher}"
    for exchange in ("ECDHE-ECDSA-", "ECDHE-RSA-")
    for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256")
) | {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"}
APPROVED_PROVIDERS = frozenset(("fips", "base"))
FACILITIES = ("auth", "authpriv")
_PEER = re.compile(r"\s(\S+:\d+)\s+users:\(\(\"rsyslogd\"")
AUDIT_TOOLS = ("auditctl", "auditd", "ausearch", "aureport", "augenrules")


def polled(lines: Iterable[str]) -> Verdict:
    """Every server is asked at least once a day, however steady the clock."""
    points = []
    for row in (line.split() for line in lines):
        if row and row[0] in ("server", "pool", "peer"):
            told = row[row.index("maxpoll") + 1] if "maxpoll" in row[:-1] else str(DEFAULT_POLL)
            points.append(
                Point(
                    f"chronyd -p: {row[0]} {row[1]}: maxpoll",
                    told,
                    f"{MOST_POLL} or less",
                    told.lstrip("-").isdigit() and int(told) <= MOST_POLL,
                    "configured",
                )
            )
    return Verdict(tuple(points) or (Point("chronyd -p", "no server", "a server", met=False),))


def stepped(lines: Iterable[str]) -> Verdict:
    """A clock that is wrong by more than a second is set, whenever that is found."""
    told = next((line for line in lines if line.startswith("makestep")), "not set")
    row = told.split()
    right = len(row) == 3 and row[2] == "-1" and float(row[1]) <= STEP_SECONDS
    return Verdict((Point("chronyd -p: makestep", told, f"makestep {STEP_SECONDS:g} -1", right, "configured"),))


def in_utc(zone: str) -> Verdict:
    """Times of day mean the same everywhere."""
    return Verdict((Point("date +%Z", zone, "UTC", zone == "UTC"),))


def log_ons_written(text: str) -> Verdict:
    """Who came in from elsewhere stands in a log of the machine's own."""
    clean = rsyslog.uncommented(text)
    selectors = [
        line.split()[0] for line in clean.splitlines() if "omfile" in line or re.search(r"\s-?/var/log/", line)
    ]
    kept = [name for name in FACILITIES if any(_selects(selector, name) for selector in selectors)]
    return Verdict(
        (
            Point(
                "rsyslogd -N1 -o: files that take auth and authpriv",
                listed(kept),
                ", ".join(FACILITIES),
                set(kept) == set(FACILITIES),
            ),
        )
    )


def _selects(selector: str, facility: str) -> bool:
    """Whether all levels of a facility go there; what a later part of a selector takes away is gone (rsyslog.conf(5))."""
    taken = False
    for part in selector.split(";"):
        names, _, level = part.partition(".")
        if facility in names.split(",") or names == "*":
            taken = level in ("*", "debug")
    return taken


def kept(values: Mapping[str, str]) -> Verdict:
    """The journal survives a restart, and rsyslog gets a copy."""
    rows = (("Storage", ("persistent",)), ("ForwardToSyslog", ("yes", "true", "1")))
    return Verdict(
        tuple(
            Point(
                f"systemd-analyze cat-config systemd/journald.conf: {name}",
                values.get(name, "not set"),
                allowed[0],
                values.get(name) in allowed,
                "configured",
            )
            for name, allowed in rows
        )
    )


def _sent_on(facts: Facts) -> Verdict:
    text = facts.text("rsyslog")
    connected = tuple(_PEER.findall(facts.text("connections")))
    active = facts.answer("rsyslog_state").status == 0
    return sentry.central_log(sentry.Logging(active, rsyslog.forwards(text), rsyslog.inputs(text), connected))


# --- cryptography ---------------------------------------------------------------------------------------------------


def approved(providers: Mapping[str, Mapping[str, str]], md5: int, sha256: int) -> Verdict:
    """Algorithms come from the FIPS provider and from nowhere else; one that is not approved is refused."""
    active = {name for name, fields in providers.items() if fields.get("status") == "active"}
    return Verdict(
        (
            Point(
                "openssl list -providers",
                listed(sorted(active)),
                "fips, and base for files of keys",
                "fips" in active and active <= APPROVED_PROVIDERS,
            ),
            Point("openssl dgst -md5 /dev/null", f"exit status {md5}", "refused", md5 != 0),
            Point("openssl dgst -sha256 /dev/null", f"exit status {sha256}", "exit status 0", sha256 == 0),
        ),
        reading=(
            "Linux's own FIPS mode (fips=1) is not asked for: what protects data here is OpenSSL's. Which module it is, and "
            "whether it is a validated one, stands at the head of every report."
        ),
    )


def suites(text: str) -> Verdict:
    """No program that leaves the choice to the system speaks anything else."""
    found = [name for name in text.strip().split(":") if name]
    wrong = [name for name in found if name not in SUITES]
    return Verdict(
        (Point("openssl ciphers -s: suites that are not approved", listed(wrong), "none", bool(found) and not wrong),)
    )


# --- whether anybody has changed the system -------------------------------------------------------------------------


def database(files: Iterable[Listed]) -> Verdict:
    """The state that later ones are compared with is there."""
    found = [one.path for one in files if one.path.endswith(("/aide.db", "/aide.db.gz"))]
    return Verdict((Point("find /var/lib/aide -name aide.db*", listed(found), "a database", bool(found)),))


def compared(known: Units) -> Verdict:
    """It is compared by itself, at least every 30 days."""
    enabled = known.files.get("dailyaidecheck.timer", "not there")
    active = known.states.get("dailyaidecheck.timer", "not there")
    return Verdict(
        (
            Point(
                "systemctl: dailyaidecheck.timer",
                f"{enabled}, {active}",
                "enabled, active",
                (enabled, active) == ("enabled", "active"),
            ),
        )
    )


def told(lines: Iterable[str]) -> Verdict:
    """Somebody hears of a change."""
    values = words.assignments(lines)
    silent = values.get("SILENTREPORTS", "not set").strip('"')
    return Verdict((Point("grep in /etc/default/aide: SILENTREPORTS", silent, "no", silent == "no", "configured"),))


def tools(lines: Iterable[str]) -> Verdict:
    """The programs of the audit are among what is compared, by an approved hash."""
    rows = [line.split() for line in lines]
    points = []
    for name in AUDIT_TOOLS:
        path = f"/usr/sbin/{name}"
        found = next((row[1] for row in rows if len(row) >= 2 and row[0] == path), "not named")
        points.append(Point(f"grep in /etc/aide: {path}", found, "with sha512", "sha512" in found, "configured"))
    return Verdict(tuple(points))


PROOFS = (
    Proof("SENTRY-OS-1001", lambda facts: polled(facts.lines("chrony_configuration"))),
    Proof("SENTRY-OS-1002", lambda facts: stepped(facts.lines("chrony_configuration"))),
    Proof("SENTRY-OS-1003", lambda facts: in_utc(facts.text("zone").strip())),
    Proof("SENTRY-OS-1004", lambda facts: log_ons_written(facts.text("rsyslog"))),
    Proof("SENTRY-OS-1005", lambda facts: kept(words.assignments(facts.lines("journald")))),
    Proof("SENTRY-OS-1006", _sent_on),
    Proof(
        "SENTRY-OS-1101",
        lambda facts: approved(
            words.providers(facts.text("providers")), facts.answer("md5").status, facts.answer("sha256").status
        ),
    ),
    Proof("SENTRY-OS-1102", lambda facts: suites(facts.text("suites"))),
    Proof("SENTRY-OS-1011", lambda facts: database(parsed(found_lines(facts, "integrity")))),
    Proof("SENTRY-OS-1012", lambda facts: compared(units(facts))),
    Proof("SENTRY-OS-1013", lambda facts: told(found_lines(facts, "integrity_settings"))),
    Proof("SENTRY-OS-1014", lambda facts: tools(found_lines(facts, "integrity_settings"))),
)
