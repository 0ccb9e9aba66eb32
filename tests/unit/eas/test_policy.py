"""The policy: its documents for every version, and its keys."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas.codepages import PROVISION
from sentry_runtime.eas.policy import (
    ELEMENTS,
    NAMES_BYTES,
    TEMPORARY,
    Phase,
    Policy,
    PolicyError,
    digest,
    document,
    elements_of,
    encoded_document,
    policy_key,
    read_document,
    wap_document,
)
from sentry_runtime.eas.wbxml import decode, element, encode

flags = st.none() | st.booleans()
names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
hashes = st.binary(min_size=20, max_size=20).map(bytes.hex)
policies = st.builds(
    Policy,
    device_password_enabled=st.booleans(),
    attachments_enabled=flags,
    min_device_password_length=st.none() | st.integers(1, 16),
    max_inactivity_time_device_lock=st.none() | st.integers(1, 10_000),
    max_device_password_failed_attempts=st.none() | st.integers(4, 16),
    alphanumeric_device_password_required=flags,
    allow_camera=flags,
    allow_bluetooth=st.none() | st.integers(0, 2),
    max_calendar_age_filter=st.none() | st.sampled_from([0, 4, 5, 6, 7]),
    max_email_body_truncation_size=st.none() | st.integers(-1, 2**31 - 1),
    allow_internet_sharing=flags,
    unapproved_in_rom_application_list=st.lists(names, max_size=3).map(tuple),
    approved_application_list=st.lists(hashes, max_size=3).map(tuple),
)

# What Horde sends to a phone of 12.1: a password of at least six characters, attachments allowed.
HORDE = bytes.fromhex("03016a00 000e 4d 4e033100 01 54033600 01 53033100 01 01")


def test_every_element_of_the_specification_is_a_field_in_the_order_of_its_token() -> None:
    """From DevicePasswordEnabled (0E) to ApprovedApplicationList (39); 12 is not used."""
    tokens = [PROVISION.tokens[name] for name in ELEMENTS.values()]
    used = {*range(0x0E, 0x3A)} - {0x12, 0x38}  # 38 is the ApplicationName inside a list
    assert tokens == sorted(used)


def test_a_document_a_real_server_sends_is_read() -> None:
    """Its order is not that of the tokens."""
    policy = Policy(device_password_enabled=True, min_device_password_length=6, attachments_enabled=True)
    assert read_document(decode(HORDE)) == policy
    assert encode(document(policy, "12.1")) == bytes.fromhex("03016a00 000e 4d 4e033100 01 53033100 01 54033600 01 01")


def test_a_policy_that_restricts_nothing_is_a_document_all_the_same() -> None:
    """For every version."""
    assert encode(document(Policy(), "12.0")) == bytes.fromhex("03016a00 000e 4d 4e033000 01 01")
    assert wap_document(Policy()) == (
        '<wap-provisioningdoc><characteristic type="SecurityPolicy"><parm name="4131" value="1"/></characteristic>'
        "</wap-provisioningdoc>"
    )


@pytest.mark.parametrize(("protocol", "count"), [("12.0", 12), ("", 12), ("12.1", 42), ("14.0", 42), ("16.1", 42)])
def test_a_client_gets_only_elements_its_version_knows(protocol: str, count: int) -> None:
    """MS-ASPROV added all from AllowStorageCard on with 12.1."""
    assert len(elements_of(protocol)) == count
    policy = Policy(device_password_enabled=True, allow_camera=False)
    seen = document(policy, protocol).child(PROVISION, "AllowCamera")
    assert (seen is not None) == (count == 42)


def test_the_document_of_2_5_says_what_it_can() -> None:
    """The same lines as a real server's; the lock in minutes, never later than asked for."""
    policy = Policy(
        device_password_enabled=True,
        alphanumeric_device_password_required=True,
        min_device_password_length=6,
        max_device_password_failed_attempts=5,
        max_inactivity_time_device_lock=330,
    )
    lassd = r"HKLM\Comm\Security\Policy\LASSD"
    assert wap_document(policy) == (
        '<wap-provisioningdoc><characteristic type="SecurityPolicy"><parm name="4131" value="0"/></characteristic>'
        '<characteristic type="Registry">'
        rf'<characteristic type="{lassd}\AE\{{50C13377-C66D-400C-889E-C316FC4AB374}}">'
        '<parm name="AEFrequencyType" value="1"/><parm name="AEFrequencyValue" value="5"/></characteristic>'
        rf'<characteristic type="{lassd}"><parm name="DeviceWipeThreshold" value="5"/></characteristic>'
        rf'<characteristic type="{lassd}\LAP\lap_pw"><parm name="MinimumPasswordLength" value="6"/></characteristic>'
        rf'<characteristic type="{lassd}\LAP\lap_pw"><parm name="PasswordComplexity" value="0"/></characteristic>'
        "</characteristic></wap-provisioningdoc>"
    )
    never = wap_document(Policy(device_password_enabled=True, max_inactivity_time_device_lock=9_999))
    assert '<parm name="AEFrequencyType" value="0"/></characteristic>' in never


@given(policies)
def test_a_document_reads_back_as_the_policy_it_was_made_from(policy: Policy) -> None:
    """Over the wire."""
    assert read_document(decode(encode(document(policy, "14.1")))) == policy


@given(policies, st.sampled_from(["12.0", "12.1", "14.1"]))
def test_a_document_that_is_kept_encoded_is_the_same(policy: Policy, protocol: str) -> None:
    """For every version."""
    data = element(PROVISION, "Data", document(policy, protocol))
    assert encode(element(PROVISION, "Data", encoded_document(policy, protocol))) == encode(data)


def test_the_temporary_policy_is_a_simple_passcode() -> None:
    """Nothing that a client might not know: all of it was there with 12.0, and the form of 2.5 can say it."""
    assert TEMPORARY.device_password_enabled
    assert TEMPORARY.allow_simple_device_password
    said = [name for name in ELEMENTS if getattr(TEMPORARY, name) not in (None, ())]
    assert set(said) < set(elements_of("12.0"))
    assert 'name="MinimumPasswordLength" value="4"' in wap_document(TEMPORARY)


def test_all_names_together_are_bounded() -> None:
    """So that a policy fits into a message, and its document into a response."""
    names = tuple(f"{number:0256}" for number in range(NAMES_BYTES // 256))
    hashes = tuple(f"{number:040x}" for number in range(256))
    full = Policy(unapproved_in_rom_application_list=names, approved_application_list=hashes)
    assert len(msgspec.json.encode(full)) < 48 * 1_024
    assert len(encode(document(full, "16.1"))) < 32 * 1_024
    with pytest.raises(ValueError, match="16640 bytes; at most 16384"):
        Policy(unapproved_in_rom_application_list=(*names, "x" * 256))


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("MinDevicePasswordLength", "17", "<= 16"),
        ("MinDevicePasswordLength", "six", "'six'"),
        ("MaxDevicePasswordFailedAttempts", "9" * 500, "'99999999999'"),
        ("AllowCamera", "2", "bool"),
        ("AllowCamera", "²", "'²'"),
        ("MaxCalendarAgeFilter", "3", "0, 4, 5, 6 and 7"),
    ],
)
def test_a_value_the_specification_does_not_know_is_refused(name: str, value: str, found: str) -> None:
    """The error says which."""
    with pytest.raises(PolicyError, match=found):
        read_document(element(PROVISION, "EASProvisionDoc", element(PROVISION, name, value)))


def test_an_empty_element_is_not_said() -> None:
    """MS-ASPROV writes an unset policy so."""
    root = element(PROVISION, "EASProvisionDoc", element(PROVISION, "MaxAttachmentSize"))
    assert read_document(root) == Policy()


def test_a_setting_out_of_range_is_refused_by_name() -> None:
    """As the settings file reads it."""
    with pytest.raises(msgspec.ValidationError, match=r"min_device_password_length"):
        msgspec.json.decode(b'{"min_device_password_length": 0}', type=Policy)
    with pytest.raises(msgspec.ValidationError, match="alow_camera"):
        msgspec.json.decode(b'{"alow_camera": true}', type=Policy)


def test_what_is_not_said_does_not_count_in_the_digest() -> None:
    """Else a release that adds an element would provision every device again."""
    assert digest(Policy()) == digest(Policy(allow_camera=None))
    assert digest(Policy()).hex() == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_key_changes_with_everything_it_stands_for() -> None:
    """And fields cannot run into each other."""
    secret, whole = b"s" * 32, digest(Policy())
    ways = [
        (secret, "PHONE1", "anna", whole, Phase.FINAL),
        (secret, "PHONE1", "anna", whole, Phase.TEMPORARY),
        (secret, "PHONE1", "anna", digest(Policy(allow_camera=False)), Phase.FINAL),
        (secret, "PHONE1", "bert", whole, Phase.FINAL),
        (secret, "PHONE", "1anna", whole, Phase.FINAL),
        (secret, "PHONE2", "anna", whole, Phase.FINAL),
        (b"t" * 32, "PHONE1", "anna", whole, Phase.FINAL),
    ]
    keys = {policy_key(*way) for way in ways}
    assert len(keys) == len(ways)
    assert policy_key(*ways[0]) == policy_key(*ways[0])


@given(st.binary(min_size=32, max_size=32), st.text(max_size=8), st.text(max_size=8), st.sampled_from(Phase))
def test_a_key_is_a_positive_number_of_31_bits(secret: bytes, device_id: str, principal: str, phase: Phase) -> None:
    """Never 0, which means "no key"."""
    assert 0 < policy_key(secret, device_id, principal, b"", phase) < 2**31
