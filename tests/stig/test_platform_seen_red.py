"""Our rules of the operating system are seen open on a guest that breaks them, and as before once that is mended.

What is broken is what the checks read: files, owners and modes, units. What a container has from its host cannot be broken here;
the tables of the unit tests do that, and a machine with a kernel of its own. Nothing is reloaded, so that the guest works on.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from images.paths import REPO, Layout
from images.run import run
from stig import written
from tests.lab import Lab

pytestmark = pytest.mark.appliance

SECONDS = 180.0
COPIES = "/run/platform-seen-red"
Results = dict[str, dict[str, Any]]
Scan = Callable[[], Results]

# What the lab's guest does not meet, and why.
OPEN = {
    "SENTRY-OS-0110": "the configuration has no setting for unused accounts",
    "SENTRY-OS-0112": "the configuration has no setting for how long a password lives",
    "SENTRY-OS-0113": "the configuration has no setting for how long a password lives",
    "SENTRY-OS-0114": "the lab's password is hashed with the default number of rounds",
    "SENTRY-OS-0222": "V-250986 asks for 15 minutes, and a lock without an end would let strangers lock everybody out",
    "SENTRY-OS-0422": "the audit's records stay on the machine",
    "SENTRY-OS-0641": "inside a container the host mounts /tmp",
    "SENTRY-OS-0833": "the socket by which snmpd sends traps takes any port; the packet filter lets nothing in to it",
    "SENTRY-OS-0836": "the lab has one server for names",
    "SENTRY-OS-0921": "no program looks for changes",
    "SENTRY-OS-0944": "inside a container the host keeps the clock",
    "SENTRY-OS-1002": "the clock is set during its first updates only",
    "SENTRY-OS-1006": "the lab has no central log server",
    "SENTRY-OS-1011": "no program looks for changes",
    "SENTRY-OS-1012": "no program looks for changes",
    "SENTRY-OS-1013": "no program looks for changes",
    "SENTRY-OS-1014": "no program looks for changes",
}
# What only a machine with a kernel of its own can show.
UNKNOWN = {f"SENTRY-OS-{number:04}" for number in (423, *range(642, 649), 946, *range(1201, 1206))}


def rules(*numbers: int | range) -> frozenset[str]:
    """Those of the catalogue with these numbers."""
    wanted = {number for one in numbers for number in (one if isinstance(one, range) else [one])}
    known = {rule.id for rule in written.load().chapter("GPOS").rules if rule.not_reviewed is None}
    return frozenset(name for name in known if int(name[-4:]) in wanted)


@dataclass(frozen=True, slots=True)
class Edit:
    """A file that sed breaks, and the rules that are open then."""

    rules: frozenset[str]
    path: str
    expression: str


EDITS = (
    Edit(rules(range(700, 714), range(801, 822)), "/etc/sysctl.d/60-sentry.conf", r"s/^\(\S*\) = .*/\1 = 9/"),
    Edit(rules(range(721, 730)), "/etc/modprobe.d/60-sentry.conf", "s/^install/# install/"),
    Edit(rules(116, 732), "/etc/security/limits.d/60-sentry.conf", r"s/^\*/@nogroup/"),
    Edit(rules(115, 118), "/etc/login.defs", "s/^UMASK .*/UMASK 022/; s/^ENCRYPT_METHOD .*/ENCRYPT_METHOD MD5/"),
    Edit(rules(range(202, 212)), "/etc/security/pwquality.conf", "s/= .*/= 0/; /^enforce_for_root/d"),
    Edit(rules(221, 223), "/etc/security/faillock.conf", "s/^deny.*/deny = 9/; /^audit/d"),
    Edit(
        rules(201, 212, 213, 224),
        "/etc/pam.d/common-password",
        "s/requisite *pam_pwquality/optional pam_pwquality/; s/remember=5/remember=1/; s/rounds=100000/nullok/",
    ),
    Edit(rules(225), "/etc/pam.d/sshd", "/pam_faildelay/d"),
    Edit(rules(226), "/etc/pam.d/su", "s/pam_deny/pam_unix/"),
    Edit(rules(range(403, 406), range(501, 571)), "/etc/audit/rules.d/60-sentry.rules", "s/^/# /"),
    Edit(rules(range(411, 422)), "/etc/audit/auditd.conf", "/^log_/!s/= .*/= 0/; s/^log_format.*/log_format = RAW/"),
    Edit(
        rules(range(122, 126)),
        "/etc/sudoers",
        "s/timestamp_timeout=0/timestamp_timeout=5/; s/!targetpw/targetpw/; s/use_pty/!use_pty/; /logfile/d",
    ),
    Edit(rules(117), "/etc/profile.d/60-sentry.sh", "s/TMOUT=600/TMOUT=6000/"),
    Edit(rules(126), "/etc/issue", "s/.*/Welcome/"),
    Edit(rules(931), "/etc/apt/apt.conf.d/60-sentry", 's/AllowUnauthenticated "false"/AllowUnauthenticated "true"/'),
    Edit(rules(837, 1001), "/etc/chrony/chrony.conf", "s/^port 0/port 123/; s/iburst/iburst maxpoll 20/"),
    Edit(rules(1004), "/etc/rsyslog.conf", "s/^auth,authpriv/daemon/"),
    Edit(rules(1005), "/etc/systemd/journald.conf.d/60-sentry.conf", "s/persistent/volatile/"),
    Edit(rules(1101, 1102), "/etc/ssl/openssl.cnf", "s/^openssl_conf/# openssl_conf/"),
)

# The first value of sshd's settings wins, and so does ssh's.
SERVER = """\
PermitRootLogin yes
PermitEmptyPasswords yes
X11Forwarding yes
X11UseLocalhost no
Ciphers chacha20-poly1305@openssh.com
MACs hmac-sha1
KexAlgorithms curve25519-sha256
HostKeyAlgorithms ssh-ed25519
UsePAM no
ClientAliveCountMax 0
ClientAliveInterval 0
PubkeyAuthentication no
HostbasedAuthentication yes
IgnoreRhosts no
IgnoreUserKnownHosts no
StrictModes no
KerberosAuthentication no
GSSAPIAuthentication yes
Compression yes
RekeyLimit default none
LogLevel INFO
PrintLastLog no
Banner none
DisableForwarding no
LoginGraceTime 600
AllowGroups *
PerSourcePenalties no
"""
BY_SERVER = rules(range(301, 308), range(310, 319), range(320, 329), 832)
CLIENT = "Host *\n    Ciphers chacha20-poly1305@openssh.com\n    MACs hmac-sha1\n"
BY_CLIENT = rules(308, 309)

MODES = (
    ("/usr/bin/journalctl", "0755", rules(625)),
    ("/var/log/syslog", "0644", rules(627, 630)),
    ("/etc/passwd", "0666", rules(621, 615)),
    ("/etc/gshadow", "0644", rules(622)),
    ("/etc/security/opasswd", "0644", rules(624)),
    ("/etc/audit/auditd.conf", "0644", rules(431)),
    ("/var/log/audit", "0777", rules(432, 613)),
    ("/usr/sbin/auditctl", "0757", rules(434, 607)),
    ("/etc/ssh/ssh_host_ecdsa_key", "0644", rules(329)),
    ("/etc/ssh/sshd_config", "0644", rules(330)),
    ("/var/log", "0777", rules(626)),
    ("/home/builder", "0755", rules(109)),
)
STOPPED = (
    ("rsyslog.service", rules(941)),
    ("nftables.service", rules(942)),
    ("ssh.service", rules(943)),
    ("auditd.service", rules(402)),
    ("apparmor.service", rules(945)),
    ("sentry-closed.service", rules(947)),
)
STRANGERS = "/srv/seen-red"
BY_STRANGERS = rules(614, range(616, 620), range(601, 613))
LISTENER = "seen-red-listener.service"
BY_LISTENER = rules(833)
BY_ACCOUNT = rules(134)


@pytest.fixture
def scan(lab: Lab, layout: Layout, tmp_path: Path) -> Scan:
    """Scan the appliance; our rules' results."""

    def scanned() -> Results:
        argv = [sys.executable, "-m", "stig", "scan", "--appliance", str(layout.appliance), "--out", str(tmp_path)]
        run(argv, cwd=REPO, seconds=SECONDS)
        tree = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
        return {one["rule"]: one for one in tree["results"] if one["stig"] == "GPOS"}

    return scanned


@contextmanager
def edited(lab: Lab, edit: Edit) -> Iterator[frozenset[str]]:
    """The file broken, and as it was afterwards whatever happens."""
    copy = f"{COPIES}/{edit.path.replace('/', '_')}"
    lab.root("install", "-d", "-m", "0700", COPIES)
    lab.root("cp", "-a", edit.path, copy)
    try:
        lab.root("sed", "-i", edit.expression, edit.path)
        assert lab.root("cmp", "-s", copy, edit.path, check=False).code != 0, f"{edit.path} was not changed"
        yield edit.rules
    finally:
        lab.root("cp", "-a", copy, edit.path)


@contextmanager
def put(lab: Lab, path: str, text: str, broken: frozenset[str]) -> Iterator[frozenset[str]]:
    """One file more."""
    lab.root("tee", path, stdin=text)
    try:
        yield broken
    finally:
        lab.root("rm", "-f", path)


@contextmanager
def open_to_all(lab: Lab, path: str, mode: str, broken: frozenset[str]) -> Iterator[frozenset[str]]:
    """One file or folder with another mode."""
    before = lab.root("stat", "-c", "%a", path).stdout.strip()
    lab.root("chmod", mode, path)
    try:
        yield broken
    finally:
        lab.root("chmod", before, path)


@contextmanager
def disabled(lab: Lab, unit: str, broken: frozenset[str]) -> Iterator[frozenset[str]]:
    """A unit that the next start of the machine would not start."""
    lab.root("systemctl", "--no-reload", "disable", unit)  # a running unit whose alias goes is forgotten
    try:
        yield broken
    finally:
        lab.root("systemctl", "--no-reload", "enable", unit)


@contextmanager
def unmasked(lab: Lab, unit: str, broken: frozenset[str]) -> Iterator[frozenset[str]]:
    """A unit that could be started."""
    lab.root("systemctl", "unmask", unit)
    try:
        yield broken
    finally:
        lab.root("systemctl", "mask", unit)


@contextmanager
def strangers(lab: Lab) -> Iterator[frozenset[str]]:
    """Files that nobody owns, that lend rights and that name trusted hosts; programs and libraries that are not the system's."""
    loose = [f"/usr/local/{folder}/seen-red{kind}" for folder in ("bin", "lib") for kind in ("", ".d")]
    try:
        lab.root("install", "-d", "-m", "1777", "-o", "admin", STRANGERS)
        lab.root("install", "-m", "4755", "-o", "61999", "-g", "61999", "/dev/null", f"{STRANGERS}/.shosts")
        for path in loose:
            argv = ["-d"] if path.endswith(".d") else ["/dev/null"]
            lab.root("install", "-m", "0777", "-o", "builder", "-g", "builder", *argv, path)
        yield BY_STRANGERS
    finally:
        lab.root("rm", "-rf", STRANGERS, *loose)


@contextmanager
def listening(lab: Lab) -> Iterator[frozenset[str]]:
    """Something that answers on a port that is not the appliance's."""
    program = "import socket, time; held = socket.create_server(('', 2323)); time.sleep(600)"
    lab.root("systemd-run", "--unit", LISTENER, "--collect", "/usr/bin/python3", "-I", "-c", program)
    try:
        yield BY_LISTENER
    finally:
        lab.root("systemctl", "stop", LISTENER)


@contextmanager
def account(lab: Lab) -> Iterator[frozenset[str]]:
    """An account nobody has authorised."""
    lab.root("useradd", "--no-create-home", "--shell", "/bin/sh", "mallory")
    try:
        yield BY_ACCOUNT
    finally:
        lab.root("userdel", "mallory")


@pytest.mark.slow  # three scans, and a hundred files
def test_broken_rules_are_open_and_mended_ones_are_as_before(lab: Lab, scan: Scan) -> None:
    """As it is, what is listed above is open or unknown and nothing else; broken, the broken ones too; mended, as before."""
    before = scan()
    status = {name: one["status"] for name, one in before.items()}
    assert {name for name, ended in status.items() if ended == "error"} == set()
    assert {name for name, ended in status.items() if ended == "open"} == set(OPEN)
    catalogue = written.load().chapter("GPOS")
    silent = {rule.id for rule in catalogue.rules if rule.not_reviewed is not None}
    assert {name for name, ended in status.items() if ended == "not_reviewed"} == UNKNOWN | silent
    broken: set[str] = set()
    with ExitStack() as held:
        for context in (
            account(
                lab
            ),  # ends last: whoever removes an account keeps copies of the lists, with the modes that those have
            *(edited(lab, edit) for edit in EDITS),
            put(lab, "/etc/ssh/sshd_config.d/00-seen-red.conf", SERVER, BY_SERVER),
            put(lab, "/etc/ssh/ssh_config.d/00-seen-red.conf", CLIENT, BY_CLIENT),
            *(open_to_all(lab, path, mode, names) for path, mode, names in MODES),
            *(disabled(lab, unit, names) for unit, names in STOPPED),
            unmasked(lab, "ctrl-alt-del.target", rules(735)),
            unmasked(lab, "debug-shell.service", rules(736)),
            strangers(lab),
            listening(lab),
        ):
            broken |= held.enter_context(context)
        red = scan()
    assert len(broken) > 200
    assert {name: red[name]["status"] for name in broken} == dict.fromkeys(broken, "open")
    assert {name: one["status"] for name, one in scan().items()} == status
