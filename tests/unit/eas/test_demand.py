"""Other servers' policy documents: read without losing a word, and joined with a policy of ours."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas import demand
from sentry_runtime.eas.codepages import PROVISION, SETTINGS
from sentry_runtime.eas.demand import PARTS
from sentry_runtime.eas.policy import (
    NAMES_BYTES,
    Parameter,
    Policy,
    PolicyError,
    digest,
    document,
    read_document,
    wap_document,
)
from sentry_runtime.eas.strictness import stricter
from sentry_runtime.eas.wap import DEPTH, PARAMETERS
from sentry_runtime.eas.wbxml import Element, decode, element
from tests.unit.eas.test_strictness import policies

# What Horde sends: a phone of 14.1, and one of 2.5, whose PasswordComplexity it leaves empty.
HORDE = bytes.fromhex("03016a00 000e 4d 4e033100 01 54033600 01 53033100 01 01")
LASSD = r"HKLM\Comm\Security\Policy\LASSD"
HORDE_WAP = (
    '<wap-provisioningdoc><characteristic type="SecurityPolicy"><parm name="4131" value="0"/></characteristic>'
    '<characteristic type="Registry">'
    rf'<characteristic type="{LASSD}\AE\{{50C13377-C66D-400C-889E-C316FC4AB374}}"><parm name="AEFrequencyType" value="0"/>'
    rf'</characteristic><characteristic type="{LASSD}"><parm name="DeviceWipeThreshold" value="5"/></characteristic>'
    rf'<characteristic type="{LASSD}\LAP\lap_pw"><parm name="MinimumPasswordLength" value="6"/></characteristic>'
    rf'<characteristic type="{LASSD}\LAP\lap_pw"><parm name="PasswordComplexity" value=""/></characteristic>'
    "</characteristic></wap-provisioningdoc>"
)


def doc(*parts: Element | str | bytes) -> Element:
    """An EASProvisionDoc."""
    return element(PROVISION, "EASProvisionDoc", *parts)


def said(name: str, *content: Element | str | bytes) -> Element:
    """An element of it."""
    return element(PROVISION, name, *content)


def wap(inner: str) -> str:
    """A WAP document."""
    return f"<wap-provisioningdoc>{inner}</wap-provisioningdoc>"


def test_what_horde_sends_is_read() -> None:
    """In both kinds."""
    demanded = demand.read(decode(HORDE))
    assert demanded.policy == Policy(
        device_password_enabled=True, min_device_password_length=6, attachments_enabled=True
    )
    assert demanded.said == {"device_password_enabled", "min_device_password_length", "attachments_enabled"}
    demanded = demand.read(HORDE_WAP)
    assert demanded.policy == Policy(
        device_password_enabled=True, min_device_password_length=6, max_device_password_failed_attempts=5
    )
    assert demanded.parameters == ()


@given(policies)
def test_a_document_of_ours_is_read_as_what_it_says(policy: Policy) -> None:
    """Every element of it; lists sorted."""
    assert demand.read(document(policy, "16.1")).policy == stricter(policy, Policy())


@given(policies, policies)
def test_a_joint_document_says_the_stricter_of_both(own: Policy, theirs: Policy) -> None:
    """And keeps saying it when it is joined once more."""
    joint = demand.join(own, demand.read(document(theirs, "16.1")))
    both = stricter(own, theirs)
    assert read_document(joint.document("16.1")) == both
    assert joint.digest == demand.join(both, demand.read(document(theirs, "16.1"))).digest
    assert demand.read(joint.wap_document()).policy == demand.read(wap_document(both)).policy


@given(policies, policies)
def test_in_a_wap_document_too_nothing_gets_looser(own: Policy, theirs: Policy) -> None:
    """Both sides' word on what such a document can say."""
    mine, other = demand.read(wap_document(own)).policy, demand.read(wap_document(theirs))
    joint = demand.read(demand.join(mine, other).wap_document()).policy
    assert joint == stricter(mine, other.policy)


def test_an_old_client_gets_the_elements_that_its_own_server_said() -> None:
    """The gateway adds none that the version does not have, and takes none away."""
    joint = demand.join(Policy(allow_camera=False, allow_browser=False), demand.read(doc(said("AllowCamera", "1"))))
    assert joint.document("12.0") == doc(said("DevicePasswordEnabled", "0"), said("AllowCamera", "0"))


def test_what_is_not_known_is_kept_as_it_came() -> None:
    """Elements of the page that are no fields, elements of other pages; and they make another digest."""
    strange = (said("AccountOnlyRemoteWipe", "1"), element(SETTINGS, "Model", "x", b"y"))
    joint = demand.join(Policy(), demand.read(doc(strange[0], said("AllowCamera", "0"), strange[1])))
    plain = demand.join(Policy(), demand.read(doc(said("AllowCamera", "0"))))
    assert joint.document("14.1").content[-2:] == strange
    assert joint.policy == plain.policy
    assert joint.digest != plain.digest


def test_an_empty_element_demands_nothing_and_a_double_one_twice() -> None:
    """Exchange sends empty ones for what is not set; Horde one and the same again with another value."""
    demanded = demand.read(
        doc(
            said("MaxAttachmentSize"),
            said("ApprovedApplicationList"),
            said("AlphanumericDevicePasswordRequired", "2"),
            said("AlphanumericDevicePasswordRequired", "0"),
            said("MinDevicePasswordLength", "4"),
            said("MinDevicePasswordLength", "9"),
        )
    )
    assert demanded.policy == Policy(alphanumeric_device_password_required=True, min_device_password_length=9)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (doc("text"), "text among the elements"),
        (doc(said("MinDevicePasswordLength", "six")), "MinDevicePasswordLength is 'six'"),
        (doc(said("MinDevicePasswordLength", "99")), "99 is demanded"),
        (doc(said("MinDevicePasswordLength", said("Hash"))), "MinDevicePasswordLength is ''"),
        (doc(said("MinDevicePasswordLength", "1" * 12)), "a number is expected"),
        (doc(said("AllowBluetooth", "٣")), "a number is expected"),
        (doc(said("ApprovedApplicationList", said("Hash", "text"))), "an empty Hash"),
        (doc(said("ApprovedApplicationList", "text")), "something else than Hash"),
        (doc(said("UnapprovedInROMApplicationList", said("Hash", b"x"))), "something else than ApplicationName"),
        (doc(*[said("AllowCamera")] * (PARTS + 1)), "at most 1024"),
        (doc(said("ApprovedApplicationList", *[said("Hash", b"x")] * (PARTS + 1))), "at most 1024"),
        ("", "no XML"),
        ("<wap-provisioningdoc>", "no XML"),
        ("<other/>", "'other'"),
        ('<!DOCTYPE wap-provisioningdoc [<!ENTITY a "b">]>' + wap(""), "DTD"),
        ("<?php x?>" + wap(""), "processing instruction"),
        (wap("text"), "the text 'text'"),
        (wap('<parm name="a"/>'), "'parm' with 'name' in 'wap-provisioningdoc'"),
        (wap('<nocharacteristic type="a"/>'), "'nocharacteristic'"),
        (wap('<characteristic type="a" mode="b"/>'), "with 'type, mode'"),
        (wap('<characteristic type="a"><parm name="b"><parm name="c"/></parm></characteristic>'), "in 'parm'"),
        (wap('<characteristic type="a">' * DEPTH + "</characteristic>" * DEPTH), "deeper than 8"),
        (wap('<characteristic type="a">' + "<parm/>" * (PARAMETERS + 1) + "</characteristic>"), "more than 1024"),
        (wap('<characteristic type="a"><parm name="4131" value="x"/></characteristic>'), "4131 is 'x'"),
    ],
)
def test_what_cannot_be_read_is_an_error_and_never_left_out(document: Element | str, found: str) -> None:
    """The message says what was found."""
    with pytest.raises(PolicyError) as caught:
        demand.read(document)
    assert found in str(caught.value)


def test_unknown_parameters_stay_where_they_are() -> None:
    """With all their attributes."""
    given_path = '<characteristic type="Registry"><characteristic type="HKLM\\A &amp; B">'
    text = wap(
        '<characteristic type="SecurityPolicy"><parm name="4133" value="1"/></characteristic>'
        + given_path
        + '<parm name="CodewordFrequency" value="3" datatype="integer"/></characteristic></characteristic>'
    )
    demanded = demand.read(text)
    assert demanded.parameters == (
        Parameter(("SecurityPolicy",), (("name", "4133"), ("value", "1"))),
        Parameter(
            ("Registry", "HKLM\\A & B"), (("name", "CodewordFrequency"), ("value", "3"), ("datatype", "integer"))
        ),
    )
    joint = demand.join(Policy(device_password_enabled=True), demanded)
    again = demand.read(joint.wap_document())
    assert again.parameters == demanded.parameters
    assert again.policy.device_password_enabled
    assert joint.digest != demand.join(Policy(device_password_enabled=True), demand.read(wap(""))).digest


def test_a_known_parameter_is_known_wherever_it_stands_and_however_it_is_spelt() -> None:
    """A second one of the name beside ours might be the one that the device believes."""
    text = wap('<characteristic type="elsewhere"><parm name="MINIMUMPASSWORDLENGTH" value="9"/></characteristic>')
    assert demand.read(text) == demand.Demand(Policy(min_device_password_length=9))


@pytest.mark.parametrize(
    ("kind", "minutes", "seconds"), [(1, 5, 300), (0, 5, None), (1, 0, None), (None, 5, None)], ids=str
)
def test_the_lock_of_a_wap_document(kind: int | None, minutes: int, seconds: int | None) -> None:
    """In minutes, and only where its kind says that there is one."""
    first = "" if kind is None else f'<parm name="AEFrequencyType" value="{kind}"/>'
    text = wap(f'<characteristic type="a">{first}<parm name="AEFrequencyValue" value="{minutes}"/></characteristic>')
    assert demand.read(text).policy.max_inactivity_time_device_lock == seconds


@pytest.mark.parametrize("minutes", [166, 167, 200, 1_440, 99_999_999_999])
def test_a_long_lock_of_a_wap_document_stays_a_lock(minutes: int) -> None:
    """9999 seconds mean in a policy that the device never locks: then nobody would demand anything of it any more."""
    demanded = demand.read(
        wap(
            '<characteristic type="Registry"><parm name="AEFrequencyType" value="1"/>'
            f'<parm name="AEFrequencyValue" value="{minutes}"/></characteristic>'
        )
    )
    joint = demand.join(Policy(device_password_enabled=True), demanded)
    assert '<parm name="AEFrequencyType" value="1"/><parm name="AEFrequencyValue" value="166"/>' in joint.wap_document()


def names_of(size: int, mark: str) -> Element:
    """A document that forbids applications with names of so many bytes together."""
    names = [said("ApplicationName", f"{mark}{number:03}" + "x" * 252) for number in range(size // 256)]
    return doc(said("UnapprovedInROMApplicationList", *names))


def test_lists_in_pieces_among_many_elements_are_one_list() -> None:
    """Names are forbidden that any piece forbids, hashes approved that every piece approves."""
    names = [f"{number:03x}" for number in range(4_096)]
    lists = [
        said("UnapprovedInROMApplicationList", *(said("ApplicationName", name) for name in names[first : first + 512]))
        for first in range(0, 4_096, 512)
    ]
    hashes = [
        said("ApprovedApplicationList", said("Hash", b"\x01" * 20), said("Hash", bytes((number,)) * 20))
        for number in range(2, 200)
    ]
    numbers = [said("MinDevicePasswordLength", str(number % 8 + 1)) for number in range(PARTS - len(lists + hashes))]
    demanded = demand.read(doc(*lists, *hashes, *numbers))
    assert demanded.policy == Policy(
        min_device_password_length=8,
        unapproved_in_rom_application_list=tuple(names),
        approved_application_list=("01" * 20,),
    )


def test_more_names_than_a_policy_may_have_are_refused() -> None:
    """In one document, and in two that are joined."""
    with pytest.raises(PolicyError, match="16640 bytes; at most 16384"):
        demand.read(names_of(NAMES_BYTES + 256, "a"))
    one, other = (demand.read(names_of(NAMES_BYTES, mark)) for mark in "ab")
    assert demand.join(one.policy, one).policy == one.policy
    with pytest.raises(PolicyError, match="32768 bytes; at most 16384"):
        demand.join(one.policy, other)


def test_the_digest_is_that_of_the_policy_where_there_is_nothing_else() -> None:
    """So it does not depend on the order or kind of the server's document."""
    one = demand.join(Policy(), demand.read(doc(said("AllowCamera", "0"), said("AllowBrowser", "0"))))
    other = demand.join(Policy(allow_browser=False), demand.read(doc(said("AllowCamera", "0"))))
    assert one.digest == other.digest
    assert one.digest != digest(Policy(allow_camera=False))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: wap(data.decode("latin-1"))))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No other error."""
    with contextlib.suppress(PolicyError):
        demand.read(text)
