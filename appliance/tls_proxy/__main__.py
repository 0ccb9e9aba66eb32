"""`python -m appliance.tls_proxy`: ends TLS on 8443 for the portal (Type=notify)."""

import argparse
import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

from appliance.configd.client import AsyncClient
from appliance.settings_file import EX_CONFIG, SettingsError
from appliance.systemd import announced, asked_to_end
from appliance.tls_proxy.service import Service
from appliance.tls_proxy.settings import SETTINGS_PATH, Settings, load
from appliance.tls_proxy.tickets import SECONDS, Desk
from sentry_runtime import fips

IP_FREEBIND = 15  # linux/in.h; Python has no name for it


def main() -> int:
    """Read the settings, listen, and end on SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, default=SETTINGS_PATH)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        settings = load(arguments.settings)
        service = Service(settings, Desk(AsyncClient(settings.configd_socket, seconds=SECONDS)))
    except SettingsError as error:
        print(f"sentry-tls-proxy: {error}", file=sys.stderr)
        return EX_CONFIG
    asyncio.run(_serve(settings, service))
    return 0


def _bound(address: str, port: int) -> socket.socket:
    """A socket on `address`, which networkd may still be putting on its interface (IP_FREEBIND, ip(7))."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 has a socket of its own
    one.bind((address, port))
    return one


async def _serve(settings: Settings, service: Service) -> None:
    stop = asked_to_end()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload)
    sockets = [_bound(address, settings.port) for address in settings.addresses]
    async with service.serving(sockets), announced(fips.state()):
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
