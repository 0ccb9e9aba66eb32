"""`python -m appliance.portal`: the administrators' web pages, behind the TLS proxy (Type=notify)."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import aiohttp.web_response

from appliance.configd.client import AsyncClient
from appliance.portal.app import Portal
from appliance.portal.serving import listening, serving
from appliance.portal.settings import SETTINGS_PATH, Settings, SettingsError, load
from appliance.systemd import Notifier
from sentry_runtime import fips

EX_CONFIG = 78  # sysexits.h: systemd waits for new settings instead of starting again


def main() -> int:
    """Read the settings, listen, and end on SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, default=SETTINGS_PATH)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # aiohttp answers what is no HTTP at all before any code of ours runs, and would name itself and its version there.
    vars(aiohttp.web_response)["SERVER_SOFTWARE"] = ""
    try:
        settings = load(arguments.settings)
        banner = Path(settings.banner_path).read_text(encoding="utf-8")
    except (SettingsError, OSError) as error:
        print(f"sentry-portal: {error}", file=sys.stderr)
        return EX_CONFIG
    asyncio.run(_serve(settings, banner))
    return 0


async def _serve(settings: Settings, banner: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    portal = Portal(settings, banner, AsyncClient(settings.configd_socket))
    with listening(Path(settings.socket_path)) as listener:
        async with serving(portal.application(), listener):
            notifier = Notifier()
            notifier.send("READY=1")
            notifier.send(f"STATUS={fips.state()}")
            watchdog = asyncio.create_task(notifier.keep_alive())
            await stop.wait()
            notifier.send("STOPPING=1")
            watchdog.cancel()


if __name__ == "__main__":
    sys.exit(main())
