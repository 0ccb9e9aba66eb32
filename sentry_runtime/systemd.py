"""What a service tells systemd (sd_notify(3)): that it is ready, that it stops, that it is alive."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to the socket named by NOTIFY_SOCKET; without one (not started by systemd) it does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog_seconds: float | None = int(microseconds) / 1_000_000 if microseconds.isdecimal() else None
        """How often systemd wants to hear `WATCHDOG=1`; None when it does not."""

    def send(self, state: str) -> None:
        """One state such as `READY=1`, `STOPPING=1`, `WATCHDOG=1` or `STATUS=words`.

        Failure to deliver is no failure of the service: systemd then acts by its own time-outs.
        """
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
            peer.settimeout(0)
            try:
                peer.sendto(state.encode(), self._address)
            except OSError:
                return
