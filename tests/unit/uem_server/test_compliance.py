"""Security policies on facts: the table, and what holds of any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import Reason
from sentry_runtime.uem.security import Platform, SecurityPolicy
from sentry_runtime.uem_server.compliance import DAY_SECONDS, Facts, findings, from_os, number

NOW = 100 * DAY_SECONDS
GOOD = Facts(platform=Platform.IOS, os_version="17.5", compromised=False, encrypted=True, contact=NOW - 5)
ALL = SecurityPolicy(minimum_os={Platform.IOS: "17.4.1"}, require_encryption=True, contact_days=7)
NOTHING = SecurityPolicy(compromised="pass")


@pytest.mark.parametrize(
    ("policy", "changed", "wanted"),
    [
        (ALL, {}, set()),
        (ALL, {"os_version": "17.4.1"}, set()),
        (ALL, {"os_version": "17.4.0"}, {Reason.OS_VERSION}),
        (ALL, {"os_version": "9.9"}, {Reason.OS_VERSION}),  # as a number, not as text
        (ALL, {"platform": Platform.ANDROID, "os_version": "4"}, set()),  # nothing is asked of that platform
        (ALL, {"platform": None}, {Reason.OS_VERSION}),
        (ALL, {"os_version": ""}, {Reason.OS_VERSION}),
        (ALL, {"compromised": True}, {Reason.COMPROMISED}),
        (ALL, {"compromised": None}, {Reason.COMPROMISED}),
        (ALL, {"encrypted": False}, {Reason.NOT_ENCRYPTED}),
        (ALL, {"encrypted": None}, {Reason.NOT_ENCRYPTED}),
        (ALL, {"contact": NOW - 7 * DAY_SECONDS}, set()),
        (ALL, {"contact": NOW - 7 * DAY_SECONDS - 1}, {Reason.OUT_OF_CONTACT}),
        (ALL, {"contact": 0}, {Reason.OUT_OF_CONTACT}),
        (ALL, {"contact": NOW + 60}, set()),  # a clock that is ahead
        (ALL, {"compromised": True, "encrypted": False}, {Reason.COMPROMISED, Reason.NOT_ENCRYPTED}),
        (SecurityPolicy(), {"compromised": True, "encrypted": False}, {Reason.COMPROMISED}),
        (NOTHING, {"compromised": True, "encrypted": False, "platform": None, "contact": 0}, set()),
    ],
)
def test_each_thing_that_is_asked_and_is_not_so_is_found(
    policy: SecurityPolicy, changed: dict[str, object], wanted: set[Reason]
) -> None:
    """What nobody has reported counts against the device."""
    values = {name: getattr(GOOD, name) for name in Facts.__slots__} | changed
    assert findings(policy, Facts(**values), NOW) == wanted


def test_what_nobody_has_reported_passes_where_the_site_says_so() -> None:
    """And what is reported does not."""
    lenient = SecurityPolicy(minimum_os={Platform.IOS: "17"}, require_encryption=True, contact_days=7, unknown="pass")
    assert findings(lenient, Facts(), NOW) == set()
    assert findings(lenient, Facts(platform=Platform.IOS, os_version="16", encrypted=False, contact=1), NOW) == {
        Reason.OS_VERSION,
        Reason.NOT_ENCRYPTED,
        Reason.OUT_OF_CONTACT,
    }


@pytest.mark.parametrize(
    ("said", "platform", "version"),
    [
        ("iOS 17.5.1 21F90", Platform.IOS, "17.5.1"),
        ("iPadOS 17.4", Platform.IOS, "17.4"),
        ("Android 14", Platform.ANDROID, "14"),
        ("android14", Platform.ANDROID, "14"),
        ("Mac OS X 10.15.7", Platform.MACOS, "10.15.7"),
        ("Windows 10.0.19045", Platform.WINDOWS, "10.0.19045"),
        ("Windows Phone 8.10", None, ""),
        ("iOS", None, ""),
        ("iOS 1.2.3.4.5", None, ""),
        ("17.5", None, ""),
        ("", None, ""),
    ],
)
def test_a_devices_own_words_on_its_system(said: str, platform: Platform | None, version: str) -> None:
    """What cannot be told is not known, rather than guessed."""
    assert (from_os(said).platform, from_os(said).os_version) == (platform, version)


versions = st.lists(st.integers(0, 999_999_999), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
facts = st.builds(
    Facts,
    platform=st.none() | st.sampled_from(Platform),
    os_version=st.just("") | versions,
    compromised=st.none() | st.booleans(),
    encrypted=st.none() | st.booleans(),
    contact=st.integers(0, 2 * NOW),
)
policies = st.builds(
    SecurityPolicy,
    minimum_os=st.dictionaries(st.sampled_from(Platform), versions),
    compromised=st.sampled_from(["block", "pass"]),
    require_encryption=st.booleans(),
    contact_days=st.integers(0, 365),
    unknown=st.sampled_from(["block", "pass"]),
)


@given(policies, facts)
def test_a_stricter_policy_never_finds_less(policy: SecurityPolicy, known: Facts) -> None:
    """Counting the unknown against the device only adds."""
    lenient = SecurityPolicy(
        minimum_os=policy.minimum_os,
        compromised=policy.compromised,
        require_encryption=policy.require_encryption,
        contact_days=policy.contact_days,
        unknown="pass",
    )
    assert findings(lenient, known, NOW) <= findings(policy, known, NOW)


@given(policies, facts, st.integers(0, NOW))
def test_time_alone_only_brings_silence(policy: SecurityPolicy, known: Facts, later: int) -> None:
    """Nothing else depends on it."""
    before, after = findings(policy, known, NOW), findings(policy, known, NOW + later)
    assert before <= after <= before | {Reason.OUT_OF_CONTACT}


@given(versions, versions)
def test_versions_are_ordered_as_their_numbers(one: str, other: str) -> None:
    """And a nought at the end says nothing."""
    assert number(f"{one}.0") == number(one)
    assert (number(one) < number(other)) == (not number(other) <= number(one))


@given(st.text(max_size=80))
def test_any_words_on_a_system_can_be_read(said: str) -> None:
    """A platform is known together with its version, or not at all."""
    found = from_os(said)
    assert (found.platform is None) == (found.os_version == "")
