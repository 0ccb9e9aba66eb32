"""`python -m appliance.portal`: the administrators' web pages, behind the TLS proxy (Type=notify)."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import aiohttp.web_response

from appliance.configd.client import AsyncClient
from appliance.portal.app import Portal
from appliance.portal.serving import listening, serving
from appliance.portal.settings import SETTINGS_PATH, Settings, load
from appliance.settings_file import EX_CONFIG, SettingsError
from appliance.systemd import announced, asked_to_end
from sentry_runtime import fips


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
    stop = asked_to_end()
    portal = Portal(settings, banner, AsyncClient(settings.configd_socket))
    with listening(Path(settings.socket_path)) as listener:
        async with serving(portal.application(), listener), announced(fips.state()):
            await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
