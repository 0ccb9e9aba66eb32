"""`python -m sentry_runtime.agent --settings PATH`: see `sentry_runtime.agent.service`."""

import argparse
import asyncio
import time
from pathlib import Path

from sentry_runtime import process
from sentry_runtime.agent import service
from sentry_runtime.settings import SETTINGS_PATH
from sentry_runtime.systemd import Notifier
from sentry_runtime.trail import Trail
from sentry_runtime.uem.trail import writer

PROGRAM = "sentry-agent"


def main(arguments: list[str] | None = None) -> None:
    """Run the agent until SIGTERM. Exit code 78: the settings are wrong; 69: it cannot start now."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="The one writer of the device list, and the link to the UEM."
    )
    parser.add_argument("--settings", type=Path, default=SETTINGS_PATH)
    parser.add_argument("--gateway-user", default="sentry-gateway", help="whose first contacts are answered")
    parser.add_argument("--management-user", default="root", help="who may list the devices")
    given = parser.parse_args(arguments)
    settings = process.settings_or_exit(PROGRAM, given.settings)
    access = service.Access(
        gateway=frozenset({process.uid_or_exit(PROGRAM, given.gateway_user)}),
        management=frozenset({process.uid_or_exit(PROGRAM, given.management_user)}),
    )

    async def until(stop: asyncio.Event) -> None:
        trail = Trail(settings.paths.audit_socket, time.time)
        try:
            await service.run(settings, access, writer(trail), Notifier(), stop)
        finally:
            trail.close()

    process.serve(PROGRAM, until)


if __name__ == "__main__":
    main()
