"""What is installed and what is not, what runs and what cannot be started."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial

from stig.errors import FactError
from stig.facts import Facts
from stig.parse import words
from stig.platform.proof import Proof, contained, listed, needs_a_kernel
from stig.verdict import Point, Verdict

ABSENT = {
    "SENTRY-OS-0901": ("systemd-timesyncd",),
    "SENTRY-OS-0902": ("ntp", "ntpsec", "ntpdate"),
    "SENTRY-OS-0903": ("telnetd", "inetutils-telnetd", "telnetd-ssl"),
    "SENTRY-OS-0904": ("rsh-server", "rsh-redone-server"),
    "SENTRY-OS-0905": ("vsftpd", "proftpd-core", "pure-ftpd", "ftpd", "inetutils-ftpd"),
    "SENTRY-OS-0906": ("tftpd-hpa", "atftpd", "tftpd"),
    "SENTRY-OS-0907": ("nis", "ypserv", "ypbind-mt"),
    "SENTRY-OS-0908": ("nfs-kernel-server", "rpcbind"),
    "SENTRY-OS-0909": ("exim4-base", "postfix", "sendmail-bin"),
    "SENTRY-OS-0910": ("xserver-xorg-core", "xwayland", "gdm3", "lightdm"),
    "SENTRY-OS-0911": ("autofs", "udisks2"),
    "SENTRY-OS-0912": ("avahi-daemon", "cups-daemon", "samba", "squid", "dnsmasq", "bind9"),
    "SENTRY-OS-0913": ("gcc", "g++", "make", "gdb", "strace"),
    "SENTRY-OS-0914": ("sssd-common", "libpam-ccreds", "libpam-krb5", "nscd"),
}
PRESENT = {
    "SENTRY-OS-0401": ("auditd",),
    "SENTRY-OS-0921": ("aide",),
    "SENTRY-OS-0922": ("nftables",),
    "SENTRY-OS-0923": ("apparmor",),
    "SENTRY-OS-0924": ("libpam-pwquality",),
    "SENTRY-OS-0925": ("chrony",),
    "SENTRY-OS-0926": ("openssh-server",),
    "SENTRY-OS-0927": ("openssl-provider-fips",),
    "SENTRY-OS-0928": ("rsyslog", "rsyslog-openssl"),
}


def absent(names: Iterable[str], installed: frozenset[str]) -> Verdict:
    """None of these packages is installed."""
    there = [name for name in names if name in installed]
    return Verdict(
        (Point(f"dpkg --get-selections: {', '.join(names)}", listed(there), "none is installed", not there),)
    )


def present(names: Iterable[str], installed: frozenset[str]) -> Verdict:
    """Each of these packages is installed."""
    missing = [name for name in names if name not in installed]
    found = "installed" if not missing else f"missing: {', '.join(missing)}"
    return Verdict((Point(f"dpkg --get-selections: {', '.join(names)}", found, "installed", not missing),))


def installed(facts: Facts) -> frozenset[str]:
    """The packages that are installed; those of which only settings are left are not."""
    rows = [line.split() for line in facts.lines("packages")]
    return frozenset(row[0].partition(":")[0] for row in rows if row[1:] in (["install"], ["hold"]))


# --- services -------------------------------------------------------------------------------------------------------

RUNNING = {
    "SENTRY-OS-0941": "rsyslog.service",
    "SENTRY-OS-0942": "nftables.service",
    "SENTRY-OS-0943": "ssh.service",
    "SENTRY-OS-0944": "chrony.service",
}
OF_THE_KERNEL = {"SENTRY-OS-0402": "auditd.service", "SENTRY-OS-0945": "apparmor.service"}
CLOSED = {
    "SENTRY-OS-0735": ("ctrl-alt-del.target",),
    "SENTRY-OS-0736": ("debug-shell.service",),
    "SENTRY-OS-0737": ("kdump.service", "kdump-tools.service", "systemd-coredump.socket"),
    "SENTRY-OS-0951": ("autofs.service",),
    "SENTRY-OS-0952": ("bluetooth.service",),
    "SENTRY-OS-0953": ("cron.service", "atd.service", "anacron.timer"),
    "SENTRY-OS-0954": ("avahi-daemon.service", "avahi-daemon.socket", "cups.service", "rpcbind.service", "rpcbind.socket",
                       "systemd-resolved.service", "systemd-timesyncd.service"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Units:
    """What systemd knows: unit -> enabled, masked, ..., and unit -> active, failed, ..."""

    files: Mapping[str, str]
    states: Mapping[str, str]


def units(facts: Facts) -> Units:
    """The units of the machine."""
    files = [line.split() for line in facts.lines("unit_files")]
    states = [line.split() for line in facts.lines("units")]
    return Units(
        {row[0]: row[1] for row in files if len(row) >= 2}, {row[0]: row[2] for row in states if len(row) >= 4}
    )


def running(name: str, known: Units) -> Verdict:
    """It is started with the machine, and it runs."""
    enabled, active = known.files.get(name, "not there"), known.states.get(name, "not there")
    return Verdict(
        (
            Point(f"systemctl list-unit-files: {name}", enabled, "enabled", enabled == "enabled", "configured"),
            Point(f"systemctl list-units: {name}", active, "active", active == "active"),
        )
    )


def of_the_kernel(name: str, known: Units, *, shared: bool) -> Verdict:
    """As `running`; in a container, whose kernel is another's, that it would be started is all that can be seen."""
    verdict = running(name, known)
    return Verdict(verdict.points[:1]) if shared else verdict


def enabled(name: str, known: Units) -> Verdict:
    """It is started with the machine, does its work and ends."""
    said = known.files.get(name, "not there")
    return Verdict((Point(f"systemctl list-unit-files: {name}", said, "enabled", said == "enabled", "configured"),))


def closed(names: Iterable[str], known: Units) -> Verdict:
    """None of them runs, and none can be started: it is masked, or not there."""
    points = []
    for name in names:
        said, state = known.files.get(name, "not there"), known.states.get(name, "inactive")
        met = said in ("masked", "not there") and state != "active"
        points.append(
            Point(
                f"systemctl list-unit-files, list-units: {name}",
                f"{said}, {state}",
                "masked or not there, not active",
                met,
            )
        )
    return Verdict(tuple(points))


# --- where it comes from --------------------------------------------------------------------------------------------

# Debian's release and the last day of its security support (wiki.debian.org/LTS: three years by the security team after the
# release of 2025-08-09, and about two more as LTS).
SUPPORTED = {("debian", "13"): date(2030, 6, 30)}
UNSIGNED = (
    "APT::Get::AllowUnauthenticated",
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowWeakRepositories",
    "Acquire::AllowDowngradeToInsecureRepositories",
)


def unsigned(rows: Iterable[str]) -> Verdict:
    """apt refuses what nobody has signed."""
    values = dict(row.rstrip(";").split(" ", 1) for row in rows if " " in row)
    said = {name: values.get(name, '"0"').strip('"').lower() for name in UNSIGNED}
    allowing = [name for name, value in said.items() if value not in ("0", "false", "no", "off", "without", "disable")]
    return Verdict((Point("apt-config dump: what lets unsigned packages in", listed(allowing), "none", not allowing),))


def superfluous(rows: Iterable[str]) -> Verdict:
    """No package is left that only an older version of another had needed."""
    left = [row.split()[1] for row in rows if row.startswith("Remv ")]
    return Verdict((Point("apt-get --simulate autoremove", listed(left), "none", not left),))


def release(rows: Iterable[str], today: date) -> Verdict:
    """The release still gets security updates."""
    values = {name: value.strip('"') for name, value in words.assignments(rows).items()}
    name, number = values.get("ID", "unknown"), values.get("VERSION_ID", "unknown")
    until = SUPPORTED.get((name, number))
    expected = f"a release with security support, such as {' '.join(next(iter(SUPPORTED)))}"
    return Verdict(
        (
            Point(
                "cat /etc/os-release",
                f"{name} {number}",
                expected if until is None else f"{expected} (until {until})",
                until is not None and today <= until,
            ),
        )
    )


def confined(facts: Facts) -> Verdict:
    """AppArmor is switched on in the kernel."""
    needs_a_kernel(facts, "what confines its programs is")
    found = facts.text("apparmor").strip()
    return Verdict((Point("/sys/module/apparmor/parameters/enabled", found, "Y", found == "Y"),))


def today(facts: Facts) -> date:
    """The machine's own date; that its clock is right is for other rules."""
    try:
        return date.fromisoformat(facts.text("date").strip())
    except ValueError as error:
        raise FactError(f"{facts.command('date')}: {error}") from error


def _absent(names: tuple[str, ...], facts: Facts) -> Verdict:
    return absent(names, installed(facts))


def _present(names: tuple[str, ...], facts: Facts) -> Verdict:
    return present(names, installed(facts))


def _running(name: str, facts: Facts) -> Verdict:
    return running(name, units(facts))


def _of_the_kernel(name: str, facts: Facts) -> Verdict:
    return of_the_kernel(name, units(facts), shared=contained(facts))


def _closed(names: tuple[str, ...], facts: Facts) -> Verdict:
    return closed(names, units(facts))


PROOFS = (
    *(Proof(rule, partial(_absent, names)) for rule, names in ABSENT.items()),
    *(Proof(rule, partial(_present, names)) for rule, names in PRESENT.items()),
    *(Proof(rule, partial(_running, name)) for rule, name in RUNNING.items()),
    *(Proof(rule, partial(_of_the_kernel, name)) for rule, name in OF_THE_KERNEL.items()),
    *(Proof(rule, partial(_closed, names)) for rule, names in CLOSED.items()),
    Proof("SENTRY-OS-0931", lambda facts: unsigned(facts.lines("apt"))),
    Proof("SENTRY-OS-0932", lambda facts: superfluous(facts.lines("superfluous"))),
    Proof("SENTRY-OS-0933", lambda facts: release(facts.lines("release"), today(facts))),
    Proof("SENTRY-OS-0946", confined),
    Proof("SENTRY-OS-0947", lambda facts: enabled("sentry-closed.service", units(facts))),
)
