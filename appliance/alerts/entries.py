"""From lines of the journal to events (pure).

Only lines of root's processes and of the kernel are looked at. Which process wrote one is journald's word (the fields that
begin with `_`), so nobody else can raise an alert by logging its words.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from appliance.alerts.happening import SUBJECT_CHARACTERS, WORDS_CHARACTERS, Event, plain
from appliance.audit import SOFTWARE_TAG, TAG, TALLY_TAG, Entry

CONFIGD = "sentry-configd.service"
SOFTWARE = ("sentry-software.service", "sentry-healthy.service", "sentry-mark-good.service", "sentry-slots.service")
KERNEL = "kernel"
_REFUSED = re.compile(r"pam_unix\(([^):]*):auth\): authentication failure;.* rhost=(\S*)(?: +user=(.{1,256}))?")
_AUDITD = re.compile(r"(?i)Audit daemon .*(low on disk|no space|disk full|disk error|suspend)")
_KERNEL = re.compile(r"audit: .*(backlog limit exceeded|audit_lost=[1-9]|rate limit exceeded)")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as `journalctl --output=json` prints it (systemd.journal-fields(7)). A field that is no UTF-8 is a list of
    numbers, one that several values have is a list of texts."""

    cursor: str = msgspec.field(name="__CURSOR")
    microseconds: str = msgspec.field(name="__REALTIME_TIMESTAMP", default="0")
    message: Any = msgspec.field(name="MESSAGE", default="")
    unit: Any = msgspec.field(name="_SYSTEMD_UNIT", default="")
    identifier: Any = msgspec.field(name="SYSLOG_IDENTIFIER", default="")
    transport: Any = msgspec.field(name="_TRANSPORT", default="")

    @property
    def when(self) -> float:
        """Seconds since the epoch."""
        return int(self.microseconds) / 1_000_000 if self.microseconds.isdecimal() else 0.0


FIELDS = "MESSAGE,_SYSTEMD_UNIT,SYSLOG_IDENTIFIER,_TRANSPORT"
_decode = msgspec.json.Decoder(Line).decode
_decode_entry = msgspec.json.Decoder(Entry).decode


def lines_of(printed: str) -> Iterator[Line]:
    """The whole lines of what journalctl printed; the last one may have been cut, and is read the next time."""
    for line in printed.splitlines():
        try:
            yield _decode(line)
        except msgspec.MsgspecError:
            continue


def events_of(line: Line) -> Iterable[Event]:
    """What a line tells that somebody must hear of."""
    message, unit = _text(line.message), _text(line.unit)
    if line.transport == KERNEL:
        return _told(line, "audit_records_lost", KERNEL, message) if _KERNEL.match(message) else ()
    if line.identifier == SOFTWARE_TAG and unit in SOFTWARE:
        return _of_software(line, message)
    if line.identifier == TALLY_TAG or (unit == CONFIGD and line.identifier == TAG):
        return _of_trail(line, message)
    if line.identifier == "auditd":
        return _told(line, "audit_records_lost", "auditd", message) if _AUDITD.search(message) else ()
    return _of_pam(line, message, unit)


def _of_pam(line: Line, message: str, unit: str) -> Iterable[Event]:
    refused = _REFUSED.match(message)
    if refused is None or unit == CONFIGD:  # configd says so itself, of accounts PAM is not asked about, too
        return ()
    who, where = refused[3] or "nobody here", refused[2] or "the console"
    return _told(line, "logins_refused", refused[1], f"{who} from {where}, by {refused[1]}")


def _of_trail(line: Line, message: str) -> Iterable[Event]:
    try:
        entry = _decode_entry(message)
    except msgspec.MsgspecError:
        return ()
    if entry.result in ("authentication", "locked") and entry.event in (
        "session.login",
        "session.login_certificate",
        "session.enable",
    ):
        return _of_refusal(line, entry)
    tell = _TRAIL.get(entry.event)
    if tell is None or (entry.result != "ok" and entry.event not in _BY_ITSELF):
        return ()
    alert, subject, words = tell(entry)
    return _told(line, alert, subject, words) if alert else ()


def _of_software(line: Line, message: str) -> Iterable[Event]:
    """What the units around the slots say; each of their words is told."""
    try:
        entry = _decode_entry(message)
    except msgspec.MsgspecError:
        return ()
    alert = _SOFTWARE.get(entry.event, "software_changed")
    return _told(
        line, alert, entry.event.removeprefix("software."), f"{entry.event.removeprefix('software.')}: {entry.detail}"
    )


_SOFTWARE = {
    "software.unhealthy": "software_unwell",
    "software.failed": "software_unwell",
    "software.fell_back": "software_unwell",
    "software.damaged": "software_damaged",
}


def _of_refusal(line: Line, entry: Entry) -> Iterable[Event]:
    door = "enable" if entry.event == "session.enable" else "the portal"
    if entry.result == "locked":
        yield from _told(line, "account_locked", entry.user, f"{entry.user} is locked out of {door}: {entry.detail}")
    yield from _told(line, "logins_refused", door, f"{entry.user} from {entry.source}, by {door}")


_Words = tuple[str, str, str]
_NOTHING: _Words = ("", "", "")


def _commit(entry: Entry) -> _Words:
    if entry.path == "check only":
        return _NOTHING
    comment = f": {entry.path}" if entry.path else ""
    return "configuration_changed", _by(entry), f"{_by(entry)} committed a configuration{comment}"


def _locked(entry: Entry) -> _Words:
    return "account_locked", entry.user, f"The account {entry.user} is locked for {entry.source} after failed log-ins."


def _service(entry: Entry) -> _Words:
    if entry.path.startswith("status"):
        return _NOTHING
    return "service_ordered", f"{entry.path} by {_by(entry)}", f"{_by(entry)} ordered: {entry.path}"


def _by(entry: Entry) -> str:
    """Who it was: account and address; the process's number tells nobody anything."""
    source = entry.source.partition("pid ")[0].strip()
    return f"{entry.user} from {source}" if source else entry.user


_TRAIL: dict[str, Callable[[Entry], _Words]] = {
    "config.commit": _commit,
    "config.confirm": lambda entry: ("configuration_changed", _by(entry), f"{_by(entry)} confirmed a configuration"),
    "config.rollback": lambda entry: (
        "configuration_returned",
        _by(entry),
        f"{_by(entry)} rolled back to {entry.path}",
    ),
    "config.returned": lambda entry: ("configuration_returned", "by itself", entry.detail),
    "config.recovered": lambda entry: ("configuration_returned", "after an interruption", entry.detail),
    "config.drift": lambda entry: ("configuration_drift", entry.detail, entry.detail),
    "login.locked": _locked,
    "service.hung": lambda entry: ("service_hung", entry.detail.partition(":")[0], f"It hung: {entry.detail}"),
    "service.control": _service,
    "gateway.maintain": lambda entry: _service(msgspec.structs.replace(entry, path=f"{entry.path} gateway")),
    "system.power": lambda entry: _service(msgspec.structs.replace(entry, path=f"{entry.path} of the appliance")),
}
"""What of configd's own trail, and of the tally's, is told: event -> alert, subject, words."""
_BY_ITSELF = frozenset({"config.returned", "config.recovered", "config.drift", "login.locked", "service.hung"})
"""What is told whatever came of it."""


def _told(line: Line, alert: str, subject: str, words: str) -> tuple[Event, ...]:
    return (Event(alert, plain(subject, SUBJECT_CHARACTERS), plain(words, WORDS_CHARACTERS), line.when),)


def _text(value: Any) -> str:
    """A field as text, whatever shape it has."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        return bytes(value).decode(errors="replace")
    if isinstance(value, list):
        return " ".join(one for one in value if isinstance(one, str))
    return ""
