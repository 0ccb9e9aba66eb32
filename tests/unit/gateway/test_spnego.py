"""What is inside a Negotiate token."""

import contextlib

import pytest
import spnego as reference
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.ntlm import SIGNATURE
from sentry_runtime.gateway.spnego import SpnegoError, ntlm_message

MESSAGE = SIGNATURE + b"\1\0\0\0" + bytes(24)
SPNEGO, NTLMSSP = bytes.fromhex("06062b0601050502"), bytes.fromhex("060a2b06010401823702020a")
KERBEROS, WINDOWS_KERBEROS = bytes.fromhex("06092a864886f712010202"), bytes.fromhex("06092a864882f712010202")
NEGOEX = bytes.fromhex("060a2b06010401823702021e")


def der(tag: int, *parts: bytes) -> bytes:
    """A value with the shortest length."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def init(*mechanisms: bytes, token: bytes | None = MESSAGE, extra: bytes = b"") -> bytes:
    """A client's first token."""
    fields = der(0xA0, der(0x30, *mechanisms))
    if token is not None:
        fields += der(0xA2, der(0x04, token))
    return der(0x60, SPNEGO, der(0xA0, der(0x30, fields, extra)))


def response(*fields: bytes) -> bytes:
    """A later token."""
    return der(0xA1, der(0x30, *fields))


TOKEN = der(0xA2, der(0x04, MESSAGE))


@pytest.mark.parametrize(
    "token",
    [
        MESSAGE,
        init(NTLMSSP),
        init(NTLMSSP, KERBEROS),
        init(NTLMSSP, extra=der(0xA3, der(0x04, b"mic"))),
        response(TOKEN),
        response(der(0xA0, der(0x0A, b"\1")), TOKEN, der(0xA3, der(0x04, bytes(16)))),
        response(der(0xA0, der(0x0A, b"\1")), der(0xA1, NTLMSSP), TOKEN),
    ],
)
def test_the_ntlm_message_inside(token: bytes) -> None:
    """Bare, in a first token and in a later one."""
    assert ntlm_message(token) == MESSAGE


def test_long_messages_have_long_lengths() -> None:
    """Of one octet and of two."""
    for size in (0x7F, 0x80, 0xFF, 0x100, 0x3000):
        message = MESSAGE + bytes(size)
        assert ntlm_message(init(NTLMSSP, token=message)) == message


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (der(0x60, KERBEROS, b"\1\0"), "kerberos_not_served"),
        (init(KERBEROS, NTLMSSP), "kerberos_not_served"),
        (init(WINDOWS_KERBEROS, KERBEROS, NTLMSSP, token=b"\x60\x00"), "kerberos_not_served"),
        (response(der(0xA1, KERBEROS), TOKEN), "kerberos_not_served"),
        (init(NEGOEX, NTLMSSP), "mechanism_not_served"),
        (der(0x60, NTLMSSP, b""), "mechanism_not_served"),
        (init(NTLMSSP, token=b"other"), "mechanism_not_served"),
        (init(NTLMSSP, token=None), "negotiate_malformed"),
        (init(), "negotiate_malformed"),
        (b"", "negotiate_malformed"),
        (b"\x60", "negotiate_malformed"),
        (der(0x60), "negotiate_malformed"),
        (der(0x60, SPNEGO), "negotiate_malformed"),
        (init(NTLMSSP) + b"\0", "negotiate_malformed"),
        (init(NTLMSSP)[:-1], "negotiate_malformed"),
        (response(TOKEN, der(0xA1, NTLMSSP)), "negotiate_malformed"),  # out of order
        (response(TOKEN, TOKEN), "negotiate_malformed"),
        (response(der(0xA4, b""), TOKEN), "negotiate_malformed"),
        (response(der(0xA2, der(0x04, MESSAGE), der(0x04, MESSAGE))), "negotiate_malformed"),
        (response(der(0xA2, der(0x30, MESSAGE))), "negotiate_malformed"),
        (der(0xA1, TOKEN), "negotiate_malformed"),
        (der(0xA2, der(0x30, TOKEN)), "negotiate_malformed"),
        (b"\xa1\x80" + der(0x30, TOKEN) + b"\0\0", "negotiate_malformed"),  # an indefinite length
        (b"\xa1\x81\x30" + bytes(48), "negotiate_malformed"),  # longer than need be
        (b"\xa1\x83\x00\x00\x01\x00", "negotiate_malformed"),
    ],
)
def test_what_is_refused(token: bytes, reason: str) -> None:
    """Kerberos has a word of its own; whatever could be read in two ways is malformed."""
    with pytest.raises(SpnegoError, match=f"^{reason}$"):
        ntlm_message(token)


def test_a_real_clients_first_token() -> None:
    """Of another implementation."""
    options = reference.NegotiateOptions.use_negotiate
    client = reference.client("LAB\\anna", "secret", protocol="negotiate", hostname="mail.lab.test", options=options)
    token = client.step()
    assert token is not None
    assert ntlm_message(token).startswith(SIGNATURE + b"\1")


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """And a message that was found stands in them."""
    for token in (data, b"\xa1" + data, der(0x60, SPNEGO, data), response(data)):
        with contextlib.suppress(SpnegoError):
            assert ntlm_message(token) in token


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_is_read_strictly(at: int, value: int) -> None:
    """Nothing but an NTLM message ever comes out."""
    token = bytearray(init(NTLMSSP))
    token[at % len(token)] = value
    with contextlib.suppress(SpnegoError):
        assert ntlm_message(bytes(token)).startswith(SIGNATURE)
