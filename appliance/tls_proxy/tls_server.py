"""The server's side of one TLS connection as an asyncio protocol, over memory: `OpenSSL.SSL.Connection` does TLS, the loop the
bytes. What is decrypted is handed on at once, so that nothing piles up here: who takes it stops the reading."""

import asyncio
import contextlib
from collections.abc import Callable

from OpenSSL import SSL, crypto

CHUNK_BYTES = 16_384  # one TLS record (RFC 8446 5.1)
UNSENT_BYTES = 262_144  # on the way to a slow reader; then the portal is not read any more


class TlsServer(asyncio.Protocol):
    """`shaken` is called once the handshake is done, `received` with what was decrypted, `lost` at the end, whatever ended it.

    `full` is called when too much waits to be sent, `empty` when it has gone.
    """

    def __init__(
        self,
        context: SSL.Context,
        *,
        shaken: Callable[[], None],
        received: Callable[[bytes], None],
        lost: Callable[[str], None],
        full: Callable[[], None],
        empty: Callable[[], None],
    ) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._shaken = shaken
        self._received = received
        self._lost = lost
        self._full = full
        self._empty = empty
        self._transport: asyncio.Transport | None = None
        self._open = False
        self._why = ""

    # --- the loop's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The bytes of a handshake may come."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a stream's
        self._transport = transport
        transport.set_write_buffer_limits(high=UNSENT_BYTES)

    def data_received(self, data: bytes) -> None:
        """Encrypted bytes."""
        self._tls.bio_write(data)
        try:
            if not self._open:
                self._tls.do_handshake()
                self._open = True
                self._flush()
                self._shaken()
            self._read()
        except SSL.WantReadError:
            self._flush()
        except SSL.ZeroReturnError:  # close_notify: a browser asks nothing after it
            self.close()
        except SSL.Error as error:
            self._why = words(error)
            self._flush()  # the alert that tells the client
            self.close()

    def eof_received(self) -> None:
        """An end without close_notify: the connection is over."""

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._full()

    def resume_writing(self) -> None:
        """It has gone."""
        self._empty()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._transport = None
        self._lost(self._why or (str(exc) if exc else ""))

    # --- the proxy's side ----------------------------------------------------------------------------------------

    def certificate(self) -> bytes | None:
        """The client's certificate (DER), whose key it has proved to hold; None where it showed none."""
        found = self._tls.get_peer_certificate()
        return None if found is None else crypto.dump_certificate(crypto.FILETYPE_ASN1, found)

    def send(self, data: bytes) -> None:
        """Encrypt and send; nothing where the connection is over."""
        if self._transport is None or not data:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.send(bytes(view[:CHUNK_BYTES])) :]
        except SSL.Error as error:
            self._why = words(error)
            self.abort()
            return
        self._flush()

    def pause(self) -> None:
        """Take no more bytes from the client for now."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take them again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what waits, say that it is the end, and close."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._open:
            with contextlib.suppress(SSL.Error):  # an alert was sent already
                self._tls.shutdown()
            self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()

    def _read(self) -> None:
        while self._transport is not None and not self._transport.is_closing():
            self._received(self._tls.recv(CHUNK_BYTES))

    def _flush(self) -> None:
        while self._transport is not None:
            try:
                self._transport.write(self._tls.bio_read(CHUNK_BYTES))
            except SSL.WantReadError:
                return


def words(error: Exception) -> str:
    """What an error says; OpenSSL's are lists of (library, function, reason)."""
    found = error.args[0] if error.args else ""
    if isinstance(found, list):
        return ", ".join(str(one[-1]) for one in found if one[-1]) or type(error).__name__
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(found) or type(error).__name__
