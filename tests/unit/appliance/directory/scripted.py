"""A server of a directory that says over TLS what a test wants it to, for what no honest one says (LDAP, RFC 4511)."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from appliance.directory.settings import Server
from tests.device_pki import DevicePki

BIND, SEARCH, UNBIND = 0x60, 0x63, 0x42  # the requests' tags
BIND_SAID, ENTRY, SEARCH_SAID = 0x61, 0x64, 0x65  # and those of what is said
SUCCESS = 0
PATIENCE_SECONDS = 30.0

Script = Callable[[Any, int, bytes], None]
"""Says something on a socket to the request of this tag and message id."""


def element(tag: int, *parts: bytes) -> bytes:
    """One of BER, with what is in it."""
    whole = b"".join(parts)
    size = len(whole)
    if size < 0x80:
        return bytes((tag, size)) + whole
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + whole


def message(number: bytes, tag: int, *parts: bytes, controls: bytes = b"") -> bytes:
    """An LDAPMessage."""
    return element(0x30, element(2, number), element(tag, *parts), element(0xA0, controls) if controls else b"")


def result(number: bytes, tag: int, code: int, controls: bytes = b"") -> bytes:
    """A message that is a result of this code and nothing else."""
    return message(number, tag, element(10, bytes((code,))), element(4), element(4), controls=controls)


def control(oid: str, value: bytes | None = None) -> bytes:
    """A control of a response."""
    return element(0x30, element(4, oid.encode()), *(() if value is None else (element(4, value),)))


def says(
    *, bind: int = SUCCESS, search: int = SUCCESS, entry: str = "cn=somebody,dc=lab,dc=test", controls: bytes = b""
) -> Script:
    """Binds come to the one result, searches find this entry ("": none) and come to the other."""

    def script(peer: Any, tag: int, number: bytes) -> None:
        if tag == BIND:
            peer.sendall(result(number, BIND_SAID, bind, controls))
        elif tag == SEARCH:
            found = message(number, ENTRY, element(4, entry.encode()), element(0x30)) if entry else b""
            peer.sendall(found + result(number, SEARCH_SAID, search))

    return script


def drip(peer: Any, _tag: int, _number: bytes) -> None:
    """An answer of 64 KiB, an octet each tenth of a second."""
    peer.sendall(bytes.fromhex("308300ffff"))
    for _ in range(600):
        time.sleep(0.1)
        peer.sendall(b"\0")


@contextlib.contextmanager
def speaking(pki: DevicePki, script: Script) -> Iterator[tuple[Server, list[int]]]:
    """It runs until the block ends, each connection in a thread; with it the tags of what it was asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.pair("directory"))
    heard: list[int] = []
    threads: list[threading.Thread] = []

    def talk(taken: socket.socket) -> None:
        with taken, contextlib.suppress(OSError), context.wrap_socket(taken, server_side=True) as peer:
            while octets := peer.recv(65_536):
                body = 2 + (octets[1] & 0x7F if octets[1] & 0x80 else 0)
                end = body + 2 + octets[body + 1]  # of the message id
                tag = octets[end]
                heard.append(tag)
                if tag == UNBIND:
                    return
                script(peer, tag, octets[body + 2 : end])

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _address = listener.accept()
                threads.append(threading.Thread(target=talk, args=(taken,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield Server(host="127.0.0.1", port=listener.getsockname()[1]), heard
        listener.shutdown(socket.SHUT_RDWR)
    for one in (accepting, *threads):
        one.join(PATIENCE_SECONDS)
