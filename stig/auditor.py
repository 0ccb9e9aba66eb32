"""A machine of which only the command line is reached: an auditor's account, or the appliance that scans itself.

A fact is asked by its name (`facts NAME`), and the appliance runs the command that its own list has for it. That list must be
the scanner's: what another command has shown proves nothing.
"""

from collections.abc import Sequence

import msgspec

from stig.commands import COMMANDS
from stig.conversation import Conversation, EndedError
from stig.door import SSH_FAILED, CommandLine, Door
from stig.errors import FactError
from stig.machine import REMOTE_SECONDS, understood
from stig.run import Finished
from stig.target import Target

FACT_SECONDS = 3.0 * REMOTE_SECONDS  # it waits behind those of others
REFUSALS = 3  # in a row: an account that may not ask is not let in again for each of a hundred facts


class Told(msgspec.Struct, frozen=True):
    """`facts NAME | json`. `listed` is the command as the appliance's list has it, before account and addresses are filled in."""

    fact: str
    listed: tuple[str, ...]
    command: str
    status: int
    output: str
    errors: str


class AuditorMachine:
    """A machine behind `door`."""

    def __init__(self, target: Target, door: Door) -> None:
        """Nothing is connected before the first look."""
        self.target = target
        self._door = door
        self._line = CommandLine(door, target.address)
        self._talk: Conversation | None = None
        self._refusals = 0
        self._reason = ""

    def look(self, name: str, argv: Sequence[str], *, stdin: str = "") -> Finished:  # noqa: ARG002 - the appliance's list has it
        """The appliance's answer to `facts name`."""
        told = self._asked(name)
        if told.listed != COMMANDS[name]:
            raise FactError(
                f"facts {name}: the appliance runs {' '.join(told.listed)!r}, and this scanner wants {' '.join(argv)!r}; "
                "scan with the release that the appliance has"
            )
        return understood(argv, Finished(told.status, told.output, told.errors))

    def cli(self, line: str) -> str:
        """The command line's answer, in a session of its own."""
        return self._line.say(line)

    def close(self) -> None:
        """End the session and the connection."""
        if self._talk is not None:
            self._talk.close()
        self._door.close()

    def _asked(self, name: str) -> Told:
        self._line.must_be_open()
        if self._refusals >= REFUSALS:
            raise FactError(self._reason)
        talk = self._talk or Conversation(self._door.argv())
        self._talk = None  # until it has answered: a session that has refused is over
        try:
            answer = talk.ask(f"facts {name}", seconds=FACT_SECONDS)
        except EndedError as error:
            talk.close()
            if error.status == SSH_FAILED:
                raise self._line.shut(str(error)) from error
            self._refusals += 1
            self._reason = f"CLI 'facts' as {self._door.who}: {error}"
            raise FactError(f"CLI 'facts {name}' as {self._door.who}: {error}") from error
        except FactError:
            talk.close()
            raise
        self._talk, self._refusals = talk, 0
        try:
            return msgspec.json.decode(answer, type=Told)
        except msgspec.MsgspecError as error:
            raise FactError(f"CLI 'facts {name}': {error}") from error
