"""The two ways to an appliance's command line: over SSH, and on the appliance itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from stig.errors import FactError
from stig.run import run
from stig.target import Login, Target

CONNECT_SECONDS = 8
LINE_SECONDS = 30  # one command of the appliance's; the slowest shows facts that wait for others' answers
COLLECTOR, ADMIN = "collector", "admin"  # the two log-ins, by their names in the SSH configuration
SSH_FAILED = 255  # ssh(1): an error of ssh itself
LOCAL_SHELL = ("/usr/lib/sentry/bin/sentry-cli",)

_COMMON = """\
Host *
    HostName {address}
{alias}    Port {ssh_port}
    UserKnownHostsFile "{known_hosts}"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout {connect}
    ServerAliveInterval 5
    ServerAliveCountMax 3
    LogLevel ERROR
    ControlMaster auto
    ControlPath "{folder}/%C"
    ControlPersist 30
"""


def ssh_config(target: Target, folder: Path) -> Path:
    """Write the SSH configuration of a scan into `folder`, which is short (a Unix socket's path has at most 104 characters) and
    readable by nobody else; returns the file. Nothing is connected."""
    logins = {COLLECTOR: target.collector, ADMIN: target.admin}
    fields = {name: getattr(target, name) for name in ("address", "ssh_port", "known_hosts")}
    alias = f"    HostKeyAlias {target.key_alias}\n" if target.key_alias else ""
    text = "".join(_login(name, login) for name, login in logins.items() if login is not None)
    text += _COMMON.format(**fields, alias=alias, connect=CONNECT_SECONDS, folder=folder)
    path = folder / "ssh_config"
    path.write_text(text, encoding="utf-8")
    return path


def _login(name: str, login: Login) -> str:
    """Without a file of a key, ssh takes the person's own: those of the agent, and in ~/.ssh."""
    key = f'    IdentityFile "{login.key}"\n    IdentitiesOnly yes\n' if login.key else ""
    return f"Host {name}\n    User {login.user}\n{key}"


class Door(Protocol):
    """A way to the command line."""

    who: str
    """As whom, for messages."""

    def argv(self, *line: str) -> list[str]:
        """What starts it for one line, or without one for a script on its standard input."""

    def close(self) -> None:
        """Nothing more is asked."""


class SshDoor:
    """`ssh administrator@appliance`, over one connection that all sessions share."""

    def __init__(self, config: Path, user: str) -> None:
        self._config, self.who = config, user

    def argv(self, *line: str) -> list[str]:
        """See `Door`."""
        return ["ssh", "-T", "-F", str(self._config), ADMIN, *line]

    def close(self) -> None:
        """End the shared connection."""
        run(["ssh", "-F", str(self._config), "-O", "exit", ADMIN])


class LocalDoor:
    """The command line as a program of this machine, which is the appliance."""

    def __init__(self, shell: Sequence[str] = LOCAL_SHELL, who: str = "the scanner's account") -> None:
        self._shell, self.who = tuple(shell), who

    def argv(self, *line: str) -> list[str]:
        """See `Door`."""
        return [*self._shell, "-c", *line] if line else [*self._shell]

    def close(self) -> None:
        """Nothing is kept open."""


class CommandLine:
    """One command at a time through a door. A log-in that was refused is not tried again: sshd locks out the address of whoever
    keeps failing."""

    def __init__(self, door: Door, address: str) -> None:
        self._door = door
        self._address = address
        self._refused = ""

    def say(self, line: str) -> str:
        """What it answers to `line`; `FactError` when it refuses, or cannot be reached."""
        self.must_be_open()
        done = run(self._door.argv(line), seconds=CONNECT_SECONDS + LINE_SECONDS)
        if done.status == SSH_FAILED:
            raise self.shut(" ".join(done.errors.split()))
        if done.status != 0:
            said = next(
                (row.strip() for row in reversed((done.errors or done.output).splitlines()) if row.strip()), "silence"
            )
            raise FactError(f"CLI {line!r} as {self._door.who}: exit status {done.status}: {said}")
        return done.output

    def must_be_open(self) -> None:
        """`FactError` when it is known not to answer."""
        if self._refused:
            raise FactError(self._refused)

    def shut(self, reason: str) -> FactError:
        """Remember that it does not answer; returns the words for it."""
        self._refused = f"{self._address}: SSH as {ADMIN} failed: {reason}"
        return FactError(self._refused)
