"""A person at the appliance's CLI over SSH, as the tests play one (paramiko)."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
import pytest

from tests.lab import Lab

WAIT_SECONDS = 90.0  # a commit takes a few seconds on a busy machine; an idle session of one minute must end in it
PROMPT = r"\n([A-Za-z0-9-]+(\(config(-if)?\))?[>#]\s*)+$"  # drawn again once the terminal said where its cursor is
_STYLE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>78]|\][^\x07]*\x07)|\x08")


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


class Terminal:
    """A session with a terminal."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        self._channel = client.invoke_shell("xterm", width=200, height=50)
        self.raw = ""
        self._read = 0

    def send(self, text: str) -> None:
        """Type."""
        self._channel.sendall(text.encode())

    def expect(self, pattern: str) -> str:
        """Wait for `pattern` in what is new on the screen; returns all up to its end, without styling."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            new = _STYLE.sub("", self.raw).replace("\r", "")[self._read :]
            found = re.search(pattern, new)
            if found:
                self._read += found.end()
                return new[: found.end()]
            self._channel.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                got = self._channel.recv(65_536).decode(errors="replace")
            except TimeoutError:
                got = ""
            if not got:
                pytest.fail(f"no {pattern!r} in {new!r}")
            if "\x1b[6n" in got:  # prompt_toolkit asks where the cursor is; a terminal answers
                self._channel.sendall(b"\x1b[1;1R")
            self.raw += got

    def do(self, line: str, prompt: str = PROMPT) -> str:
        """Type a line and wait for the next prompt; returns what was printed between, and the prompt."""
        self.send(f"{line}\r")
        return self.expect(f"(?s){re.escape(line)}.*{prompt}").split(line, 1)[1].strip("\n")

    def answer(self, text: str) -> str:
        """Answer a question that does not echo, and wait for the prompt."""
        self.send(f"{text}\r")
        return self.expect(f"(?s).*{PROMPT}")

    def ended(self) -> bool:
        """Whether the other side hung up; waits for it."""
        self._channel.settimeout(WAIT_SECONDS)
        while self._channel.recv(65_536):
            pass
        return True
