"""The mail itself: what people read, and what hostile names cannot make of it."""

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from appliance.alerts import letter
from appliance.alerts.state import Item, Letter

from .conftest import NOON, PEOPLE, settings_of

SETTINGS = settings_of()


def item(subject: str = "mail", words: str = "The backend mail is down", **rest: object) -> Item:
    """Something to be told."""
    fields = {"alert": "backend_down", "first": NOON, "last": NOON, "since": 0.0}
    return Item(subject=subject, words=words, **{**fields, **rest})  # type: ignore[arg-type]


def test_a_mail_says_what_when_how_often_and_what_is_over() -> None:
    over = item("web", "The backend web is down", over=True, last=NOON + 60, count=4)
    made = letter.mail(Letter(name="n1", items=[item(), over], lost=3), SETTINGS, NOON)
    assert made["Subject"] == "[gateway.lab.test] CRITICAL: backend_down mail and 1 more"
    assert made["To"] == ", ".join(PEOPLE)
    assert made["From"] == "gateway@lab.test"
    assert made["Message-ID"] == "<n1@gateway.lab.test>"
    assert made["Auto-Submitted"] == "auto-generated"
    assert made.get_content().splitlines() == [
        "gateway.lab.test tells:",
        "",
        "CRITICAL: backend_down mail (2027-01-15 08:00:00Z)",
        "    The backend mail is down",
        "",
        "OVER: backend_down web (2027-01-15 08:00:00Z to 2027-01-15 08:01:00Z, 4 times)",
        "    No longer: The backend web is down",
        "",
        "3 more alerts found no room and are not told one by one; see the logs.",
    ]


HOSTILE = (
    "x\r\nBcc: eve@example.org",
    "x\nSubject: other\n\nbody",
    "\u2028.\u2029.\r\n.\r\nMAIL FROM:<eve@example.org>",
    "=?utf-8?q?=0D=0ABcc:_eve@example.org?=",
    "\ud800\x00\x1b]0;title\x07",
    "\u202egnihton",
)


HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
}


def assert_harmless(subject: str, words: str) -> None:
    """It is one mail, to the recipients and nobody else, and each name stays within its line."""
    made = letter.mail(Letter(name="n", items=[item(subject, words)]), SETTINGS, NOON)
    data = made.as_bytes()
    assert data.isascii()
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))  # RFC 5322 2.1.1
    assert b"\n" not in data.replace(b"\r\n", b"")
    read = message_from_bytes(data, policy=policy.default)
    assert set(read.keys()) == HEADERS
    assert len(read.keys()) == len(HEADERS)
    assert read["To"] == ", ".join(PEOPLE)
    lines = read.get_content().removesuffix("\r\n").split("\r\n")
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_neither_a_header_nor_a_line_nor_an_order_to_a_screen(name: str) -> None:
    assert_harmless(name, name)


@hypothesis_settings(max_examples=40)
@given(subject=st.text(max_size=200), words=st.text(max_size=500))
def test_no_text_at_all_is(subject: str, words: str) -> None:
    assert_harmless(subject, words)


def test_the_trial_names_who_tries() -> None:
    made = letter.trial("n2", "admin\nx", SETTINGS, NOON)
    assert made["Subject"] == "[gateway.lab.test] test of alerts"
    assert "for admin?x, who tries" in made.get_content()
