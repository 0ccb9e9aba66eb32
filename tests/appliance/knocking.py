"""Log-ins as strangers and administrators try them: by password over SSH from any address, and at the console."""

import os
import pty
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import paramiko

from images import guest as guests
from images.lab.zones import GUEST, MANAGEMENT
from images.paths import Layout
from images.run import run
from tests.lab import Lab
from tests.screen import Screen, receive_within

SECONDS = 60.0  # a refusal takes seconds by itself, on a busy machine more
HERE = "10.98.2.1"  # the host's own address in the management zone
ELSEWHERE = "10.98.2.77"  # in the management networks, and nobody's


def knock(lab: Lab, password: str, *, source: str = HERE, user: str = "") -> bool:
    """Whether SSH lets somebody in by this password from this address of the host. Where sshd takes no connection from there
    for a while (PerSourcePenalties, sshd_config(5)), it is tried again."""
    return guests.wait_for(lambda: _knock(lab, password, source, user or lab.ssh.user), "sshd to talk to us") == "in"


def _knock(lab: Lab, password: str, source: str, user: str) -> str:
    """`in`, `refused`, or nothing where sshd did not ask for the password."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(lab.known_hosts))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    with socket.create_connection((lab.address, lab.ssh.port), SECONDS, source_address=(source, 0)) as way:
        try:
            client.connect(
                lab.address,
                port=lab.ssh.port,
                username=user,
                password=password,
                sock=way,
                look_for_keys=False,
                allow_agent=False,
                auth_timeout=SECONDS,
                banner_timeout=SECONDS,
            )
        except paramiko.AuthenticationException:
            return "refused"
        except (paramiko.SSHException, EOFError, ConnectionError):
            return ""
        finally:
            client.close()
    return "in"


def calm(lab: Lab) -> None:
    """Wait until sshd takes connections from here again, whoever failed before."""
    guests.wait_for(lambda: lab.cli("show clock", check=False).code == 0 or None, "sshd to take connections from here")


@contextmanager
def second_address() -> Iterator[str]:
    """The host has another address in the management zone meanwhile."""
    interface = MANAGEMENT.link.host_interface
    run(["ip", "address", "replace", f"{ELSEWHERE}/32", "dev", interface])
    try:
        yield ELSEWHERE
    finally:
        run(["ip", "address", "delete", f"{ELSEWHERE}/32", "dev", interface])


RELAY = """
import fcntl, os, pty, select, sys, termios, time, tty
tty.setraw(0)
master, slave = pty.openpty()
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(slave, number)
    os.closerange(3, 256)
    os.execve("/bin/login", ["login"], {"TERM": "xterm", "PATH": "/usr/bin:/bin"})
os.close(slave)
while os.waitpid(child, os.WNOHANG)[0] == 0:
    for ready in select.select([0, master], [], [], 0.2)[0]:
        try:
            data = os.read(ready, 4096)
        except OSError:
            time.sleep(0.05)
            continue
        if ready == 0 and not data:
            os.kill(child, 9)
        os.write(master if ready == 0 else 1, data)
"""
"""Runs in the guest, whose terminals are not the host's: gives login(1) one. login hangs its terminal up and opens it again."""


class Console(Screen):
    """login(1) at a terminal of the guest, as agetty would start it."""

    def __init__(self) -> None:
        guest = guests.find(GUEST, Layout())
        assert guest is not None
        argv = ["nsenter", "-t", str(guest.leader), "-a", "--", "python3", "-I", "-c", RELAY]
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(argv[0], argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "xterm"})  # noqa: S606 - no shell is wanted
        super().__init__(lambda data: os.write(self._fd, data), partial(receive_within, self._fd), SECONDS)

    def log_in(self, user: str, password: str) -> bool:
        """Answer the two questions; whether the CLI's prompt came. Where it is locked, no password is asked for."""
        self.expect(r"login: ?\Z")
        self.send(f"{user}\r")
        if self.expect(r"Password: ?\Z|Login incorrect").endswith("incorrect"):
            return False
        self.send(f"{password}\r")
        return self.expect(r"(?s)Login incorrect|Maximum number|[A-Za-z0-9-]+>\s*\Z").endswith((">", "> "))

    def close(self) -> None:
        """Hang up."""
        os.close(self._fd)
        os.waitpid(self._pid, 0)


@contextmanager
def console() -> Iterator[Console]:
    """Somebody at the console."""
    opened = Console()
    try:
        yield opened
    finally:
        opened.close()


def forget(lab: Lab) -> None:
    """As if nobody had failed to log in."""
    calm(lab)
    lab.root("find", "/run/sentry-tally", "-type", "f", "-delete")
