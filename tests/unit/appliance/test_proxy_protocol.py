"""The preface that the TLS proxy puts before each connection."""

import pytest

from appliance.proxy_protocol import MOST_BYTES, SIGNATURE, Preface, PrefaceError, decoded, encoded

TICKET = "0123456789abcdef" * 4
FOUR = Preface("192.0.2.7", 50_000, "198.51.100.2", 8_443)
SIX = Preface("2001:db8::7", 50_000, "2001:db8::2", 8_443, certificate=True, ticket=TICKET)
NO_TICKET = Preface("192.0.2.7", 1, "192.0.2.8", 2, certificate=True)


@pytest.mark.parametrize("preface", [FOUR, SIX, NO_TICKET])
def test_what_is_written_is_read_and_what_follows_is_left(preface: Preface) -> None:
    data = encoded(preface)
    assert len(data) < MOST_BYTES
    assert decoded(data + b"GET / HTTP/1.1") == (preface, len(data))


def test_it_is_what_the_specification_says() -> None:
    """Version 2, PROXY, TCP over IPv4; then the addresses, the ports, and PP2_TYPE_SSL."""
    head, rest = encoded(FOUR)[:16], encoded(FOUR)[16:]
    assert head == SIGNATURE + b"\x21\x11\x00\x14"
    assert rest == bytes((192, 0, 2, 7, 198, 51, 100, 2)) + b"\xc3\x50\x20\xfb" + b"\x20\x00\x05\x01\x00\x00\x00\x00"


def test_each_part_of_it_is_waited_for() -> None:
    data = encoded(SIX)
    assert [length for length in range(len(data)) if decoded(data[:length]) is not None] == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY protocol"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", "no PROXY protocol"),
        (SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12), "command 0x20"),
        (SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12), "family 0x12"),
        (SIGNATURE + b"\x21\x11\xff\xff", "at most"),
        (SIGNATURE + b"\x21\x11\x00\x04" + bytes(4), "cut short"),
        (SIGNATURE + b"\x21\x11\x00\x0e" + bytes(14), "cut short"),
        (SIGNATURE + b"\x21\x11\x00\x10" + bytes(12) + b"\xe0\x00\x09a", "cut short"),
        (SIGNATURE + b"\x21\x11\x00\x13" + bytes(12) + b"\xe0\x00\x04a b!", "a ticket that is none"),
    ],
)
def test_what_is_none_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(PrefaceError, match=words):
        decoded(data)


def test_addresses_of_two_families_are_no_connection() -> None:
    with pytest.raises(ValueError, match="of one family"):
        encoded(Preface("192.0.2.7", 1, "2001:db8::2", 2))
