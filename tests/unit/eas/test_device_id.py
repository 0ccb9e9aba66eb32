"""From what a request carries to the one text under which a device is known."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices import store
from sentry_runtime.eas.device_id import DEVICE_ID_CHARS, DeviceId, DeviceIdError, Form, read, root

GUID = bytes(range(16))


@pytest.mark.parametrize(
    ("form", "octets", "wanted"),
    [
        (Form.PLAIN, b"Appl87", DeviceId("APPL87")),
        (Form.PLAIN, b"appl87", DeviceId("APPL87")),
        (Form.PLAIN, b"~!,-*", DeviceId("~!,-*")),
        (Form.PLAIN, b"x" * 64, DeviceId("X" * 64)),
        (Form.PLAIN, b"000102030405060708090a0b0c0d0e0f", DeviceId("000102030405060708090A0B0C0D0E0F")),
        (Form.BASE64, GUID, DeviceId("000102030405060708090A0B0C0D0E0F")),
        (Form.BASE64, b"Appl87", DeviceId("4170706C3837", ("APPL87",))),
        (Form.BASE64, b"appl87", DeviceId("6170706C3837", ("APPL87",))),
        (Form.BASE64, b"a b", DeviceId("612062")),
        (Form.BASE64, b"a+b", DeviceId("612B62")),
        (Form.BASE64, b"\xc3\xa9", DeviceId("C3A9")),
        (Form.BASE64, b"\x00", DeviceId("00")),
        (Form.BASE64, b"x" * 32, DeviceId("78" * 32, ("X" * 32,))),
    ],
)
def test_the_table(form: Form, octets: bytes, wanted: DeviceId) -> None:
    """One row each: form, bytes, id and alias."""
    assert read(form, octets) == wanted


@pytest.mark.parametrize(
    ("form", "octets"),
    [
        (Form.PLAIN, b""),
        (Form.PLAIN, b"x" * 65),
        (Form.PLAIN, b"a b"),
        (Form.PLAIN, b"a+b"),
        (Form.PLAIN, b"a\nb"),
        (Form.PLAIN, b"ab\n"),
        (Form.PLAIN, b"\x7f"),
        (Form.PLAIN, "é".encode()),
        (Form.BASE64, b""),
        (Form.BASE64, b"x" * 33),
    ],
)
def test_what_is_no_device_id(form: Form, octets: bytes) -> None:
    """Nothing that a server could read in two ways, and nothing that the device list cannot hold."""
    with pytest.raises(DeviceIdError):
        read(form, octets)


@given(st.sampled_from(Form), st.binary(max_size=70))
def test_an_id_is_its_own_id_in_the_plain_form_and_fits_into_the_list(form: Form, octets: bytes) -> None:
    """Whatever its bytes were: an administrator can type what a list shows."""
    try:
        known = read(form, octets)
    except DeviceIdError:
        return
    for spelling in (known.canonical, *known.aliases):
        assert read(Form.PLAIN, spelling.encode()) == DeviceId(spelling)
        assert 0 < len(spelling) <= store.DEVICE_ID_BYTES == DEVICE_ID_CHARS
        assert root(spelling) == root(known.canonical)


@given(st.binary(min_size=1, max_size=32), st.binary(min_size=1, max_size=32))
def test_no_two_byte_strings_have_one_id_in_the_base64_form(one: bytes, other: bytes) -> None:
    """And in the plain form only those that differ in case."""
    assert (read(Form.BASE64, one) == read(Form.BASE64, other)) == (one == other)
    with contextlib.suppress(DeviceIdError):
        assert (read(Form.PLAIN, one) == read(Form.PLAIN, other)) == (one.upper() == other.upper())


@given(st.text(alphabet=[chr(code) for code in range(33, 127) if chr(code) != "+"], min_size=1, max_size=32))
def test_a_phone_has_one_root_in_both_forms(text: str) -> None:
    """So it counts once, and a block under one form restricts the other; but its two ids stay two."""
    plain, blob = read(Form.PLAIN, text.encode()), read(Form.BASE64, text.encode())
    assert root(plain.canonical) == root(blob.canonical)
    assert blob.aliases == (plain.canonical,)
    assert plain.canonical != blob.canonical


@pytest.mark.parametrize(
    ("device_id", "wanted"),
    [
        ("PHONE1", "PHONE1"),
        ("50484F4E4531", "PHONE1"),
        ("70686F6E6531", "PHONE1"),
        ("353034383446344534353331", "PHONE1"),  # the hex of the hex
        ("C1", "C1"),  # hex, but of no text
        ("4331", "C1"),
        ("433", "433"),
        ("0A0B", "0A0B"),
        ("202B", "202B"),  # a space and a plus are no device id
        ("D9F1A1B2C3D4E5F60718293A4B5C6D7E", "D9F1A1B2C3D4E5F60718293A4B5C6D7E"),
        ("ÄÖ", "ÄÖ"),
    ],
)
def test_text_and_hex_have_one_root(device_id: str, wanted: str) -> None:
    """In whatever case the bytes were."""
    assert root(device_id) == wanted


@given(st.text(alphabet="ABCDEF0123456789XYZ", min_size=1, max_size=32))
def test_the_hex_of_any_id_has_the_root_of_the_id(device_id: str) -> None:
    """And a root is its own root."""
    assert root(device_id.encode().hex().upper()) == root(device_id) == root(root(device_id))
