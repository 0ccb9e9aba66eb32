"""`python -m appliance.alerts`: tells people what they must hear of (Type=notify), as an account of its own."""

import argparse
import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

from appliance.alerts.api import LINE_BYTES, SOCKET, Ask
from appliance.alerts.keep import FOLDER, Keep
from appliance.alerts.looking import Machine
from appliance.alerts.service import Service
from appliance.alerts.settings import SETTINGS_PATH, Settings, SettingsError, load
from appliance.configd import api
from appliance.local_socket import Desk, closed_umask, serving
from appliance.snmp.publishing import Publisher
from appliance.systemd import Notifier

EX_CONFIG = 78  # sysexits.h: systemd waits for new settings instead of starting again


def main() -> int:
    """Read the settings, look and tell, and end on SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, default=SETTINGS_PATH)
    parser.add_argument("--state", type=Path, default=FOLDER, help="a folder of this account")
    parser.add_argument("--socket", type=Path, default=Path(SOCKET))
    parser.add_argument("--configd", default=api.SOCKET)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    closed_umask()
    try:
        settings = load(arguments.settings)
    except SettingsError as error:
        print(f"sentry-alerts: {error}", file=sys.stderr)
        return EX_CONFIG
    asyncio.run(_serve(settings, arguments))
    return 0


async def _serve(settings: Settings, arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    publisher = Publisher(wall=time.time)
    sources = Machine(socket=arguments.configd)
    service = Service(settings, Keep(arguments.state), sources, publish=publisher.publish)
    async with serving(arguments.socket, Desk(Ask, service.answer, LINE_BYTES)):
        notifier = Notifier()
        notifier.send("READY=1")
        watchdog = asyncio.create_task(notifier.keep_alive())
        await service.run(stop)
        notifier.send("STOPPING=1")
        watchdog.cancel()


if __name__ == "__main__":
    sys.exit(main())
