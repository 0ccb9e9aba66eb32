"""The scanner's lines to the machine: testinfra over one multiplexed SSH connection, and the administrator's command line."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import testinfra

from stig.errors import FactError
from stig.run import Finished, run
from stig.target import Target

CONNECT_SECONDS = 8
REMOTE_SECONDS = 15  # one look; the machine's own `timeout` ends it there too
COLLECTOR, ADMIN = "collector", "admin"  # the two log-ins, by their names in the SSH configuration
SSH_FAILED = 255  # ssh(1): an error of ssh itself
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

_CONFIG = """\
Host collector
    HostName {address}
    User {collector.user}
    IdentityFile "{collector.key}"
Host admin
    HostName {address}
    User {admin.user}
    IdentityFile "{admin.key}"
Host *
    Port {ssh_port}
    UserKnownHostsFile "{known_hosts}"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    IdentitiesOnly yes
    BatchMode yes
    ConnectTimeout {connect}
    ServerAliveInterval 5
    ServerAliveCountMax 3
    LogLevel ERROR
    ControlMaster auto
    ControlPath "{folder}/%C"
    ControlPersist 30
"""


class Machine(Protocol):
    """What the checks may ask of a machine."""

    target: Target

    def look(self, argv: Sequence[str], *, stdin: str = "") -> Finished:
        """Run a read-only command as root; `FactError` when it could not be run at all."""

    def cli(self, line: str) -> str:
        """What the administrator's command line answers to `line`; `FactError` when it refuses."""


class SshMachine:
    """A machine over SSH. `folder` keeps the SSH configuration and the control sockets; it must be short (104 characters
    is the most a Unix socket's path may have) and readable by nobody else."""

    def __init__(self, target: Target, folder: Path) -> None:
        """Write the SSH configuration; nothing is connected before the first look."""
        self.target = target
        self._config = folder / "ssh_config"
        fields = {name: getattr(target, name) for name in ("address", "collector", "admin", "ssh_port", "known_hosts")}
        self._config.write_text(_CONFIG.format(**fields, connect=CONNECT_SECONDS, folder=folder), encoding="utf-8")
        self.host: Any = testinfra.get_host(
            f"ssh://{COLLECTOR}", ssh_config=str(self._config), sudo=True, controlpersist=0
        )
        # A log-in that was refused is not tried again: sshd locks out the address of whoever keeps failing.
        self._refused: dict[str, str] = {}

    def look(self, argv: Sequence[str], *, stdin: str = "") -> Finished:
        """Run a read-only command as root through testinfra; a non-zero exit is an answer, not an error."""
        command = shlex.join(["env", "LC_ALL=C.UTF-8", "timeout", str(REMOTE_SECONDS), *argv])
        self._must_be_open(COLLECTOR)
        if stdin:
            command = f"printf %s {shlex.quote(stdin)} | {command}"
        try:
            done = self.host.run(command)
        except RuntimeError as error:
            raise FactError(self._close(COLLECTOR, _reason(error))) from error
        return _understood(argv, Finished(done.rc, done.stdout, done.stderr))

    def cli(self, line: str) -> str:
        """Ask the command line as `ssh admin@host 'show ...'` does."""
        self._must_be_open(ADMIN)
        done = run(["ssh", "-T", "-F", str(self._config), ADMIN, line], seconds=CONNECT_SECONDS + REMOTE_SECONDS)
        if done.status == SSH_FAILED:
            raise FactError(self._close(ADMIN, " ".join(done.errors.split())))
        if done.status != 0:
            said = next(
                (row.strip() for row in reversed((done.errors or done.output).splitlines()) if row.strip()), "silence"
            )
            raise FactError(f"CLI {line!r} as {self.target.admin.user}: exit status {done.status}: {said}")
        return done.output

    def close(self) -> None:
        """End the shared connections."""
        for name in (COLLECTOR, ADMIN):
            run(["ssh", "-F", str(self._config), "-O", "exit", name])

    def _must_be_open(self, name: str) -> None:
        if name in self._refused:
            raise FactError(self._refused[name])

    def _close(self, name: str, reason: str) -> str:
        """Remember that this log-in does not work; returns the words for it."""
        self._refused[name] = f"{self.target.address}: SSH as {name} failed: {reason}"
        return self._refused[name]


def _understood(argv: Sequence[str], done: Finished) -> Finished:
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
