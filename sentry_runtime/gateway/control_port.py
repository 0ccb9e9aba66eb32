"""The gateway's control socket, served from the supervisor's `select`: `Status`, `Explain`, and the supervisor's orders.

`control_server` is for processes with an event loop; the supervisor forks and has none.
"""

import contextlib
import os
import selectors
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sentry_runtime import control
from sentry_runtime.control_server import Refused

SOCKET_MODE = 0o660
REQUEST_BYTES = 4_096  # an `Explain` with the longest names is below 2 KiB
CLIENTS = 32  # configd asks one thing at a time

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


Orders = Mapping[type[control.Request], Callable[[], str]]
"""Requests without a field, and what each makes the supervisor do; it says why that could not be done, or ""."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the supervisor does for each request; `explain` raises `Refused`, `redirects` gives the answer's line."""

    status: Callable[[], Mapping[str, int | str]]
    explain: Callable[[control.Explain], control.Explanation]
    redirects: Callable[[control.ListRedirects | control.ClearRedirects], bytes]
    orders: Orders


class ControlPort:
    """Takes requests from root and from the gateway's own user; everybody else is refused."""

    def __init__(self, path: str, selector: selectors.BaseSelector, handlers: Handlers) -> None:
        self._path = Path(path)
        self._selector = selector
        self._handlers = handlers
        self._listener: socket.socket | None = None
        self._clients: dict[socket.socket, bytearray] = {}

    def open(self) -> None:
        """Bind and listen. Raises `OSError`, `BlockingIOError` among them when somebody answers there already."""
        _clear(self._path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._listener.bind(str(self._path))
        self._path.chmod(SOCKET_MODE)  # before listen: nobody can connect until the mode stands
        self._listener.listen(CLIENTS)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """End all talks and remove the socket."""
        self.abandon()
        self._path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close the descriptors only: for a forked child."""
        if self._listener is not None:
            self._listener.close()
        for client in self._clients:
            client.close()
        self._clients.clear()

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            client, _ = self._listener.accept()
        except OSError:  # it has gone again
            return
        if len(self._clients) >= CLIENTS:
            client.close()
            return
        client.settimeout(0)
        self._clients[client] = bytearray()
        self._selector.register(client, selectors.EVENT_READ, lambda: self._read(client))

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(REQUEST_BYTES)
        except OSError:
            data = b""
        line = self._clients[client]
        line += data
        if not data or len(line) > REQUEST_BYTES:
            self._drop(client)
            return
        while (end := line.find(b"\n") + 1) > 0:
            request = bytes(line[:end])
            del line[:end]
            try:
                client.sendall(self._answer(client, request))
            except OSError:  # it does not read its answers
                self._drop(client)
                return

    def _drop(self, client: socket.socket) -> None:
        del self._clients[client]
        self._selector.unregister(client)
        client.close()

    def _answer(self, client: socket.socket, line: bytes) -> bytes:
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid not in (0, os.getuid()):
            return control.refuse("forbidden", "only root and the gateway's own user may ask")
        try:
            request = control.decode_request(line)
        except msgspec.MsgspecError as error:
            return control.refuse("invalid", str(error))
        return self._served(request)

    def _served(self, request: control.Request) -> bytes:
        match request:
            case control.Status():
                return control.answer(self._handlers.status())
            case control.Explain():
                return self._explained(request)
            case control.ListRedirects() | control.ClearRedirects():
                return self._handlers.redirects(request)
            case _:
                return self._ordered(request)

    def _ordered(self, request: control.Request) -> bytes:
        order = self._handlers.orders.get(type(request))
        if order is None:
            served = "status, explain, quiesce, drain, resume and redirections"
            return control.refuse("unknown", f"the gateway serves {served}")
        problem = order()
        return control.refuse("failed", problem) if problem else control.answer(None)

    def _explained(self, asked: control.Explain) -> bytes:
        try:
            return control.answer(self._handlers.explain(asked))
        except Refused as refusal:
            return control.refuse(refusal.kind, refusal.message)


def _clear(path: Path) -> None:
    """Remove what a killed predecessor left; refuse to push a living one aside."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
    raise BlockingIOError(f"{path}: another process already answers there")
