"""The WBXML codec: against captured documents, an independent decoder, itself, and garbage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentry_runtime.eas import codepages, wbxml
from sentry_runtime.eas.codepages import FOLDERS, PING, PROVISION, SETTINGS
from sentry_runtime.eas.wbxml import Element, WbxmlError, decode, element, encode, fragment
from tests import oracle

# What a phone sent to, and got from, a real server (SOGo 5.8, Horde 5).
FOLDER_SYNC = bytes.fromhex("03016a00000756520330000101")
REMOTE_WIPE = bytes.fromhex("03016a00000e454b033100010c01")
PROVISION_ACKNOWLEDGED = bytes.fromhex("03 01 6a 00 00 0e 45 4c 4b 03 31 00 01 01 01")

pages, tokens = st.integers(0, 255), st.integers(0x05, 0x3F)
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
leaves = texts | st.binary(max_size=200)
elements = st.recursive(
    st.builds(Element, pages, tokens),
    lambda inner: st.builds(Element, pages, tokens, st.lists(inner | leaves, max_size=5).map(tuple)),
    max_leaves=20,
)

# libwbxml's table is of 12.1: an older name, another spelling, and nothing of 16.1.
OTHER_NAMES = {
    "RequireStorageCardEncryption": "DeviceEncryptionEnabled",
    "SMTPAddress": "SmtpAddress",
    "AccountOnlyRemoteWipe": "unknown",
}


def test_a_captured_folder_sync() -> None:
    """The first request of every device."""
    root = element(FOLDERS, "FolderSync", element(FOLDERS, "SyncKey", "0"))
    assert decode(FOLDER_SYNC) == root
    assert encode(root) == FOLDER_SYNC


def test_a_captured_remote_wipe() -> None:
    """An element without content."""
    root = element(PROVISION, "Provision", element(PROVISION, "Status", "1"), element(PROVISION, "RemoteWipe"))
    assert decode(REMOTE_WIPE) == root
    assert encode(root) == REMOTE_WIPE
    assert decode(PROVISION_ACKNOWLEDGED).child(PROVISION, "RemoteWipe") is not None


def test_pages_switch_only_where_they_change_and_persist_across_end() -> None:
    """As MS-ASWBXML has it."""
    model = element(SETTINGS, "DeviceInformation", element(SETTINGS, "Set", element(SETTINGS, "Model", "iPhone")))
    root = element(PROVISION, "Provision", model, element(PROVISION, "Policies"))
    data = encode(root)
    assert data == bytes.fromhex("03016a00 000e 45 0012 56 48 57 03") + b"iPhone\0" + bytes.fromhex(
        "01 01 01 000e 06 01"
    )
    assert decode(data) == root


@given(elements)
def test_what_was_encoded_is_decoded_again(root: Element) -> None:
    """Texts, opaque bytes, nesting and pages."""
    assert decode(encode(root)) == root


@given(elements, pages, tokens)
def test_an_element_that_is_encoded_already_makes_the_same_document(inner: Element, page: int, token: int) -> None:
    """Wherever it stands; one that ends on another page than its own cannot be put in."""
    root = Element(page, token, (Element(page, 0x05), inner, "text", inner))
    try:
        ready = fragment(inner)
    except WbxmlError:
        assert {inner.page} < {one.page for one in _all(inner)}
        return
    assert encode(Element(page, token, (Element(page, 0x05), ready, "text", ready))) == encode(root)


def _all(root: Element) -> list[Element]:
    return [root, *(one for part in root.content if isinstance(part, Element) for one in _all(part))]


@given(st.binary(max_size=60).map(lambda data: wbxml.HEADER + data))
def test_garbage_is_an_error_or_a_document(data: bytes) -> None:
    """Never another exception, and what is read has one encoding that says the same."""
    try:
        root = decode(data)
    except WbxmlError:
        return
    assert decode(encode(root)) == root


@given(elements, st.integers(0, 1_000))
def test_a_document_cut_short_is_an_error(root: Element, at: int) -> None:
    """Wherever it is cut."""
    data = encode(root)
    with pytest.raises(WbxmlError):
        decode(data[: at % len(data)])


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        ("", "the end of the data"),
        ("45", "the end of the data"),
        ("01", "END without an open element"),
        ("03 41 00", "content outside the root"),
        ("45 03 41", "a text without its NUL"),
        ("45 03 ff 00 01", "not UTF-8"),
        ("c5 01 01", "token 0xc5"),
        ("44 03 41 00 01", "token 0x44"),
        ("45 83 00 01", "token 0x83"),
        ("45 02 41 01", "token 0x02"),
        ("45 40 01", "token 0x40"),
        ("45 c3 05 41 01", "opaque data of 5 bytes, of which 2 are there"),
        ("45 c3 ff ff ff ff ff 01", "more than five bytes"),
        ("45 01 45 01", "2 bytes behind the root"),
        ("00", "the end of the data"),
    ],
)
def test_what_is_not_a_document_is_refused(tail: str, found: str) -> None:
    """With the place and what was found there."""
    with pytest.raises(WbxmlError, match=found):
        decode(wbxml.HEADER + bytes.fromhex(tail))


def test_depth_size_and_number_are_bounded() -> None:
    """A hostile body costs one error and no memory."""
    deep = wbxml.HEADER + b"\x45" * 33 + b"\x01" * 33
    with pytest.raises(WbxmlError, match="deeper than 32"):
        decode(deep)
    assert decode(wbxml.HEADER + b"\x45" * 32 + b"\x01" * 32).token == 5
    with pytest.raises(WbxmlError, match="at most 1048576"):
        decode(wbxml.HEADER + bytes(wbxml.BYTES))
    for part in (b"\x05", b"\x03x\0", b"\x00\x07", b"\x45\x01"):
        many = wbxml.HEADER + b"\x45" + part * wbxml.PARTS + b"\x01"
        with pytest.raises(WbxmlError, match="more than 131072 parts"):
            decode(many)
    few = wbxml.HEADER + b"\x45" + b"\x05" * 8 + b"\x01"
    assert len(decode(few, 10).content) == 8
    with pytest.raises(WbxmlError, match="more than 9 parts"):
        decode(few, 9)


@pytest.mark.parametrize("head", [b"", b"\x03", b"\x02\x01\x6a\x00", b"\x03\x01\x03\x00", b"<?xml"])
def test_another_header_is_refused(head: bytes) -> None:
    """Clients look for exactly 03 01 6A 00, too."""
    with pytest.raises(WbxmlError, match="03 01 6a 00 is expected"):
        decode(head)


def test_a_nul_cannot_be_written_into_a_text() -> None:
    """It would end the text and turn the rest into tokens."""
    with pytest.raises(WbxmlError, match="NUL"):
        encode(element(PING, "Ping", "a\0b"))


def test_an_independent_decoder_reads_our_names() -> None:
    """libwbxml finds the same names at the same tokens of every page it knows."""
    for page in codepages.PAGES.values():
        if page is codepages.FIND:  # newer than libwbxml
            continue
        root, *others = page.tokens
        text = oracle.to_xml(encode(element(page, root, *(element(page, name) for name in others))))
        for name in page.tokens:
            wanted = OTHER_NAMES.get(name, name)
            assert f"<{wanted}" in text or f":{wanted}" in text, (page.name, name)


KNOWN = [
    (page.number, token)
    for page in codepages.PAGES.values()
    if page is not codepages.FIND
    for name, token in page.tokens.items()
    if name not in ("AccountOnlyRemoteWipe", "MIME")  # of 16.1; and of opaque bytes, which XML has not
]
# What XML can say, and libwbxml takes for nothing else than text.
printable = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)


names = st.sampled_from(KNOWN)
known = st.recursive(
    st.builds(lambda name, text: Element(name[0], name[1], text), names, st.just(()) | st.tuples(printable)),
    lambda inner: st.builds(
        lambda name, parts: Element(name[0], name[1], tuple(parts)), names, st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60)  # each asks three processes
@given(known)
def test_an_independent_codec_reads_and_writes_what_we_write(root: Element) -> None:
    """Byte for byte: what libwbxml makes of our document is written by it as we have written it, and read by us as it was."""
    document = encode(root)
    text = oracle.to_xml(document)
    assert oracle.to_wbxml(text) == document
    assert decode(oracle.to_wbxml(text)) == root


@pytest.mark.parametrize("captured", [FOLDER_SYNC, REMOTE_WIPE, PROVISION_ACKNOWLEDGED])
def test_an_independent_codec_reads_what_was_captured_as_we_do(captured: bytes) -> None:
    """From both it comes back as it was."""
    assert oracle.to_xml(encode(decode(captured))) == oracle.to_xml(captured)
    assert encode(decode(captured)) == captured
