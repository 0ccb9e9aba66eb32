"""The Provision command: against what real phones and servers said, an independent decoder, itself, and garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import (
    BYTES,
    EAS_WBXML,
    WAP_XML,
    Acknowledgement,
    Ask,
    PolicyAnswer,
    ProvisionError,
    Request,
    Response,
    WipeAcknowledgement,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    policy_answer,
    policy_types,
)
from tests import oracle

KIND = b"\x03" + EAS_WBXML.encode() + b"\x00"
HEAD = bytes.fromhex("03016a00 000e 45")
KEY = b"\x031449819295\x00"
PASSWORD = Policy(device_password_enabled=True, min_device_password_length=6, attachments_enabled=True)
PHONE = DeviceInformation(model="iPhone10C1", os="iOS 17.0", friendly_name="test")

# What phones sent to a real server (Horde 5), piece by piece.
PHASE_1 = HEAD + bytes.fromhex("46 47 48") + KIND + bytes.fromhex("01 01 01 01")
PHASE_1_DEVICE = (
    HEAD
    + bytes.fromhex("0012 56 48 57")
    + b"\x03iPhone10C1\x00\x01"
    + b"\x5a\x03iOS 17.0\x00\x01"
    + b"\x59\x03test\x00\x01"
    + bytes.fromhex("01 01 000e 46 47 48")
    + KIND
    + bytes.fromhex("01 01 01 01")
)
PHASE_2 = HEAD + bytes.fromhex("46 47 48") + KIND + b"\x01\x49" + KEY + bytes.fromhex("01 4b 033100 01 01 01 01")
EMPTY = bytes.fromhex("03016a00 000e 05")
WIPED = bytes.fromhex("03016a00 000e 45 4c 4b 033100 01 01 01")
# What the server answered.
OFFERED = (
    HEAD
    + bytes.fromhex("4b 033100 01 46 47 48")
    + KIND
    + bytes.fromhex("01 4b 033100 01 49")
    + KEY
    + bytes.fromhex("01 4a 4d 4e 033100 01 54 033600 01 53 033100 01 01 01 01 01 01")
)
GRANTED = (
    HEAD
    + bytes.fromhex("4b 033100 01 46 47 48")
    + KIND
    + bytes.fromhex("01 4b 033100 01 49")
    + KEY
    + b"\x01\x01\x01\x01"
)
WIPE = bytes.fromhex("03016a00 000e 45 4b 033100 01 0c 01")

texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
numbers = st.integers(0, 2**32 - 1)
devices = st.builds(DeviceInformation, *[texts] * 9)
requests: st.SearchStrategy[Request] = (
    st.builds(Ask, st.sampled_from(["", EAS_WBXML, WAP_XML]), st.none() | devices)
    | st.builds(Acknowledgement, st.sampled_from([EAS_WBXML, WAP_XML]), st.none() | numbers, numbers)
    | st.builds(WipeAcknowledgement, numbers, st.booleans())
)
answers = st.builds(
    PolicyAnswer,
    st.sampled_from([EAS_WBXML, WAP_XML]),
    numbers,
    st.none() | numbers,
    st.none() | texts.filter(bool) | st.builds(Policy, allow_camera=st.booleans()),
)
responses = st.builds(
    Response,
    status=numbers,
    policy=st.none() | answers,
    device_status=st.none() | numbers,
    remote_wipe=st.booleans(),
    account_only_remote_wipe=st.booleans(),
)


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (PHASE_1, Ask(EAS_WBXML)),
        (PHASE_1_DEVICE, Ask(EAS_WBXML, PHONE)),
        (PHASE_2, Acknowledgement(EAS_WBXML, 1449819295, 1)),
        (EMPTY, Ask()),
        (WIPED, WipeAcknowledgement(1)),
    ],
)
def test_requests_of_real_phones(data: bytes, request_: Request) -> None:
    """Read; and written the same, but for the order of what a device says of itself."""
    assert decode_request(data) == request_
    if data is not PHASE_1_DEVICE:
        assert encode_request(request_) == data


@pytest.mark.parametrize(
    ("data", "response"),
    [
        (OFFERED, Response(policy=PolicyAnswer(EAS_WBXML, key=1449819295, document=PASSWORD))),
        (GRANTED, Response(policy=PolicyAnswer(EAS_WBXML, key=1449819295))),
        (WIPE, Response(remote_wipe=True)),
    ],
)
def test_responses_of_a_real_server(data: bytes, response: Response) -> None:
    """Read; and written the same, but for the order inside the document."""
    assert decode_response(data) == response
    written = encode_response(response, "12.1")
    assert written == data.replace(
        bytes.fromhex("54 033600 01 53 033100 01"), bytes.fromhex("53 033100 01 54 033600 01")
    )


def test_policy_type_may_come_last() -> None:
    """As in the specification's own sample."""
    body = (
        HEAD
        + bytes.fromhex("46 47 49")
        + KEY
        + bytes.fromhex("01 4b 033100 01 48")
        + KIND
        + bytes.fromhex("01 01 01 01")
    )
    assert decode_request(body) == Acknowledgement(EAS_WBXML, 1449819295, 1)


def test_device_information_is_answered_from_14_1_on() -> None:
    """Older clients do not know it in this place."""
    answered = bytes.fromhex("03016a00 000e 45 0012 56 46 033100 01 01 000e 4b 033100 01 01")
    plain = bytes.fromhex("03016a00 000e 45 4b 033100 01 01")
    for protocol, expected in (("12.1", plain), ("14.0", plain), ("14.1", answered), ("16.1", answered)):
        assert encode_response(Response(device_status=1), protocol) == expected


def test_only_16_1_knows_the_wipe_of_an_account() -> None:
    """Token 3B."""
    directive = Response(account_only_remote_wipe=True)
    assert encode_response(directive, "16.1") == bytes.fromhex("03016a00 000e 45 4b 033100 01 3b 01")
    assert encode_response(directive, "16.0") == bytes.fromhex("03016a00 000e 45 4b 033100 01 01")
    acknowledged = WipeAcknowledgement(2, account_only=True)
    assert encode_request(acknowledged) == bytes.fromhex("03016a00 000e 45 7b 4b 033200 01 01 01")


def test_the_document_of_2_5_is_a_text() -> None:
    """Inside Data."""
    body = encode_response(Response(policy=policy_answer(Policy(), WAP_XML, 7)), "2.5")
    assert body.endswith(b"\x4a\x03" + policy_answer(Policy(), WAP_XML, 7).document.encode() + b"\x00\x01\x01\x01\x01")  # type: ignore[union-attr]
    assert policy_types("2.5") == (WAP_XML,)
    assert policy_types("12.0") == policy_types("16.1") == (EAS_WBXML,)


@given(requests)
def test_a_request_reads_back_as_it_was(request_: Request) -> None:
    """All kinds."""
    assert decode_request(encode_request(request_)) == request_


@given(responses)
def test_a_response_reads_back_as_it_was(response: Response) -> None:
    """All kinds, in the version that knows everything."""
    assert decode_response(encode_response(response, "16.1")) == response


@given(st.binary(max_size=60), st.sampled_from([b"", HEAD, PHASE_1_DEVICE[:40]]))
def test_garbage_is_one_error(data: bytes, begin: bytes) -> None:
    """Never another exception."""
    for read in (decode_request, decode_response):
        try:
            read(begin + data)
        except ProvisionError:
            continue


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "nothing"),
        (b"x" * (BYTES + 1), "65537 bytes"),
        (bytes.fromhex("03016a00 0007 56 52 033000 01 01"), "Provision is expected"),
        (HEAD + bytes.fromhex("46 47 4b 033100 01 01 01 01"), "without its PolicyType"),
        (HEAD + bytes.fromhex("4c 4b 03") + b"one\0" + bytes.fromhex("01 01 01"), "'one'"),
        (HEAD + bytes.fromhex("4c 01 01"), "no Status"),
        (PHASE_2.replace(KEY, b"\x034294967296\x00"), "32 bits"),
        (PHASE_1.replace(KIND, b"\x03" + b"x" * 1_025 + b"\0"), "1025 characters"),
    ],
)
def test_what_is_no_provision_is_refused_and_named(data: bytes, found: str) -> None:
    """In the reader's words."""
    with pytest.raises(ProvisionError, match=found):
        decode_request(data)


@pytest.mark.parametrize("protocol", ["12.0", "12.1", "14.1", "16.1"])
def test_an_independent_decoder_reads_our_response(protocol: str) -> None:
    """libwbxml's table is of 12.1, which has all elements of the document."""
    policy = Policy(device_password_enabled=True, max_device_password_failed_attempts=8, allow_camera=False)
    offered = Response(policy=policy_answer(policy, EAS_WBXML, 77), device_status=1)
    text = oracle.to_xml(encode_response(offered, protocol))
    assert "<DevicePasswordEnabled>1</DevicePasswordEnabled>" in text
    assert "<MaxDevicePasswordFailedAttempts>8</MaxDevicePasswordFailedAttempts>" in text
    assert ("<AllowCamera>0</AllowCamera>" in text) == (protocol != "12.0")
    assert "<PolicyKey>77</PolicyKey>" in text
