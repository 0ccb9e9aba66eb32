"""A log server for tests: takes TLS 1.2, reads the frames of RFC 5425 and keeps the messages."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from images.run import run

DIGITS = 6  # of a frame's length; rsyslog's longest message has 64 KiB
_EXTENSIONS = (
    "subjectAltName=DNS:{host}\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
    "extendedKeyUsage=serverAuth\n"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key."""

    certificate: Path
    key: Path


def issued(folder: Path, authority: Identity, host: str) -> Identity:
    """A server's certificate for `host`, by `authority`."""
    made = Identity(folder / f"{host}.pem", folder / f"{host}.key")
    request, extensions = folder / f"{host}.csr", folder / f"{host}.ext"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    run(["openssl", "req", *curve, "-keyout", made.key, "-subj", f"/CN={host}", "-out", request])
    extensions.write_text(_EXTENSIONS.format(host=host), encoding="utf-8")
    run(["openssl", "x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-sha256",
         "-days", "2", "-extfile", extensions, "-out", made.certificate])  # fmt: skip
    return made


def authority(folder: Path) -> Identity:
    """An authority nobody has been told of."""
    made = Identity(folder / "stranger.pem", folder / "stranger.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    run(["openssl", "req", "-x509", *curve, "-keyout", made.key, "-subj", "/CN=Stranger", "-days", "2", "-sha256",
         "-addext", "basicConstraints=critical,CA:TRUE", "-out", made.certificate])  # fmt: skip
    return made


@dataclass
class Sink:
    """Listens while it is entered; what arrived stays, and it may be entered again."""

    address: str
    port: int
    messages: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    identity: Identity | None = None
    _news: threading.Condition = field(default_factory=threading.Condition)
    _listener: socket.socket | None = None
    _connections: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def shows(self, identity: Identity) -> Self:
        """The same sink with this certificate from now on."""
        self.identity = identity
        return self

    def __enter__(self) -> Self:
        assert self.identity is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.identity.certificate, self.identity.key)
        self._listener = socket.create_server((self.address, self.port))
        self._start(self._accept, self._listener, context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        # A close alone does not wake who waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._connections.clear()
        self._threads.clear()

    def wait_for(self, words: Iterable[str], *, seconds: float) -> None:
        """Until there is a message with each of `words`."""
        wanted = list(words)

        def missing() -> list[str]:
            return [word for word in wanted if not any(word in message for message in self.messages)]

        self._until(lambda: not missing(), seconds)
        assert not missing(), f"{len(missing())} of {len(wanted)} have not arrived, such as {missing()[0]}"

    def wait_for_failure(self, *, seconds: float) -> None:
        """Until somebody has gone in the handshake, or after it without a word."""
        self._until(lambda: bool(self.failures), seconds)
        assert self.failures, "nobody was turned away"

    def _until(self, true: Callable[[], bool], seconds: float) -> None:
        with self._news:
            self._news.wait_for(true, seconds)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _peer = listener.accept()
                self._connections.append(raw)
                self._start(self._serve, raw, context)

    def _serve(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        try:
            with context.wrap_socket(raw, server_side=True) as connection:
                self._connections.append(connection)
                if not self._read(connection):
                    self._note(self.failures, f"{time.monotonic():.1f} left without a word")
        except (OSError, ValueError) as error:
            self._note(self.failures, f"{time.monotonic():.1f} {error}")

    def _read(self, connection: ssl.SSLSocket) -> int:
        """Keep what comes; how many messages that was."""
        count = 0
        with connection.makefile("rb") as stream:
            while length := _length(stream):
                self._note(self.messages, stream.read(length).decode(errors="replace"))
                count += 1
        return count

    def _note(self, where: list[str], what: str) -> None:
        with self._news:
            where.append(what)
            self._news.notify_all()


def _length(stream: BinaryIO) -> int:
    """The length of the next frame (RFC 5425 4.3.1); 0 where there is none."""
    digits = b""
    while (digit := stream.read(1)) not in (b" ", b""):
        digits += digit
        if len(digits) > DIGITS:
            raise ValueError(f"a frame begins with {digits!r}")
    return int(digits or b"0")
