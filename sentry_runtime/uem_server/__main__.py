"""`python -m sentry_runtime.uem_server --settings PATH` serves (`sentry_runtime.uem_server.service`); with a noun of
`sentry_runtime.uem_server.cli` among its arguments it is the administrators' command."""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

from sentry_runtime import process
from sentry_runtime.settings import SETTINGS_PATH, Settings, SettingsError, UemSettings
from sentry_runtime.systemd import Notifier
from sentry_runtime.trail import Trail
from sentry_runtime.uem.trail import writer
from sentry_runtime.uem_server import cli, service

PROGRAM = "sentry-uem"
UMASK = 0o077  # the database and what SQLite lays beside it are the UEM's alone


def main(arguments: list[str] | None = None) -> None:
    """Run the UEM until SIGTERM, or do what an administrator says. Exit code 78: the settings are wrong; 69: it cannot start
    now."""
    words = sys.argv[1:] if arguments is None else arguments
    if not set(words).isdisjoint(cli.NOUNS):
        raise SystemExit(cli.main(words))
    described = f"The small UEM: serve. To administer it: {PROGRAM} {'|'.join(cli.NOUNS)} ..."
    parser = argparse.ArgumentParser(prog=PROGRAM, description=described)
    parser.add_argument("--settings", type=Path, default=SETTINGS_PATH)
    parser.add_argument("--admin-user", default="root", help="who may administer it")
    parser.add_argument(
        "--alone", action="store_true", help="this machine is a UEM and nothing else, and so are the settings"
    )
    given = parser.parse_args(words)
    settings = _settings(given.settings, alone=given.alone)
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


def _settings(path: Path, *, alone: bool) -> Settings | UemSettings:
    return process.uem_settings_or_exit(PROGRAM, path) if alone else process.settings_or_exit(PROGRAM, path)


if __name__ == "__main__":
    main()
