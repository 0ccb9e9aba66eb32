"""What a device says of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas.codepages import PROVISION, SETTINGS
from sentry_runtime.eas.device_information import (
    FIELD_CHARS,
    DeviceInformation,
    belongs_to_provision,
    cleaned,
    in_settings,
    read,
    write,
)
from sentry_runtime.eas.wbxml import decode, element, encode

PHONE = DeviceInformation(model="iPhone10C1", imei="490154203237518", os="iOS 17.0", enable_outbound_sms="0")
# What a phone of 12.1 sends with Settings: DeviceInformation{Set{Model, OS}}.
SETTINGS_REQUEST = (
    bytes.fromhex("03016a00 0012 45 56 48 57 03")
    + b"iPhone\0"
    + bytes.fromhex("01 5a 03")
    + b"iOS\0"
    + bytes.fromhex("01 01 01 01")
)

texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=200)
devices = st.builds(DeviceInformation, *[texts] * 9)


@given(devices)
def test_what_is_written_is_read_again(device: DeviceInformation) -> None:
    """Over the wire."""
    assert read(decode(encode(element(SETTINGS, "Settings", write(device))))) == device


@given(devices)
def test_what_is_kept_is_short_printable_and_clean_for_good(device: DeviceInformation) -> None:
    """Whatever a device sends: it is shown on an administrator's screen."""
    kept = cleaned(device)
    for field in DeviceInformation.__struct_fields__:
        text = getattr(kept, field)
        assert len(text) <= FIELD_CHARS
        assert text.isprintable()
        assert text == text.strip()
    assert cleaned(kept) == kept


def test_an_ordinary_word_stays_as_it_is() -> None:
    """And a hostile one loses what could act on a terminal."""
    assert cleaned(PHONE) == PHONE
    hostile = DeviceInformation(model=" \x1b[2Jiphone\u202e\n ", friendly_name="Ännchens Telefon", os="x" * 1_000)
    assert cleaned(hostile) == DeviceInformation(
        model="[2Jiphone", friendly_name="Ännchens Telefon", os="x" * FIELD_CHARS
    )


def test_an_older_phone_says_it_in_settings() -> None:
    """In the middle of whatever else that asks."""
    assert in_settings(SETTINGS_REQUEST) == DeviceInformation(model="iPhone", os="iOS")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        SETTINGS_REQUEST[:-1],
        encode(element(SETTINGS, "Settings", element(SETTINGS, "Get"))),
        encode(element(PROVISION, "Provision", write(PHONE))),
    ],
)
def test_another_body_says_nothing(body: bytes) -> None:
    """And raises nothing."""
    assert in_settings(body) is None


@given(st.binary(max_size=200))
def test_garbage_says_nothing(body: bytes) -> None:
    """Never an exception."""
    in_settings(b"\x03\x01\x6a\x00\x00\x12" + body)


@pytest.mark.parametrize(
    ("protocol", "there"),
    [("2.5", False), ("12.1", False), ("14.0", False), ("14.1", True), ("16.1", True), ("", False)],
)
def test_from_14_1_on_it_belongs_to_provision(protocol: str, there: bool) -> None:  # noqa: FBT001 - a table
    """Before that to Settings."""
    assert belongs_to_provision(protocol) is there
