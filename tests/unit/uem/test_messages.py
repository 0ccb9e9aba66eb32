"""Garbage from the other side is refused, with its place named."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey, Reason, State, Wipe
from sentry_runtime.eas import principal
from sentry_runtime.eas.device_information import FIELD_CHARS
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem.api import DECISIONS_PER_PAGE, Contact, Decision, DecisionPage, Information, Push, WipeReport
from sentry_runtime.uem.cloud_api import INVENTORY_PER_PAGE, Candidates, CloudSettings, Inventory
from sentry_runtime.uem.messages import (
    ALIASES,
    MESSAGE_BYTES,
    VERSION_MAX,
    WORDS_CHARS,
    MessageError,
    canonical,
    decode,
    that_fit,
)

GOOD: dict[str, Any] = {"device_id": "C1", "principal": "anna@lab.test", "state": "allowed", "version": 7}
CONTACT: dict[str, Any] = {"device_id": "C1", "principal": "anna@lab.test", "device_type": "iPhone", "seen": 5}
TUNNEL: dict[str, Any] = {"name": "Wiki", "host": "wiki.lab.test", "port": 443}
WIPE: dict[str, Any] = {"kind": "device", "order": 5}


def pushed(**changes: Any) -> bytes:
    """A push whose second decision is changed like this; None takes a field out."""
    second = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return msgspec.json.encode({"decisions": [GOOD, second]})


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"version": "7"}, "$.decisions[1].version"),
        ({"version": 0}, "$.decisions[1].version"),
        ({"version": VERSION_MAX + 1}, "$.decisions[1].version"),
        ({"version": 7.5}, "$.decisions[1].version"),
        ({"version": None}, "`version`"),
        ({"state": "perhaps"}, "$.decisions[1].state"),
        ({"reasons": ["because"]}, "$.decisions[1].reasons"),
        ({"reasons": ["manual"] * (len(Reason) + 1)}, "$.decisions[1].reasons"),
        ({"surprise": 1}, "`surprise`"),
        ({"device_id": "c1"}, "$.decisions[1]"),
        ({"device_id": ""}, "$.decisions[1]"),
        ({"device_id": "C" * 65}, "$.decisions[1]"),
        ({"device_id": "C\x1b1"}, "$.decisions[1]"),
        ({"principal": "Anna"}, "$.decisions[1]"),
        ({"principal": "corp\\anna"}, "canonical form, 'anna@corp'"),
        ({"principal": "an na"}, "$.decisions[1]"),
        ({"principal": "a" * 321}, "$.decisions[1]"),
        ({"note": "x" * (WORDS_CHARS + 1)}, "$.decisions[1].note"),
        ({"note": "line\nbreak"}, "$.decisions[1].note"),
        ({"device_type": "\x07"}, "$.decisions[1].device_type"),
        ({"registered": "yes"}, "$.decisions[1].registered"),
        ({"tunnels": [TUNNEL, TUNNEL]}, "$.decisions[1].tunnels"),
        ({"tunnels": [TUNNEL | {"name": f"t{number}"} for number in range(51)]}, "$.decisions[1].tunnels"),
        ({"tunnels": [TUNNEL | {"name": ""}]}, "$.decisions[1].tunnels[0].name"),
        ({"tunnels": [TUNNEL | {"name": "a\nb"}]}, "$.decisions[1].tunnels[0].name"),
        ({"tunnels": [TUNNEL | {"host": "Wiki.lab.test"}]}, "$.decisions[1].tunnels[0].host"),
        ({"tunnels": [TUNNEL | {"host": "-x"}]}, "$.decisions[1].tunnels[0].host"),
        ({"tunnels": [TUNNEL | {"port": 65_536}]}, "$.decisions[1].tunnels[0].port"),
        ({"tunnels": [TUNNEL | {"authentication": []}]}, "$.decisions[1].tunnels[0].authentication"),
        ({"tunnels": [TUNNEL | {"authentication": ["magic"]}]}, "$.decisions[1].tunnels[0].authentication"),
        ({"tunnels": [TUNNEL | {"surprise": 1}]}, "`surprise`"),
        ({"policy": {"allow_camara": True}}, "`allow_camara` - at `$.decisions[1].policy`"),
        ({"policy": {"min_device_password_length": 17}}, "$.decisions[1].policy.min_device_password_length"),
        ({"policy": {"max_calendar_age_filter": 2}}, "0, 4, 5, 6 and 7 are allowed - at `$.decisions[1].policy`"),
        ({"policy": {"approved_application_list": ["x"]}}, "$.decisions[1].policy.approved_application_list"),
        ({"policy": "strict"}, "$.decisions[1].policy"),
        ({"state": "wipe_pending"}, "$.decisions[1].wipe"),
        ({"wipe": WIPE}, "$.decisions[1].wipe"),
        ({"state": "wiped", "wipe": WIPE}, "$.decisions[1].wipe"),
        ({"state": "wipe_pending", "wipe": WIPE | {"marks": ["verified"]}}, "$.decisions[1].wipe"),
        ({"state": "wipe_pending", "wipe": WIPE | {"order": 0}}, "$.decisions[1].wipe.order"),
        ({"state": "wipe_pending", "wipe": WIPE | {"kind": "house"}}, "$.decisions[1].wipe.kind"),
        ({"state": "wipe_pending", "wipe": WIPE | {"marks": ["failed"] * 6}}, "$.decisions[1].wipe.marks"),
        ({"state": "wipe_pending", "wipe": WIPE | {"by": "x\n"}}, "$.decisions[1].wipe.by"),
        ({"state": "wipe_pending", "wipe": WIPE | {"surprise": 1}}, "`surprise`"),
    ],
)
def test_a_wrong_field_of_a_decision_is_named(changes: dict[str, Any], place: str) -> None:
    """The whole push is refused, its good first decision too."""
    with pytest.raises(MessageError) as caught:
        decode(pushed(**changes), Push)
    assert place in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"decisions": 1}', b"[" * 100_000])
def test_what_is_no_message_at_all_is_refused(body: bytes) -> None:
    """Without anything else happening."""
    with pytest.raises(MessageError):
        decode(body, Push)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"device_aliases": ["lower"]}, "$.device_aliases[0]"),
        ({"device_aliases": ["A"] * (ALIASES + 1)}, "$.device_aliases"),
        ({"user_agent": "x" * (WORDS_CHARS + 1)}, "$.user_agent"),
        ({"seen": "now"}, "$.seen"),
        ({"password": "x"}, "`password`"),
    ],
)
def test_a_wrong_field_of_a_contact_is_named(changes: dict[str, Any], place: str) -> None:
    """As in a decision."""
    with pytest.raises(MessageError) as caught:
        decode(msgspec.json.encode({**CONTACT, **changes}), Contact)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("page", "place"),
    [
        ({"decisions": [{**GOOD, "version": 8}, GOOD], "next": 8, "more": False}, "order of their versions"),
        ({"decisions": [GOOD], "next": 6, "more": False}, "lies before the last version 7"),
        ({"decisions": [], "next": 6, "more": True}, "$.more"),
        ({"decisions": [], "next": -1, "more": False}, "$.next"),
        ({"decisions": [GOOD] * (DECISIONS_PER_PAGE + 1), "next": 7, "more": False}, "at most 1000"),
    ],
)
def test_a_page_that_contradicts_itself_is_refused(page: dict[str, Any], place: str) -> None:
    """A cursor taken from it would skip decisions or go round for ever."""
    with pytest.raises(MessageError) as caught:
        decode(msgspec.json.encode(page), DecisionPage)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"device_id": "c1"}, "`device_id` is upper case"),
        ({"information": {"model": "x" * (FIELD_CHARS + 1)}}, "$.information"),
        ({"information": {"model": "a\x1b[2J"}}, "$.information"),
        ({"information": {"password": "x"}}, "`password`"),
        ({"information": None}, "$.information"),
    ],
)
def test_a_wrong_field_of_what_a_device_says_is_named(changes: dict[str, Any], place: str) -> None:
    """As in a decision."""
    good = {"device_id": "C1", "principal": "anna@lab.test", "information": {"model": "iPhone"}}
    assert decode(msgspec.json.encode(good), Information).information.model == "iPhone"
    with pytest.raises(MessageError) as caught:
        decode(msgspec.json.encode({**good, **changes}), Information)
    assert place in str(caught.value)


def test_a_message_holds_no_more_decisions_than_the_other_side_reads() -> None:
    """With the longest policies there are it holds fewer; with ordinary ones all of a page."""
    full = Policy(
        unapproved_in_rom_application_list=tuple(f'{number:062}""' for number in range(256)),
        approved_application_list=tuple(f"{number:040x}" for number in range(256)),
    )
    large, small = (
        [
            Decision(device_id=f"C{number}", principal="anna", state=State.ALLOWED, version=number, policy=policy)
            for number in range(1, DECISIONS_PER_PAGE + 1)
        ]
        for policy in (full, Policy(device_password_enabled=True, min_device_password_length=8))
    )
    assert that_fit(small) == tuple(small)
    fitting = that_fit(large)
    assert 50 < len(fitting) < len(large)
    page = msgspec.json.encode(DecisionPage(decisions=fitting, next=fitting[-1].version, more=True))
    assert MESSAGE_BYTES * 0.9 < len(page) <= MESSAGE_BYTES
    assert decode(page, DecisionPage).decisions == fitting


def test_good_messages_come_through() -> None:
    """Exactly as they were said."""
    decision = Decision(device_id="C1", principal="anna@lab.test", state=State.ALLOWED, version=7)
    assert decode(pushed(), Push) == Push(decisions=(decision, decision))
    assert decode(msgspec.json.encode(CONTACT), Contact).device_type == "iPhone"
    named = msgspec.structs.replace(decision, policy=Policy(allow_camera=False))
    assert decode(pushed(policy={"allow_camera": False}), Push).decisions[1] == named


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_canonical_stays_so_and_passes_the_check(device_id: str, principal: str) -> None:
    """Both sides may apply the form to what already has it. Letters that grow settle after one round more."""
    try:
        once = canonical(device_id.upper(), principal)
    except MessageError:
        return
    assert canonical(once.device_id, once.principal) == once


@pytest.mark.parametrize(
    "name", ["CORP\\Anna", "corp\\anna", "Anna@Corp", "Zoe\u0308@x", ".\\Anna", "CORP\\anna@corp.example"]
)
def test_a_persons_name_becomes_what_the_gateway_looks_up(name: str) -> None:
    """Whatever form an administrator types."""
    assert canonical("c1", name) == DeviceKey("C1", principal.canonical(name))


@pytest.mark.parametrize("name", ["", "a b", "a@b@c", "@corp", "CORP\\", "a" * 321, "an\x00na"])
def test_what_is_nobodys_name_is_refused_with_what_is_allowed(name: str) -> None:
    """Else a block would stand for nobody."""
    with pytest.raises(MessageError, match=r"a principal is `user`, `user@domain` or `DOMAIN.user`.* found"):
        canonical("C1", name)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_refusal(body: bytes) -> None:
    """Nothing else comes out."""
    for kind in (Push, DecisionPage, Decision, Contact, Information, Candidates, CloudSettings, Inventory):
        with contextlib.suppress(MessageError):
            assert isinstance(decode(body, kind), kind)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("report", "place"),
    [
        ({"device_id": "c1", "principal": "x", "wipe": WIPE}, "upper case"),
        ({"device_id": "C1", "principal": "x"}, "`wipe`"),
        ({"device_id": "C1", "principal": "x", "wipe": WIPE | {"order": VERSION_MAX + 1}}, "$.wipe.order"),
        ({"device_id": "C1", "principal": "x", "wipe": WIPE, "state": "wiped"}, "`state`"),
    ],
)
def test_a_wrong_field_of_a_report_is_named(report: dict[str, Any], place: str) -> None:
    """As of every message."""
    with pytest.raises(MessageError) as caught:
        decode(msgspec.json.encode(report), WipeReport)
    assert place in str(caught.value)


def test_orders_and_reports_come_through() -> None:
    """A removal's state has no meaning, so it needs no order."""
    pending = Decision(
        device_id="C1", principal="x", state=State.WIPE_PENDING, version=7, wipe=msgspec.convert(WIPE, Wipe)
    )
    removed = msgspec.structs.replace(pending, wipe=None, removed=True)
    wiped = WipeReport(device_id="C1", principal="x", wipe=msgspec.convert(WIPE | {"marks": ["verified"]}, Wipe))
    for message in (pending, removed):
        assert decode(msgspec.json.encode(message), Decision) == message
    assert decode(msgspec.json.encode(wiped), WipeReport) == wiped


ENTRY: dict[str, Any] = {**GOOD, "apps": ["Wiki"]}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"after": 2, "number": 2}, "$.number"),
        ({"after": -1}, "$.number"),
        ({"number": VERSION_MAX + 1}, "$.number"),
        ({"tunnels": [ENTRY] * (INVENTORY_PER_PAGE + 1)}, "at most 200"),
        ({"tunnels": [ENTRY, {**ENTRY, "device_id": "c1"}]}, "$.tunnels[1]"),
        ({"tunnels": [{**ENTRY, "version": -1}]}, "$.tunnels[0].version"),
        ({"tunnels": [{**ENTRY, "apps": [""]}]}, "$.tunnels[0].apps"),
        ({"tunnels": [{**ENTRY, "apps": ["Wiki"] * 51}]}, "$.tunnels[0].apps"),
        ({"tunnels": [{**ENTRY, "state": "perhaps"}]}, "$.tunnels[0].state"),
        ({"gone": [{"device_id": "C1", "principal": "Anna"}]}, "$.gone[0]"),
        ({"surprise": 1}, "`surprise`"),
    ],
)
def test_an_inventory_that_is_none_is_refused_with_the_place(changes: dict[str, Any], place: str) -> None:
    """The one that is changed here is one."""
    good = {"after": 1, "number": 2, "tunnels": [ENTRY]}
    assert decode(msgspec.json.encode(good), Inventory).tunnels[0].apps == ("Wiki",)
    with pytest.raises(MessageError) as caught:
        decode(msgspec.json.encode({**good, **changes}), Inventory)
    assert place in str(caught.value)
