"""WBXML as ActiveSync uses it (MS-ASWBXML; WAP-192): bytes to a tree of elements and back.

The header is always `03 01 6A 00` (WBXML 1.3, unknown public id, UTF-8, empty string table). Only SWITCH_PAGE, END, STR_I,
OPAQUE and tags without attributes exist; everything else is refused. Depth, size and number of parts are bounded, so that
a hostile body costs one error, no memory and little time.
"""

from dataclasses import dataclass

from sentry_runtime.eas.codepages import Page

HEADER = b"\x03\x01\x6a\x00"
DEPTH = 32  # a recurring meeting with attachments nests 12 deep
BYTES = 1_048_576  # what the gateway reads itself (Provision, Settings, statuses) stays below 64 KiB
PARTS = 131_072  # tags, ENDs, texts and page switches: as many as fit into BYTES with sensible content
DEVICE_PARTS = (
    1_024  # of what a device sends: a Provision with all that it says of itself has 60. Each costs about 5 µs
)

_SWITCH_PAGE, _END, _STR_I, _OPAQUE = 0x00, 0x01, 0x03, 0xC3
_HAS_CONTENT, _HAS_ATTRIBUTES, _IDENTITY = 0x40, 0x80, 0x3F
_FIRST_TAG = 0x05
_MB_BYTES = 5  # a mb_u_int32 has at most five bytes


class WbxmlError(ValueError):
    """The bytes are not a document of this form; the message says what was found and where."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """An element that is encoded already: its bytes from its own tag on, which begin and end on `page`."""

    page: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Element:
    """A tag of a page with its content: elements, text (`str`, no NUL) or opaque bytes, in order. Decoding makes no
    `Fragment`."""

    page: int
    token: int
    content: tuple["Element | Fragment | str | bytes", ...] = ()

    def child(self, page: Page, name: str) -> "Element | None":
        """The first element of that name directly below, if there is one."""
        token = page.tokens[name]
        for part in self.content:
            if isinstance(part, Element) and part.page == page.number and part.token == token:
                return part
        return None

    @property
    def text(self) -> str:
        """The text directly below, joined; "" where there is none."""
        return "".join(part for part in self.content if isinstance(part, str))


def element(page: Page, name: str, *content: Element | Fragment | str | bytes) -> Element:
    """An element by its name. Raises `KeyError` for a name the page does not have."""
    return Element(page.number, page.tokens[name], content)


def encode(root: Element) -> bytes:
    """The document, with a SWITCH_PAGE only where the page changes. Raises `WbxmlError` for text that holds a NUL."""
    out = bytearray(HEADER)
    _write(out, 0, root)
    return bytes(out)


def fragment(root: Element) -> Fragment:
    """The element to be put into documents as it is. Raises `WbxmlError` as `encode` does, and where it ends on another page
    than its own."""
    out = bytearray()
    if _write(out, root.page, root) != root.page:
        raise WbxmlError(f"an element of page {root.page} that ends on another one")
    return Fragment(root.page, bytes(out))


def _write(out: bytearray, page: int, root: Element) -> int:
    """Append the element to what stands on `page`; the page it ends on."""
    # Element to open, or None to close one: a stack of our own, so that depth costs no recursion.
    todo: list[Element | Fragment | str | bytes | None] = [root]
    while todo:
        part = todo.pop()
        if part is None:
            out.append(_END)
        elif isinstance(part, Element | Fragment):
            if part.page != page:
                page = part.page
                out += bytes((_SWITCH_PAGE, page))
            if isinstance(part, Fragment):
                out += part.data
                continue
            out.append(part.token | _HAS_CONTENT if part.content else part.token)
            if part.content:
                todo.append(None)
                todo.extend(reversed(part.content))
        else:
            out += _leaf(part)
    return page


def _leaf(part: str | bytes) -> bytes:
    if isinstance(part, bytes):
        return bytes((_OPAQUE,)) + _multi_byte(len(part)) + part
    if "\0" in part:
        raise WbxmlError("a NUL inside a text")
    return bytes((_STR_I,)) + part.encode() + b"\0"


def _multi_byte(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def decode(data: bytes, parts: int = PARTS) -> Element:
    """The root element of a document of at most so many tags, ENDs, texts and page switches. Raises `WbxmlError`."""
    return _Decoder(data, parts).document()


class _Decoder:
    def __init__(self, data: bytes, parts: int) -> None:
        if len(data) > BYTES:
            raise WbxmlError(f"{len(data)} bytes; at most {BYTES} are allowed")
        if data[:4] != HEADER:
            raise WbxmlError(f"begins with {data[:4].hex(' ') or 'nothing'}; {HEADER.hex(' ')} is expected")
        self._data = data
        self._at = 4
        self._page = 0
        self._parts = parts
        self._open: list[tuple[int, int, list[Element | str | bytes]]] = []

    def document(self) -> Element:
        for _ in range(self._parts):
            done = self._step(self._byte())
            if done is not None:
                if self._at != len(self._data):
                    raise self._error(f"{len(self._data) - self._at} bytes behind the root element")
                return done
        raise self._error(f"more than {self._parts} parts")

    def _step(self, token: int) -> Element | None:
        if token == _SWITCH_PAGE:
            self._page = self._byte()
            return None
        if token == _END:
            if not self._open:
                raise self._error("END without an open element")
            page, identity, content = self._open.pop()
            return self._closed(Element(page, identity, tuple(content)))
        if token in (_STR_I, _OPAQUE):
            if not self._open:
                raise self._error("content outside the root element")
            self._open[-1][2].append(self._string() if token == _STR_I else self._opaque())
            return None
        return self._tag(token)

    def _tag(self, token: int) -> Element | None:
        identity = token & _IDENTITY
        if token & _HAS_ATTRIBUTES or identity < _FIRST_TAG:
            raise self._error(f"token {token:#04x}, which ActiveSync does not use")
        if not token & _HAS_CONTENT:
            return self._closed(Element(self._page, identity))
        if len(self._open) >= DEPTH:
            raise self._error(f"deeper than {DEPTH} elements")
        self._open.append((self._page, identity, []))
        return None

    def _closed(self, done: Element) -> Element | None:
        if not self._open:
            return done
        self._open[-1][2].append(done)
        return None

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise self._error("the end of the data inside the document")
        self._at += 1
        return self._data[self._at - 1]

    def _string(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise self._error("a text without its NUL")
        try:
            text = self._data[self._at : end].decode()
        except UnicodeDecodeError:
            raise self._error("a text that is not UTF-8") from None
        self._at = end + 1
        return text

    def _opaque(self) -> bytes:
        size = 0
        for _ in range(_MB_BYTES):
            byte = self._byte()
            size = size << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        else:
            raise self._error("a length of more than five bytes")
        if size > len(self._data) - self._at:
            raise self._error(f"opaque data of {size} bytes, of which {len(self._data) - self._at} are there")
        self._at += size
        return self._data[self._at - size : self._at]

    def _error(self, found: str) -> WbxmlError:
        return WbxmlError(f"byte {self._at}: {found}")
