"""Connections straight over their sockets, plain and with TLS: the loop tells when one can be read or written, and that is all
that lies between.

A transport of a loop does more than is needed here, and its TLS goes through buffers in memory, some for each connection. All
connections of a worker read into one buffer, whose content is taken before the next one reads. OpenSSL reads and writes the
socket itself; it never reads beyond the record that it needs, so what is still to come shows at the socket.
"""

import asyncio
import os
import socket
import ssl
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from sentry_runtime.gateway.intake import Channel, Intake

# At a time, then the others have their turn. What is larger, malloc would have from the kernel anew each time.
READ_BYTES = 65_536
RECORD_BYTES = 16_384  # the longest content of a TLS record (RFC 5246 6.2.1)
# That come after our last word are read, so that it arrives; then the other side has had its time.
DISCARD_BYTES = 262_144
ABANDONED_SECONDS = 0.05  # until the first of those that were abandoned are ended; a block has reached many by then
WATCHED_SECONDS = 0.25  # until a reset that came with bytes is seen; to ask at each read is two system calls a request
ABANDONED_PER_TURN = 16  # about a millisecond of the kernel's work, then the connections that live have their turn
WRITE_BUFFER_BYTES = 65_536  # per direction: with the read buffer the most one exchange holds

_CUT: Final = "UNEXPECTED_EOF_WHILE_READING"  # OpenSSL's word; not every Python has an `SSLEOFError` of it

_BUFFER: Final = memoryview(bytearray(READ_BYTES))


class _Upkeep:
    """What is done for the connections of one loop when it holds nobody up: those that nobody waits for are ended, and those that
    have been read from are asked whether they have been reset since."""

    def __init__(self) -> None:
        self._abandoned: deque[_SocketChannel] = deque()
        self._watched: list[_SocketChannel] = []

    def abandon(self, channel: "_SocketChannel", loop: asyncio.AbstractEventLoop) -> None:
        """End this one, soon."""
        if not self._abandoned:
            loop.call_later(ABANDONED_SECONDS, self._end_some)
        self._abandoned.append(channel)

    def watch(self, channel: "_SocketChannel", loop: asyncio.AbstractEventLoop) -> None:
        """Look at this one, soon and once."""
        if not self._watched:
            loop.call_later(WATCHED_SECONDS, self._look_at_all)
        self._watched.append(channel)

    def _end_some(self) -> None:
        some = [self._abandoned.popleft() for _ in range(min(len(self._abandoned), ABANDONED_PER_TURN))]
        if self._abandoned:
            asyncio.get_running_loop().call_soon(self._end_some)
        for channel in some:
            channel.abort()

    def _look_at_all(self) -> None:
        watched, self._watched = self._watched, []
        for channel in watched:
            channel.look()


_UPKEEP: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Upkeep]] = WeakKeyDictionary()


def _upkeep(loop: asyncio.AbstractEventLoop) -> _Upkeep:
    kept = _UPKEEP.get(loop)
    if kept is None:
        kept = _UPKEEP[loop] = _Upkeep()
    return kept


class _SocketChannel(Channel):
    """What plain ones and those with TLS have in common."""

    def __init__(self, one: socket.socket, intake: Intake) -> None:
        self._intake = intake
        self._socket = one
        self._fd = one.fileno()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()  # what the kernel has not taken yet
        self._waiting_bytes = 0
        self._full = False
        self._reads = False  # the loop tells when there is something to read
        self._writes = False  # the loop tells when the kernel takes more
        self._closing = False
        self._heard_all = False  # the other side has said its last word
        self._fault: OSError | None = None  # the connection was reset; something may still be there to read
        self._ended = False
        self._watched = False  # somebody will ask whether there was a reset
        self._discarded = 0

    @property
    def closing(self) -> bool:
        return self._closing

    def begin(self) -> None:
        """The connection stands."""
        self._start_reading()
        self._intake.connection_made(self)

    def write(self, data: bytes) -> None:
        if self._closing or self._fault is not None or not data:
            return
        if not self._waiting:
            sent = self._sent(data)
            if sent == len(data) or self._fault is not None:
                return
            data = data[sent:]
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > WRITE_BUFFER_BYTES and not self._full:
            self._full = True
            self._intake.pause_writing()

    def pause_reading(self) -> None:
        if not self._closing:
            self._stop_reading()

    def resume_reading(self) -> None:
        if not self._closing:
            self._start_reading()

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if not self._waiting:
            self._finish()

    def abort(self) -> None:
        self._end(None)

    def abandon(self) -> None:
        self._closing = True
        self._waiting.clear()
        self._stop_writing()
        _upkeep(self._loop).abandon(self, self._loop)

    def certificate(self) -> bytes | None:
        return None

    @abstractmethod
    def _readable(self) -> None:
        """There may be something to read. May be called too often."""

    @abstractmethod
    def _send(self, data: bytes) -> int:
        """How many bytes the kernel has taken. Raises `OSError`."""

    def _say_last_word(self) -> bool:
        """All is sent, and nothing will be: whether that, too, has been said. Raises `OSError`."""
        return True

    def _take(self, size: int) -> None:
        """So many bytes have been read."""
        if not self._closing:
            if size:
                self._intake.data_received(_BUFFER[:size].tobytes())
            return
        self._discarded += size
        if self._discarded > DISCARD_BYTES:
            self._end(None)

    def look(self) -> None:
        """Whether there was a reset of which the loop has not told; then it ends, after what was said before."""
        self._watched = False
        if not self._ended and self._is_reset() and self._reads:
            self._loop.call_soon(self._readable)

    def _watch(self) -> None:
        """Something was read. libuv tells of a reset that comes together with bytes only once, as of something to read, and of
        that socket never again: the socket itself has to be asked."""
        if not self._watched:
            self._watched = True
            _upkeep(self._loop).watch(self, self._loop)

    def _go_on(self) -> None:
        """What was there has been read. After a reset the loop tells nothing more, and there may be something left."""
        if self._fault is None:
            self._watch()
        elif self._reads:
            self._loop.call_soon(self._readable)

    def _is_reset(self) -> bool:
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._fault = OSError(number, os.strerror(number))
        return self._fault is not None

    def _hear_end(self) -> None:
        """The other side sends no more: neither do we, but for what waits already."""
        if self._fault is not None:
            self._end(self._fault)
            return
        self._heard_all = True
        self._stop_reading()
        if not self._closing:
            self.close()
        elif not self._waiting:
            self._end(None)

    def _sent(self, data: bytes) -> int:
        """Send what the kernel takes, and have the loop tell when it takes more."""
        try:
            sent = self._send(data)
        except OSError as error:
            self._break(error)
            return 0
        if sent < len(data):
            self._await_room()
        return sent

    def _break(self, error: OSError) -> None:
        """Nothing can be sent any more. What the other side has said before may still be there to read, for who reads: why it has
        ended, perhaps."""
        self._fault = self._fault or error
        self._waiting.clear()
        self._stop_writing()
        if self._reads and not self._closing:
            self._loop.call_soon(self._readable)
        else:
            self._end(error)

    def _await_room(self) -> None:
        if not self._writes:
            self._writes = True
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        while self._waiting:
            data = self._waiting[0]
            sent = self._sent(data)
            if self._fault is not None:
                return
            self._waiting_bytes -= sent
            if sent < len(data):
                self._waiting[0] = data[sent:]
                return
            self._waiting.popleft()
        self._stop_writing()
        if self._closing:
            self._finish()
        elif self._full:
            self._full = False
            self._intake.resume_writing()

    def _finish(self) -> None:
        try:
            if not self._say_last_word():
                self._await_room()
                return
            if not self._heard_all:
                self._socket.shutdown(socket.SHUT_WR)
                self._start_reading()
                return
        except OSError:
            pass  # the other side has gone already
        self._end(None)

    def _start_reading(self) -> None:
        if not self._reads:
            self._reads = True
            self._loop.add_reader(self._fd, self._readable)

    def _stop_reading(self) -> None:
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._fd)

    def _stop_writing(self) -> None:
        if self._writes:
            self._writes = False
            self._loop.remove_writer(self._fd)

    def _end(self, error: OSError | None) -> None:
        if not self._ended:
            self._leave()
            self._loop.call_soon(self._intake.connection_lost, error)

    def _leave(self) -> None:
        self._ended = self._closing = True
        self._stop_reading()
        self._stop_writing()
        self._waiting.clear()
        self._socket.close()


class PlainChannel(_SocketChannel):
    """Over a connected socket that does not block."""

    def _readable(self) -> None:
        try:
            size = self._socket.recv_into(_BUFFER)
        except BlockingIOError:
            size = -1
        except OSError as error:
            self._end(error)
            return
        if size > 0:
            self._take(size)
        if not size or (size < 0 and self._fault is not None):
            self._hear_end()
        else:
            self._go_on()

    def _send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0


class TlsChannel(_SocketChannel):
    """Over a connected socket that does not block, wrapped with `wrapped`. `agree` begins; `agreed` is called once: with None
    after `connection_made`, or with why there is no connection, of which the intake then hears nothing."""

    def __init__(self, one: ssl.SSLSocket, intake: Intake, agreed: Callable[[OSError | None], None]) -> None:
        super().__init__(one, intake)
        self._tls = one
        self._agreed: Callable[[OSError | None], None] | None = agreed

    def agree(self, *, first: bool) -> None:
        """Shake hands; `first`: we speak first."""
        self._reads = True
        self._loop.add_reader(self._fd, self._shake)
        if first:
            self._shake()

    def give_up(self, error: OSError) -> None:
        """Let the handshake fail, if it is not over."""
        agreed = self._agreed
        if agreed is not None:
            self._agreed = None
            self._leave()
            agreed(error)

    def certificate(self) -> bytes | None:
        return self._tls.getpeercert(binary_form=True)

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._stop_writing()
            if self._is_reset():
                self._end(self._fault)
            return
        except ssl.SSLWantWriteError:
            if not self._writes:
                self._writes = True
                self._loop.add_writer(self._fd, self._shake)
            return
        except OSError as error:
            cut = isinstance(error, ssl.SSLError) and error.reason == _CUT
            self.give_up(ConnectionResetError("closed in the middle of the handshake") if cut else error)
            return
        self._stop_writing()
        agreed, self._agreed = self._agreed, None
        self._reads = False
        self.begin()
        if agreed is not None:
            agreed(None)

    def _end(self, error: OSError | None) -> None:
        if self._agreed is None:
            super()._end(error)
        else:
            self.give_up(error or ConnectionAbortedError())

    def _readable(self) -> None:
        size = 0
        while size <= READ_BYTES - RECORD_BYTES:
            try:
                more = self._tls.recv_into(_BUFFER[size:], READ_BYTES - size)
            except ssl.SSLWantReadError:
                break
            except OSError as error:
                self._take(size)
                self._end(error)
                return
            if not more:
                self._take(size)
                self._hear_end()
                return
            size += more
            if more < RECORD_BYTES:
                break  # if there is more after all, the loop tells
        self._take(size)
        self._go_on()

    def _send(self, data: bytes) -> int:
        try:
            return self._tls.send(data)
        except ssl.SSLWantWriteError:
            return 0  # OpenSSL may have sent some of it; it wants the same bytes again

    def _say_last_word(self) -> bool:
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # the other side's is not here yet
        except ssl.SSLWantWriteError:
            return False
        return True


def wrapped(one: socket.socket, context: ssl.SSLContext, name: str | None = None) -> ssl.SSLSocket:
    """The socket with TLS; as the client of the server with this name, or (None) as a server. Raises `OSError`."""
    return context.wrap_socket(
        one,
        server_side=name is None,
        server_hostname=name,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,  # an end without a close_notify is an error
    )
