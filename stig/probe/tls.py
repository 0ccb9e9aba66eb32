"""Which TLS versions a server takes, seen from its answer to hand-made ClientHellos.

The local TLS library is left out of that on purpose: one that refuses old versions by its own policy would make every server look
good. RFC 5246 7.4.1, RFC 8446 4.1 (a TLS 1.3 hello without key shares is answered by a HelloRetryRequest, 4.1.4).
"""

import itertools
import os
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from stig.errors import FactError
from stig.run import run

Version = Literal["1.0", "1.1", "1.2", "1.3"]
VERSIONS: tuple[Version, ...] = get_args(Version)
SECONDS = 6.0
_ISSUER, _WRONG = re.compile(r"^issuer=(.+)$", re.MULTILINE), re.compile(r"^verify error:num=\d+:(.+)$", re.MULTILINE)
_END_OF_CERTIFICATE = "-----END CERTIFICATE-----"
_NAMES_HEADING = "Acceptable client certificate CA names"

_WIRE: dict[Version, int] = {"1.0": 0x0301, "1.1": 0x0302, "1.2": 0x0303, "1.3": 0x0304}
_NAMES = {number: version for version, number in _WIRE.items()}
_OLD_SUITES = (0xC014, 0xC013, 0xC00A, 0xC009, 0x0039, 0x0033, 0x0035, 0x002F, 0x000A)
_SUITES: dict[Version, tuple[int, ...]] = {
    "1.0": _OLD_SUITES,
    "1.1": _OLD_SUITES,
    "1.2": (0xC02F, 0xC030, 0xC02B, 0xC02C, 0x009E, 0x009F, 0xC027, 0xC028, 0x009C, 0x009D, *_OLD_SUITES),
    "1.3": (0x1301, 0x1302, 0x1303),
}
# What no FIPS module has, or what gives no forward secrecy or no AEAD: ChaCha20, CBC, RSA key transport, 3DES.
_WEAK = (0xCCA8, 0xCCA9, 0xC023, 0xC027, 0xC009, 0xC00A, 0xC013, 0xC014, 0x009C, 0x009D, 0x003C, 0x002F, 0x0035, 0x000A)
_GROUPS = (0x0017, 0x0018, 0x0019, 0x001D)  # P-256, P-384, P-521, X25519
_SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
_ALERT, _HANDSHAKE, _SERVER_HELLO = 0x15, 0x16, 2
_ALERTS = {
    40: "handshake_failure",
    47: "illegal_parameter",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the server took the version, and what it said."""

    version: Version
    accepted: bool
    said: str


def ask(host: str, port: int, version: Version, suites: tuple[int, ...] = ()) -> Answer:
    """Offer exactly one version, with the usual suites or these; `FactError` when the server cannot be reached or says nothing
    that TLS knows."""
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as connection:
            connection.sendall(hello(version, suites))
            kind, body = _record(connection)
    except ConnectionResetError:
        return Answer(version, accepted=False, said="connection reset")
    except TimeoutError as error:
        raise FactError(f"{host}:{port}: no answer to TLS {version} within {SECONDS:g} s") from error
    except OSError as error:
        raise FactError(f"{host}:{port}: {error.strerror or error}") from error
    return understood(version, kind, body)


def understood(version: Version, kind: int, body: bytes) -> Answer:
    """What the first record of the server's answer means; `kind` 0 is a closed connection."""
    if kind == 0:
        return Answer(version, accepted=False, said="connection closed")
    if kind == _ALERT and len(body) >= 2:
        return Answer(version, accepted=False, said=f"alert {_ALERTS.get(body[1], str(body[1]))}")
    if kind == _HANDSHAKE and len(body) >= 6 and body[0] == _SERVER_HELLO:
        # RFC 8446 4.1.3: in TLS 1.3 the field says 1.2; nothing but 1.3 was offered, so a hello is 1.3.
        chosen = version if version == "1.3" else _NAMES.get(int.from_bytes(body[4:6], "big"), "unknown")
        return Answer(version, accepted=chosen == version, said=f"ServerHello {chosen}")
    raise FactError(f"the answer to TLS {version} is no TLS record (type {kind})")


def ask_weak(host: str, port: int) -> Answer:
    """Offer TLS 1.2 with nothing but suites that are not approved or give no forward secrecy. Raises as `ask`."""
    return ask(host, port, "1.2", _WEAK)


def issued_by(host: str, port: int, authorities: Path) -> Answer:
    """Whether the certificate shown there was issued below one of these authorities (PEM), by the local OpenSSL's judgement.
    For which names it is, is not looked at; nor is whether the server then wants one of ours. `FactError` when none is shown."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    asked = ["openssl", "s_client", "-connect", place, "-CAfile", str(authorities), "-no-CApath", "-no-CAstore"]
    done = run(asked)
    shown = _ISSUER.search(done.output)
    if shown is None:
        raise FactError(f"{place}: shows no certificate: {' '.join(done.errors.split())[:200]}")
    if wrong := _WRONG.search(done.errors):
        return Answer("1.2", accepted=False, said=wrong[1])
    if "verify return:1" not in done.errors:
        raise FactError(f"{place}: openssl s_client did not say whether it believes the certificate")
    return Answer("1.2", accepted=True, said=f"issued by {shown[1]}")


def authorities_named(host: str, port: int) -> tuple[str, ...]:
    """The authorities that the server names when it asks for a client's certificate (RFC 5246 7.4.4), by openssl s_client; none
    where it asks for none. `FactError` when there is no handshake."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    said = run(["openssl", "s_client", "-connect", place]).output
    if "CONNECTED" not in said or "New, TLSv" not in said:
        raise FactError(f"openssl s_client -connect {place}: no handshake")
    return named_in(said)


def named_in(said: str) -> tuple[str, ...]:
    """The names below their heading in what `openssl s_client` prints, one a line."""
    lines = iter(said.splitlines())
    for line in lines:
        if line == _NAMES_HEADING:
            return tuple(itertools.takewhile(lambda one: "=" in one, lines))
    return ()


def certificates_in(text: str) -> dict[str, str]:
    """The certificates in PEM text: SHA-256 fingerprint and name. `FactError` when openssl cannot read one."""
    found = {}
    for part in text.split(_END_OF_CERTIFICATE)[:-1]:
        asked = ["openssl", "x509", "-noout", "-subject", "-fingerprint", "-sha256"]
        done = run(asked, stdin=f"{part}{_END_OF_CERTIFICATE}\n")
        if done.status != 0:
            raise FactError(f"openssl x509: {' '.join(done.errors.split())}")
        subject, fingerprint = done.output.strip().splitlines()
        found[fingerprint.partition("=")[2]] = subject.removeprefix("subject=")
    return found


def hello(version: Version, suites: tuple[int, ...] = ()) -> bytes:
    """One record with a ClientHello that offers `version` and nothing else."""
    legacy = min(_WIRE[version], _WIRE["1.2"])
    offered = _numbers(suites or _SUITES[version])
    extensions = _extension(10, _vector(_numbers(_GROUPS))) + _extension(11, b"\x01\x00")
    if version in ("1.2", "1.3"):
        extensions += _extension(13, _vector(_numbers(_SIGNATURES)))
    if version == "1.3":
        extensions += _extension(43, b"\x02" + struct.pack("!H", _WIRE["1.3"])) + _extension(51, _vector(b""))
    else:
        extensions += _extension(23, b"") + _extension(0xFF01, b"\x00")
    body = struct.pack("!H", legacy) + os.urandom(32) + b"\x20" + os.urandom(32)
    body += _vector(offered) + b"\x01\x00" + _vector(extensions)
    handshake = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", _HANDSHAKE, min(legacy, _WIRE["1.0"]), len(handshake)) + handshake


def _record(connection: socket.socket) -> tuple[int, bytes]:
    head = _exactly(connection, 5)
    if len(head) < 5:
        return 0, b""
    kind, _version, length = struct.unpack("!BHH", head)
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = connection.recv(length - len(found))
        if not part:
            break
        found += part
    return found


def _numbers(values: tuple[int, ...]) -> bytes:
    return b"".join(struct.pack("!H", value) for value in values)


def _vector(body: bytes) -> bytes:
    return struct.pack("!H", len(body)) + body


def _extension(number: int, body: bytes) -> bytes:
    return struct.pack("!H", number) + _vector(body)
