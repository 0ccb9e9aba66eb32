"""The addresses of the servers' names, waited for no longer than whoever asks may wait.

Nothing bounds getaddrinfo(3): the C library asks each name server twice for 5 seconds, for the name and below each domain that is
tried behind it (resolv.conf(5)), which may be minutes. It cannot be broken off either. So a name is looked up in a thread of its
own, by one at a time: who asks meanwhile waits for the same answer, so that no name has more threads than one, however many ask.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

LookUp = Callable[..., list[tuple[Any, ...]]]
"""As `socket.getaddrinfo`."""


class Names:
    """Safe to use from several threads."""

    def __init__(self, look_up: LookUp = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[tuple[str, ...]]] = {}

    def addresses(self, host: str, seconds: float) -> tuple[str, ...]:
        """Those of `host`, in the order in which they are to be tried; of an address itself. Raises `OSError`, of which
        `TimeoutError` is one."""
        with contextlib.suppress(socket.gaierror):
            return _in_order(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
        with self._lock:
            answer = self._under_way.get(host) or self._begun(host)
        try:
            return answer.result(seconds)
        except TimeoutError:
            raise TimeoutError(f"no name server gives the address of {host} in time") from None

    def _begun(self, host: str) -> "Future[tuple[str, ...]]":
        """An answer that a thread of its own sees to. Raises `OSError` where there can be none (systemd.resource-control(5),
        TasksMax), and then nothing is under way. With the lock held, so that the thread finds itself there when it ends."""
        answer: Future[tuple[str, ...]] = Future()
        try:
            threading.Thread(target=self._settle, args=(host, answer), name="names", daemon=True).start()
        except RuntimeError as error:
            raise OSError(f"the address of {host} cannot be looked up: {error}") from error
        self._under_way[host] = answer
        return answer

    def _settle(self, host: str, answer: "Future[tuple[str, ...]]") -> None:
        try:
            found = _in_order(self._look_up(host, None, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            self._forget(host)
            answer.set_exception(error)
        else:
            self._forget(host)
            answer.set_result(found)

    def _forget(self, host: str) -> None:
        """Who asks from now on has it looked up anew."""
        with self._lock:
            del self._under_way[host]


def _in_order(found: list[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))
