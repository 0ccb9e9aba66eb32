"""The shell at a terminal: line editing, completion, `?`, history, idle time.

prompt_toolkit is used without everything that could start a program: no editor, no system prompt, no suspending.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import DummyHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.shortcuts import CompleteStyle

from appliance.cli import table
from appliance.cli.command import CommandError
from appliance.cli.grammar import Choice, GrammarError, choices, inside_quote
from appliance.cli.output import safe
from appliance.cli.shell import Leave, Shell, explain, reasons
from appliance.configd.client import Client, Refused, Unreachable

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output as Screen

TOUCH_SECONDS = 15.0  # how often at most configd is told that somebody types; idle times are minutes
LOOK_SECONDS = 0.5
RETRY_SECONDS = 2.0
HANG_UP_AGAIN_SECONDS = 1.0  # Python drops an exception raised in a destructor: then the signal is raised once more
IDLE = "The session ends: nothing was typed for {minutes:g} min."


class HungUp(SystemExit):
    """The terminal went away, or the machine goes down. asyncio lets only this kind of exception out of a callback."""


class IdleError(Exception):
    """Nobody typed anything for as long as a session may be idle."""


class _History(InMemoryHistory):
    """Earlier lines, in memory only, without those that have a secret on them."""

    def __init__(self, secret: Callable[[str], bool]) -> None:
        super().__init__()
        self._secret = secret

    def append_string(self, string: str) -> None:
        """Keep a line."""
        if string.strip() and not self._secret(string):
            super().append_string(string)


class _Hidden(Processor):
    """Shows nothing of what is typed, not even how long it is."""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:  # noqa: ARG002
        """An empty line."""
        return Transformation([], source_to_display=lambda _at: 0, display_to_source=lambda _at: 0)


class _Words(Completer):
    """Completes from the grammar."""

    def __init__(self, shell: Callable[[], Shell]) -> None:
        self._shell = shell

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:  # noqa: ARG002
        """The words that may stand at the cursor."""
        try:
            begun, found = choices(self._shell().tree, document.text_before_cursor)
        except GrammarError:
            return
        for choice in found:
            if choice.completes:
                yield Completion(f"{safe(choice.word)} ", start_position=-len(begun), display=safe(choice.word))


class Console:
    """A person's terminal. Every question ends with `IdleError` when nobody answers it in time."""

    interactive = True

    def __init__(self, *, screen: "Screen | None" = None, keys: "Input | None" = None) -> None:
        """`screen` and `keys` stand in for the terminal in tests."""
        self.shell: Shell | None = None
        self._pressed = time.monotonic()
        self._touched = time.monotonic()
        self._lines: PromptSession[str] = PromptSession(
            history=_History(lambda line: self._shell.holds_secret(line)),  # noqa: PLW0108 - the shell comes later
            completer=_Words(lambda: self._shell),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
            enable_open_in_editor=False,
            enable_system_prompt=False,
            enable_suspend=False,
            key_bindings=self._bindings(),
            input=keys,
            output=screen,
        )
        self._answers: PromptSession[str] = self._questions(keys, screen)
        self._secrets: PromptSession[str] = self._questions(keys, screen, input_processors=[_Hidden()])

    @staticmethod
    def _questions(keys: "Input | None", screen: "Screen | None", **options: Any) -> PromptSession[str]:
        """A prompt whose answers are forgotten."""
        return PromptSession(
            history=DummyHistory(),
            enable_open_in_editor=False,
            enable_system_prompt=False,
            enable_suspend=False,
            input=keys,
            output=screen,
            **options,
        )

    @property
    def _shell(self) -> Shell:
        assert self.shell is not None  # noqa: S101 - set before the first line is read
        return self.shell

    # --- Terminal ----------------------------------------------------------------------------------------------------

    def write(self, lines: Iterable[str], *, page: int = 0) -> None:
        """See `Terminal`."""
        for count, line in enumerate(lines):
            if page and count and count % page == 0 and self.ask("--More-- (Enter goes on, q ends) ").strip() == "q":
                return
            self._print(line)

    def error(self, line: str) -> None:
        """See `Terminal`."""
        self._print(line)

    def _print(self, line: str) -> None:
        self._lines.output.write_raw(f"{line}\n")
        self._lines.output.flush()

    def ask(self, question: str) -> str:
        """See `Terminal`."""
        return self._prompt(self._answers, question)

    def ask_secret(self, question: str) -> str:
        """See `Terminal`."""
        return self._prompt(self._secrets, question)

    def line(self) -> str:
        """The next command line."""
        return self._prompt(self._lines, f"{self._shell.prompt} ")

    # --- idle time ---------------------------------------------------------------------------------------------------

    def _prompt(self, lines: PromptSession[str], message: str) -> str:
        self._pressed = time.monotonic()

        def start() -> None:
            lines.app.key_processor.before_key_press += self._note_key
            lines.app.create_background_task(self._watch(lines))

        try:
            return lines.prompt(message, pre_run=start, handle_sigint=True)
        finally:
            lines.app.key_processor.before_key_press -= self._note_key

    def _note_key(self, _sender: object) -> None:
        self._pressed = time.monotonic()

    async def _watch(self, lines: PromptSession[str]) -> None:
        """Tell configd now and then that somebody types; end the prompt when nobody does."""
        shell = self._shell
        while (left := self._pressed + shell.idle_seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))
            often = min(TOUCH_SECONDS, shell.idle_seconds / 4)
            if self._pressed > self._touched and time.monotonic() - self._touched >= often:
                self._touched = time.monotonic()
                await self._touch(shell)
        lines.app.exit(exception=IdleError())

    async def _touch(self, shell: Shell) -> None:
        notices = await asyncio.get_running_loop().run_in_executor(None, shell.touch)
        if notices:
            await run_in_terminal(lambda: self.write(f"* {safe(notice)}" for notice in notices))

    # --- keys --------------------------------------------------------------------------------------------------------

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("?")
        def _help(event: KeyPressEvent) -> None:
            before = event.current_buffer.document.text_before_cursor
            if inside_quote(before):
                event.current_buffer.insert_text("?")
                return
            run_in_terminal(
                lambda: self.write([f"{self._shell.prompt} {safe(before)}?", *help_lines(self._shell, before)])
            )

        return bindings


def help_lines(shell: Shell, before: str) -> list[str]:
    """What `?` answers after `before`."""
    try:
        _begun, found = choices(shell.tree, before)
    except GrammarError as error:
        return explain(before, error)[-2:]
    if not found:
        return ["% Nothing may stand here."]
    width = max(len(safe(choice.word)) for choice in found)
    return [_help_line(choice, width) for choice in found]


def _help_line(choice: Choice, width: int) -> str:
    return f"  {safe(choice.word):<{width}}  {safe(choice.help)}".rstrip()


# --- the session -----------------------------------------------------------------------------------------------------


def run(client: Client, source: str, *, console: Console | None = None, only: str = "") -> int:
    """A person's session, from the greeting to the end; with `only` it is this one command. Exit status 0, or 1 when no
    session could be had."""
    console = console or Console()
    with _signals():
        try:
            shell = _open(client, console, source)
        except Refused as refused:
            console.write(reasons(refused))
            return 1
        except KeyboardInterrupt:
            return 1
        console.shell = shell
        if shell.session.last_login:
            console.write([f"Last log-in: {safe(shell.session.last_login)}"])
        try:
            if only:
                _once(shell, console, only)
            else:
                if shell.session.password_ended:
                    _once(shell, console, "password")
                _converse(shell, console)
        except HungUp:
            signal.setitimer(signal.ITIMER_REAL, 0)
        except (Leave, EOFError) as end:
            if str(end):
                console.write([str(end)])
        except IdleError:
            console.write(["", IDLE.format(minutes=shell.idle_seconds / 60)])
        finally:
            shell.close()
    return 0


def _open(client: Client, console: Console, source: str) -> Shell:
    """Wait for configd as long as it takes; Ctrl-C gives up."""
    told = False
    while True:
        try:
            return Shell(client, console, table.tree, source=source)
        except Unreachable as error:
            if not told:
                console.write([*reasons(error), "  Waiting for it; Ctrl-C gives up."])
                told = True
            time.sleep(RETRY_SECONDS)


def _converse(shell: Shell, console: Console) -> None:
    while True:
        try:
            line = console.line()
        except KeyboardInterrupt:
            continue
        _once(shell, console, line)


def _once(shell: Shell, console: Console, line: str) -> None:
    try:
        with _uninterrupted():
            shell.run(line)
    except GrammarError as error:
        console.write(explain(line, error))
    except (CommandError, Refused, Unreachable) as error:
        console.write(reasons(error))
    except KeyboardInterrupt:
        console.write(["% Given up."])
    console.write(f"* {safe(notice)}" for notice in shell.touch())


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """A shell is neither suspended nor left with a core; a hang-up or a kill ends it in order."""

    def hang_up(_number: int, _frame: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, HANG_UP_AGAIN_SECONDS)
        raise HungUp(0)

    ignored, ending = (signal.SIGTSTP, signal.SIGQUIT), (signal.SIGHUP, signal.SIGTERM, signal.SIGALRM)
    kept = {each: signal.getsignal(each) for each in (*ignored, *ending)}
    for each in ignored:
        signal.signal(each, signal.SIG_IGN)
    for each in ending:
        signal.signal(each, hang_up)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in kept.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """While configd works Ctrl-C only says so: breaking the connection would end the session and its candidate, and stop
    nothing. A question the command asks is read by prompt_toolkit, which sees Ctrl-C by itself."""

    def wait(_number: int, _frame: object) -> None:
        sys.stderr.write("\r\n% This cannot be stopped half-way; wait for the answer.\r\n")

    before = signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
