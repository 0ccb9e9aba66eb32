"""`python -m sentry_runtime.uem_server --settings PATH`: see `sentry_runtime.uem_server.service`."""

import argparse
import asyncio
import os
import time
from pathlib import Path

from sentry_runtime import process
from sentry_runtime.settings import SETTINGS_PATH, SettingsError
from sentry_runtime.systemd import Notifier
from sentry_runtime.trail import Trail
from sentry_runtime.uem.trail import writer
from sentry_runtime.uem_server import service

PROGRAM = "sentry-uem"
UMASK = 0o077  # the database and what SQLite lays beside it are the UEM's alone


def main(arguments: list[str] | None = None) -> None:
    """Run the UEM until SIGTERM. Exit code 78: the settings are wrong; 69: it cannot start now."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="The small UEM in the box.")
    parser.add_argument("--settings", type=Path, default=SETTINGS_PATH)
    parser.add_argument("--admin-user", default="root", help="who may administer it")
    given = parser.parse_args(arguments)
    settings = process.settings_or_exit(PROGRAM, given.settings)
    allowed = frozenset({process.uid_or_exit(PROGRAM, given.admin_user)})
    os.umask(UMASK)

    async def until(stop: asyncio.Event) -> None:
        if settings.uem_server is None:
            raise SettingsError(f"{given.settings}: `uem_server` is missing: this appliance has no UEM in the box")
        trail = Trail(settings.paths.audit_socket, time.time)
        try:
            names = settings.principals.names()
            await service.run(settings.uem_server, names, settings.paths, allowed, writer(trail), Notifier(), stop)
        finally:
            trail.close()

    process.serve(PROGRAM, until)


if __name__ == "__main__":
    main()
