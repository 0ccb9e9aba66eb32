"""Lines of the journal to events: what real programs write, and what strangers would like them to mean."""

import msgspec
import pytest

from appliance.alerts.entries import Line, events_of, lines_of
from appliance.alerts.happening import Event
from appliance.audit import Entry

LOCKED = '{"time":"t","event":"login.locked","user":"admin","source":"10.98.2.1 sshd","result":"locked"}'
WRONG = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.98.2.1  user=admin"
UNKNOWN = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.98.2.1 "


def told(message: object, **fields: str) -> list[Event]:
    """What one line tells."""
    line = Line(cursor="c", microseconds="1800000000000000", message=message, **{"unit": "ssh.service", **fields})
    return list(events_of(line))


def by_configd(event: str, **fields: str) -> list[Event]:
    """What a line of configd's own trail tells."""
    entry = Entry(**{"time": "t", "event": event, "user": "admin", "source": "10.98.2.1 pid 7", **fields})
    message = msgspec.json.encode(entry).decode()
    return told(message, unit="sentry-configd.service", identifier="sentry-configd")


def test_an_account_that_is_locked_at_a_door_is_told_once() -> None:
    (event,) = told(LOCKED, identifier="sentry-tally")
    assert (event.alert, event.subject, event.when) == ("account_locked", "admin", 1_800_000_000.0)
    assert event.words == "The account admin is locked for 10.98.2.1 sshd after failed log-ins."


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (WRONG, "admin from 10.98.2.1, by sshd"),
        (UNKNOWN, "nobody here from 10.98.2.1, by sshd"),
        (WRONG.replace("sshd", "login").replace("rhost=10.98.2.1", "rhost="), "admin from the console, by login"),
    ],
)
def test_a_refused_log_in_says_who_and_from_where(message: str, words: str) -> None:
    (event,) = told(message)
    assert (event.alert, event.words) == ("logins_refused", words)


@pytest.mark.parametrize(
    ("event", "alert"),
    [
        ("software.updated", "software_changed"),
        ("software.rolled_back", "software_changed"),
        ("software.good", "software_changed"),
        ("software.unhealthy", "software_unwell"),
        ("software.fell_back", "software_unwell"),
        ("software.damaged", "software_damaged"),
        ("software.failed", "software_unwell"),
    ],
)
def test_what_the_units_around_the_slots_say_is_told_and_nobody_else_says_it(event: str, alert: str) -> None:
    message = msgspec.json.encode(Entry(time="t", event=event, user="sentry-software", detail="slot b")).decode()
    (found,) = told(message, unit="sentry-slots.service", identifier="sentry-software")
    assert (found.alert, found.words) == (alert, f"{event.removeprefix('software.')}: slot b")
    assert told(message, unit="sentry-gateway.service", identifier="sentry-software") == []
    assert told("rubbish", unit="sentry-slots.service", identifier="sentry-software") == []


@pytest.mark.parametrize(
    ("event", "fields", "alert", "words"),
    [
        ("config.commit", {"path": "two servers"}, "configuration_changed", "committed a configuration: two servers"),
        ("config.confirm", {}, "configuration_changed", "confirmed a configuration"),
        ("config.rollback", {"path": "revision 7"}, "configuration_returned", "rolled back to revision 7"),
        ("service.control", {"path": "stop gateway"}, "service_ordered", "ordered: stop gateway"),
        ("gateway.maintain", {"path": "drain"}, "service_ordered", "ordered: drain gateway"),
        ("system.power", {"path": "reload"}, "service_ordered", "ordered: reload of the appliance"),
    ],
)
def test_what_an_administrator_did_says_who_it_was(event: str, fields: dict[str, str], alert: str, words: str) -> None:
    (found,) = by_configd(event, **fields)
    assert (found.alert, found.words) == (alert, f"admin from 10.98.2.1 {words}")


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("config.commit", {"path": "check only"}),
        ("config.commit", {"result": "invalid"}),
        ("config.set", {"path": "hostname"}),
        ("service.control", {"path": "status gateway"}),
        ("state.show", {"path": "clock"}),
        ("session.open", {}),
        ("session.open", {"result": "permission"}),
    ],
)
def test_what_changes_nothing_is_not_told(event: str, fields: dict[str, str]) -> None:
    assert by_configd(event, **fields) == []


def test_what_configd_does_by_itself_is_told_whatever_came_of_it() -> None:
    (returned,) = by_configd("config.returned", result="apply", detail="revision 3 could not be brought back")
    (drift,) = by_configd("config.drift", result="drift", detail="/etc/issue was changed")
    assert (returned.alert, drift.alert) == ("configuration_returned", "configuration_drift")
    assert drift.subject == "/etc/issue was changed"


def test_a_door_that_is_locked_in_configd_is_told_as_a_locked_account() -> None:
    refused = by_configd("session.enable", result="authentication")
    locked = by_configd("session.login", result="locked", detail="this account is locked", user="eve")
    assert [event.alert for event in refused] == ["logins_refused"]
    assert [event.alert for event in locked] == ["account_locked", "logins_refused"]
    assert locked[0].subject == "eve"


def test_pam_behind_the_portal_is_counted_once_by_configds_own_word() -> None:
    assert told(WRONG.replace("sshd", "sentry-portal"), unit="sentry-configd.service", identifier="python3") == []


def test_the_audit_daemon_and_the_kernel_say_that_records_are_lost() -> None:
    (disk,) = told("Audit daemon is low on disk space for logging", identifier="auditd", unit="auditd.service")
    (kernel,) = told("audit: audit_lost=7 audit_rate_limit=0 audit_backlog_limit=8192", transport="kernel", unit="")
    assert {disk.alert, kernel.alert} == {"audit_records_lost"}
    assert told("audit: type=1400 apparmor=DENIED", transport="kernel", unit="") == []


@pytest.mark.parametrize(
    "message",
    [
        LOCKED,
        f"Invalid user x {LOCKED} from 10.98.1.9 port 2",
        f"Connection closed by invalid user {LOCKED} 10.98.1.9",
        "Accepted publickey for admin",
        "",
    ],
)
def test_words_that_a_stranger_put_into_a_log_line_raise_nothing(message: str) -> None:
    assert told(message) == []


def test_a_claimed_tag_does_not_make_a_line_configds() -> None:
    """The unit is journald's own word; the tag is whatever the writer says."""
    message = msgspec.json.encode(Entry(time="t", event="config.commit", user="admin")).decode()
    assert told(message, unit="sentry-gateway.service", identifier="sentry-configd") == []


def test_what_acts_on_a_screen_or_ends_a_line_does_not_leave() -> None:
    (event,) = by_configd("config.commit", path="x\r\nBcc: eve@example.org\x1b[2J\u202e", user="a\nb")
    assert "\n" not in event.words + event.subject
    assert "\r" not in event.words
    assert event.words.isprintable()
    assert event.words.startswith("a?b from")


def test_fields_of_any_shape_are_read() -> None:
    """journalctl prints bytes that are no UTF-8 as numbers, and no value as null."""
    (event,) = told(list(LOCKED.encode()), identifier="sentry-tally")
    assert event.alert == "account_locked"
    assert told(None) == []
    assert told(["two", "values"]) == []


def test_a_line_that_was_cut_is_left_for_the_next_time() -> None:
    whole = '{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1800000000000000","MESSAGE":"x"}'
    assert [line.cursor for line in lines_of(f"{whole}\n{whole[:30]}")] == ["s=1"]


def test_a_service_that_hung_is_told_with_what_is_kept_of_it() -> None:
    detail = "sentry-gateway.service: kept as sentry-gateway-20270115T080000Z.txt"
    (event,) = by_configd("service.hung", user="configd", result="error", detail=detail)
    assert (event.alert, event.subject, event.words) == ("service_hung", "sentry-gateway.service", f"It hung: {detail}")
