"""The closed list of read-only commands the scanner runs on a machine, and their answers, each fetched once."""

import json
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from stig.errors import FactError
from stig.machine import Machine
from stig.run import Finished

Shape = TypeVar("Shape")

# What is asked, as fixed argument lists. {admin}, {client} and {address} are filled from the target; nothing else is.
COMMANDS: dict[str, tuple[str, ...]] = {
    "sshd": ("sshd", "-T", "-C", "user={admin},host={client},addr={client},laddr={address},lport=22"),
    "nft": ("nft", "-j", "list", "ruleset"),
    "interfaces": ("ip", "-j", "address", "show"),
    "pam": ("grep", "-rs", "", "/etc/pam.d"),
    "faillock": ("cat", "/etc/security/faillock.conf"),
    "providers": ("openssl", "list", "-providers", "-verbose"),
    "md5": ("openssl", "dgst", "-md5", "/dev/null"),
    "sha256": ("openssl", "dgst", "-sha256", "/dev/null"),
    "chrony": ("chronyc", "-n", "-c", "sources"),
    "chrony_configuration": ("chronyd", "-p"),
    "container": ("systemd-detect-virt", "--container"),
    "accounts": ("getent", "passwd"),
    "passwords": ("passwd", "-S", "-a"),
    "administrators": ("getent", "group", "sentry-mgmt"),
    "rsyslog": ("rsyslogd", "-N1", "-o", "/dev/stdout"),
    "rsyslog_state": ("systemctl", "is-active", "rsyslog.service"),
    "audit_records": ("tail", "-n", "200", "/var/log/sentry/audit.log"),
    # The brackets keep the pattern from matching the command line it stands in.
    "cli_processes": ("pgrep", "-c", "-f", "/bin/[s]entry-cli"),
    "connections": ("ss", "-Htnp", "state", "established"),
    "runtime": ("cat", "/etc/sentry/runtime.json"),
    "portal": ("cat", "/etc/sentry/portal.json"),
    "pwscore": ("pwscore",),
    "keys": ("find", "/var/lib/sentry/tls", "-name", "*key*", "-type", "f", "-printf", "%m %u %p\\n"),
    "fqdn": ("hostname", "-f"),
}


@dataclass(slots=True)
class Facts:
    """The answers of one machine. Every method raises `FactError` when the machine does not tell."""

    machine: Machine
    _seen: dict[tuple[str, str], Finished] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)

    def argv(self, name: str) -> tuple[str, ...]:
        """The command behind a fact, as it is run."""
        target = self.machine.target
        words = {"admin": target.admin.user, "address": target.address, "client": target.client}
        return tuple(word.format(**words) if "{" in word else word for word in COMMANDS[name])

    def command(self, name: str) -> str:
        """The command behind a fact, as evidence shows it."""
        return " ".join(word or "''" for word in self.argv(name))

    def answer(self, name: str, *, stdin: str = "") -> Finished:
        """Exit status and output, whatever the status; asked once and remembered."""
        key = (name, stdin)
        if key not in self._seen:
            self._seen[key] = self.machine.look(self.argv(name), stdin=stdin)
        return self._seen[key]

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
        if line not in self._said:
            self._said[line] = self.machine.cli(line)
        return self._said[line]

    def cli_data(self, line: str, shape: type[Shape]) -> Shape:
        """The command line's answer to `line` in its JSON form, read as `shape`."""
        try:
            return msgspec.json.decode(self.cli(f"{line} | json"), type=shape)
        except msgspec.MsgspecError as error:
            raise FactError(f"CLI {line!r}: {error}") from error
