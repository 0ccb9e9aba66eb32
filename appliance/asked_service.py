"""The process of a service that configd asks at a socket (Type=notify): its command line, its start and its end."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from appliance.local_socket import Desk, closed_umask, serving
from appliance.settings_file import EX_CONFIG, SettingsError
from appliance.systemd import announced, asked_to_end

Settings = TypeVar("Settings")


class Service(Protocol):
    """What such a process runs."""

    async def answer(self, asked: Any) -> object:
        """What configd is answered."""

    async def run(self, stop: asyncio.Event) -> None:
        """Do the work until `stop` is set."""


@dataclass(frozen=True, slots=True)
class Program(Generic[Settings]):
    """A service by its unit's name. `load` reads its settings (raises `SettingsError`), `make` makes it of them and the command
    line's words; `asks` is the union of what it is asked, `line_bytes` the longest line of one. An error of `ends` is one that
    systemd should see: it is said, and the status is 1."""

    name: str
    load: Callable[[Path], Settings]
    make: Callable[[Settings, argparse.Namespace], Service]
    asks: Any
    line_bytes: int
    ends: tuple[type[Exception], ...] = ()

    def run(self, arguments: argparse.Namespace) -> int:
        """Read the settings, serve, and end on SIGTERM or SIGINT; returns the process's status (sysexits.h)."""
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        closed_umask()
        try:
            settings = self.load(arguments.settings)
        except SettingsError as error:
            self._say(error)
            return EX_CONFIG
        try:
            asyncio.run(self._serve(settings, arguments))
        except self.ends as error:
            self._say(error)
            return 1
        return 0

    async def _serve(self, settings: Settings, arguments: argparse.Namespace) -> None:
        stop = asked_to_end()
        service = self.make(settings, arguments)
        async with serving(arguments.socket, Desk(self.asks, service.answer, self.line_bytes)), announced():
            await service.run(stop)

    def _say(self, error: Exception) -> None:
        sys.stderr.write(f"{self.name}: {error}\n")


def command_line(
    description: str | None, *, settings: Path, socket: str, state: Path | None = None
) -> argparse.ArgumentParser:
    """The words that such a program takes, with the appliance's places as defaults; `state` is for one that keeps something."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--settings", type=Path, default=settings)
    if state is not None:
        parser.add_argument("--state", type=Path, default=state, help="a folder of this account")
    parser.add_argument("--socket", type=Path, default=Path(socket), help="in a folder of this account")
    return parser
