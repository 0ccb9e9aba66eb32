"""How each automated rule of the operating system is broken on a running guest, in batches of what is independent of each other.

What is broken is what the checks read: files, owners and modes, packages, units, the packet filter. Daemons are not told, so that
the guest works on.
"""

from dataclasses import dataclass

from stig import written
from stig.platform.software import ABSENT, PRESENT
from tests.stig.breaks import Break, away, broken, disabled, done, edited, open_to_all, put, running
from tests.stig.platform_ways import deselected, installed, no_execute_hidden, radio, remnant, strangers

CATALOGUE = written.load().chapter("GPOS")
AUTOMATED = frozenset(rule.id for rule in CATALOGUE.rules if rule.not_reviewed is None)


def rules(*numbers: int | range) -> frozenset[str]:
    """Those of the catalogue that a check decides, with these numbers."""
    wanted = {number for one in numbers for number in (one if isinstance(one, range) else [one])}
    return frozenset(name for name in AUTOMATED if int(name[-4:]) in wanted)


_EXCEPTION = "sites/stig.yml does not meet it, for the reason that stands in sites/stig-answers.yml"
NO_BREAK = {
    **dict.fromkeys(sorted(rules(222)), _EXCEPTION),
}
"""Automated rules without a break on a running machine, and why; tests/unit/stig/fact_breaks.py breaks their facts. What a guest
has from its host is broken on a machine with a kernel of its own (tests/boot/kernel_breaks.py)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Breaks that are done together, and seen by one scan."""

    name: str
    breaks: tuple[Break, ...]
    blinds: frozenset[str] = frozenset()
    """Rules of other batches that cannot be looked at meanwhile."""

    @property
    def rules(self) -> frozenset[str]:
        """All that are open then."""
        return frozenset[str]().union(*(one.rules for one in self.breaks))


# --- accounts, passwords and log-ins ----------------------------------------------------------------------------------

# A hash of nobody's password, by a method that is not approved; the last 22 characters are no MD5 of anything.
_HASH = "$1$seenred$" + "x" * 22
PEOPLE = r"""s#^\(www-data:.*\):/usr/sbin/nologin$#\1:/bin/sh#
$a toor:x:0:0::/nonexistent:/usr/sbin/nologin
$a mallory:x:1999:1999::/nonexistent:/bin/sh"""
PASSWORDS = rf"""s#^root:[^:]*:#root:{_HASH}:#
s#^daemon:[^:]*:#daemon::#
$a toor:!:20000:0:99999:7:::
$a mallory:!:20000:0:99999:7:::"""
GROUPS = r"""s#^sudo:\(.*\):[^:]*$#sudo:\1:mallory#
$a wheels:x:0:"""
SUDOERS = r"""s/timestamp_timeout=0/timestamp_timeout=5/; s/!targetpw/targetpw/; s/use_pty/!use_pty/; /logfile/d
$a mallory ALL=(ALL) NOPASSWD: ALL"""
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
KerberosAuthentication yes
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
CLIENT = "Host *\n    Ciphers chacha20-poly1305@openssh.com\n    MACs hmac-sha1\n"
PEOPLE_AND_SSH = (
    # Whoever edits lists of accounts keeps copies of them; the modes of those are another batch's.
    broken(rules(101, 105, 106, 107, 134), edited, "/etc/passwd", PEOPLE),
    broken(rules(102, 103, 114), edited, "/etc/shadow", PASSWORDS),
    broken(rules(104, 108), edited, "/etc/group", GROUPS),
    broken(rules(121, 122, 123, 124, 125), edited, "/etc/sudoers", SUDOERS),
    broken(rules(109), open_to_all, "/home/builder", "0755"),
    broken(rules(116, 732), edited, "/etc/security/limits.d/60-sentry.conf", r"s/^\*/@nogroup/"),
    broken(
        rules(112, 113, 115, 118),
        edited,
        "/etc/login.defs",
        "s/^UMASK .*/UMASK 022/; s/^PASS_M\\(..\\)_DAYS .*/PASS_M\\1_DAYS 0/; s/^ENCRYPT_METHOD .*/ENCRYPT_METHOD MD5/",
    ),
    broken(rules(110), edited, "/etc/default/useradd", "s/^INACTIVE=.*/INACTIVE=-1/"),
    broken(rules(117), edited, "/etc/profile.d/60-sentry.sh", "s/TMOUT=600/TMOUT=6000/"),
    broken(rules(126), edited, "/etc/issue", "s/.*/Welcome/"),
    broken(rules(range(202, 212)), edited, "/etc/security/pwquality.conf", "s/= .*/= 0/; /^enforce_for_root/d"),
    broken(rules(221, 223), edited, "/etc/security/faillock.conf", "s/^deny.*/deny = 9/; /^audit/d"),
    broken(
        rules(201, 212, 213, 224),
        edited,
        "/etc/pam.d/common-password",
        "s/requisite *pam_pwquality/optional pam_pwquality/; s/remember=5/remember=1/; s/rounds=100000/nullok/",
    ),
    broken(rules(225), edited, "/etc/pam.d/sshd", "/pam_faildelay/d"),
    broken(rules(226), edited, "/etc/pam.d/su", "s/pam_deny/pam_unix/"),
    broken(rules(range(301, 308), range(310, 329), 832), put, "/etc/ssh/sshd_config.d/00-seen-red.conf", SERVER),
    broken(rules(308, 309), put, "/etc/ssh/ssh_config.d/00-seen-red.conf", CLIENT),
    broken(rules(329), open_to_all, "/etc/ssh/ssh_host_ecdsa_key", "0644"),
    broken(rules(330), open_to_all, "/etc/ssh/sshd_config", "0644"),
)

# --- the audit, and files ---------------------------------------------------------------------------------------------

AUDIT_AND_FILES = (
    broken(rules(range(403, 406), range(501, 571)), edited, "/etc/audit/rules.d/60-sentry.rules", "s/^/# /"),
    broken(
        rules(range(411, 422)),
        edited,
        "/etc/audit/auditd.conf",
        "/^log_/!s/= .*/= 0/; s/^log_format.*/log_format = RAW/",
    ),
    broken(rules(431), open_to_all, "/etc/audit/auditd.conf", "0644"),
    broken(rules(402), disabled, "auditd.service"),
    # The ways to the log server: what reads auditd's file and all others, and the audit trail's.
    broken(rules(422, 1006), edited, "/etc/rsyslog.d/50-sentry.conf", "s/^/# /"),
    broken(rules(1006), edited, "/etc/rsyslog.d/audit.rules", "s/^/# /"),
    broken(rules(1004), edited, "/etc/rsyslog.conf", "s/^auth,authpriv/daemon/"),
    broken(rules(432, 613), open_to_all, "/var/log/audit", "0777"),
    broken(rules(433), put, "/var/log/audit/seen-red.log", "", "0644"),
    broken(rules(434, 607), open_to_all, "/usr/sbin/auditctl", "0757"),
    broken(rules(625), open_to_all, "/usr/bin/journalctl", "0755"),
    broken(rules(627, 630), open_to_all, "/var/log/syslog", "0644"),
    broken(rules(615, 621), open_to_all, "/etc/passwd", "0666"),
    broken(rules(622), open_to_all, "/etc/gshadow", "0644"),
    broken(rules(623), open_to_all, "/etc/sudoers", "0644"),
    broken(rules(624), open_to_all, "/etc/security/opasswd", "0644"),
    broken(rules(626), open_to_all, "/var/log", "0777"),
    broken(rules(628), open_to_all, "/var/log/journal", "2755"),
    broken(rules(629), put, "/var/log/journal/seen-red", "", "0644"),
    broken(rules(614, range(616, 620), range(601, 607), range(608, 613)), strangers),
)

# --- the kernel and the network ---------------------------------------------------------------------------------------

LISTENER = "import socket, time; held = socket.create_server(('', 2323)); time.sleep(600)"
RELOAD = ("systemctl", "daemon-reload")
MANAGER = "[Manager]\nDefaultLimitCORE=infinity\nCtrlAltDelBurstAction=reboot-force\n"
KERNEL_AND_NETWORK = (
    broken(rules(range(700, 714), range(801, 822)), edited, "/etc/sysctl.d/60-sentry.conf", r"s/^\(\S*\) = .*/\1 = 9/"),
    broken(rules(range(721, 730)), edited, "/etc/modprobe.d/60-sentry.conf", "s/^install/# install/"),
    broken(rules(731, 733), put, "/etc/systemd/system.conf.d/99-seen-red.conf", MANAGER, "0644", RELOAD),
    broken(rules(734), no_execute_hidden),
    broken(rules(641), done, ("mount", "-o", "remount,exec", "/tmp"), ("mount", "-o", "remount,noexec", "/tmp")),
    broken(
        rules(831),
        done,
        ("nft", "chain", "inet", "sentry", "forward", "{ policy accept; }"),
        ("nft", "chain", "inet", "sentry", "forward", "{ policy drop; }"),
    ),
    broken(rules(833), running, "seen-red-listener.service", "/usr/bin/python3", "-I", "-c", LISTENER),
    broken(
        rules(834),
        done,
        ("ip", "link", "set", "dev", "device0", "promisc", "on"),
        ("ip", "link", "set", "dev", "device0", "promisc", "off"),
    ),
    broken(rules(835), radio),
    broken(rules(836), edited, "/etc/resolv.conf", "s/^nameserver .*/nameserver 10.98.2.1/"),
    broken(
        rules(837, 1001, 1002),
        edited,
        "/etc/chrony/chrony.conf",
        "s/^port 0/port 123/; s/iburst/iburst maxpoll 20/; s/^makestep .*/makestep 1 3/",
    ),
    broken(
        rules(1003),
        done,
        ("ln", "-sfT", "/usr/share/zoneinfo/Etc/GMT+1", "/etc/localtime"),
        ("ln", "-sfT", "/usr/share/zoneinfo/Etc/UTC", "/etc/localtime"),
    ),
    broken(rules(1005), edited, "/etc/systemd/journald.conf.d/60-sentry.conf", "s/persistent/volatile/"),
    broken(rules(1101, 1102), edited, "/etc/ssl/openssl.cnf", "s/^openssl_conf/# openssl_conf/"),
    broken(rules(932), remnant),
)

# --- packages and units -----------------------------------------------------------------------------------------------

UNIT = "[Unit]\nDescription=Seen red\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
TIMER = "[Unit]\nDescription=Seen red\n[Timer]\nOnBootSec=1d\n[Install]\nWantedBy=timers.target\n"


def unit_file(number: int, name: str) -> Break:
    """A unit that is there and not masked."""
    text = TIMER if name.endswith(".timer") else UNIT
    return broken(rules(number), put, f"/etc/systemd/system/{name}", text)


SOFTWARE = (
    broken(ABSENT.keys(), installed, [names[0] for names in ABSENT.values()]),
    broken(PRESENT.keys(), deselected, [names[0] for names in PRESENT.values()]),
    broken(
        rules(931),
        edited,
        "/etc/apt/apt.conf.d/60-sentry",
        's/AllowUnauthenticated "false"/AllowUnauthenticated "true"/',
    ),
    broken(rules(933), edited, "/usr/lib/os-release", 's/^VERSION_ID=.*/VERSION_ID="11"/'),
    *(
        broken(rules(number), disabled, unit)
        for number, unit in (
            (941, "rsyslog.service"),
            (942, "nftables.service"),
            (943, "ssh.service"),
            (944, "chrony.service"),
            (945, "apparmor.service"),
            (947, "sentry-closed.service"),
            (1012, "dailyaidecheck.timer"),
        )
    ),
    unit_file(735, "ctrl-alt-del.target"),
    unit_file(736, "debug-shell.service"),
    unit_file(737, "kdump.service"),
    unit_file(951, "autofs.service"),
    unit_file(952, "bluetooth.service"),
    unit_file(953, "anacron.timer"),
    unit_file(954, "avahi-daemon.service"),
    broken(rules(1011), away, "/var/lib/aide/aide.db"),
    broken(rules(1013), edited, "/etc/default/aide", "s/^SILENTREPORTS=no/SILENTREPORTS=yes/"),
    broken(rules(1014), edited, "/etc/aide/aide.conf", r"s#^\(/usr/sbin/auditd .*\)sha512#\1md5#"),
)

BATCHES = (
    Batch("people-and-ssh", PEOPLE_AND_SSH),
    Batch("audit-and-files", AUDIT_AND_FILES),
    Batch("kernel-and-network", KERNEL_AND_NETWORK),
    # While packages conflict, apt does not say which are superfluous.
    Batch("software", SOFTWARE, blinds=rules(932)),
)


def turn(commit: str) -> int:
    """Which batch is tried in CI at this commit (its hash, hexadecimal): the same for the same commit, and each over many."""
    return int(commit[:8], 16) % len(BATCHES)
