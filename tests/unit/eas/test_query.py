"""The plain and the base64 query: what is read, and what is refused rather than guessed."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentry_runtime.devices import store
from sentry_runtime.eas import query
from sentry_runtime.eas.query import COMMANDS, VERSIONS, ParsedQuery, QueryError, parse

PLAIN = b"Cmd=Sync&User=anna&DeviceId=Appl87&DeviceType=iPhone"
# Command 9 (FolderSync) in version 14.1 for a device of 16 bytes with policy key 1 and the user parameter.
GUID = bytes(range(16))


def blob(
    version: int = 141,
    command: int = 0,
    device: bytes = b"v140Device",
    key: bytes = b"",
    kind: bytes = b"SmartPhone",
    rest: bytes = b"",
) -> bytes:
    """The bytes behind a base64 query."""
    head = bytes((version, command, 9, 4, len(device))) + device + bytes((len(key),)) + key
    return head + bytes((len(kind),)) + kind + rest


def encoded(data: bytes) -> bytes:
    """As a query."""
    return base64.b64encode(data)


def test_the_plain_form() -> None:
    """The device id in upper case, everything else as it was sent."""
    assert parse(PLAIN, "14.1", "42") == ParsedQuery("APPL87", (), "iPhone", "anna", "Sync", "14.1", 42)
    assert parse(PLAIN) == ParsedQuery("APPL87", (), "iPhone", "anna", "Sync", "", None)


def test_the_example_of_the_specification() -> None:
    """MS-ASHTTP's own blob: Sync, 14.0, no policy key."""
    wanted = ParsedQuery("76313430446576696365", ("V140DEVICE",), "SmartPhone", None, "Sync", "14.0", None)
    assert parse(b"jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l") == wanted


def test_the_base64_form_with_all_parts() -> None:
    """A GUID has no printable reading; the key is little-endian; the user is parameter 8."""
    data = blob(161, 23, GUID, (7).to_bytes(4, "little"), b"iPad", bytes((1, 2)) + b"18" + bytes((8, 4)) + b"anna")
    assert parse(encoded(data)) == ParsedQuery(GUID.hex().upper(), (), "iPad", "anna", "Find", "16.1", 7)


@pytest.mark.parametrize(
    "form",
    [
        base64.b64encode,
        lambda data: base64.b64encode(data).rstrip(b"="),
        base64.urlsafe_b64encode,
        lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
        lambda data: base64.b64encode(data).replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D"),
        lambda data: base64.b64encode(data).replace(b"+", b"%2b").replace(b"/", b"%2f").replace(b"=", b"%3d"),
    ],
)
@given(device=st.binary(min_size=1, max_size=32), kind=st.text("abcXYZ019", min_size=1, max_size=20))
@example(device=b"\xfb\xff\xfe", kind="a")
def test_every_alphabet_and_padding_of_base64_is_one_device(form, device: bytes, kind: str) -> None:  # type: ignore[no-untyped-def]
    """A "+" is never turned into a space."""
    got = parse(form(blob(device=device, kind=kind.encode())))
    assert (got.device_id, got.device_type) == (device.hex().upper(), kind)


@pytest.mark.parametrize(("code", "name"), COMMANDS.items())
def test_every_command_by_code_and_by_name_in_any_case(code: int, name: str) -> None:
    """The canonical spelling comes out."""
    assert parse(encoded(blob(command=code))).command == name
    assert parse(PLAIN.replace(b"Sync", name.lower().encode())).command == name


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "query_missing"),
        (b"Cmd=Sync", "device_id_missing"),
        (b"Cmd=Sync&User=anna&DeviceType=iPhone", "device_id_missing"),
        (b"Cmd=Sync&User=anna&DeviceId=A", "device_type_missing"),
        (b"User=anna&DeviceId=A&DeviceType=iPhone", "command_missing"),
        (PLAIN.replace(b"Sync", b"Format"), "command_unknown"),
        (PLAIN + b"&DeviceId=B", "parameter_doubled"),
        (PLAIN + b"&dEvIcEiD=B", "parameter_doubled"),
        (PLAIN + b"&Cmd=Ping", "parameter_doubled"),
        (PLAIN + b"&User=bert", "parameter_doubled"),
        (PLAIN + b"&", "parameter_malformed"),
        (PLAIN + b"&SaveInSent", "parameter_malformed"),
        (PLAIN + b"&Device%49d=B", "parameter_malformed"),
        (PLAIN + b"&DeviceId[]=B", "query_characters"),
        (PLAIN + b";DeviceId=B", "query_characters"),
        (PLAIN + b"?DeviceId=B", "query_characters"),
        (PLAIN + b"&a=\xc3\xa9", "query_characters"),
        (PLAIN + b"&a=%4", "query_characters"),
        (PLAIN.replace(b"Appl87", b"A%20B"), "device_id_malformed"),
        (PLAIN.replace(b"Appl87", b"A+B"), "device_id_malformed"),
        (PLAIN.replace(b"Appl87", b"A%00B"), "parameter_characters"),
        (PLAIN.replace(b"Appl87", b"A%0aB"), "parameter_characters"),
        (PLAIN.replace(b"Appl87", b"%ff"), "parameter_encoding"),
        (PLAIN.replace(b"Appl87", b"%c3%a9"), "device_id_malformed"),
        (PLAIN.replace(b"Appl87", b"A" * 65), "parameter_too_long"),
        (PLAIN + b"&a=" + b"x" * 5000, "query_too_long"),
        (b"AAAA", "blob_truncated"),
        (b"A", "blob_truncated"),
        (b"!!!!", "query_characters"),
        (encoded(blob(version=120)), "protocol_unknown"),
        (encoded(blob(version=25)), "protocol_unknown"),
        (encoded(blob(command=99)), "command_unknown"),
        (encoded(blob(device=b"")), "device_id_malformed"),
        (encoded(blob(device=b"x" * 33)), "device_id_malformed"),
        (encoded(blob(key=b"12")), "policy_key_malformed"),
        (encoded(blob(kind=b"")), "device_type_missing"),
        (encoded(blob(kind=b"a\nb")), "parameter_characters"),
        (encoded(blob(rest=b"x")), "parameter_malformed"),
        (encoded(blob(rest=bytes((1, 9)) + b"ab")), "blob_truncated"),
        (encoded(blob(rest=bytes((1, 1, 65, 1, 1, 66)))), "parameter_doubled"),
        (encoded(blob(rest=bytes((9, 1, 65)))), "parameter_malformed"),
        (encoded(blob())[:-4], "blob_truncated"),
    ],
)
def test_what_is_refused(sent: bytes, reason: str) -> None:
    """Each with a word of its own."""
    with pytest.raises(QueryError, match=f"^{reason}$"):
        parse(sent)


@pytest.mark.parametrize(
    ("sent", "version", "key", "reason"),
    [
        (PLAIN, "14.2", None, "protocol_unknown"),
        (PLAIN, "14.1", "-1", "policy_key_malformed"),
        (PLAIN, "14.1", "4294967296", "policy_key_malformed"),
        (encoded(blob()), "14.0", None, "protocol_conflict"),
        (encoded(blob()), None, "1", "policy_key_conflict"),
        (encoded(blob(key=b"\1\0\0\0")), None, "2", "policy_key_conflict"),
    ],
)
def test_headers_that_contradict_are_refused(sent: bytes, version: str | None, key: str | None, reason: str) -> None:
    """With the base64 form they should not be there; where they are they must agree."""
    with pytest.raises(QueryError, match=f"^{reason}$"):
        parse(sent, version, key)


def test_headers_that_agree_are_taken() -> None:
    """Some clients send both; a key of 0 is no key."""
    assert parse(encoded(blob()), "14.1", "0").policy_key is None
    assert parse(encoded(blob(key=b"\1\0\0\0")), "14.1", "1").policy_key == 1


@given(st.binary(max_size=200), st.none() | st.text(max_size=10), st.none() | st.text(max_size=12))
def test_garbage_is_refused_or_read_within_bounds(data: bytes, version: str | None, key: str | None) -> None:
    """No other error, and whatever is read can be a key of the device list and a part of a log line."""
    try:
        got = parse(data, version, key)
    except QueryError:
        return
    assert 0 < len(got.device_id) <= store.DEVICE_ID_BYTES
    assert got.device_id.isascii()
    assert got.device_id.isprintable()
    assert got.device_id == got.device_id.upper()
    assert got.command in COMMANDS.values()
    assert got.protocol in {"", *VERSIONS.values()}


@given(st.binary(max_size=120))
def test_a_damaged_blob_is_refused_or_read_within_bounds(data: bytes) -> None:
    """Any bytes in base64."""
    try:
        got = parse(encoded(data))
    except QueryError:
        return
    assert bytes.fromhex(got.device_id) in data
    assert got.device_type.isprintable()


@pytest.mark.parametrize("spell", [lambda text: text, lambda text: text.rstrip(b"=")], ids=["padded", "unpadded"])
@pytest.mark.parametrize(
    "escape", [lambda text: text, lambda text: text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")]
)
@pytest.mark.parametrize("url_safe", [False, True])
@given(st.binary(min_size=1, max_size=16), st.binary(min_size=4, max_size=4), st.binary(max_size=8))
def test_a_policy_key_is_taken_out_and_nothing_else(
    spell: Callable[[bytes], bytes],
    escape: Callable[[bytes], bytes],
    url_safe: bool,  # noqa: FBT001 - a table
    device: bytes,
    key: bytes,
    user: bytes,
) -> None:
    """In the alphabet, padding and escapes that were sent, at the same length of what they say."""
    table = bytes.maketrans(b"+/", b"-_") if url_safe else None

    def query_of(held: bytes) -> bytes:
        whole = encoded(blob(device=device, key=held, rest=bytes((8, len(user))) + user))
        return escape(spell(whole.translate(table)))

    assert query.with_policy_key(query_of(key), 0) == query_of(bytes(4))


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("url_safe", [False, True])
@given(
    device=st.binary(min_size=1, max_size=16),
    before=st.just(b"") | st.binary(min_size=4, max_size=4),
    key=st.integers(1, 2**32 - 1),
    user=st.binary(max_size=8),
)
def test_another_policy_key_takes_the_place_of_the_clients(
    padded: bool,  # noqa: FBT001 - a table
    escaped: bool,  # noqa: FBT001 - a table
    url_safe: bool,  # noqa: FBT001 - a table
    device: bytes,
    before: bytes,
    key: int,
    user: bytes,
) -> None:
    """Whether it had one or not: the query is read as the same but for the key, and padded as before."""
    rest = bytes((8, len(user))) + user
    text = encoded(blob(device=device, key=before, rest=rest)).translate(
        bytes.maketrans(b"+/", b"-_") if url_safe else None
    )
    text = text if padded else text.rstrip(b"=")
    sent = text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D") if escaped else text
    got = query.with_policy_key(sent, key)
    assert query.is_base64(got)
    read = got.replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")
    bare = read.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    wanted = blob(device=device, key=key.to_bytes(4, "little"), rest=rest)
    assert base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True) == wanted
    assert query.with_policy_key(got, key) == got
    if padded:
        assert len(read) % 4 == 0
    elif len(text) % 4:  # else nothing tells what the client does
        assert not read.endswith(b"=")


@pytest.mark.parametrize(
    ("sent", "key", "got"),
    [
        (b"Cmd=Sync&PolicyKey=77&DeviceId=A", 5, b"Cmd=Sync&PolicyKey=5&DeviceId=A"),
        (b"policykey=77&Cmd=Sync", 5, b"policykey=5&Cmd=Sync"),
        (b"Cmd=Sync&PolicyKey=", 0, b"Cmd=Sync&PolicyKey=0"),
        (b"Cmd=Sync&NoPolicyKey=77", 5, b"Cmd=Sync&NoPolicyKey=77"),
    ],
)
def test_a_key_in_a_parameter_of_the_plain_form_is_replaced(sent: bytes, key: int, got: bytes) -> None:
    """pyactivesync has it there in phase 2, and servers read it."""
    assert query.with_policy_key(sent, key) == got


def test_a_query_without_a_policy_key_stays_as_it_is() -> None:
    """Also one that is odd in its escapes, and the plain form."""
    for text in (PLAIN, encoded(blob()), encoded(blob(key=bytes(4))), b"jQkJBAp2MTQwRGV2aWNlAApTbWFydFBob25l"):
        assert query.with_policy_key(text, 0) == text
