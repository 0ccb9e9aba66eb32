"""One administrator's session: what mode it is in, how a line becomes a command, and what the commands may use."""

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, overload

from appliance.cli.command import CommandError, Mode, Tree
from appliance.cli.grammar import (
    AmbiguousWordError,
    GrammarError,
    SecretOnLineError,
    UnknownWordError,
    match,
)
from appliance.cli.output import Output, safe, through
from appliance.configd import api
from appliance.configd.client import Refused, Unreachable

T = TypeVar("T")

CANDIDATES_SHOWN = 24  # of what may stand at a word at fault; the rest is a `?` away
_SUFFIX = {Mode.EXEC: ">", Mode.PRIVILEGED: "#", Mode.CONFIG: "(config)#", Mode.INTERFACE: "(config-if)#"}
_WAYS = {
    (Mode.EXEC, Mode.PRIVILEGED): "`enable`",
    (Mode.EXEC, Mode.CONFIG): "`enable` and `configure terminal`",
    (Mode.PRIVILEGED, Mode.CONFIG): "`configure terminal`",
}


class Terminal(Protocol):
    """Where the person or the script sits. The asking methods raise `CommandError` where nobody can answer, and EOFError
    when the other side hung up."""

    interactive: bool

    def write(self, lines: Iterable[str], *, page: int = 0) -> None:
        """Print lines that are safe to print, pausing after every `page` of them (0: never)."""

    def error(self, line: str) -> None:
        """Print one line about what went wrong."""

    def ask(self, question: str) -> str:
        """Ask for a line."""

    def ask_secret(self, question: str) -> str:
        """Ask for a line that is neither shown nor kept."""


class Link(Protocol):
    """The way to configd: `appliance.configd.client.Client`, which says what it raises."""

    @overload
    def call(self, verb: Any, result_type: type[T]) -> T: ...
    @overload
    def call(self, verb: Any, result_type: Any = ...) -> Any: ...
    def call(self, verb: Any, result_type: Any = ...) -> Any:
        """Send one verb, return its result."""


class Leave(Exception):  # noqa: N818 - not an error: the person is done
    """The session ends; the message, if any, says why."""


class Shell:
    """The state of one session. Raises `Refused` or `Unreachable` when no session can be opened."""

    def __init__(
        self, link: Link, terminal: Terminal, grammar: "Grammar", *, source: str = "", interactive: bool = True
    ) -> None:
        """Open the session: in EXEC mode, or in PRIVILEGED when configd opens it so (automation)."""
        self._grammar = grammar
        self.terminal = terminal
        self._link = link
        self._opening = api.OpenSession(source=source, interactive=interactive)
        self._lock = threading.Lock()  # the person's touch is sent while the line is still being typed
        self._lost = False
        self.interface = ""
        self.page_lines = 0
        self._begin(self._exchange(self._opening, api.Session))

    def _begin(self, session: api.Session) -> None:
        self.session = session
        self.idle_seconds = session.idle_seconds
        self.mode = Mode.PRIVILEGED if session.privileged else Mode.EXEC
        self._tell(session.notices)
        if session.password_ended:
            self._tell(
                (
                    "Your password is older than it may be. Set a new one with `password`: until then nothing else is done.",
                )
            )

    def _tell(self, notices: Iterable[str]) -> None:
        for notice in notices:  # beside what is asked for: a script's answer stays what it is, JSON above all
            self.terminal.error(f"* {safe(notice)}")

    @property
    def prompt(self) -> str:
        """E.g. `gw1(config)#`."""
        host = safe(socket.gethostname().partition(".")[0]) or "sentry"
        return host + _SUFFIX[self.mode]

    @property
    def tree(self) -> Tree:
        """What may be typed now."""
        return self._grammar(self.mode, self)

    # --- configd -----------------------------------------------------------------------------------------------------

    @overload
    def call(self, verb: type[Any], result: type[T], **fields: Any) -> T: ...
    @overload
    def call(self, verb: type[Any], result: Any, **fields: Any) -> Any: ...
    def call(self, verb: type[Any], result: Any, **fields: Any) -> Any:
        """Send a verb of this session to configd. A session that configd lost by restarting is opened anew, and the
        person told to repeat the command: nothing is done twice."""
        try:
            return self._exchange(verb(session=self.session.handle, **fields), result)
        except Refused as refused:
            if refused.refusal.kind != "session":
                raise
            if not self._lost:
                raise Leave("The session has ended: it was idle too long, or the account was changed.") from refused
            self._begin(self._exchange(self._opening, api.Session))
            self._lost = False
            raise CommandError(
                "configd was restarted. This is a new session; what was not committed is gone. Repeat the command."
            ) from refused

    def _exchange(self, verb: Any, result: Any) -> Any:
        with self._lock:
            try:
                return self._link.call(verb, result)
            except Unreachable:
                self._lost = True  # configd ends a session with its connection
                raise

    def renew(self, session: api.Session) -> None:
        """Take over what configd now says of this session."""
        self.session = session
        self.idle_seconds = min(self.idle_seconds, session.idle_seconds)
        self._tell(session.notices)

    def touch(self) -> tuple[str, ...]:
        """Tell configd that the person is here; returns what it has to tell them. What fails now fails again, and is
        said, at the next command."""
        try:
            return self._exchange(api.Touch(session=self.session.handle), api.Session).notices  # type: ignore[no-any-return]
        except (Refused, Unreachable):
            return ()

    def glance(self, path: tuple[str, ...]) -> Any:
        """What the candidate has at `path`, to complete a word from; None when it cannot be had."""
        verb = api.GetConfig(session=self.session.handle, view="candidate", path=path)
        try:
            return self._exchange(verb, Any)
        except (Refused, Unreachable):
            return None

    def close(self) -> None:
        """End the session in configd, if it still listens."""
        try:
            self._exchange(api.CloseSession(session=self.session.handle), type(None))
        except (Refused, Unreachable):
            return

    # --- lines -------------------------------------------------------------------------------------------------------

    def run(self, line: str) -> None:
        """Do one line. Raises `GrammarError`, `CommandError`, `Leave`, `Refused` or `Unreachable`."""
        if not line.strip() or line.lstrip().startswith("!"):
            return
        try:
            command, pipe = match(self.tree, line)
        except UnknownWordError as error:
            self._elsewhere(line, error)
            raise
        output: Output | None = command.action(self, command.values)
        if output is not None:
            self.terminal.write(through(output, pipe), page=self.page_lines)
        elif pipe.kind == "json":
            raise CommandError("The command was done; it has nothing to show as JSON.")

    def _elsewhere(self, line: str, error: GrammarError) -> None:
        """Say so when the line is a command of another mode."""
        for (here, mode), way in _WAYS.items():
            if here is not self.mode:
                continue
            try:
                match(self._grammar(mode, self), line)
            except SecretOnLineError:
                raise
            except GrammarError:
                continue
            raise CommandError(f"This command needs another mode: give {way} first.") from error

    def holds_secret(self, line: str) -> bool:
        """Whether a line has a secret on it, which no history may keep; in any mode, as one is easily in the wrong one."""
        for mode in (Mode.PRIVILEGED, Mode.CONFIG):
            try:
                match(self._grammar(mode, self), line)
            except SecretOnLineError:
                return True
            except GrammarError:
                continue
        return False

    def confirm(self, question: str) -> bool:
        """Ask for a yes, in full; anything else is a no."""
        return self.terminal.ask(f"{question} [yes/no] ").strip().lower() == "yes"


Grammar = Callable[[Mode, Shell], Tree]
"""What may be typed in a mode (`appliance.cli.table.tree`)."""


def explain(line: str, error: GrammarError) -> list[str]:
    """What to print for a line that was not understood: the line, a caret under the word, why, and what may stand there.
    A line with a secret on it is not repeated."""
    reason = f"% {safe(error.message)}"
    if isinstance(error, SecretOnLineError):
        return [reason]
    column = len(safe(line[: error.position])) + max(0, error.position - len(line))
    lines = [safe(line), " " * column + "^", reason]
    if error.candidates and not isinstance(error, AmbiguousWordError):
        names = [safe(each) for each in error.candidates[:CANDIDATES_SHOWN]]
        more = " ..." if len(error.candidates) > CANDIDATES_SHOWN else ""
        lines.append(f"  Allowed here: {', '.join(names)}{more}")
    return lines


def reasons(error: Exception) -> list[str]:
    """What to print for a command that was understood and could not be done."""
    if isinstance(error, Refused):
        problems = error.refusal.problems if error.refusal.problems != (error.refusal.message,) else ()
        return [f"% {safe(error.refusal.message)}", *(f"  {safe(problem)}" for problem in problems)]
    if isinstance(error, Unreachable):
        return [f"% The configuration service does not answer; try again in a moment. ({safe(str(error))})"]
    return [f"% {safe(line)}" for line in str(error).split("\n")]
