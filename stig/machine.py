"""The scanner's lines to the machine: testinfra over one multiplexed SSH connection, and the administrator's command line."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from stig.door import COLLECTOR, CommandLine, SshDoor, ssh_config
from stig.errors import FactError
from stig.run import Finished, run
from stig.target import Target

# One look; the machine's own `timeout` ends it there too. The slowest takes about two seconds, and more than
# ten times that where the processor is emulated or overloaded; a look that hangs must end some time.
REMOTE_SECONDS = 60
SUDO_REFUSED = (
    "sudo: a password is required",
    "sudo: a terminal is required",
    "is not in the sudoers file",
    "may not run sudo",
    "sudo: command not found",
    "sudo: not found",
)
TIMED_OUT = 124  # timeout(1)
NOT_FOUND = (126, 127)  # a shell's "cannot be executed" and "not found"


class Machine(Protocol):
    """What the checks may ask of a machine."""

    target: Target

    def look(self, name: str, argv: Sequence[str], *, stdin: str = "") -> Finished:
        """The answer of the fact `name`, whose command is `argv`, run as root; `FactError` when it could not be run at all."""

    def cli(self, line: str) -> str:
        """What the administrator's command line answers to `line`; `FactError` when it refuses."""


class SshMachine:
    """A machine on which an account may sudo. `folder` keeps the SSH configuration and the control sockets (`ssh_config`)."""

    def __init__(self, target: Target, folder: Path) -> None:
        """Nothing is connected before the first look."""
        import testinfra  # noqa: PLC0415 - on an appliance that scans itself there is none, and nobody asks for it

        self.target = target
        self._config = ssh_config(target, folder)
        self.host: Any = testinfra.get_host(
            f"ssh://{COLLECTOR}", ssh_config=str(self._config), sudo=True, controlpersist=0
        )
        self._door = SshDoor(self._config, target.admin.user)
        self._line = CommandLine(self._door, target.address)
        # A log-in that was refused is not tried again: sshd locks out the address of whoever keeps failing.
        self._refused = ""

    def look(self, name: str, argv: Sequence[str], *, stdin: str = "") -> Finished:  # noqa: ARG002 - the command says it all
        """Run a read-only command as root through testinfra; a non-zero exit is an answer, not an error."""
        if self._refused:
            raise FactError(self._refused)
        command = shlex.join(["env", "LC_ALL=C.UTF-8", "timeout", str(REMOTE_SECONDS), *argv])
        if stdin:
            command = f"printf %s {shlex.quote(stdin)} | {command}"
        try:
            done = self.host.run(command)
        except RuntimeError as error:
            self._refused = f"{self.target.address}: SSH as {COLLECTOR} failed: {_reason(error)}"
            raise FactError(self._refused) from error
        return understood(argv, Finished(done.rc, done.stdout, done.stderr))

    def cli(self, line: str) -> str:
        """Ask the command line as `ssh admin@host 'show ...'` does."""
        return self._line.say(line)

    def close(self) -> None:
        """End the shared connections."""
        run(["ssh", "-F", str(self._config), "-O", "exit", COLLECTOR])
        self._door.close()


def understood(argv: Sequence[str], done: Finished) -> Finished:
    """The answer of a command that did run; `FactError` for one that did not."""
    if any(words in done.errors for words in SUDO_REFUSED):
        raise FactError(f"sudo is refused: {done.errors.strip()}")
    if done.status == TIMED_OUT:
        raise FactError(f"{shlex.join(argv)}: no answer within {REMOTE_SECONDS} s")
    if done.status in NOT_FOUND:
        raise FactError(f"{argv[0]} cannot be run on the machine: {done.errors.strip()}")
    return done


def _reason(error: RuntimeError) -> str:
    result = error.args[0] if error.args else None
    said = getattr(result, "stderr", "") or str(error)
    return " ".join(str(said).split())
