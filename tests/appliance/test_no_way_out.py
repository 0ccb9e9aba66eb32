"""No line, key or request of an administrator leads from the CLI to a Unix shell: every program that starts is watched."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.appliance.terminal import Terminal, connected
from tests.appliance.watching import main_pid, watched
from tests.lab import Lab
from tests.screen import PROMPT

pytestmark = pytest.mark.appliance

CANARY = "/tmp/sentry-was-here"  # what a way out would make
SSHD = {
    "/usr/sbin/sshd",
    "/usr/lib/openssh/sshd-session",
    "/usr/lib/openssh/sshd-auth",
    "/usr/lib/sentry/bin/sentry-cli",
    "/usr/bin/python3",  # its first line
    "/usr/sbin/unix_chkpwd",  # PAM asks whether the account has expired
}
"""All that sshd starts when an administrator comes in."""
CONFIGD = {
    "df",  # what the alerts ask every minute: how full the disks are
    "install",  # the hourly look at the appliance's own certificates, and a commit's
    "stat",
    "ping",
    "getent",
    "systemctl",
    "journalctl",
    "ip",
    "nft",
    "ss",
    "openssl",
    "chronyc",
    "sshd",
    "hostname",
    "pwscore",
}
"""What configd starts for what was typed here: programs that the code names, found in root's fixed PATH."""

TOUCH = f"touch {CANARY}"
LINES = (
    TOUCH, "sh", "bash", "/bin/sh", "/bin/bash -i", "python3", "exec sh", "!sh", "!!", "!id", ":!sh", "\\!sh", "~!", "~C",
    "~.", "su -", "sudo -s", f"sudo {TOUCH}", "vi", "vim -c ':!sh'", "less /etc/passwd", "more", "man show", "ed", "emacs",
    "top", "awk 'BEGIN{system(\"sh\")}'", f"show version; {TOUCH}", f"show version && {TOUCH}", f"show version || {TOUCH}",
    f"show version & {TOUCH}", f"show version | {TOUCH}", "show version | sh", "show version | bash -c id",
    "show version | include $(sh)", f"show version | include `{TOUCH}`", f"show version | include x; {TOUCH}",
    f"show version > {CANARY}", f"show version >> {CANARY}", f"show version | tee {CANARY}",
    f"show version | append {CANARY}", f"show version | redirect {CANARY}", "show version < /etc/shadow", f"$({TOUCH})",
    f"`{TOUCH}`", f"show $({TOUCH})", f"${{IFS}}{TOUCH}", f"show version\n{TOUCH}", f"show version\r{TOUCH}",
    f"show version\x00{TOUCH}", f"\x1b[200~{TOUCH}\r\x1b[201~", "do sh", f"do {TOUCH}", "no sh", "debug shell", "system",
    "run shell", "start shell", "request shell", "enable shell", "tclsh", "guestshell", "file show /etc/shadow",
    "copy running-config /etc/passwd", "more /etc/shadow", "dir /", "cd /", "ls", "cat /etc/shadow", "source /etc/passwd",
    f"ping 127.0.0.1;{TOUCH}", f"ping $({TOUCH})", f"ping `{TOUCH}`", "ping -h", "ping -- -h", "ping -f",
    "ping 127.0.0.1 -c 100000", f"ping '|{TOUCH}'", f'ping "127.0.0.1; {TOUCH}"', f'ping "127.0.0.1\\n{TOUCH}"',
    "ping 127.0.0.1|sh", "ping ../../bin/sh", "ping /bin/sh", "ping 127.0.0.1", "ping ::1", f"host $({TOUCH})", "host -- -h",
    "host -s files", f"host localhost;{TOUCH}", "host localhost", f'host "a\\n{TOUCH}"', "terminal length 0; sh",
    "terminal length -1", "terminal editor vi", "terminal shell", f"timeout 1;{TOUCH}", "show log ../../../etc/shadow",
    "show log gateway; sh", "show sentry device ../../etc/passwd", f"show sentry device $({TOUCH})",
    f"show sentry explain A $({TOUCH})", f"show sentry explain `{TOUCH}` anna from 192.0.2.1;sh", "show FIPS; sh",
    "show banner | cat /etc/shadow", "enable; sh", "scp -f /etc/shadow", "scp -t /tmp", "rsync --server . /",
    "/usr/lib/openssh/sftp-server", "internal-sftp", "git-shell", "rbash", "env", "env -i sh", "export PATH=/tmp",
    "PATH=/tmp show version", "LD_PRELOAD=/tmp/x.so show version", "PYTHONSTARTUP=/tmp/x show version",
    "import os; os.system('sh')", "__import__('os').system('sh')", "{{ 7*7 }}", "%s%n%x", "{0.__class__}", "\\x41",
    "\u202eshow version", "\uff53\uff48", '"', "'", "\\", '"\\', "|", "| |", "show version | json | sh", "show version |",
    "?" * 40, "a" * 20_000, "show " * 2_000, "\x03\x04\x1a\x1c",
)  # fmt: skip
CONFIGURING = (
    f'interface mgmt0\ndescription "$({TOUCH})"\nend', f'interface mgmt0\ndescription "`{TOUCH}`; {TOUCH}"\nend',
    "interface ../../etc/passwd", "interface mgmt0;sh", f"hostname $({TOUCH})", "hostname ../x.y",
    f"ntp servers 192.0.2.1;{TOUCH}", f"ntp servers $({TOUCH})", f'ntp servers "192.0.2.1\\n!{TOUCH}"',
    f"users accounts $({TOUCH}) role operator", "users accounts ../../etc role operator",
    "users accounts root role administrator", f'users accounts admin full_name "$({TOUCH})"',
    f'users accounts admin ssh_keys "command=\\"{TOUCH}\\" ecdsa-sha2-nistp256 AAAA"',
    f'users accounts admin ssh_keys "ecdsa-sha2-nistp256 AAAA\\n{TOUCH}"', f'banner text "$({TOUCH})"',
    f'banner text "\\\\{TOUCH}"', f"dns search $({TOUCH})", f"dns static_hosts a.b;{TOUCH} 192.0.2.1", "ssh port 22",
    f'ssh ForceCommand "{TOUCH}"', f"cli shell {TOUCH}", f"commit comment $({TOUCH})", f'commit comment "`{TOUCH}`"',
    f"rollback 1;{TOUCH}", "rollback ../1", f"check; {TOUCH}", f"diff | {TOUCH}", "do show version | sh", f"do {TOUCH}",
    "discard",
)  # fmt: skip
KEYS = (
    "\x18\x05",
    "\x18e",
    "\x1b!",
    "\x1be",
    "\x1bv",
    "\x1a",
    "\x1c",
    "\x03",
    "v",
    "!",
    "\x1b:!sh\r",
    "\x0f",
    "\x11",
    "\x16\x03",
    "\x1b[24~",
    "\x1bOP",
    "\x00",
)
"""Keys that start an editor, run a command or suspend the program elsewhere."""


def said(client: paramiko.SSHClient, line: str) -> int:
    """One line as an SSH command; its exit status."""
    _stdin, out, _err = client.exec_command(line, timeout=60)
    out.read()
    return out.channel.recv_exit_status()


def hung_up_on(lab: Lab, line: str) -> bool:
    """Whether sshd ends the connection of who sends this line, before anything starts (RFC 4251 5: no text holds a NUL)."""
    with connected(lab) as client:
        try:
            said(client, line)
        except EOFError:
            return True
    return False


def requests(client: paramiko.SSHClient) -> None:
    """What a client may ask of a session beside a command: each is refused or does nothing."""
    transport = client.get_transport()
    assert transport is not None
    for name in ("sftp", "netconf", "shell", "../bin/sh", "cli; sh"):
        channel = transport.open_session(timeout=60)
        with contextlib.suppress(paramiko.SSHException, EOFError):
            channel.invoke_subsystem(name)
            pytest.fail(f"a subsystem {name}")
    for place in (("127.0.0.1", 22), ("127.0.0.1", 9443), ("10.98.3.10", 443)):
        with pytest.raises(paramiko.ChannelException):
            transport.open_channel("direct-tcpip", place, ("127.0.0.1", 1), timeout=60)
    channel = transport.open_session(timeout=60)
    channel.update_environment(
        {"LD_PRELOAD": "/tmp/x.so", "PYTHONPATH": "/tmp", "PAGER": TOUCH, "EDITOR": TOUCH, "BASH_ENV": "/tmp/x"}
    )
    channel.get_pty(term=f"xterm;{TOUCH}")
    channel.exec_command("show version")
    assert b"Sentry" in channel.makefile("rb").read()


def test_the_watch_sees_what_starts(lab: Lab, tmp_path: Path) -> None:
    """So that the next test means something: the automation account has a shell and sudo."""
    with watched([main_pid(lab, "ssh.service")], tmp_path / "trace") as programs:
        lab.root("true")
    assert {"/usr/bin/sudo", "/usr/lib/openssh/sshd-session"} <= programs.paths
    assert any(path.endswith(("/bash", "/sh")) for path in programs.paths)


@pytest.fixture
def restored(lab: Lab) -> Iterator[None]:
    """A description may hold any words, and one of the lines commits it: the revision from before runs again afterwards."""
    said = lab.cli("enable", lab.enable_secret, "show revisions | json").stdout
    number = next(row["revision"] for row in json.loads(said)["rows"] if row["current"] == "*")
    yield
    lab.cli("enable", lab.enable_secret, "configure terminal", f"rollback {number}")


@pytest.mark.slow  # four minutes: a CLI for each line, each system call of it looked at
def test_nothing_that_is_typed_starts_anything_but_the_cli(lab: Lab, tmp_path: Path, restored: None) -> None:
    sshd, configd = main_pid(lab, "ssh.service"), main_pid(lab, "sentry-configd.service")
    lab.root("rm", "-f", CANARY)
    statuses = []
    with watched([sshd], tmp_path / "sshd") as from_sshd, watched([configd], tmp_path / "configd") as from_configd:
        with connected(lab) as client:
            statuses += [said(client, line) for line in LINES if "\0" not in line]
            requests(client)
        assert all(hung_up_on(lab, line) for line in LINES if "\0" in line)
        script = "\n".join(("terminal length 0", *(line.replace("\n", " ") for line in LINES[:40])))
        lab.cli(*script.splitlines(), check=False)
        with connected(lab) as client:
            terminal = Terminal(client)
            terminal.expect(PROMPT)
            for keys in KEYS:
                terminal.send(f"{keys}\x03")
            terminal.send("show version\r")
            terminal.expect(rf"(?s)OpenSSL.*{PROMPT}")
            for line in LINES:
                if line.isprintable() and len(line) < 200:
                    terminal.send(f"{line}\x15\x03")  # typed, with help where a `?` is in it, and given up
            terminal.send("enable\r")
            terminal.expect(r"secret:\s*\Z")
            terminal.answer(lab.enable_secret)
            terminal.do("conf t")
            for lines in CONFIGURING:
                for line in lines.split("\n"):
                    terminal.send(f"{line}\r")
                    terminal.send("no\r\x03")  # to whatever it asks
            terminal.send("\x03discard\r")
            terminal.send("do show clock\r")
            terminal.expect(rf"(?s)synchron.*{PROMPT}")
    assert statuses.count(0) < 20  # what is a command, is one: ping, host, show version with a question mark
    assert "/usr/lib/sentry/bin/sentry-cli" in from_sshd.paths
    assert len(from_sshd.started) >= len(statuses)
    assert from_sshd.paths <= SSHD, from_sshd.paths - SSHD
    programs = {Path(path).name for path in from_configd.paths}
    assert "ping" in programs
    assert programs <= CONFIGD, programs - CONFIGD
    for _path, words in from_configd.started:
        assert not re.search(r"touch|[;|`$]", words), words
    assert lab.root("ls", CANARY, check=False).code != 0
