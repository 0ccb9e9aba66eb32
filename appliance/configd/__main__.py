"""`python -m appliance.configd`: the daemon (Type=notify), as root."""

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path

from appliance.apply import ConflictError
from appliance.config.secrets import SecretError
from appliance.config.store import StoreError
from appliance.configd import starting
from appliance.configd.api import SOCKET
from appliance.configd.build import Parts, build
from appliance.configd.server import Server
from appliance.process import CommandError
from appliance.render import RenderError
from appliance.system import MachineError

STATE = Path("/var/lib/sentry")
GROUP = "sentry-mgmt"
DRIFT_SHOWN = 5  # in the notice; the audit trail has them all


def main() -> int:
    """Start, recover what a crash left, listen, and end on SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, default=Path(SOCKET))
    parser.add_argument("--state", type=Path, default=STATE, help="holds config/ and secrets/")
    parser.add_argument("--group", default=GROUP, help="group of the socket")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    os.umask(0o077)
    try:
        with _alone(arguments.state):
            parts = build(arguments.state)
            alive = partial(_notify, "WATCHDOG=1")
            server = Server(parts.gate, parts.watch, arguments.socket, group=arguments.group, alive=alive)
            asyncio.run(_serve(server, parts))
    except (StoreError, SecretError, OSError) as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


class _alone:  # noqa: N801 - used as a function
    """The one configd of this state folder: a second one must not recover what the first is doing."""

    def __init__(self, state: Path) -> None:
        state.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._place = state / "configd.lock"

    def __enter__(self) -> None:
        self._descriptor = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"{self._place}: another configd runs on this state") from error

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)


def _recover(parts: Parts) -> None:
    """Finish or undo what was interrupted, and say so. Until it is done, every commit is refused or does this first."""
    if parts.stepped_back:
        logging.getLogger(__name__).warning("%s", parts.stepped_back)
        parts.sessions.tell_all(parts.stepped_back)
        parts.gate.note("config.stepped_back", "configd", detail=parts.stepped_back)
    try:
        done = parts.engine.recover()
    except (ConflictError, StoreError, OSError) as error:
        logging.getLogger(__name__).error("after an interruption: %s", error)
        return
    if done is not None:
        logging.getLogger(__name__).warning("%s", done)
        parts.sessions.tell_all(done)
        parts.gate.note("config.recovered", "configd", detail=done)


def _look_for_drift(parts: Parts) -> None:
    """Say what of the machine is not as the running revision says. Nothing is mended: the next commit does that, and who
    changed it should be asked first."""
    try:
        found = parts.engine.drift()
    except (StoreError, RenderError, MachineError, CommandError, SecretError, OSError) as error:
        logging.getLogger(__name__).error("whether the machine drifted cannot be told: %s", error)
        return
    for one in found:
        logging.getLogger(__name__).warning("drift: %s", one)
        parts.gate.note("config.drift", "configd", result="drift", detail=one)
    if found:
        shown = ", ".join(found[:DRIFT_SHOWN])
        more = f" and {len(found) - DRIFT_SHOWN} more" if len(found) > DRIFT_SHOWN else ""
        parts.sessions.tell_all(f"the machine is not as the configuration says: {shown}{more}; a commit mends it")


async def _serve(server: Server, parts: Parts) -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve(stop, ready=ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if ready.is_set():
        # First ready, then recover: undoing may restart units that systemd starts only after this one.
        _notify("READY=1")
        await asyncio.to_thread(_recover, parts)
        await asyncio.to_thread(starting.lay_out, parts.engine, parts.gate, parts.sessions)
        await asyncio.to_thread(_look_for_drift, parts)
    await serving


def _notify(state: str) -> None:
    """sd_notify(3) without libsystemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        notify.send(state.encode())


if __name__ == "__main__":
    sys.exit(main())
