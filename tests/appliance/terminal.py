"""A person at the appliance's CLI over SSH, as the tests play one (paramiko)."""

from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from tests.lab import Lab
from tests.screen import COLUMNS, ROWS, Screen

WAIT_SECONDS = 90.0  # a commit takes a few seconds on a busy machine; an idle session of one minute must end in it


@contextmanager
def connected(lab: Lab) -> Iterator[paramiko.SSHClient]:
    """An SSH connection of the administrator; the host key is checked."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(lab.known_hosts))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(
        lab.address,
        port=lab.ssh.port,
        username=lab.ssh.user,
        key_filename=str(lab.ssh.key),
        look_for_keys=False,
        allow_agent=False,
        timeout=WAIT_SECONDS,
    )
    try:
        yield client
    finally:
        client.close()


class Terminal(Screen):
    """A session with a terminal."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        self._channel = client.invoke_shell("xterm", width=COLUMNS, height=ROWS)
        super().__init__(self._channel.sendall, self._receive_within, WAIT_SECONDS)

    def _receive_within(self, seconds: float) -> bytes:
        self._channel.settimeout(seconds)
        return self._channel.recv(65_536)

    def ended(self) -> bool:
        """Whether the other side hung up; waits for it."""
        self.drained()
        return True
