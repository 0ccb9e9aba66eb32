"""What a service of the management plane tells systemd (sd_notify(3)), without libsystemd."""

import asyncio
import os
import socket
from collections.abc import Mapping


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
