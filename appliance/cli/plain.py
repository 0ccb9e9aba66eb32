"""The shell without line editing: one SSH command (`-c`), or a script on standard input."""

import getpass
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from appliance.cli import table
from appliance.cli.command import CommandError
from appliance.cli.grammar import GrammarError
from appliance.cli.shell import Leave, Shell, explain, reasons
from appliance.configd.client import Client, Refused, Unreachable

START_SECONDS = 5.0  # configd is back within 3 s when it was restarted
RETRY_SECONDS = 0.5


class PlainTerminal:
    """Answers on standard output, errors on standard error. Questions go to the person at `tty`, or take the next line of
    the `script`, or are refused when there is neither."""

    interactive = False

    def __init__(self, script: TextIO | None = None) -> None:
        self._script = script
        self.number = 0
        """Of the script's line that was read last."""

    def write(self, lines: Iterable[str], *, page: int = 0) -> None:  # noqa: ARG002 - nobody to press a key
        """See `Terminal`."""
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def error(self, line: str) -> None:
        """See `Terminal`."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def ask(self, question: str) -> str:
        """See `Terminal`."""
        if self._script is None and sys.stdin.isatty():
            return input(question)
        return self._next()

    def ask_secret(self, question: str) -> str:
        """See `Terminal`."""
        if self._script is None and sys.stdin.isatty():
            return getpass.getpass(question)
        return self._next()

    def _next(self) -> str:
        if self._script is None:
            raise CommandError("This command asks a question, and there is no terminal: log in, or use `ssh -t`.")
        line = self._script.readline()
        if not line:
            raise CommandError("This command asks a question, and the script has no line left to answer it.")
        self.number += 1
        return line.rstrip("\r\n")

    def lines(self) -> Iterator[str]:
        """The script's lines; a command may take some of them as answers meanwhile."""
        while self._script is not None and (line := self._script.readline()):
            self.number += 1
            yield line.rstrip("\r\n")


def open_shell(client: Client, terminal: PlainTerminal, source: str) -> Shell:
    """A session, waiting a little for a configd that is being restarted. Raises `Refused` or `Unreachable`."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return Shell(client, terminal, table.tree, source=source, interactive=False)
        except Unreachable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_SECONDS)


def run_command(client: Client, source: str, command: str) -> int:
    """Do one SSH command. Exit status 0, or 1 when it could not be done."""
    return _run(client, PlainTerminal(), source, command.split("\n"))


def run_script(client: Client, source: str, script: TextIO) -> int:
    """Do a script's lines until the first that cannot be done, which is said with its number. Exit status 0 or 1."""
    terminal = PlainTerminal(script)
    return _run(client, terminal, source, terminal.lines())


def _run(client: Client, terminal: PlainTerminal, source: str, lines: Iterable[str]) -> int:
    try:
        shell = open_shell(client, terminal, source)
    except (Refused, Unreachable) as error:
        return _failed(terminal, reasons(error))
    try:
        for line in lines:
            failure = _tried(shell, line)
            if failure is not None:
                return _failed(terminal, failure)
    except Leave as leave:
        return _failed(terminal, [f"% {leave}"]) if str(leave) else 0
    finally:
        shell.close()
    return 0


def _tried(shell: Shell, line: str) -> list[str] | None:
    try:
        shell.run(line)
    except GrammarError as error:
        return explain(line, error)
    except (CommandError, Refused, Unreachable) as error:
        return reasons(error)
    return None


def _failed(terminal: PlainTerminal, lines: list[str]) -> int:
    where = f"Line {terminal.number}: " if terminal.number else ""
    for line in lines:
        terminal.error(line.replace("% ", f"% {where}", 1) if line.startswith("% ") else line)
    return 1
