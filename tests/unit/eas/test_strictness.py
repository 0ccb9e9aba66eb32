"""The stricter of two policies. The oracle: for each element, all that a device under it may be or do, as a set. What the
stricter policy permits is exactly what both permit."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas.policy import ELEMENTS, Policy, PolicyError
from sentry_runtime.eas.strictness import NO_APPLICATION, RULES, stricter

LISTS = ("unapproved_in_rom_application_list", "approved_application_list")
HASHES = tuple(character * 40 for character in "12345")

Permitted = Callable[..., frozenset[object]]


def demanded(value: object) -> frozenset[object]:
    """With the thing, and without it unless it is demanded."""
    return frozenset({"with"}) if value else frozenset({"with", "without"})


def permitted(value: object) -> frozenset[object]:
    """Without the thing, and with it unless it is not allowed."""
    return frozenset({"without"}) if value is False else frozenset({"with", "without"})


def from_on(value: int | None) -> frozenset[object]:
    """So many or more."""
    return frozenset(range(value or 0, 60))


def up_to(*, unbounded: int | None = None, top: int = 1_000) -> Permitted:
    """So many or fewer."""
    return lambda value: frozenset(range(top if value is None or value == unbounded else value + 1))


def table(**rows: str) -> Permitted:
    """What each code permits, by words; None permits all that any does."""
    words = {int(code.removeprefix("code_")): frozenset(text.split()) for code, text in rows.items()}
    return lambda value: frozenset().union(*words.values()) if value is None else words[value]


def sizes(value: int | None) -> frozenset[object]:
    """Around the sizes that the strategies draw."""
    return frozenset(range(41)) if value in (None, -1) else frozenset(range(value + 1))


SINCE = {0: 99, 1: 1, 2: 3, 3: 7, 4: 14, 5: 31, 6: 92, 7: 183}  # days


def days_back(value: int | None) -> frozenset[object]:
    """How old what the device holds may be."""
    return frozenset(range(400 if not value else SINCE[value] + 1))


MODEL: dict[str, Permitted] = {
    "device_password_enabled": demanded,
    "alphanumeric_device_password_required": demanded,
    "require_storage_card_encryption": demanded,
    "password_recovery_enabled": permitted,
    "attachments_enabled": permitted,
    "min_device_password_length": from_on,
    "max_inactivity_time_device_lock": up_to(top=100),
    "max_device_password_failed_attempts": up_to(top=100),
    "max_attachment_size": sizes,
    "allow_simple_device_password": permitted,
    "device_password_expiration": up_to(unbounded=0),
    "device_password_history": from_on,
    "allow_storage_card": permitted,
    "allow_camera": permitted,
    "require_device_encryption": demanded,
    "allow_unsigned_applications": permitted,
    "allow_unsigned_installation_packages": permitted,
    "min_device_password_complex_characters": from_on,
    "allow_wifi": permitted,
    "allow_text_messaging": permitted,
    "allow_pop_imap_email": permitted,
    "allow_bluetooth": table(code_0="off", code_1="off handsfree", code_2="off handsfree on"),
    "allow_irda": permitted,
    "require_manual_sync_when_roaming": demanded,
    "allow_desktop_sync": permitted,
    "max_calendar_age_filter": days_back,
    "allow_html_email": permitted,
    "max_email_age_filter": days_back,
    "max_email_body_truncation_size": sizes,
    "max_email_html_body_truncation_size": sizes,
    "require_signed_smime_messages": demanded,
    "require_encrypted_smime_messages": demanded,
    "require_signed_smime_algorithm": table(code_0="sha1", code_1="sha1 md5"),
    "require_encryption_smime_algorithm": table(
        code_0="3des",
        code_1="3des rc2-128 rc2-64 des",
        code_2="3des rc2-128",
        code_3="3des rc2-128 rc2-64",
        code_4="3des rc2-128 rc2-64 des rc2-40",
    ),
    "allow_smime_encryption_algorithm_negotiation": table(
        code_0="none", code_1="none strong", code_2="none strong any"
    ),
    "allow_smime_soft_certs": permitted,
    "allow_browser": permitted,
    "allow_consumer_email": permitted,
    "allow_remote_desktop": permitted,
    "allow_internet_sharing": permitted,
    "unapproved_in_rom_application_list": lambda names: frozenset("abcde") - frozenset(names),
    "approved_application_list": lambda hashes: (
        frozenset(HASHES) if not hashes else frozenset(hashes) - {NO_APPLICATION}
    ),
}
VALUES: dict[str, st.SearchStrategy[object]] = {
    "min_device_password_length": st.integers(1, 16),
    "max_inactivity_time_device_lock": st.integers(1, 99),
    "max_device_password_failed_attempts": st.integers(4, 16),
    "max_attachment_size": st.integers(0, 40),
    "device_password_expiration": st.just(0) | st.integers(0, 730),
    "device_password_history": st.integers(0, 50),
    "min_device_password_complex_characters": st.integers(1, 4),
    "allow_bluetooth": st.integers(0, 2),
    "max_calendar_age_filter": st.sampled_from([0, 4, 5, 6, 7]),
    "max_email_age_filter": st.integers(0, 5),
    "max_email_body_truncation_size": st.just(-1) | st.integers(-1, 40),
    "max_email_html_body_truncation_size": st.just(-1) | st.integers(-1, 40),
    "require_signed_smime_algorithm": st.integers(0, 1),
    "require_encryption_smime_algorithm": st.integers(0, 4),
    "allow_smime_encryption_algorithm_negotiation": st.integers(0, 2),
    "unapproved_in_rom_application_list": st.lists(st.sampled_from("abcde")).map(tuple),
    "approved_application_list": st.lists(st.sampled_from([*HASHES, NO_APPLICATION])).map(tuple),
}


def _values(name: str) -> st.SearchStrategy[object]:
    if name == "device_password_enabled":
        return st.booleans()
    chosen = VALUES.get(name, st.booleans())
    return chosen if name in LISTS else st.none() | chosen


policies = st.fixed_dictionaries({name: _values(name) for name in ELEMENTS}).map(
    lambda values: Policy(**values)  # type: ignore[arg-type]
)


def test_the_table_has_every_element() -> None:
    """One that was added to `Policy` and forgotten here would be lost on the way to the device."""
    assert {*RULES, *LISTS} == {*Policy.__struct_fields__} == {*MODEL}


@given(policies, policies)
def test_the_stricter_policy_permits_exactly_what_both_permit(one: Policy, other: Policy) -> None:
    """Element by element: nothing that either forbids, and nothing less."""
    both = stricter(one, other)
    for name, what in MODEL.items():
        mine, theirs = what(getattr(one, name)), what(getattr(other, name))
        assert what(getattr(both, name)) == mine & theirs, name


@given(policies, policies, policies)
def test_neither_order_nor_repetition_matters(one: Policy, other: Policy, third: Policy) -> None:
    """So that the digest of the result is the same however it came about."""
    both = stricter(one, other)
    assert both == stricter(other, one)
    assert stricter(both, both) == stricter(both, one) == stricter(other, both) == both
    assert stricter(both, third) == stricter(one, stricter(other, third))


@given(policies)
def test_a_policy_that_says_nothing_changes_nothing(policy: Policy) -> None:
    """But for the order of lists."""
    same = stricter(policy, Policy())
    for name in ELEMENTS:
        mine, merged = getattr(policy, name), getattr(same, name)
        assert merged == (tuple(sorted(set(mine))) if name in LISTS else mine)


@given(policies, policies)
def test_the_result_is_a_policy_that_a_document_can_say(one: Policy, other: Policy) -> None:
    """Every value within the bounds of the specification."""
    both = stricter(one, other)
    assert msgspec.json.decode(msgspec.json.encode(both), type=Policy) == both


def test_lists_that_share_nothing_approve_nothing() -> None:
    """An empty list would approve everything."""
    one, other = Policy(approved_application_list=HASHES[:2]), Policy(approved_application_list=HASHES[2:])
    assert stricter(one, other).approved_application_list == (NO_APPLICATION,)


READINGS = [
    ("device_password_enabled", 0, False),
    ("device_password_enabled", 2, True),  # Horde's AlphanumericDevicePasswordRequired may be 2
    ("allow_camera", 1, True),
    ("allow_camera", 2, False),
    ("min_device_password_length", 0, None),
    ("min_device_password_length", -1, None),
    ("min_device_password_length", 16, 16),
    ("device_password_history", 0, 0),
    ("device_password_history", -1, None),
    ("max_device_password_failed_attempts", 0, None),
    ("max_device_password_failed_attempts", 99, 16),
    ("max_inactivity_time_device_lock", 0, None),
    ("max_inactivity_time_device_lock", 9_999, 9_999),
    ("max_inactivity_time_device_lock", 2**40, 2**31 - 1),
    ("max_attachment_size", 0, 0),
    ("max_attachment_size", -1, None),
    ("device_password_expiration", 0, 0),
    ("device_password_expiration", -1, None),
    ("device_password_expiration", 900, 730),
    ("max_email_body_truncation_size", -1, -1),
    ("max_email_body_truncation_size", -2, None),
    ("max_calendar_age_filter", 7, 7),
]


@pytest.mark.parametrize(("name", "number", "value"), READINGS)
def test_a_number_out_of_bounds_is_read_as_the_nearest_that_binds_no_less(
    name: str, number: int, value: object
) -> None:
    """0 and less demand nothing where only more demands something."""
    read = RULES[name].read(number)
    assert (read, type(read)) == (value, type(value))


UNREADABLE = [
    ("min_device_password_length", 17),
    ("device_password_history", 51),
    ("min_device_password_complex_characters", 5),
    ("max_device_password_failed_attempts", 3),
    ("allow_bluetooth", 3),
    ("max_calendar_age_filter", 1),
    ("max_email_age_filter", 6),
    ("require_encryption_smime_algorithm", 5),
]


@pytest.mark.parametrize(("name", "number"), UNREADABLE)
def test_a_demand_that_no_device_can_be_told_is_an_error(name: str, number: int) -> None:
    """Anything less would be reported as done without being so."""
    with pytest.raises(PolicyError, match=str(number)):
        RULES[name].read(number)


@pytest.mark.parametrize("name", RULES)
@given(number=st.integers(-(2**31), 2**31 - 1))
def test_whatever_is_read_can_be_said(name: str, number: int) -> None:
    """Nothing that is read lies outside the specification's bounds."""
    try:
        value = RULES[name].read(number)
    except PolicyError:
        return
    policy = Policy() if value is None else msgspec.structs.replace(Policy(), **{name: value})
    assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy
