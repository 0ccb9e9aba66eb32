"""configd as a process, over the small appliance: `daemon_program.py FOLDER SOCKET [CRASH_STEP]`.

Started by tests that kill it. With CRASH_STEP it kills itself (SIGKILL) at that step of a commit.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from appliance.configd.server import Server
from tests.unit.appliance.workbench import Daemon


class Mortal(Daemon):
    """Dies for real."""

    def _checkpoint(self, step: str) -> None:
        if step == self.crash_at:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: Path, socket: Path, crash_at: str | None) -> None:
    """Serve until SIGTERM."""
    daemon = Mortal(folder)
    daemon.crash_at = crash_at
    stop, ready = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = asyncio.create_task(Server(daemon.gate, daemon.watch, socket).serve(stop, ready=ready))
    await ready.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
