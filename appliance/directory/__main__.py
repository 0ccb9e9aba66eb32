"""`python -m appliance.directory`: asks a site's directory who somebody is (Type=notify), as an account of its own."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from appliance.directory.api import LINE_BYTES, SOCKET, Ask
from appliance.directory.service import Service
from appliance.directory.settings import SETTINGS_PATH, Settings, SettingsError, load
from appliance.local_socket import Desk, closed_umask, serving
from appliance.systemd import Notifier

EX_CONFIG = 78  # sysexits.h: systemd waits for new settings instead of starting again


def main() -> int:
    """Read the settings, answer configd, and end on SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, default=SETTINGS_PATH)
    parser.add_argument("--socket", type=Path, default=Path(SOCKET), help="in a folder of this account")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    closed_umask()
    try:
        settings = load(arguments.settings)
    except SettingsError as error:
        print(f"sentry-directory: {error}", file=sys.stderr)
        return EX_CONFIG
    asyncio.run(_serve(settings, arguments.socket))
    return 0


async def _serve(settings: Settings, socket: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(socket, Desk(Ask, Service(settings).answer, LINE_BYTES)):
        notifier = Notifier()
        notifier.send("READY=1")
        watchdog = asyncio.create_task(notifier.keep_alive())
        await stop.wait()
        notifier.send("STOPPING=1")
        watchdog.cancel()


if __name__ == "__main__":
    sys.exit(main())
