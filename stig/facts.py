"""The closed list of read-only commands the scanner runs on a machine, and their answers, each fetched once."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from stig.errors import FactError
from stig.machine import Machine
from stig.run import Finished

Shape = TypeVar("Shape")

# The programs and libraries of the system (Debian has one tree of them, and links to it), and those of the appliance.
PROGRAMS, LIBRARIES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"), ("/usr/lib", "/usr/local/lib")
# Where nothing is stored: file systems of the kernel, and what lives only as long as somebody's session.
_NOT_STORED = tuple(word for path in ("/proc", "/sys", "/dev", "/run/user") for word in ("-path", path, "-prune", "-o"))
_LISTED = ("-printf", "%m %u %g %y %p\\n")  # mode, owner, group, kind (f, d, l) and path
STATED = (
    "/etc/passwd", "/etc/passwd-", "/etc/group", "/etc/group-", "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-",
    "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d", "/etc/ssh/sshd_config.d/10-crypto.conf",
    "/etc/ssh/sshd_config.d/50-sentry.conf", "/etc/sudoers", "/etc/sudoers.d", "/etc/security/opasswd",
    "/etc/audit", "/etc/audit/auditd.conf", "/etc/audit/audit.rules", "/etc/audit/rules.d", "/etc/audit/rules.d/60-sentry.rules",
    "/usr/sbin/auditctl", "/usr/sbin/auditd", "/usr/sbin/augenrules", "/usr/sbin/aureport", "/usr/sbin/ausearch",
    "/usr/sbin/rsyslogd", "/usr/bin/journalctl", "/var/log", "/var/log/syslog", "/var/log/audit",
)  # fmt: skip

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
    "device_authorities": ("cat", "/var/lib/sentry/tls/devices/authorities.pem"),
    "portal": ("cat", "/etc/sentry/portal.json"),
    "tls_proxy": ("cat", "/etc/sentry/tls-proxy.json"),
    "pwscore": ("pwscore",),
    "keys": ("find", "/var/lib/sentry/tls", "-name", "*key*", "-type", "f", "-printf", "%m %u %p\\n"),
    "fqdn": ("hostname", "-f"),
    # the operating system
    "sysctl": ("sysctl", "-a"),
    "sysctl_files": ("systemd-analyze", "cat-config", "--no-pager", "sysctl.d"),
    "manager": ("systemctl", "show", "--no-pager"),
    "unit_files": ("systemctl", "list-unit-files", "--no-legend", "--plain", "--no-pager"),
    "units": ("systemctl", "list-units", "--all", "--no-legend", "--plain", "--no-pager"),
    "packages": ("dpkg", "--get-selections"),
    "superfluous": ("apt-get", "--simulate", "autoremove"),
    "apt": ("apt-config", "dump"),
    "release": ("cat", "/etc/os-release"),
    "date": ("date", "--utc", "+%F"),
    "zone": ("date", "+%Z"),
    "suites": ("openssl", "ciphers", "-s"),
    "journald": ("systemd-analyze", "cat-config", "--no-pager", "systemd/journald.conf"),
    "kernel_arguments": ("cat", "/proc/cmdline"),
    "processor": ("grep", "-m", "1", "^flags", "/proc/cpuinfo"),
    "mounts": ("cat", "/proc/self/mounts"),
    "modules": ("cat", "/proc/modules"),
    "module_files": ("grep", "-rhs", "", "/etc/modprobe.d", "/usr/lib/modprobe.d"),
    "apparmor": ("cat", "/sys/module/apparmor/parameters/enabled"),
    "boot_loader": ("grep", "-s", "-E", "^(set superusers|password)", "/boot/grub/grub.cfg"),
    "wireless": ("find", "-L", "/sys/class/net", "-maxdepth", "2", "-name", "wireless"),
    "resolvers": ("cat", "/etc/resolv.conf"),
    "listening": ("ss", "-Htuln"),
    "routes": ("ip", "-j", "route", "show"),
    "routes6": ("ip", "-j", "-6", "route", "show"),
    "login_defs": ("cat", "/etc/login.defs"),
    "limits": ("grep", "-rhs", "", "/etc/security/limits.conf", "/etc/security/limits.d"),
    "pwquality": ("grep", "-rhs", "", "/etc/security/pwquality.conf.d", "/etc/security/pwquality.conf"),
    "new_accounts": ("useradd", "-D"),
    "groups": ("getent", "group"),
    # The account and the method of its hash; the hash itself stays where it is.
    "hashes": ("sed", "-nE", r"s/^([^:]+):[!*]*(\$[^$]+\$(rounds=[0-9]+)?).*/\1 \2/p", "/etc/shadow"),
    "homes": ("find", "/home", "/root", "-maxdepth", "1", "-type", "d", *_LISTED),
    "profile": ("grep", "-rhs", "", "/etc/profile", "/etc/profile.d", "/etc/bash.bashrc"),
    "sudoers": ("cvtsudoers", "-f", "sudoers", "/etc/sudoers"),
    "issue": ("cat", "/etc/issue"),
    "ssh_client": ("ssh", "-G", "localhost"),
    "host_keys": ("find", "/etc/ssh", "-maxdepth", "1", "-name", "ssh_host_*", *_LISTED),
    "audit_rules": ("grep", "-rhs", "", "/etc/audit/rules.d"),
    "audit_loaded": ("auditctl", "-l"),
    "audit_status": ("auditctl", "-s"),
    "auditd": ("cat", "/etc/audit/auditd.conf"),
    "audit_plugins": ("grep", "-rs", "^active", "/etc/audit/plugins.d"),
    "audit_logs": ("find", "/var/log/audit", *_LISTED),
    "logs": ("find", "/var/log", "-type", "f", *_LISTED),
    "journal": ("find", "/var/log/journal", "/run/log/journal", *_LISTED),
    "stated": ("find", *STATED, "-maxdepth", "0", *_LISTED),
    # Only what is not as it should be: of the system's programs and libraries, and anywhere.
    "loose": ("find", *PROGRAMS, *LIBRARIES, "(", "-type", "f", "-o", "-type", "d", ")",
              "(", "-perm", "/022", "-o", "!", "-user", "root", "-o", "!", "-group", "root", ")", *_LISTED),
    "odd": ("find", "/", *_NOT_STORED, "(", "-type", "f", "-perm", "/6000", "-o", "-type", "f", "-perm", "-0002",
            "-o", "-type", "d", "-perm", "-0002", "-o", "-nouser", "-o", "-nogroup",
            "-o", "-name", ".?hosts", "-o", "-name", "?hosts.equiv", "-o", "-name", "hosts.equiv", ")", *_LISTED),
    "integrity_settings": ("grep", "-rhs", "", "/etc/default/aide", "/etc/aide"),
    "integrity": ("find", "/var/lib/aide", "-name", "aide.db*", *_LISTED),
}  # fmt: skip
_PLACE = re.compile(r"\{(admin|client|address)\}")


@dataclass(slots=True)
class Facts:
    """The answers of one machine. Every method raises `FactError` when the machine does not tell."""

    machine: Machine
    _seen: dict[tuple[str, str], Finished] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict)

    def argv(self, name: str) -> tuple[str, ...]:
        """The command behind a fact, as it is run."""
        if not any(_PLACE.search(word) for word in COMMANDS[name]):
            return COMMANDS[name]
        target = self.machine.target
        words = {"admin": target.admin.user, "address": target.address, "client": target.client}
        return tuple(_PLACE.sub(lambda place: words[place[1]], word) for word in COMMANDS[name])

    def command(self, name: str) -> str:
        """The command behind a fact, as evidence shows it."""
        return " ".join(word or "''" for word in self.argv(name))

    def answer(self, name: str, *, stdin: str = "") -> Finished:
        """Exit status and output, whatever the status; asked once and remembered."""
        key = (name, stdin)
        if key not in self._seen:
            self._seen[key] = self.machine.look(self.argv(name), stdin=stdin)
        return self._seen[key]

    def anew(self, name: str) -> Finished:
        """`answer`, asked again: for what the scan itself has changed since."""
        self._seen.pop((name, ""), None)
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
        if line not in self._said:
            self._said[line] = self.machine.cli(line)
        return self._said[line]

    def cli_data(self, line: str, shape: type[Shape]) -> Shape:
        """The command line's answer to `line` in its JSON form, read as `shape`."""
        try:
            return msgspec.json.decode(self.cli(f"{line} | json"), type=shape)
        except msgspec.MsgspecError as error:
            raise FactError(f"CLI {line!r}: {error}") from error
