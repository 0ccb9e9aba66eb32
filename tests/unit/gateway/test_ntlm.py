"""NTLM messages: which one it is, whose it is, and that ours is the only reading of it."""

import struct

import pytest
import spnego
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.ntlm import SIGNATURE, Authenticate, Challenge, Negotiate, NtlmError, read

UNICODE = 0x0000_0001
OEM = 0x0000_0002
ANONYMOUS = 0x0000_0800


def authenticate(user: bytes, domain: bytes = b"", flags: int = UNICODE, *, base: int = 64, shift: int = 0) -> bytes:
    """A last message as clients lay it out: fixed part, then what the fields lead to."""
    head = bytearray(SIGNATURE + struct.pack("<I", 3) + bytes(base - 12))
    at = base
    for place, value in ((28, domain), (36, user)):
        struct.pack_into("<HHI", head, place, len(value), len(value), at + shift)
        at += len(value)
    struct.pack_into("<I", head, 60, flags)
    return bytes(head) + domain + user


def wide(text: str) -> bytes:
    """As most clients write names."""
    return text.encode("utf-16-le")


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (SIGNATURE + struct.pack("<II", 1, 0xE208_8237), Negotiate()),
        (SIGNATURE + struct.pack("<II", 1, 0) + bytes(24), Negotiate()),
        (SIGNATURE + struct.pack("<I", 2) + bytes(8) + struct.pack("<I", UNICODE) + bytes(8), Challenge(unicode=True)),
        (SIGNATURE + struct.pack("<I", 2) + bytes(8) + struct.pack("<I", OEM) + bytes(8), Challenge(unicode=False)),
        (authenticate(wide("anna"), wide("LAB")), Authenticate("anna", "LAB", unicode=True)),
        (authenticate(b"anna", b"LAB", OEM), Authenticate("anna", "LAB", unicode=False)),
        (authenticate(wide("jörg"), wide("größe"), base=88), Authenticate("jörg", "größe", unicode=True)),
        (authenticate(wide("\U0001f600")), Authenticate("\U0001f600", "", unicode=True)),
        (authenticate(wide("anna@lab.test")), Authenticate("anna@lab.test", "", unicode=True)),
    ],
)
def test_messages_of_both_sides(message: bytes, wanted: Negotiate | Challenge | Authenticate) -> None:
    """In UTF-16 and in ASCII of an OEM code page; with and without version and check sum."""
    assert read(message) == wanted


@pytest.mark.parametrize(
    ("user", "domain", "name"),
    [("anna", "LAB", "LAB\\anna"), ("anna", "", "anna"), ("anna@lab.test", "", "anna@lab.test")],
)
def test_the_name_is_written_as_people_write_it(user: str, domain: str, name: str) -> None:
    """So that one function makes it canonical, whatever the scheme was."""
    assert Authenticate(user, domain, unicode=True).name == name


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "ntlm_malformed"),
        (b"NTLMSSP\x01" + bytes(60), "ntlm_malformed"),
        (SIGNATURE + struct.pack("<I", 1), "ntlm_malformed"),
        (SIGNATURE + struct.pack("<I", 2) + bytes(16), "ntlm_malformed"),
        (SIGNATURE + struct.pack("<I", 4) + bytes(60), "ntlm_malformed"),
        (authenticate(wide("anna"))[:63], "ntlm_malformed"),
        (authenticate(wide("anna"), wide("LAB"), base=60 + 4)[:-1], "ntlm_malformed"),
        (authenticate(wide("anna"), shift=-40), "ntlm_malformed"),  # a field that leads into the fixed part
        (authenticate(wide("anna"), shift=2**31), "ntlm_malformed"),
        (authenticate(b""), "ntlm_anonymous"),
        (authenticate(wide("anna"), flags=UNICODE | ANONYMOUS), "ntlm_anonymous"),
        (authenticate(wide("LAB\\anna")), "ntlm_malformed"),
        (authenticate(wide("LAB/anna")), "ntlm_malformed"),
        (authenticate(wide("anna"), wide("LAB\\X")), "ntlm_malformed"),
        (authenticate(wide("anna"), wide("a@b")), "ntlm_malformed"),
        (authenticate(wide("an\0na")), "ntlm_malformed"),
        (authenticate(wide("an\nna")), "ntlm_malformed"),
        (authenticate(wide("anna"), flags=OEM), "ntlm_malformed"),  # UTF-16 said to be OEM: NUL in between
        (authenticate(b"ann"), "ntlm_name_encoding"),  # half a character
        (authenticate(b"\x00\xd8"), "ntlm_name_encoding"),  # half a pair
        (authenticate("jörg".encode("cp850"), flags=OEM), "ntlm_name_encoding"),
    ],
)
def test_what_is_refused(message: bytes, reason: str) -> None:
    """Cut, nobody's, or to be read in two ways."""
    with pytest.raises(NtlmError, match=f"^{reason}$"):
        read(message)


def test_a_real_clients_messages() -> None:
    """Of another implementation, NTLMv2 with a message integrity code."""
    options = spnego.NegotiateOptions.use_ntlm
    client = spnego.client("LAB\\jörg", "secret", protocol="ntlm", hostname="mail.lab.test", options=options)
    first = client.step()
    assert first is not None
    assert read(first) == Negotiate()
    challenge = (
        SIGNATURE + struct.pack("<IHHIIQ", 2, 0, 0, 48, 0xA288_8201, 7) + bytes(8) + struct.pack("<HHI", 4, 4, 48)
    )
    last = client.step(challenge + bytes(4))
    assert last is not None
    assert read(last) == Authenticate("jörg", "LAB", unicode=True)


@given(
    st.binary(max_size=200), st.sampled_from([b"", SIGNATURE, *(SIGNATURE + bytes((n, 0, 0, 0)) for n in (1, 2, 3))])
)
def test_any_bytes_are_read_or_refused(data: bytes, begin: bytes) -> None:
    """Never anything else; and a name that was read stands in the message."""
    message = begin + data
    try:
        found = read(message)
    except NtlmError:
        return
    if isinstance(found, Authenticate):
        charset = "utf-16-le" if found.unicode else "ascii"
        assert found.user.encode(charset) in message
        assert found.domain.encode(charset) in message


names = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\/@"), min_size=1, max_size=20)


@given(names, st.one_of(st.just(""), names))
def test_every_name_that_is_written_is_read(user: str, domain: str) -> None:
    """In UTF-16."""
    assert read(authenticate(wide(user), wide(domain))) == Authenticate(user, domain, unicode=True)


@given(st.integers(0, 127), st.integers(0, 255))
def test_a_changed_byte_never_makes_another_user_of_the_same_bytes(at: int, value: int) -> None:
    """What is read after a change is what the fields then lead to, or nothing."""
    message = bytearray(authenticate(wide("anna"), wide("LAB"), base=88))
    message[min(at, len(message) - 1)] = value
    try:
        found = read(bytes(message))
    except NtlmError:
        return
    if isinstance(found, Authenticate):
        length, _, offset = struct.unpack_from("<HHI", message, 36)
        charset = "utf-16-le" if message[60] & UNICODE else "ascii"
        assert found.user.encode(charset) == bytes(message[offset : offset + length])
