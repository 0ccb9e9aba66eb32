"""What a machine answers to the closed list of commands (`stig.commands`), each fetched once."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from stig import commands
from stig.commands import COMMANDS
from stig.errors import FactError
from stig.machine import Machine
from stig.run import Finished

Shape = TypeVar("Shape")


@dataclass(slots=True)
class Facts:
    """The answers of one machine. Every method raises `FactError` when the machine does not tell."""

    machine: Machine
    asked: dict[str, None] = field(default_factory=dict)
    """What has been asked since somebody last emptied it, as an auditor types it at the command line to see it again."""
    _seen: dict[str, Finished] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict)

    def argv(self, name: str) -> tuple[str, ...]:
        """The command behind a fact, as it is run."""
        return commands.argv(name, self.machine.target.standpoint) if commands.depends(name) else COMMANDS[name]

    def command(self, name: str) -> str:
        """The command behind a fact, as evidence shows it."""
        return commands.shown(self.argv(name))

    def answer(self, name: str) -> Finished:
        """Exit status and output, whatever the status; asked once and remembered."""
        self.asked[f"facts {name}"] = None
        if name not in self._seen:
            self._seen[name] = self.machine.look(name, self.argv(name), stdin=commands.INPUT.get(name, ""))
        return self._seen[name]

    def anew(self, name: str) -> Finished:
        """`answer`, asked again: for what the scan itself has changed since."""
        self._seen.pop(name, None)
        return self.answer(name)

    def once(self, name: str, make: Callable[[], Shape]) -> Shape:
        """What `make` gives, made at the first call of this name and remembered: for looks that several rules stand on."""
        if name not in self._made:
            self._made[name] = make()
        made: Shape = self._made[name]
        return made

    def text(self, name: str) -> str:
        """The output of a command that must succeed."""
        done = self.answer(name)
        if done.status != 0:
            raise FactError(f"{self.command(name)}: exit status {done.status}: {' '.join(done.errors.split())}")
        return done.output

    def lines(self, name: str) -> tuple[str, ...]:
        """The non-empty lines of `text`."""
        return tuple(line for line in self.text(name).splitlines() if line.strip())

    def tree(self, name: str) -> Any:
        """The JSON that a command printed."""
        try:
            return json.loads(self.text(name))
        except ValueError as error:
            raise FactError(f"{self.command(name)}: printed no JSON: {error}") from error

    def struct(self, name: str, shape: type[Shape]) -> Shape:
        """The JSON that a command printed, read as `shape`."""
        try:
            return msgspec.json.decode(self.text(name), type=shape)
        except msgspec.MsgspecError as error:
            raise FactError(f"{self.command(name)}: {error}") from error

    def cli(self, line: str) -> str:
        """The command line's answer to `line`; asked once and remembered."""
        self.asked[line.removesuffix(" | json")] = None
        if line not in self._said:
            self._said[line] = self.machine.cli(line)
        return self._said[line]

    def cli_data(self, line: str, shape: type[Shape]) -> Shape:
        """The command line's answer to `line` in its JSON form, read as `shape`."""
        try:
            return msgspec.json.decode(self.cli(f"{line} | json"), type=shape)
        except msgspec.MsgspecError as error:
            raise FactError(f"CLI {line!r}: {error}") from error
