"""`python -m sentry_runtime.gateway [--settings PATH]`: the gateway as a systemd service (Type=notify)."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sentry_runtime.gateway.generation import prepare
from sentry_runtime.gateway.supervisor import Supervisor
from sentry_runtime.settings import SETTINGS_PATH, SettingsError
from sentry_runtime.systemd import Notifier


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM. Exit codes: 0 stopped, 78 (EX_CONFIG) settings that cannot be used, 71 (EX_OSERR) an address taken."""
    parser = argparse.ArgumentParser(prog="sentry-gateway", description="The ActiveSync gateway on 443.")
    parser.add_argument(
        "--settings", type=Path, default=SETTINGS_PATH, help=f"settings file (default: {SETTINGS_PATH})"
    )
    path: Path = parser.parse_args(arguments).settings
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        generation = prepare(path)
    except SettingsError as error:
        print(f"sentry-gateway: {error}", file=sys.stderr)
        return os.EX_CONFIG
    try:
        Supervisor(path, generation, Notifier()).run()
    except OSError as error:
        print(f"sentry-gateway: {error.strerror or error}", file=sys.stderr)
        return os.EX_OSERR
    return 0


if __name__ == "__main__":
    sys.exit(main())
