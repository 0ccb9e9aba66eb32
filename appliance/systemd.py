"""What a service of the management plane tells systemd (sd_notify(3)), without libsystemd."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping


class Notifier:
    """Sends states to the socket named by NOTIFY_SOCKET; without one (not started by systemd) it does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(microseconds) / 1_000_000 if microseconds.isdecimal() else 0.0
        """How often systemd wants to hear `WATCHDOG=1`; 0 when it does not."""

    def send(self, state: str) -> None:
        """One state such as `READY=1`. Failure to deliver is no failure of the service: systemd then acts by itself."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
            peer.settimeout(0)
            try:
                peer.sendto(state.encode(), self._address)
            except OSError:
                return

    async def keep_alive(self) -> None:
        """Say `WATCHDOG=1` twice in each period, from the loop that serves: a loop that hangs falls silent. Runs until
        cancelled; returns at once where no watchdog is set."""
        while self.watchdog_seconds:
            self.send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / 2)


@contextlib.asynccontextmanager
async def announced(status: str = "") -> AsyncIterator[None]:
    """Tell systemd that the service is ready, that it lives and, when the block is left, that it ends. `status` is what
    `systemctl status` says of it."""
    notifier = Notifier()
    notifier.send("READY=1")
    if status:
        notifier.send(f"STATUS={status}")
    watchdog = asyncio.create_task(notifier.keep_alive())
    try:
        yield
    finally:
        notifier.send("STOPPING=1")
        watchdog.cancel()


def asked_to_end() -> asyncio.Event:
    """What SIGTERM and SIGINT set from now on; of the loop that runs."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
