"""Ways past the packet filter and ways to root, on the running appliance: those that are left are listed here."""

import pytest

from tests.lab import Lab

pytestmark = pytest.mark.appliance

LENT = {
    "/usr/bin/ssh-agent",  # its own group only, so that other programs of its owner cannot trace it
    "/usr/bin/su",  # PAM keeps it to root
    "/usr/bin/sudo",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper",  # only the bus may start it
    "/usr/sbin/unix_chkpwd",  # by which PAM checks a password
}


def test_no_other_program_lends_its_owners_rights(lab: Lab) -> None:
    found = lab.root("find", "/usr", "-xdev", "-type", "f", "-perm", "/6000").stdout.split()
    assert set(found) == LENT


def test_sshd_listens_nowhere_but_on_the_network(lab: Lab) -> None:
    """systemd-ssh-generator would add a Unix and a VSOCK socket, which no packet filter sees."""
    sockets = ("sshd-unix-local.socket", "sshd-vsock.socket")
    state = lab.root("systemctl", "show", "--property=LoadState,ActiveState", *sockets).stdout.split()
    assert state == ["LoadState=masked", "ActiveState=inactive"] * 2
    assert "ssh-unix-local" not in lab.root("ss", "--listening", "--unix", "--no-header").stdout
    assert not lab.root("ss", "--listening", "--vsock", "--no-header").stdout
    assert not lab.root("find", "/run/systemd/generator", "-name", "sshd*.socket").stdout


def test_the_packet_filter_is_closed_before_it_is_loaded_and_after_it_is_stopped(lab: Lab) -> None:
    show = lab.root("systemctl", "show", "--property=Before", "--value", "sentry-closed.service").stdout.split()
    assert {"nftables.service", "network-pre.target"} <= set(show)
    assert lab.root("systemctl", "is-enabled", "sentry-closed.service").stdout.strip() == "enabled"
    stop = lab.root("systemctl", "show", "--property=ExecStop", "--value", "nftables.service").stdout
    assert "/usr/lib/sentry/closed.nft" in stop
    assert "flush" not in stop
    lab.root("nft", "--check", "--file", "/usr/lib/sentry/closed.nft")


def test_every_line_of_configd_is_kept_and_logs_turn_by_size(lab: Lab) -> None:
    unit = lab.root("systemctl", "show", "--property=LogRateLimitIntervalUSec,KillMode", "sentry-configd").stdout
    assert set(unit.split()) == {"LogRateLimitIntervalUSec=0", "KillMode=mixed"}
    read = lab.root("logrotate", "--debug", "/etc/logrotate.conf").stderr
    assert "error" not in read.lower()
    for log in ("audit.log", "auth.log", "syslog"):
        assert f"considering log /var/log/{'sentry/' if log == 'audit.log' else ''}{log}" in read
    timer = lab.root("systemctl", "show", "--property=TimersCalendar", "--value", "logrotate.timer").stdout
    assert "*:00/10" in timer
    assert "daily" not in timer
    assert "*-*-* 00:00:00" not in timer


def test_a_log_in_at_the_console_reads_no_file_of_the_person(lab: Lab) -> None:
    rules = lab.root("cat", "/etc/pam.d/login").stdout
    modules = {line.split()[2] for line in rules.splitlines() if line and not line.startswith(("#", "@"))}
    assert not modules & {"pam_motd.so", "pam_mail.so"}
    assert "readenv" not in rules
