"""Each judge says not_a_finding for what a hardened appliance answered, and open for each way that can be broken."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from stig import commands
from stig.commands import LACKING
from stig.judge import access, alerts, crypto, gatekeeping, passwords, sessions, upkeep
from stig.parse import pam, rsyslog, words
from stig.probe.tls import Answer
from stig.verdict import Verdict

Recorded = Callable[[str], str]
GOOD, OPEN = "not_a_finding", "open"


def unmet(verdict: Verdict) -> list[str]:
    """What was looked at and not as expected."""
    return [point.command for point in verdict.points if not point.met]


# --- V-250982, V-250984, V-250996 -----------------------------------------------------------------------------------

LIMIT = sessions.SessionLimit(site=5, shown="5", opened=5, present=5, refusal="too many sessions")


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (LIMIT, GOOD),
        (replace(LIMIT, opened=3), GOOD),
        (replace(LIMIT, opened=7, present=7, refusal=None), OPEN),
        (replace(LIMIT, opened=6, present=6), OPEN),
        (replace(LIMIT, opened=4, present=4), OPEN),
        (replace(LIMIT, shown="6"), OPEN),
        (replace(LIMIT, site=None), GOOD),
        (replace(LIMIT, site=None, shown="6"), OPEN),
        (replace(LIMIT, site=None, shown="11", opened=11, present=11), OPEN),
        (replace(LIMIT, site=None, shown="none", opened=11, present=11), OPEN),
        (replace(LIMIT, site=11, shown="11", opened=11, present=11), OPEN),
    ],
)
def test_the_session_limit_is_the_sites_and_holds(facts: sessions.SessionLimit, status: str) -> None:
    """Neither more nor fewer, and the next one is refused."""
    assert sessions.session_limit(facts).status == status


@pytest.mark.parametrize(
    ("enforced", "file", "status"), [("15", 15, GOOD), ("10", 15, OPEN), ("15", 10, OPEN), ("30", 30, OPEN)]
)
def test_the_portal_locks_after_exactly_15_minutes(enforced: str, file: int, status: str) -> None:
    """The check asks for equality, so ten is a finding too."""
    assert sessions.portal_idle(sessions.PortalIdle(enforced, file)).status == status


@pytest.mark.parametrize(
    ("shown", "line", "status"),
    [
        ("10", "session:*=10m", GOOD),
        ("10", "agent-connection=1m session:*=600", GOOD),
        ("10", "session:shell=10m session:command=10m", GOOD),
        ("10", "session:shell=10m", OPEN),
        ("10", "none", OPEN),
        ("10", "session:*=0", OPEN),
        ("10", "session:*=30m", OPEN),
        ("30", "session:*=10m", OPEN),
        ("9", "session:*=9m", OPEN),
    ],
)
def test_the_cli_is_cut_after_exactly_10_minutes(shown: str, line: str, status: str) -> None:
    """By the CLI and by sshd for shells and commands alike."""
    facts = sessions.CliIdle(shown, sessions.session_channel_seconds(line), line)
    assert sessions.cli_idle(facts).status == status


# --- V-250983 -------------------------------------------------------------------------------------------------------

REACH = access.PortalReach(
    management="management",
    management_interface="mgmt0",
    other_interfaces=("backend0", "device0"),
    answers={"management": True, "device": False, "backend": False},
    listed={"mgmt0": "accept", "device0": "drop", "backend0": "drop"},
    listed_source="10.0.0.1",
    unlisted={"192.0.2.77": "drop"},
)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (REACH, GOOD),
        (replace(REACH, answers={**REACH.answers, "device": True}), OPEN),
        (replace(REACH, answers={**REACH.answers, "management": False}), OPEN),
        (replace(REACH, listed={**REACH.listed, "device0": "accept"}), OPEN),
        (replace(REACH, unlisted={"192.0.2.77": "accept"}), OPEN),
        (replace(REACH, unlisted={}), OPEN),
        (replace(REACH, other_interfaces=()), OPEN),
    ],
)
def test_the_portal_is_on_the_management_interface_only(facts: access.PortalReach, status: str) -> None:
    """Seen from outside and in the packet filter, for listed and other sources."""
    assert access.portal_reach(facts).status == status


# --- V-250986 -------------------------------------------------------------------------------------------------------


def lockout_of(pam_text: str, faillock: str, *, uses_pam: bool = True) -> access.Lockout:
    """The facts in what two commands printed."""
    services = pam.files(pam_text.splitlines())
    stacks = {service: pam.stack(services, service, "auth") for service in ("sshd", "sentry-portal", "login")}
    return access.Lockout(stacks, words.assignments(faillock.splitlines()), uses_pam)


def test_the_recorded_lockout_is_no_finding(recorded: Recorded) -> None:
    """Three failures, 900 seconds, in all three stacks."""
    assert access.lockout(lockout_of(recorded("pam"), recorded("faillock"))).status == GOOD


@pytest.mark.parametrize(
    ("found", "replacement"),
    [
        ("deny = 3", "deny = 4"),
        ("deny = 3", "deny = 0"),
        ("deny = 3", ""),
        ("unlock_time = 900", "unlock_time = 899"),
        ("unlock_time = 900", "unlock_time = never"),
        ("unlock_time = 900", ""),
        ("fail_interval = 900", "fail_interval = 60"),
    ],
)
def test_a_weaker_faillock_is_open(recorded: Recorded, found: str, replacement: str) -> None:
    """Missing lines count by sentry-tally's own defaults, which are the demanded ones."""
    text = recorded("faillock")
    assert found in text
    verdict = access.lockout(lockout_of(recorded("pam"), text.replace(found, replacement)))
    assert verdict.status == (OPEN if replacement else GOOD)


@pytest.mark.parametrize(
    ("found", "replacement", "service"),
    [
        ("sentry-tally count", "sentry-tally", "sshd"),
        ("requisite                    pam_deny.so", "optional pam_deny.so", "login"),
        ("[success=1 default=ignore]   pam_exec.so", "[success=2 default=ignore] pam_exec.so", "login"),
        ("pam_deny.so\n", "pam_permit.so\n", "sshd"),
        ("quiet /usr/lib/sentry/bin/sentry-tally count", "quiet /bin/true count", "sentry-portal"),
        ("sentry-tally failed", "sentry-tally clear", "sshd"),
        (
            "/etc/pam.d/sentry-portal:@include common-auth",
            "/etc/pam.d/sentry-portal:auth required pam_unix.so",
            "portal",
        ),
        ("/etc/pam.d/sshd:@include common-auth", "/etc/pam.d/sshd:auth required pam_unix.so", "sshd"),
    ],
)
def test_a_stack_without_the_lock_is_open(recorded: Recorded, found: str, replacement: str, service: str) -> None:
    """The file alone is nothing: each stack must ask it first and forget last."""
    text = recorded("pam")
    assert found in text
    verdict = access.lockout(lockout_of(text.replace(found, replacement), recorded("faillock")))
    assert verdict.status == OPEN
    assert any(service in command for command in unmet(verdict))


def test_an_sshd_that_does_not_use_pam_is_open(recorded: Recorded) -> None:
    """Then no stack is asked at all."""
    assert access.lockout(lockout_of(recorded("pam"), recorded("faillock"), uses_pam=False)).status == OPEN


# --- V-250987, V-251003 ---------------------------------------------------------------------------------------------

TEXT = "I've read and consent to terms in IS user agreem't"
SHOWN = access.Banners(TEXT, f"{TEXT}\r\n", "/login", f"Sentry {TEXT} User Password")


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (SHOWN, GOOD),
        (replace(SHOWN, required="  I've read and\nconsent to terms in IS user agreem't\n"), GOOD),
        (replace(SHOWN, ssh=""), OPEN),
        (replace(SHOWN, portal="User Password"), OPEN),
        (replace(SHOWN, ssh="I have read and consent"), OPEN),
    ],
)
def test_both_ways_in_show_the_banner(facts: access.Banners, status: str) -> None:
    """SSH and portal; line ends do not matter, words do."""
    assert access.banners(facts).status == status


def accounts_of(recorded: Recorded, *more: access.Account) -> access.Users:
    """The recorded accounts and some more."""
    states = {row.split()[0]: row.split()[1] for row in recorded("passwords").splitlines()}
    rows = [row.split(":") for row in recorded("accounts").splitlines()]
    found = tuple(access.Account(row[0], int(row[2]), row[6], states[row[0]]) for row in rows)
    return access.Users((*found, *more), ("admin",), ("builder",))


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ((), GOOD),
        ((access.Account("mallory", 1002, "/usr/lib/sentry/bin/sentry-cli", "L"),), OPEN),
        ((access.Account("toor", 0, "/bin/bash", "P"),), OPEN),
        ((access.Account("helper", 200, "/bin/sh", "NP"),), OPEN),
        ((access.Account("robot", 200, "/usr/sbin/nologin", "NP"),), OPEN),
        ((access.Account("robot", 200, "/usr/sbin/nologin", "L"),), GOOD),
    ],
)
def test_nobody_unnamed_can_log_in(recorded: Recorded, more: tuple[access.Account, ...], status: str) -> None:
    """A person's account counts with or without a password, a system's when a password works."""
    assert access.users(accounts_of(recorded, *more)).status == status


# --- V-250989 to V-250993 -------------------------------------------------------------------------------------------

REFUSALS = {
    "length": "The password is shorter than 15 characters",
    "upper": "The password contains less than 1 uppercase letters",
    "lower": "The password contains less than 1 lowercase letters",
    "digit": "The password contains less than 1 digits",
    "special": "The password contains less than 1 non-alphanumeric characters",
}


def policy_of(recorded: Recorded, lacks: str, *, old: str = "", new: str = "") -> passwords.Policy:
    """The recorded stacks, changed, with the answers of a strict policy."""
    services = pam.files(recorded("pam").replace(old, new).splitlines() if old else recorded("pam").splitlines())
    stacks = {service: pam.stack(services, service, "password") for service in ("passwd", "sshd")}
    bad = passwords.Tried(accepted=False, said=REFUSALS[lacks])
    return passwords.Policy(lacks, passwords.Tried(accepted=True, said="40"), bad, stacks)


@pytest.mark.parametrize("lacks", list(LACKING))
def test_a_policy_that_refuses_for_the_right_reason_is_no_finding(recorded: Recorded, lacks: str) -> None:
    """And one that accepts, refuses for another reason, or refuses everything is open."""
    strict = policy_of(recorded, lacks)
    assert passwords.policy(strict).status == GOOD
    assert passwords.policy(replace(strict, bad=passwords.Tried(accepted=True, said="40"))).status == OPEN
    other = passwords.Tried(accepted=False, said="The password fails the dictionary check")
    assert passwords.policy(replace(strict, bad=other)).status == OPEN
    assert passwords.policy(replace(strict, good=other)).status == OPEN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pam_pwquality.so", "pam_permit.so"),
        ("password  requisite                    pam_pwquality.so", "password  optional  pam_pwquality.so"),
        ("pam_pwquality.so retry=3", "pam_pwquality.so minlen=8 retry=3"),
    ],
)
def test_a_stack_that_does_not_ask_the_policy_is_open(recorded: Recorded, old: str, new: str) -> None:
    """pwscore alone proves nothing when PAM never asks."""
    assert old in recorded("pam")
    assert passwords.policy(policy_of(recorded, "length", old=old, new=new)).status == OPEN


def test_the_candidates_lack_exactly_one_property_each() -> None:
    """So a refusal has one possible reason."""
    for lacks, candidate in {"nothing": commands.GOOD, **LACKING}.items():
        has = {
            "length": len(candidate) >= passwords.LENGTH,
            "upper": any(sign.isupper() for sign in candidate),
            "lower": any(sign.islower() for sign in candidate),
            "digit": any(sign.isdigit() for sign in candidate),
            "special": not candidate.isalnum(),
        }
        assert [name for name, held in has.items() if not held] == ([] if lacks == "nothing" else [lacks])


# --- V-250995 -------------------------------------------------------------------------------------------------------


def fips_of(recorded: Recorded) -> crypto.Fips:
    """The recorded state."""
    return crypto.Fips(recorded("show_fips"), words.providers(recorded("providers")), md5=1, sha256=0)


def test_the_recorded_fips_state_is_no_finding_and_names_its_module(recorded: Recorded) -> None:
    """And what the module's validation is, is said as the CLI says it."""
    facts = fips_of(recorded)
    assert crypto.fips(facts).status == GOOD
    named = crypto.module(facts.shown, facts.providers)
    assert (named.module, named.validation) == ("OpenSSL FIPS Provider, version 3.5.7", "module not validated")


def test_fips_in_words_only_is_open(recorded: Recorded) -> None:
    """Each part of the proof is needed."""
    good = fips_of(recorded)
    default = {"name": "OpenSSL Default Provider", "status": "active"}
    broken = (
        replace(good, shown="FIPS 140 mode is disabled"),
        replace(good, md5=0),
        replace(good, sha256=1),
        replace(good, providers={"default": default}),
        replace(good, providers={**good.providers, "default": default}),
        replace(good, providers={**good.providers, "fips": {"status": "inactive"}}),
    )
    assert [crypto.fips(facts).status for facts in broken] == [OPEN] * len(broken)


# --- V-251013 -------------------------------------------------------------------------------------------------------


def tls_of(
    recorded: Recorded, *accepted: str, settings: str = "", logs: tuple[rsyslog.Secured, ...] = ()
) -> crypto.Tls:
    """The recorded settings, and two servers that take these versions."""
    answers = tuple(Answer(version, version in accepted, "said") for version in ("1.0", "1.1", "1.2", "1.3"))
    runtime = msgspec.json.decode(settings or recorded("runtime"), type=crypto.Runtime)
    return crypto.Tls({("the gateway", 443): answers, ("the portal", 8443): answers}, runtime, logs)


@pytest.mark.parametrize(
    ("accepted", "status"),
    [
        (("1.2",), GOOD),
        (("1.2", "1.3"), OPEN),
        (("1.1", "1.2"), OPEN),
        (("1.0", "1.2"), OPEN),
        (("1.3",), OPEN),
        ((), OPEN),
    ],
)
def test_only_tls_1_2_is_no_finding(recorded: Recorded, accepted: tuple[str, ...], status: str) -> None:
    """A server that speaks nothing is a finding too."""
    assert crypto.tls_versions(tls_of(recorded, *accepted)).status == status


def test_tls_1_3_on_any_outgoing_connection_is_open(recorded: Recorded) -> None:
    """Each maximum in the settings counts, one at a time; so does a backend without TLS."""
    text = recorded("runtime")
    places = [place for place in range(len(text)) if text.startswith('"maximum": "1.2"', place)]
    opened = 0
    for place in places:
        changed = text[:place] + text[place:].replace('"maximum": "1.2"', '"maximum": "1.3"', 1)
        opened += crypto.tls_versions(tls_of(recorded, "1.2", settings=changed)).status == OPEN
    # All but the gateway's own listener, which the live handshakes decide.
    assert opened == len(places) - 1 >= 4
    tree = msgspec.json.decode(text)
    tree["gateway"]["backends"][0]["tls"] = None
    plain = msgspec.json.encode(tree).decode()
    assert crypto.tls_versions(tls_of(recorded, "1.2", settings=plain)).status == OPEN


@pytest.mark.parametrize(
    ("versions", "status"), [(("1.2", "1.2"), GOOD), (("1.2", "1.3"), OPEN), (("1.1", "1.2"), OPEN), (("", ""), OPEN)]
)
def test_a_log_server_is_dialled_with_tls_1_2_only(recorded: Recorded, versions: tuple[str, str], status: str) -> None:
    """What is not said counts as anything."""
    logs = (rsyslog.Secured("192.0.2.9:6514", *versions),)
    assert crypto.tls_versions(tls_of(recorded, "1.2", logs=logs)).status == status


def test_a_backend_whose_certificate_need_not_hold_is_named_as_such(recorded: Recorded) -> None:
    """The rule asks for versions only, so that alone opens nothing; but nobody shall read past it."""
    tree = msgspec.json.decode(recorded("runtime"))
    assert "need not hold" not in str(crypto.tls_versions(tls_of(recorded, "1.2")).points)
    tree["gateway"]["backends"][0]["verify"] = "log"
    verdict = crypto.tls_versions(tls_of(recorded, "1.2", settings=msgspec.json.encode(tree).decode()))
    assert verdict.status == GOOD
    (told,) = [point for point in verdict.points if "need not hold" in str(point)]
    assert "outgoing, to the backend mail (verify: log" in str(told)


def test_a_listener_that_does_not_require_client_tls_is_open(recorded: Recorded) -> None:
    """It is named with its address and port."""
    tree = msgspec.json.decode(recorded("runtime"))
    tree["gateway"]["listeners"].append({"address": "10.98.1.2", "port": 80, "tls": False})
    verdict = crypto.tls_versions(tls_of(recorded, "1.2", settings=msgspec.json.encode(tree).decode()))
    assert verdict.status == OPEN
    (wrong,) = [point for point in verdict.points if not point.met]
    assert (wrong.found, "the gateway on 10.98.1.2 port 80" in wrong.command) == ("no TLS", True)


# --- V-251008, V-251010 ---------------------------------------------------------------------------------------------

STRICT = gatekeeping.Softening("", ())


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (replace(STRICT, observing_until="2026-01-31T18:00Z"), "observing until 2026-01-31T18:00Z"),
        (replace(STRICT, allowing=("pilot", "branch")), "pilot, branch"),
    ],
)
def test_what_lets_blocked_devices_pass_is_open(facts: gatekeeping.Softening, found: str) -> None:
    """For the unregistered and for the compromised alike, with what it is as evidence."""
    registration = gatekeeping.Registration(facts, auto_block=True)
    for verdict in (gatekeeping.compromised(facts), gatekeeping.unregistered(registration)):
        assert verdict.status == OPEN
        assert [found in point.found for point in verdict.points if not point.met] == [True]


@pytest.mark.parametrize(("auto_block", "status"), [(True, GOOD), (None, GOOD), (False, OPEN)])
def test_a_uem_that_does_not_block_unregistered_devices_is_open(auto_block: bool | None, status: str) -> None:  # noqa: FBT001 - a table
    """Where it is the one in the box; another one says it itself."""
    assert gatekeeping.unregistered(gatekeeping.Registration(STRICT, auto_block)).status == status
    assert gatekeeping.compromised(STRICT).status == GOOD


# --- V-250999, V-251006 ---------------------------------------------------------------------------------------------

TWO = ("^,?,10.0.0.1,0,6,0,1,0.0,0.0,0.0", "^,*,10.0.0.2,2,6,377,1,0.0,0.0,0.0")


@pytest.mark.parametrize(
    ("rows", "status"),
    [(TWO, GOOD), (TWO[:1], OPEN), ((TWO[0], TWO[0]), OPEN), ((), OPEN), ((TWO[0], "#,*,PPS0,0,4,1,1,0,0,0"), OPEN)],
)
def test_the_running_daemon_needs_two_different_servers(rows: tuple[str, ...], status: str) -> None:
    """A server named twice and a local clock do not count."""
    assert upkeep.clock(upkeep.Clock(upkeep.sources(rows), container=False, configured=())).status == status


def test_a_dead_time_daemon_is_open_unless_a_container_forbids_it(recorded: Recorded) -> None:
    """Where no clock can be set, the configuration is judged and marked as such."""
    configured = upkeep.servers(recorded("chrony_configuration").splitlines())
    assert configured == ("10.98.2.1", "10.98.3.1")
    assert upkeep.clock(upkeep.Clock(None, container=False, configured=configured)).status == OPEN
    inside = upkeep.clock(upkeep.Clock(None, container=True, configured=configured))
    assert (inside.status, inside.points[0].nature) == (GOOD, "configured")
    assert upkeep.clock(upkeep.Clock(None, container=True, configured=configured[:1])).status == OPEN


FORWARDING = """
ruleset(name="sentryAudit" queue.type="LinkedList") { # keep {braces} honest
    action(type="omfile" file="/var/log/x")
    action(type="omfwd" target="log.example" port="6514" protocol="tcp")
}
input(type="imptcp" path="/run/sentry-audit/audit.sock" ruleset="sentryAudit")
*.* action(type="omfwd" target="log.example" port="6514" protocol="tcp")
"""


def logging_of(text: str, *connected: str, active: bool = True) -> upkeep.Logging:
    """The facts in a resolved configuration."""
    return upkeep.Logging(active, rsyslog.forwards(text), rsyslog.inputs(text), connected)


def test_logs_kept_on_the_machine_are_open(recorded: Recorded) -> None:
    """The lab has no central log server, and the scan says so."""
    verdict = upkeep.central_log(logging_of(recorded("rsyslog")))
    assert (verdict.status, len(unmet(verdict))) == (OPEN, 2)


@pytest.mark.parametrize(
    ("old", "new", "connected", "status"),
    [
        ("", "", ("192.0.2.5:6514",), GOOD),
        ("", "", (), OPEN),
        ("    action(type=\"omfwd\"", "    #action(type=\"omfwd\"", ("192.0.2.5:6514",), OPEN),
        ("*.* action", "#*.* action", ("192.0.2.5:6514",), OPEN),
        ("log.example", "127.0.0.1", ("127.0.0.1:6514",), OPEN),
        ("*.* action(type=\"omfwd\" target=\"log.example\" port=\"6514\" protocol=\"tcp\")", "*.* @@(o)log.example:6514",
         ("192.0.2.5:6514",), GOOD),
    ],
)  # fmt: skip
def test_audit_and_system_log_must_both_leave_the_machine(
    old: str, new: str, connected: tuple[str, ...], status: str
) -> None:
    """To another machine, over a connection that stands."""
    assert upkeep.central_log(logging_of(FORWARDING.replace(old, new), *connected)).status == status


def test_a_log_daemon_that_does_not_run_is_open() -> None:
    """Whatever its files say."""
    facts = logging_of(FORWARDING, "192.0.2.5:6514", active=False)
    assert upkeep.central_log(facts).status == OPEN


def test_a_verdict_without_evidence_cannot_be_made() -> None:
    """So no check passes on nothing."""
    with pytest.raises(ValueError, match="at least one point"):
        Verdict(())


# --- V-250998, V-251021, V-251035 -----------------------------------------------------------------------------------

PEOPLE = frozenset({"isso@lab.test", "issm@lab.test", "sca@lab.test"})
TOLD = alerts.Alerts("10.98.2.1 port 2587 (starttls)", PEOPLE, dict.fromkeys(alerts.AUDIT_FAILURES, "mail"))
QUIET = replace(TOLD, actions={**TOLD.actions, "audit_disk_full": "syslog"})


@pytest.mark.parametrize(
    ("found", "failure", "named", "nobody_else"),
    [
        (TOLD, GOOD, GOOD, GOOD),
        (replace(TOLD, recipients=frozenset()), OPEN, OPEN, OPEN),
        (replace(TOLD, recipients=PEOPLE - {"sca@lab.test"}), GOOD, OPEN, OPEN),
        (replace(TOLD, recipients=PEOPLE | {"eve@lab.test"}), GOOD, GOOD, OPEN),
        (replace(TOLD, server="none"), OPEN, OPEN, OPEN),
        (QUIET, OPEN, OPEN, GOOD),
        (replace(TOLD, actions={}), OPEN, OPEN, GOOD),
    ],
)
def test_who_is_told_when_auditing_fails(found: alerts.Alerts, failure: str, named: str, nobody_else: str) -> None:
    """Somebody by mail, those whom the site names, and nobody beside them."""
    assert alerts.audit_failure(found).status == failure
    assert alerts.named_people(found, PEOPLE).status == named
    assert alerts.nobody_else(found, PEOPLE).status == nobody_else


def test_a_site_that_names_nobody_has_not_answered() -> None:
    """An empty answer is met by nothing."""
    assert alerts.named_people(TOLD, frozenset()).status == OPEN
    assert alerts.nobody_else(replace(TOLD, recipients=frozenset()), frozenset()).status == OPEN
