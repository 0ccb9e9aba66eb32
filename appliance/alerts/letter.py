"""A letter to a mail (pure). Names that strangers chose are in it: none can become a header, a line of its own or an order to a
screen."""

import email.policy
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import EmailMessage

from appliance.alerts.happening import SUBJECT_CHARACTERS, WORDS_CHARACTERS, plain
from appliance.alerts.settings import Settings
from appliance.alerts.state import Item, Letter
from appliance.alerts.table import ALERTS

_POLICY = email.policy.SMTP.clone(cte_type="7bit", max_line_length=78)  # any server takes it, with or without 8BITMIME


def mail(letter: Letter, settings: Settings, when: float) -> EmailMessage:
    """The mail that tells `letter`."""
    first, more = letter.items[0], len(letter.items) - 1
    about = f"{_state(first)}: {first.alert} {first.subject}" + (f" and {more} more" if more else "")
    lines = [f"{settings.host_name} tells:", "", *(line for item in letter.items for line in _lines(item))]
    if letter.lost:
        lines += [f"{letter.lost} more alerts found no room and are not told one by one; see the logs.", ""]
    return _message(about, lines, letter.name, settings, when)


def trial(name: str, by: str, settings: Settings, when: float) -> EmailMessage:
    """The mail that `alert test` sends."""
    lines = [
        f"{settings.host_name} sends this for {plain(by, SUBJECT_CHARACTERS)}, who tries whether alerts arrive.",
        "",
    ]
    return _message("test of alerts", lines, name, settings, when)


def _message(about: str, lines: Iterable[str], name: str, settings: Settings, when: float) -> EmailMessage:
    assert settings.server is not None  # noqa: S101 - where there are recipients, there is a server
    made = EmailMessage(policy=_POLICY)
    made["From"] = settings.server.sender
    made["To"] = ", ".join(settings.recipients)
    made["Subject"] = plain(f"[{settings.host_name}] {about}", WORDS_CHARACTERS)
    made["Date"] = datetime.fromtimestamp(when, UTC)
    made["Message-ID"] = f"<{name}@{settings.host_name}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: so that nobody's absence note answers
    made.set_content("\n".join(lines), charset="utf-8", cte="quoted-printable")
    return made


def _lines(item: Item) -> list[str]:
    """An item for people: what, when, how often."""
    times = _moment(item.first) if item.count == 1 else f"{_moment(item.first)} to {_moment(item.last)}"
    often = "" if item.count == 1 else f", {item.count} times"
    words = plain(item.words, WORDS_CHARACTERS)
    return [
        f"{_state(item)}: {item.alert} {plain(item.subject, SUBJECT_CHARACTERS)} ({times}{often})",
        f"    {'No longer: ' if item.over else ''}{words}",
        "",
    ]


def _state(item: Item) -> str:
    return "OVER" if item.over else ALERTS[item.alert].severity.upper()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
