"""Ways to break what a machine answers, for each rule of the operating system; `test_platform` has them judged.

The facts were recorded from the lab's guest, a container that met every rule (`recording`). Two machines are made of them: that
container, and one with a kernel of its own (`hardened`).
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from images.disk import grub
from stig.answers import Answers
from stig.errors import FactError
from stig.facts import Facts
from stig.parse import audit as audit_rules
from stig.parse.words import assignments
from stig.platform import PROOFS, SITE_PROOFS, accounts, audit, files, kernel, mounts, passwords, software, ssh
from stig.platform.proof import Setting, SiteProof
from stig.recorder import NotReviewed
from stig.run import Finished
from stig.target import Login, Target
from stig.verdict import Verdict
from tests.unit.stig.recording import PLATFORM

ANSWERS = Answers(
    max_cli_sessions=5,
    authorised_users=("admin",),
    management_networks=("10.98.2.0/24",),
    automation_accounts=("builder",),
)


def _answered(proof: SiteProof, known: Facts) -> Verdict:
    return proof.verdict(known, ANSWERS)


VERDICTS: dict[str, Callable[[Facts], Verdict]] = {
    **{one.rule: one.verdict for one in PROOFS},
    **{one.rule: partial(_answered, one) for one in SITE_PROOFS},
}
Texts = dict[str, str]


@dataclass(slots=True)
class Recording:
    """A machine that answers by the names of the facts."""

    target: Target
    texts: Texts
    statuses: dict[str, int]

    def look(self, name: str, argv: Iterable[str], *, stdin: str = "") -> Finished:
        """What was recorded for this fact."""
        if name not in self.texts:
            raise FactError(f"{name} was not recorded")
        return Finished(self.statuses.get(name, 0), self.texts[name], "")

    def cli(self, line: str) -> str:
        """Nobody asks."""
        raise FactError(line)


STATUSES: dict[str, int] = json.loads((PLATFORM / "statuses.json").read_text(encoding="utf-8"))
CONTAINER, NO_CONTAINER = STATUSES, {**STATUSES, "container": 1}


def facts(texts: Texts, statuses: dict[str, int]) -> Facts:
    """The facts in these texts."""
    login = Login("someone", Path("key"))
    return Facts(Recording(Target("box", "127.0.0.1", login, login, Path("hosts"), {}), texts, statuses))


def recorded() -> Texts:
    """Each fact that was recorded, by its name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in PLATFORM.glob("*.txt")} | {
        "container": "systemd-nspawn\n",
        "modules": OWN["modules"],
        "processor": OWN["processor"],
    }


def ended(rule: str, texts: Texts, statuses: dict[str, int]) -> str:
    """What a rule ends as by these texts."""
    try:
        return VERDICTS[rule](facts(texts, statuses)).status
    except NotReviewed:
        return "not_reviewed"


# --- breaks ---------------------------------------------------------------------------------------------------------

Change = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Break:
    """One way to break a rule: what it does to one fact."""

    fact: str
    change: Change


def swap(fact: str, pattern: str, replacement: str) -> Break:
    """What matches is replaced wherever it stands; nothing that matches is a mistake in this table."""

    def change(text: str) -> str:
        new, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, f"{fact}: nothing matches {pattern!r}"
        return new

    return Break(fact, change)


def add(fact: str, *lines: str) -> Break:
    """These lines more."""
    return Break(fact, lambda text: "\n".join([*text.splitlines(), *lines, ""]))


WORST = ("0", "1", "9", "no", "yes", "99999", "nothing", "chacha20-poly1305@openssh.com", "0 0")


def wrong(setting: Setting) -> str:
    """A value that is not what the setting must be."""
    return next(value for value in WORST if not setting.want.holds(value))


def values(fact: str, settings: Iterable[Setting], line: str) -> list[tuple[str, Break]]:
    """For each setting a break by a wrong value; `line` is how the fact writes one: name and value."""
    found = []
    for one in settings:
        pattern = (
            "^[ -]*" + re.escape(line.format(one.name, "VALUE")).replace("VALUE", ".*").replace("\\ ", r"\s*") + "$"
        )
        found.append((one.rule, swap(fact, pattern, line.format(one.name, wrong(one)))))
    return found


def without(asked: audit.Watched | audit.Called, fact: str) -> tuple[str, Break]:
    """The audit's rules without those by which this is recorded."""

    def change(text: str) -> str:
        lines, gone = text.splitlines(), 0
        while by := {one.text for one in asked.by(audit_rules.rules(lines)) if one is not None}:
            lines = [line for line in lines if line.strip() not in by]
            gone += len(by)
        assert gone, f"{asked.rule}: nothing records it"
        return "\n".join(lines)

    return asked.rule, Break(fact, change)


def opened(row: files.Named) -> tuple[str, Break]:
    """One of the files, open to everybody."""

    def change(text: str) -> str:
        chosen = next(one for one in files.parsed(text.splitlines()) if row.of(one))
        line = f"{chosen.mode:o} {chosen.owner} {chosen.group} {chosen.kind} {chosen.path}"
        assert line in text.splitlines()
        return "\n".join(
            line.replace(f"{chosen.mode:o} ", f"{chosen.mode | 0o007:o} ", 1) if one == line else one
            for one in text.splitlines()
        )

    return row.rule, Break(row.fact, change)


def loosened(row: files.Kept) -> tuple[str, Break]:
    """A file or directory that is wrong in the row's respect, and in no other."""
    mode, owner, group = {
        files.MODE: ("777", "root", "root"),
        files.OWNER: ("755", "admin", "root"),
        files.GROUP: ("755", "root", "admin"),
    }[row.expected]
    return row.rule, add("loose", f"{mode} {owner} {group} {row.kind} {row.below[0]}/x")


def removed(package: str) -> Break:
    """The package gone, its settings left."""
    return swap("packages", rf"^{re.escape(package)}(:\S+)?\s+install$", f"{package}\tdeinstall")


STARTED = software.RUNNING | software.OF_THE_KERNEL
BREAKS: list[tuple[str, Break]] = [
    # accounts
    ("SENTRY-OS-0101", add("accounts", "toor:x:1001:100::/home/toor:/bin/sh")),
    ("SENTRY-OS-0102", swap("passwords", "^root L", "root P")),
    ("SENTRY-OS-0103", swap("passwords", "^daemon L", "daemon NP")),
    ("SENTRY-OS-0103", swap("passwords", "^daemon L .*", "daemon NP")),
    ("SENTRY-OS-0104", swap("groups", r"^sudo:(.*):$", r"sudo:\1:mallory")),
    ("SENTRY-OS-0104", add("sudoers", "mallory ALL = (ALL) ALL")),
    ("SENTRY-OS-0105", add("accounts", "toor:x:0:0::/:/usr/sbin/nologin")),
    ("SENTRY-OS-0106", swap("accounts", "^(www-data:.*):/usr/sbin/nologin$", r"\1:/bin/sh")),
    ("SENTRY-OS-0107", add("accounts", "mallory:x:1999:1999::/:/usr/sbin/nologin")),
    ("SENTRY-OS-0108", add("groups", "wheels:x:0:")),
    ("SENTRY-OS-0109", swap("homes", r"^\d+ builder", "755 builder")),
    ("SENTRY-OS-0109", swap("homes", r"^(\d+) builder", r"\1 admin")),
    ("SENTRY-OS-0110", swap("new_accounts", "^INACTIVE=.*", "INACTIVE=-1")),
    ("SENTRY-OS-0110", swap("passwords", r"^(admin P .* )\S+$", r"\g<1>36")),
    ("SENTRY-OS-0112", swap("passwords", r"^(admin P \S+ \S+) \S+", r"\1 61")),
    ("SENTRY-OS-0112", swap("login_defs", r"^PASS_MAX_DAYS\s.*", "PASS_MAX_DAYS 99999")),
    ("SENTRY-OS-0113", swap("passwords", r"^(admin P \S+) \S+", r"\1 0")),
    ("SENTRY-OS-0113", swap("login_defs", r"^PASS_MIN_DAYS\s.*", "PASS_MIN_DAYS 0")),
    ("SENTRY-OS-0114", swap("hashes", r"\$6\$.*", "$6$")),
    ("SENTRY-OS-0114", swap("hashes", r"\$6\$", "$1$")),
    *values("login_defs", accounts.LOGIN, "{} {}"),
    ("SENTRY-OS-0116", swap("limits", r"^\* hard maxlogins 10", "* hard maxlogins 11")),
    ("SENTRY-OS-0116", swap("limits", r"^\* hard maxlogins 10", "* soft maxlogins 10")),
    ("SENTRY-OS-0117", swap("profile", "TMOUT=600", "TMOUT=601")),
    ("SENTRY-OS-0117", swap("profile", "^ *readonly TMOUT", "")),
    ("SENTRY-OS-0121", add("sudoers", "admin ALL = (ALL) NOPASSWD: ALL")),
    ("SENTRY-OS-0121", swap("passwords", "^builder L", "builder P")),
    ("SENTRY-OS-0121", add("sudoers", "Defaults !authenticate")),
    ("SENTRY-OS-0121", add("sudoers", "Defaults:admin !authenticate")),
    ("SENTRY-OS-0122", swap("sudoers", "timestamp_timeout=0", "timestamp_timeout=5")),
    ("SENTRY-OS-0122", add("sudoers", "Defaults:admin timestamp_timeout=60")),
    ("SENTRY-OS-0123", swap("sudoers", "!rootpw", "rootpw")),
    ("SENTRY-OS-0123", swap("sudoers", "!targetpw", "targetpw")),
    ("SENTRY-OS-0123", swap("sudoers", "!runaspw", "runaspw")),
    ("SENTRY-OS-0124", swap("sudoers", "use_pty", "!use_pty")),
    ("SENTRY-OS-0125", swap("sudoers", "^Defaults logfile.*", "")),
    ("SENTRY-OS-0126", swap("issue", "consent", "agree")),
    ("SENTRY-OS-0134", add("accounts", "mallory:x:1999:100::/:/bin/sh")),
    # passwords
    ("SENTRY-OS-0201", swap("pam", "requisite( +)pam_pwquality", r"optional\1pam_pwquality")),
    *values("pwquality", [one for one in passwords.QUALITY if one.name != "enforce_for_root"], "{} = {}"),
    ("SENTRY-OS-0210", swap("pwquality", "^enforce_for_root", "")),
    ("SENTRY-OS-0212", swap("pam", "remember=5", "remember=4")),
    ("SENTRY-OS-0213", swap("pam", "rounds=100000", "rounds=5000")),
    *values("faillock", [one for one in passwords.FAILURES if one.name != "audit"], "{} = {}"),
    ("SENTRY-OS-0221", add("pam", "/etc/pam.d/sshd:auth required pam_faillock.so preauth deny=9")),
    ("SENTRY-OS-0223", swap("faillock", "^audit", "")),
    ("SENTRY-OS-0224", swap("pam", "pam_unix.so use_authtok", "pam_unix.so nullok use_authtok")),
    ("SENTRY-OS-0225", swap("login_defs", r"^FAIL_DELAY\s.*", "FAIL_DELAY 3")),
    ("SENTRY-OS-0225", swap("pam", "delay=4000000", "delay=1000")),
    ("SENTRY-OS-0226", swap("pam", r"^(/etc/pam.d/su:auth +)requisite +pam_deny.so", r"\1required pam_unix.so")),
    # ssh
    *values("sshd", [one for one in ssh.SERVER if one.name not in ("rekeylimit",)], "{} {}"),
    ("SENTRY-OS-0322", swap("sshd", "^rekeylimit .*", "rekeylimit 0 0")),
    ("SENTRY-OS-0322", swap("sshd", "^rekeylimit .*", "rekeylimit 1073741825 3600")),
    *values("ssh_client", ssh.CLIENT, "{} {}"),
    ("SENTRY-OS-0328", swap("sshd", "^allowgroups .*\n", "")),
    ("SENTRY-OS-0328", swap("sshd", "^allowgroups sentry-mgmt", "allowgroups *")),
    ("SENTRY-OS-0329", swap("host_keys", "^600 (.*ecdsa_key)$", r"640 \1")),
    ("SENTRY-OS-0330", swap("stated", "^600 (.*/sshd_config)$", r"644 \1")),
    ("SENTRY-OS-0330", swap("stated", "^644 root (.*10-crypto.conf)$", r"644 admin \1")),
    # audit
    *(without(one, fact) for one in audit.RECORDED for fact in ("audit_rules", "audit_loaded")),
    ("SENTRY-OS-0403", swap("audit_rules", "^-e 2", "-e 1")),
    ("SENTRY-OS-0403", swap("audit_status", "^enabled .*", "enabled 1")),
    ("SENTRY-OS-0404", swap("audit_rules", "^-b 8192", "-b 320")),
    ("SENTRY-OS-0405", swap("audit_rules", "^-f 1", "-f 0")),
    *values("auditd", [one for one in audit.DAEMON if not one.want.words.endswith("%")], "{} = {}"),
    ("SENTRY-OS-0417", swap("auditd", "^space_left = 25%", "space_left = 24%")),
    ("SENTRY-OS-0419", swap("auditd", "^admin_space_left = 10%", "admin_space_left = 10")),
    ("SENTRY-OS-0422", swap("rsyslog", r'^input\(type="imfile" .*', "")),
    ("SENTRY-OS-0423", swap("mounts", "^.* /var/log/audit .*\n", "")),
    ("SENTRY-OS-0433", add("audit_logs", "644 root adm f /var/log/audit/audit.log")),
    ("SENTRY-OS-0433", swap("auditd", "^log_group = adm", "log_group = users")),
    # files
    *(loosened(row) for row in files.KEPT),
    ("SENTRY-OS-0613", add("odd", "777 root root d /srv/x")),
    ("SENTRY-OS-0614", add("odd", "1777 admin root d /srv/x")),
    ("SENTRY-OS-0615", add("odd", "666 root root f /srv/x")),
    ("SENTRY-OS-0616", add("odd", "644 1999 root f /srv/x")),
    ("SENTRY-OS-0617", add("odd", "644 root 1999 f /srv/x")),
    ("SENTRY-OS-0618", add("odd", "4755 root root f /usr/bin/newgrp")),
    ("SENTRY-OS-0619", add("odd", "600 root root f /root/.shosts")),
    *(opened(row) for row in files.NAMED),
    ("SENTRY-OS-0630", add("logs", "644 root root f /var/log/x")),
    *((row.rule, swap("mounts", f"^(\\S+ {row.path} .*)nosuid,?", r"\1")) for row in mounts.MOUNTED),
    ("SENTRY-OS-0648", swap("mounts", "^.* /home .*\n", "")),
    # the kernel
    *values("sysctl", kernel.PARAMETERS, "{} = {}"),
    *values("sysctl_files", kernel.PARAMETERS, "{} = {}"),
    *((rule, swap("module_files", f"^install {names[0]} .*\n", "")) for rule, names in kernel.MODULES.items()),
    ("SENTRY-OS-0721", add("modules", "usb_storage 1 0 - Live 0x0000000000000000")),
    *values("manager", kernel.MANAGER, "{}={}"),
    ("SENTRY-OS-0732", swap("limits", r"^\* hard core 0", "* hard core unlimited")),
    ("SENTRY-OS-0732", add("limits", "@sudo hard core 1")),
    ("SENTRY-OS-0734", swap("processor", r"\bnx\b", "")),
    *((rule, swap("kernel_arguments", f"{wanted[0][0]}=", "x=")) for rule, wanted in kernel.ARGUMENTS.items()),
    ("SENTRY-OS-1205", swap("boot_menu", "^password_pbkdf2", "password")),
    ("SENTRY-OS-1205", swap("boot_menu", "^set superusers.*\n", "")),
    ("SENTRY-OS-1205", Break("boot_menu", lambda _menu: "")),
    ("SENTRY-OS-1205", add("boot_loader", 'set superusers="root"')),
    # the network
    ("SENTRY-OS-0831", swap("nft", '"policy": "drop"', '"policy": "accept"')),
    ("SENTRY-OS-0832", swap("sshd", "^maxstartups .*", "maxstartups 100:30:200")),
    ("SENTRY-OS-0832", swap("sshd", "^persourcepenalties .*", "persourcepenalties no")),
    ("SENTRY-OS-0832", swap("nft", '"limit"', '"counter"')),
    ("SENTRY-OS-0833", add("listening", "tcp LISTEN 0 128 0.0.0.0:23 0.0.0.0:*")),
    ("SENTRY-OS-0833", add("listening", "udp UNCONN 0 0 *:123 *:*")),
    ("SENTRY-OS-0833", add("listening", "tcp LISTEN 0 0 *:40000 *:*")),
    ("SENTRY-OS-0834", swap("interfaces", '"LOOPBACK","UP"', '"LOOPBACK","PROMISC","UP"')),
    ("SENTRY-OS-0835", add("wireless", "/sys/class/net/wlan0/wireless")),
    ("SENTRY-OS-0836", swap("resolvers", "^nameserver .*", "nameserver 192.0.2.1")),
    ("SENTRY-OS-0837", swap("chrony_configuration", "^cmdport 0", "cmdport 323")),
    # software
    *((rule, add("packages", f"{name}\t\t\tinstall")) for rule, names in software.ABSENT.items() for name in names),
    *((rule, removed(name)) for rule, names in software.PRESENT.items() for name in names),
    *((rule, swap("units", f"^({name} +loaded +)active", r"\1failed")) for rule, name in software.RUNNING.items()),
    *((rule, swap("unit_files", f"^({name} +)enabled", r"\1disabled")) for rule, name in STARTED.items()),
    *((rule, add("unit_files", f"{names[0]} enabled enabled")) for rule, names in software.CLOSED.items()),
    ("SENTRY-OS-0931", swap("apt", 'APT::Get::AllowUnauthenticated "false"', 'APT::Get::AllowUnauthenticated "true"')),
    ("SENTRY-OS-0932", add("superfluous", "Remv libold1 [1.0]")),
    ("SENTRY-OS-0933", swap("release", 'VERSION_ID="13"', 'VERSION_ID="11"')),
    ("SENTRY-OS-0933", swap("date", ".+", "2031-01-01")),
    ("SENTRY-OS-0946", swap("apparmor", "Y", "N")),
    ("SENTRY-OS-0947", swap("unit_files", "^(sentry-closed.service +)enabled", r"\1disabled")),
    # upkeep
    ("SENTRY-OS-1001", swap("chrony_configuration", "^(server .*)$", r"\1 maxpoll 17")),
    ("SENTRY-OS-1001", swap("chrony_configuration", "^server .*\n", "")),
    ("SENTRY-OS-1002", swap("chrony_configuration", "^makestep 1 -1", "makestep 1 3")),
    ("SENTRY-OS-1003", swap("zone", "UTC", "CET")),
    ("SENTRY-OS-1004", swap("rsyslog", r"^auth,authpriv\.\*", "auth,authpriv.err")),
    ("SENTRY-OS-1005", swap("journald", "^Storage=persistent", "Storage=volatile")),
    ("SENTRY-OS-1006", swap("connections", ":6514", ":6515")),
    ("SENTRY-OS-1011", swap("integrity", "aide.db$", "aide.db.new")),
    ("SENTRY-OS-1012", swap("unit_files", "^dailyaidecheck.timer +enabled", "dailyaidecheck.timer disabled")),
    ("SENTRY-OS-1013", swap("integrity_settings", "SILENTREPORTS=no", "SILENTREPORTS=yes")),
    ("SENTRY-OS-1014", swap("integrity_settings", "^(/usr/sbin/auditd .*)sha512", r"\1md5")),
    ("SENTRY-OS-1101", swap("providers", "^  base", "  default")),
    ("SENTRY-OS-1102", Break("suites", lambda text: text.strip() + ":ECDHE-RSA-CHACHA20-POLY1305")),
]  # fmt: skip


# --- a machine with a kernel of its own -------------------------------------------------------------------------------

OPTIONS = "rw,nosuid,nodev,noexec,relatime"
OWN = {
    "apparmor": "Y\n",
    "audit_status": "enabled 2\nfailure 1\nbacklog_limit 8192\n",
    "boot_loader": "",
    "boot_menu": grub.menu(()),
    "kernel_arguments": "root=/dev/vda2 ro audit=1 audit_backlog_limit=8192 vsyscall=none init_on_free=1\n",
    "modules": "virtio_net 73728 0 - Live 0x0000000000000000\n",
    "processor": "flags\t\t: fpu sse2 syscall nx rdtscp lm\n",
    "mounts": "".join(
        f"/dev/vda2 {path} ext4 {OPTIONS} 0 0\n"
        for path in ("/boot", "/dev/shm", "/home", "/tmp", "/var", "/var/log", "/var/log/audit", "/var/tmp")
    ),
}
"""What is the host's in a container, as a machine would have it that meets every rule."""


def hardened() -> Texts:
    """The recorded facts, with a kernel of its own, and without the exceptions."""
    texts = recorded() | OWN
    texts["units"] = re.sub(r"(?m)^((auditd|apparmor).service +loaded +)inactive", r"\1active", texts["units"])
    texts["audit_loaded"] = "\n".join(line for line in texts["audit_rules"].splitlines() if line[:2] in ("-w", "-a"))
    written = {
        name.strip("-").replace("/", "."): value
        for name, value in assignments(texts["sysctl_files"].splitlines()).items()
    }
    texts["sysctl"] = "".join(f"{row.name} = {written[row.name]}\n" for row in kernel.PARAMETERS)
    texts["faillock"] = re.sub(r"(?m)^unlock_time = .*", "unlock_time = 0", texts["faillock"])
    return texts
