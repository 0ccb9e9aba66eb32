"""What different spellings have in common."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.uem_server.names import root, user


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


def test_a_user_is_what_stands_before_the_domain() -> None:
    """With or without one."""
    assert (user("anna@lab.test"), user("anna")) == ("anna", "anna")
