"""What the records of Ivanti EPMM become: its table, row by row, and what no record may become."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey, Reason
from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import Epmm
from sentry_runtime.uem.adapters import epmm
from sentry_runtime.uem.adapters.entry import Entry, LeftOut
from sentry_runtime.uem.adapters.epmm import Detail, Row, entry, joined, lists, page, reasons
from sentry_runtime.uem.adapters.epmm_table import BITS, IN_USE, LISTS, REASONS, Listed
from sentry_runtime.uem.link import LinkRefusedError

RULES = Epmm(account="a", password="/p")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROW = Row(
    device_id="appl1", uuid="u1", domain="LAB", mailbox_id="anna.smith@lab.test", user_name="Anna", model="iPhone"
)
KEY = DeviceKey("APPL1", "anna")

ROWS = st.builds(
    Row,
    device_id=st.one_of(st.none(), st.integers(0, 99), st.text(max_size=70)),
    uuid=st.sampled_from(["u1", "u2", None]),
    domain=st.one_of(st.none(), st.text(max_size=20)),
    mailbox_id=st.one_of(st.none(), st.text(max_size=20)),
    user_name=st.one_of(st.none(), st.text(max_size=20)),
    model=st.one_of(st.none(), st.text(max_size=20)),
)
SAID = st.one_of(st.none(), st.integers(0, 2**24), st.lists(st.sampled_from([*BITS, "SOMETHING_NEW"]), max_size=4))
DETAILS = st.builds(
    Detail,
    uuid=st.sampled_from(["u1", "U2"]),
    status=st.sampled_from(["ACTIVE", "RETIRED", "WIPED", "LOST", "INFECTED", "NEVER_HEARD_OF", ""]),
    blocked=st.sampled_from([None, True, False]),
    blocked_reasons=SAID,
    quarantined_reasons=SAID,
    noncompliance_reasons=SAID,
    compromised=st.sampled_from([None, True, False]),
    last_connected=st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))),
)
PRINCIPALS = st.sampled_from(["user_name", "domain_user", "mailbox"])


def detail(**more: Any) -> Detail:
    """A managed phone of which nothing is wrong."""
    return Detail(**{"uuid": "u1", "status": "ACTIVE", "blocked": False, "last_connected": NOW, **more})


def said(name: str, found: Detail | None = None, rules: Epmm = RULES, row: Row = ROW) -> Entry:
    """What a row of this list becomes."""
    made = entry(LISTS[name], row, found, rules, Names(), NOW.timestamp())
    assert isinstance(made, Entry)
    return made


@pytest.mark.parametrize(
    ("name", "blocked_for", "registered"),
    [
        ("registeredAllowedDevices", set(), True),
        ("registeredBlockedDevices", {Reason.MANUAL}, True),
        ("unregisteredAllowedDevices", set(), False),
        ("unregisteredBlockedDevices", {Reason.UNREGISTERED}, False),
        ("wipedDevices", {Reason.MANUAL}, False),
    ],
)
def test_each_list_has_its_meaning(name: str, blocked_for: set[Reason], *, registered: bool) -> None:
    """Without a reason from anywhere a blocked device is blocked by somebody's hand: that is softened by nothing."""
    made = said(name)
    assert made.reasons == blocked_for
    assert (made.key, made.registered, made.device_type) == (KEY, registered, "iPhone")


@pytest.mark.parametrize(("name", "bit"), BITS.items())
def test_each_reason_is_one_of_ours_by_name_and_by_bit(name: str, bit: int) -> None:
    """Both forms say the same; none is lost."""
    assert reasons([name]) == reasons(bit) != set()
    assert said("registeredBlockedDevices", detail(blocked=True, blocked_reasons=[name])).reasons == reasons(bit)


def test_the_bits_are_those_of_the_vendors_list() -> None:
    """One bit each, no bit twice, and every reason of the table has one."""
    assert all(bit.bit_count() == 1 for bit in BITS.values())
    assert len(set(BITS.values())) == len(BITS) == 17
    assert set(REASONS) | {"UNKNOWN"} == set(BITS)
    assert reasons(0x1 | 0x20 | 0x80) == {Reason.COMPROMISED, Reason.OUT_OF_CONTACT, Reason.MAILBOX_LIMIT}
    assert reasons(["BRAND_NEW"]) == reasons(0x800000) == reasons(["UNKNOWN"]) == {Reason.MANUAL}
    assert reasons(None) == reasons([]) == reasons(0) == set()


@pytest.mark.parametrize(
    ("found", "blocked_for"),
    [
        (detail(), set()),
        (detail(noncompliance_reasons=["POLICY_OUT_OF_DATE"]), set()),
        (detail(quarantined_reasons=["POLICY_OUT_OF_DATE"]), set()),
        (detail(blocked=True), {Reason.MANUAL}),
        (detail(blocked=True, noncompliance_reasons=["OS_VERSION"]), {Reason.OS_VERSION}),
        (detail(compromised=True), {Reason.COMPROMISED}),
        (detail(status="RETIRED"), {Reason.UNREGISTERED}),
        (detail(status="VERIFICATION_PENDING"), {Reason.UNREGISTERED}),
        (detail(status="WIPED"), {Reason.MANUAL}),
        (detail(status="INFECTED"), {Reason.COMPROMISED}),
        (detail(status="active"), {Reason.MANUAL}),
        (detail(status=""), {Reason.MANUAL}),
    ],
)
def test_an_allowed_device_must_be_in_use_and_not_blocked_by_the_other_call(
    found: Detail, blocked_for: set[Reason]
) -> None:
    """EPMM decides what lack of compliance leads to; what it calls compromised does not pass here whatever it decided."""
    assert said("registeredAllowedDevices", found).reasons == blocked_for


def test_a_site_may_want_a_recent_contact() -> None:
    """Longer ago, never, or unknown since the other call does not have the device: it stays out."""
    rules = msgspec.structs.replace(RULES, contact_days=7)
    allowed = "registeredAllowedDevices"
    assert said(allowed, detail(last_connected=NOW - timedelta(days=7)), rules).reasons == set()
    for found in (detail(last_connected=NOW - timedelta(days=7, seconds=1)), detail(last_connected=None), None):
        assert said(allowed, found, rules).reasons == {Reason.OUT_OF_CONTACT}
    assert said("unregisteredAllowedDevices", None, rules).reasons == set()


@pytest.mark.parametrize(
    ("principal", "row", "user"),
    [
        ("user_name", {}, "anna@lab.test"),
        ("domain_user", {}, "anna@corp.test"),
        ("domain_user", {"domain": None}, "anna@lab.test"),
        ("domain_user", {"user_name": "Anna@other.test"}, "anna@other.test"),
        ("mailbox", {}, "anna.smith@lab.test"),
        ("user_name", {"user_name": 4711}, "4711@lab.test"),
    ],
)
def test_the_site_says_which_field_names_the_user(principal: Any, row: dict[str, Any], user: str) -> None:
    """And its own settings on names make of it what they make of a log-on."""
    rules = msgspec.structs.replace(RULES, principal=principal)
    names = Names({"lab": "corp.test"}, "lab.test")
    made = entry(LISTS["registeredAllowedDevices"], msgspec.structs.replace(ROW, **row), None, rules, names, 0.0)
    assert isinstance(made, Entry)
    assert made.key.principal == user


def test_rows_and_details_are_joined_by_uuid() -> None:
    """In either case of letters; a detail of an unregistered row is another's, and in two lists the stricter word counts."""
    rows = [
        (LISTS["registeredBlockedDevices"], ROW),
        (LISTS["unregisteredAllowedDevices"], msgspec.structs.replace(ROW, device_id="appl2")),
        (LISTS["registeredAllowedDevices"], msgspec.structs.replace(ROW, device_id="appl3", uuid="u3")),
        (LISTS["wipedDevices"], msgspec.structs.replace(ROW, device_id="appl3", uuid="u3")),
        (LISTS["wipedDevices"], msgspec.structs.replace(ROW, device_id=None)),
    ]
    found = joined(rows, [detail(uuid="U1", blocked=True, blocked_reasons=["OS_VERSION"])], RULES, Names(), 0.0)
    assert {key.device_id: one.reasons for key, one in found.entries.items()} == {
        "APPL1": {Reason.OS_VERSION},
        "APPL2": set(),
        "APPL3": {Reason.MANUAL},
    }
    assert found.left_out == {LeftOut.NO_DEVICE_ID: 1}


@given(st.sampled_from(list(LISTS.values())), ROWS, st.one_of(st.none(), DETAILS), PRINCIPALS, st.integers(0, 3))
def test_nothing_that_is_said_lets_in_who_is_in_a_list_of_blocked_devices(
    listed: Listed, row: Row, found: Detail | None, principal: Any, days: int
) -> None:
    """And an allowed device passes only with a status that is in use, unblocked and uncompromised."""
    rules = msgspec.structs.replace(RULES, principal=principal, contact_days=days)
    made = entry(listed, row, found, rules, Names(), NOW.timestamp())
    if isinstance(made, LeftOut) or made.reasons:
        return
    assert not listed.blocked
    assert made.registered == listed.registered
    assert found is None or (found.status in IN_USE and not found.blocked and not found.compromised)


LIST_NAMES = list(LISTS)


@given(order=st.permutations(LIST_NAMES), wrapped=st.booleans(), shape=st.sampled_from(["list", "inner", "one"]))
def test_every_shape_of_the_answer_says_the_same(*, order: list[str], wrapped: bool, shape: str) -> None:
    """Plain lists, lists below one more name, a single row without a list; with the wrapping element or not."""
    numbers = dict(zip(order, itertools.count(), strict=False))
    answer: dict[str, Any] = {}
    for name, number in numbers.items():
        row = {"deviceId": f"A{number}", "surprise": [1]}
        answer[name] = {"list": [row], "inner": {name[:-1]: [row]}, "one": {name[:-1]: row}}[shape]
    body = msgspec.json.encode({"easWebServiceReponse": answer} if wrapped else answer)
    found = {row.device_id: listed for listed, row in lists(body)}
    assert found == {f"A{number}": LISTS[name] for name, number in numbers.items()}


@given(st.binary(max_size=200))
def test_whatever_bytes_come_they_are_read_or_refused(body: bytes) -> None:
    """By one error."""
    for read in (lists, page):
        try:
            read(body)
        except LinkRefusedError:
            continue


@pytest.mark.parametrize("read", [lists, page])
def test_an_answer_of_many_levels_is_refused_too(read: Callable[[bytes], object]) -> None:
    """The decoder says so by an error of another kind, which nobody behind this waits for."""
    with pytest.raises(LinkRefusedError, match="not of its API"):
        read(b'{"results":[],"hasMore":false,"x":' + b"[" * 100_000)


@pytest.mark.parametrize("row", [b'{"deviceId":1}', b'{"device\\u0049d":1}', b"{}"])
def test_a_list_of_more_rows_than_are_taken_is_not_even_read(row: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small they are, and however its names are written: millions of rows would be a gigabyte of ours."""
    made: list[object] = []
    monkeypatch.setattr(epmm, "_decoded", lambda *words: made.append(words))
    body = b'{"registeredAllowedDevices":[' + b",".join([row] * (epmm.BRACES + 1)) + b"]}"
    assert len(body) < epmm.EAS_BYTES
    with pytest.raises(LinkRefusedError, match="at most 150000 devices are taken"):
        epmm.lists(body)
    assert made == []
