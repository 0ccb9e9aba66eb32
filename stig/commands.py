"""The closed list of read-only commands by which a machine is looked at: a name and a fixed command for each fact.

The scanner runs them over SSH with sudo, and the appliance's facts service (`stig.service`) for who has only the command line.
Nobody gives a command, a path or an argument; a fact's name is all that may be said.
"""

import ipaddress
import re
from dataclasses import dataclass

from stig.errors import FactError

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

# What is asked, as fixed argument lists. {admin}, {client} and {address} are filled (`Standpoint`); nothing else is.
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
    # Candidates for a password, each lacking one property: its standard input is fixed, too (`INPUT`).
    "pwscore_good": ("pwscore",),
    "pwscore_length": ("pwscore",),
    "pwscore_upper": ("pwscore",),
    "pwscore_lower": ("pwscore",),
    "pwscore_digit": ("pwscore",),
    "pwscore_special": ("pwscore",),
    "keys": ("find", "/var/lib/sentry/tls", "-name", "*key*", "-type", "f", "-printf", "%m %u %p\\n"),
    "fqdn": ("hostname", "-f"),
    # the operating system
    "sysctl": ("sysctl", "-a"),
    # The kernel shows it to CAP_SYS_ADMIN alone, which the facts service has not; it finds what was read for it when it started.
    "bpf_jit_harden": ("grep", "-hs", "", "/proc/sys/net/core/bpf_jit_harden", "/run/sentry-facts/bpf_jit_harden"),
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
    # The machine's own view and not that of whoever asks: a service may have file systems of its own.
    "mounts": ("cat", "/proc/1/mounts"),
    "modules": ("cat", "/proc/modules"),
    "module_files": ("grep", "-rhs", "", "/etc/modprobe.d", "/usr/lib/modprobe.d"),
    "apparmor": ("cat", "/sys/module/apparmor/parameters/enabled"),
    "boot_loader": ("grep", "-hs", "-E", "^(set superusers|password)", "/boot/grub/grub.cfg"),
    # An image's menu lies on its ESP, which is not mounted: GRUB's own reader finds the file, and not what an older one has left.
    "boot_menu": ("grub-fstest", "/dev/disk/by-partlabel/esp", "cat", "/EFI/debian/grub.cfg"),
    # What the firmware verified before the kernel ran, as shim sees it; a container has no firmware, and not the program.
    "secure_boot": ("mokutil", "--sb-state"),
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

# Random-looking, so that only the property in question can be why one is refused; they belong to nobody.
GOOD = "Kq7-vTz2mWx9-Rb"
LACKING = {
    "length": "Kq7-vTz2mWx9-R",
    "upper": "kq7-vtz2mwx9-rb",
    "lower": "KQ7-VTZ2MWX9-RB",
    "digit": "Kqt-vTzpmWxc-Rb",
    "special": "Kq7hvTz2mWx9tRb",
}
INPUT = {"pwscore_good": f"{GOOD}\n", **{f"pwscore_{lacks}": f"{word}\n" for lacks, word in LACKING.items()}}
"""What a command gets on its standard input; the others get nothing."""

_PLACE = re.compile(r"\{(admin|client|address)\}")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class Standpoint:
    """As whom and from where the machine is looked at: an account of it, the address its log-in comes from, and the address of
    the machine that it comes to. Raises `FactError` for what cannot be these."""

    admin: str
    client: str
    address: str

    def __post_init__(self) -> None:
        """They become words of a command, so they are nothing but an account's name and two addresses."""
        if not _ACCOUNT.match(self.admin):
            raise FactError(f"found the account {self.admin[:64]!r}; allowed: a name of small letters, digits, _ and -")
        for one in (self.client, self.address):
            try:
                ipaddress.ip_address(one)
            except ValueError as error:
                raise FactError(f"found {one[:64]!r}; allowed: an IPv4 or IPv6 address") from error


def depends(name: str) -> bool:
    """Whether the command of a fact depends on who looks from where."""
    return any(_PLACE.search(word) for word in COMMANDS[name])


def argv(name: str, seen_from: Standpoint) -> tuple[str, ...]:
    """The command behind a fact, as it is run. KeyError for a name that is not in the list."""
    words = {"admin": seen_from.admin, "address": seen_from.address, "client": seen_from.client}
    return tuple(_PLACE.sub(lambda place: words[place[1]], word) for word in COMMANDS[name])


def shown(words: tuple[str, ...]) -> str:
    """A command as evidence shows it."""
    return " ".join(word or "''" for word in words)
