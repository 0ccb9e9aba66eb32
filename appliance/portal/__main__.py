"""`python -m appliance.portal`: the administrators' web pages on 8443 (Type=notify)."""

import argparse
import asyncio
import logging
import signal
import socket
import ssl
import sys
from pathlib import Path

import aiohttp.web_response

from appliance.configd.client import AsyncClient
from appliance.portal.app import Portal
from appliance.portal.serving import serving
from appliance.portal.settings import SETTINGS_PATH, Settings, SettingsError, Tls, load
from appliance.systemd import Notifier
from sentry_runtime import fips

EX_CONFIG = 78  # sysexits.h: systemd waits for new settings instead of starting again
IP_FREEBIND = 15  # linux/in.h; Python has no name for it

_log = logging.getLogger(__name__)
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


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
        context = server_context(settings.tls)
    except (SettingsError, OSError) as error:
        print(f"sentry-portal: {error}", file=sys.stderr)
        return EX_CONFIG
    asyncio.run(_serve(settings, banner, context))
    return 0


def server_context(tls: Tls) -> ssl.SSLContext:
    """The listener's TLS. Raises `SettingsError` naming the files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[tls.minimum], _VERSIONS[tls.maximum]
    context.set_ciphers(":".join(tls.suites))
    _load(context, tls)
    return context


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    try:
        # An encrypted key would make OpenSSL ask on the terminal: an empty password makes it an error instead.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        raise SettingsError(f"certificate {tls.certificate} with key {tls.key}: {error.strerror or error}") from error


def take_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    """Show new connections the certificate that lies there now; those that stand notice nothing. One that cannot be used
    changes nothing and is said in the log."""
    try:
        server_context(tls)  # tried apart, because half of a pair would stay in the context that serves
        _load(context, tls)
    except SettingsError as error:
        _log.error("the certificate stays as it was: %s", error)
        return
    _log.info("the certificate was read anew")


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


async def _serve(settings: Settings, banner: str, context: ssl.SSLContext) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, take_certificate, context, settings.tls)
    portal = Portal(settings, banner, AsyncClient(settings.configd_socket))
    sockets = [_bound(address, settings.port) for address in settings.addresses]
    async with serving(portal.application(), sockets, context):
        notifier = Notifier()
        notifier.send("READY=1")
        notifier.send(f"STATUS={fips.state()}")
        watchdog = asyncio.create_task(notifier.keep_alive())
        await stop.wait()
        notifier.send("STOPPING=1")
        watchdog.cancel()


if __name__ == "__main__":
    sys.exit(main())
