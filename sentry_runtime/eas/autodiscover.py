"""Autodiscover for ActiveSync (MS-ASCMD 2.2.1.1): reads the request document, writes the response documents.

The reader sees what strangers send. It takes one small document of one shape, and no DTD: without one there are no
entities to expand and none to fetch, so there is neither a bomb nor a way to files and addresses.
"""

import enum
from dataclasses import dataclass
from xml.parsers import expat
from xml.sax.saxutils import escape

REQUEST_BYTES = 16_384  # a request has some 400; those of Outlook, with its extras, below 2 KiB
DEPTH = 8  # a request has three levels
ADDRESS_CHARS = 320  # RFC 3696: 64 of local part, "@", 255 of domain

MOBILESYNC = "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"
_FRAME = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
_REQUESTS = (
    "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006",
    "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006",  # asks for answers of other kinds
)
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
_SCHEMA, _ADDRESS = "AcceptableResponseSchema", "EMailAddress"


class Fault(enum.IntEnum):
    """ErrorCode of a response (MS-ASCMD 2.2.3.64)."""

    INVALID_REQUEST = 600
    NO_PROVIDER = 601


_MESSAGES = {Fault.INVALID_REQUEST: "Invalid Request", Fault.NO_PROVIDER: "Provider is not available"}


class AutodiscoverError(ValueError):
    """The request cannot be answered with settings: its `fault`, and one word for the audit line."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault


def requested_address(document: bytes) -> str:
    """The address that a request for mobilesync settings asks about.

    The document is UTF-8 (UTF-16 with its mark), whatever it declares. Elements that are not known are passed over. Raises
    `AutodiscoverError`: `NO_PROVIDER` for another response schema, else `INVALID_REQUEST`.
    """
    if len(document) > REQUEST_BYTES:
        raise AutodiscoverError(Fault.INVALID_REQUEST, "autodiscover_too_large")
    found = _read(document)
    schema = found.get(_SCHEMA)
    if schema is not None and schema != MOBILESYNC:
        raise AutodiscoverError(Fault.NO_PROVIDER, "autodiscover_schema")
    address = found.get(_ADDRESS, "")
    local, at, domain = address.partition("@")
    if schema is None or not (local and at and domain) or "@" in domain:
        raise AutodiscoverError(Fault.INVALID_REQUEST, "autodiscover_incomplete")
    if len(address) > ADDRESS_CHARS or not address.isprintable() or " " in address:
        raise AutodiscoverError(Fault.INVALID_REQUEST, "autodiscover_address")
    return address


@dataclass(slots=True)
class _Seen:
    """What expat has seen: the open elements (with namespace), and the text of the two that count."""

    open: list[str]
    found: dict[str, str]
    wanted: str = ""  # which of the two is open


def _read(document: bytes) -> dict[str, str]:
    """The texts of the two elements that count, without the space around them, as far as they are there."""
    # The encoding is named here, so that a declaration cannot pick one of Python's many decoders.
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")
    seen = _Seen([], {})
    parser.StartElementHandler = lambda name, _: _start(seen, name)
    parser.EndElementHandler = lambda _: _end(seen)
    parser.CharacterDataHandler = lambda text: _text(seen, text)
    parser.StartDoctypeDeclHandler = _refused
    parser.EntityDeclHandler = _refused
    parser.ExternalEntityRefHandler = _refused
    parser.ProcessingInstructionHandler = _refused
    try:
        parser.Parse(document, True)  # noqa: FBT003 - expat's signature: this is all of it
    except expat.ExpatError:
        raise AutodiscoverError(Fault.INVALID_REQUEST, "autodiscover_malformed") from None
    return {name: text.strip(" \t\r\n") for name, text in seen.found.items()}


def _refused(*_: object) -> int:
    raise AutodiscoverError(Fault.INVALID_REQUEST, "autodiscover_dtd")


def _start(seen: _Seen, name: str) -> None:
    if len(seen.open) >= DEPTH or seen.wanted:
        raise AutodiscoverError(Fault.INVALID_REQUEST, "autodiscover_malformed")
    namespace, _, local = name.rpartition(" ")
    if not seen.open and (namespace not in _REQUESTS or local != "Autodiscover"):
        raise AutodiscoverError(Fault.INVALID_REQUEST, "autodiscover_malformed")
    seen.open.append(name)
    if seen.open != [f"{namespace} Autodiscover", f"{namespace} Request", name] or local not in (_SCHEMA, _ADDRESS):
        return
    if local in seen.found:  # one reading only
        raise AutodiscoverError(Fault.INVALID_REQUEST, "autodiscover_malformed")
    seen.wanted = local
    seen.found[local] = ""


def _end(seen: _Seen) -> None:
    seen.open.pop()
    seen.wanted = ""


def _text(seen: _Seen, text: str) -> None:
    if seen.wanted:
        seen.found[seen.wanted] += text


def settings(address: str, url: str) -> bytes:
    """The response document: ActiveSync for `address` is at `url`."""
    who, where = escape(address), escape(url)
    return (
        f'{_DECLARATION}<Autodiscover xmlns="{_FRAME}"><Response xmlns="{MOBILESYNC}"><Culture>en:us</Culture>'
        f"<User><DisplayName>{who}</DisplayName><EMailAddress>{who}</EMailAddress></User>"
        f"<Action><Settings><Server><Type>MobileSync</Type><Url>{where}</Url><Name>{where}</Name></Server></Settings>"
        "</Action></Response></Autodiscover>\n"
    ).encode()


def failure(fault: Fault, time: str) -> bytes:
    """The response document of `fault`; `time` is the time of day (`HH:MM:SS.fffffff`) that goes with it."""
    return (
        f'{_DECLARATION}<Autodiscover xmlns="{_FRAME}"><Response><Error Time="{time}" Id="0">'
        f"<ErrorCode>{fault.value}</ErrorCode><Message>{_MESSAGES[fault]}</Message><DebugData/></Error></Response>"
        "</Autodiscover>\n"
    ).encode()
