"""What `python -m sentry_runtime.<process>` has in common: arguments, settings, signals, exit codes."""

import asyncio
import pwd
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import uvloop

from sentry_runtime.devices.store import StoreError
from sentry_runtime.settings import Settings, SettingsError, UemSettings, load, load_uem

EX_CONFIG = 78  # sysexits.h: systemd is told not to restart on it (RestartPreventExitStatus)
EX_UNAVAILABLE = 69  # sysexits.h: something it needs is not there now; a restart may help

_Kind = TypeVar("_Kind")


class CannotStartError(RuntimeError):
    """Something that the process needs is not there now; the message says what."""


def settings_or_exit(program: str, path: Path) -> Settings:
    """The settings, or the reason on stderr and exit 78."""
    return _read_or_exit(program, path, load)


def uem_settings_or_exit(program: str, path: Path) -> UemSettings:
    """The same for a machine that is a UEM and nothing else."""
    return _read_or_exit(program, path, load_uem)


def _read_or_exit(program: str, path: Path, read: Callable[[Path], _Kind]) -> _Kind:
    try:
        return read(path)
    except SettingsError as error:
        raise _ends(program, str(error), EX_CONFIG) from error


def uid_or_exit(program: str, user: str) -> int:
    """The uid of this account, or the reason on stderr and exit 78."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise _ends(program, f"there is no account {user!r} on this machine", EX_CONFIG) from error


def serve(program: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` on uvloop; SIGTERM and SIGINT set the event it is given.

    A `SettingsError` ends the process with 78, an `OSError`, `StoreError` or `CannotStartError` with 69, each with one line on
    stderr. Anything else is a bug and ends it with its traceback.
    """
    try:
        uvloop.run(_until_signal(main))
    except SettingsError as error:
        raise _ends(program, str(error), EX_CONFIG) from error
    except (OSError, StoreError, CannotStartError) as error:
        raise _ends(program, str(error), EX_UNAVAILABLE) from error


async def _until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop)


def _ends(program: str, reason: str, code: int) -> SystemExit:
    sys.stderr.write(f"{program}: {reason}\n")
    return SystemExit(code)
