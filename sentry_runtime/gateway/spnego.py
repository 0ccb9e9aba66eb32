"""What is inside a token of HTTP's Negotiate (RFC 4559): the NTLM message, wrapped in SPNEGO (RFC 4178) or bare. Pure.

The outside is DER of a fixed depth, read strictly: definite, shortest lengths, nothing behind an end, each field once and
in its order. The gateway passes the token on as it is.
"""

from collections.abc import Iterator

from sentry_runtime.gateway import ntlm

_SPNEGO = bytes.fromhex("2b0601050502")  # 1.3.6.1.5.5.2
_NTLMSSP = bytes.fromhex("2b06010401823702020a")  # 1.3.6.1.4.1.311.2.2.10
_KERBEROS = frozenset(
    {
        bytes.fromhex("2a864886f712010202"),  # 1.2.840.113554.1.2.2
        bytes.fromhex("2a864882f712010202"),  # 1.2.840.48018.1.2.2, as Windows 2000 wrote it
        bytes.fromhex("2a864886f71201020203"),  # 1.2.840.113554.1.2.2.3, user to user
    }
)
_APPLICATION, _INIT, _RESPONSE = 0x60, 0xA0, 0xA1
_SEQUENCE, _OID, _OCTETS = 0x30, 0x06, 0x04
_FIELDS = (0xA0, 0xA1, 0xA2, 0xA3)  # of both kinds of token
_MECHANISMS, _MECHANISM, _TOKEN = 0xA0, 0xA1, 0xA2


class SpnegoError(ValueError):
    """The token cannot be taken; one word for the audit line."""


def ntlm_message(token: bytes) -> bytes:
    """The NTLM message in a token of either side.

    Raises `SpnegoError`: `kerberos_not_served`, `mechanism_not_served` or `negotiate_malformed`.
    """
    if token.startswith(ntlm.SIGNATURE):
        return token
    tag, content = _only(token)
    message = _of_init(content) if tag == _APPLICATION else _of_response(tag, content)
    if not message.startswith(ntlm.SIGNATURE):
        raise SpnegoError("mechanism_not_served")
    return message


def _of_init(content: bytes) -> bytes:
    """The client's first token (RFC 4178 4.2.1, in the frame of RFC 2743 3.1); its mechanism is the first of its list."""
    parts = list(_values(content))
    if not parts or parts[0][0] != _OID:
        raise SpnegoError("negotiate_malformed")
    _serve_only_ntlm(parts[0][1], {_SPNEGO})
    if len(parts) != 2 or parts[1][0] != _INIT:
        raise SpnegoError("negotiate_malformed")
    fields = _fields(parts[1][1])
    mechanisms = [value for tag, value in _values(_inner(fields, _MECHANISMS, _SEQUENCE)) if tag == _OID]
    if not mechanisms:
        raise SpnegoError("negotiate_malformed")
    _serve_only_ntlm(mechanisms[0], {_NTLMSSP})
    return _inner(fields, _TOKEN, _OCTETS)


def _of_response(tag: int, content: bytes) -> bytes:
    """Any later token (RFC 4178 4.2.2)."""
    if tag != _RESPONSE:
        raise SpnegoError("negotiate_malformed")
    fields = _fields(content)
    if _MECHANISM in fields:
        _serve_only_ntlm(_inner(fields, _MECHANISM, _OID), {_NTLMSSP})
    return _inner(fields, _TOKEN, _OCTETS)


def _serve_only_ntlm(mechanism: bytes, served: set[bytes]) -> None:
    if mechanism in _KERBEROS:
        raise SpnegoError("kerberos_not_served")
    if mechanism not in served:
        raise SpnegoError("mechanism_not_served")


def _fields(content: bytes) -> dict[int, bytes]:
    """The tagged fields of the one sequence in `content`."""
    tag, sequence = _only(content)
    fields = list(_values(sequence))
    tags = [one for one, _ in fields]
    if tag != _SEQUENCE or tags != [one for one in _FIELDS if one in tags]:
        raise SpnegoError("negotiate_malformed")
    return dict(fields)


def _inner(fields: dict[int, bytes], field: int, kind: int) -> bytes:
    """The content of the one value of this kind in a field."""
    if field not in fields:
        raise SpnegoError("negotiate_malformed")
    tag, content = _only(fields[field])
    if tag != kind:
        raise SpnegoError("negotiate_malformed")
    return content


def _only(data: bytes) -> tuple[int, bytes]:
    """Tag and content of the one value that `data` is."""
    found = list(_values(data))
    if len(found) != 1:
        raise SpnegoError("negotiate_malformed")
    return found[0]


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value (X.690 8.1), up to 64 KiB long."""
    at = 0
    while at < len(data):
        header = data[at : at + 4]
        if len(header) < 2:
            raise SpnegoError("negotiate_malformed")
        size, first = header[1], 2
        if size > 0x7F:
            octets = size & 0x7F
            first += octets
            size = int.from_bytes(header[2:first], "big")
            if octets not in (1, 2) or len(header) < first or size < (0x80, 0x100)[octets - 1]:
                raise SpnegoError("negotiate_malformed")
        end = at + first + size
        if end > len(data):
            raise SpnegoError("negotiate_malformed")
        yield header[0], data[at + first : end]
        at = end
