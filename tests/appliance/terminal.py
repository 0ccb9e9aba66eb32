"""A person at the appliance's CLI over SSH, as the tests play one (paramiko)."""

import codecs
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
import pyte
import pytest

from tests.lab import Lab

WAIT_SECONDS = 90.0  # a commit takes a few seconds on a busy machine; an idle session of one minute must end in it
PROMPT = r"(?:\A|\n)[A-Za-z0-9-]+(\(config(-if)?\))?[>#]\Z"  # alone on the last line
COLUMNS, ROWS = 250, 50  # no line of a test is longer, so none is folded
SCROLLED_ROWS = 10_000  # that a test may still look at


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


class _Screen(pyte.HistoryScreen):
    """The screen of a real terminal emulator; what it is asked (where is the cursor?) it answers through `channel`."""

    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__(COLUMNS, ROWS, history=SCROLLED_ROWS, ratio=0.5)
        self._channel = channel

    def write_process_input(self, data: str) -> None:
        self._channel.sendall(data.encode())

    def transcript(self) -> list[str]:
        """All lines from the first on, those that have scrolled away too, up to the last one with something on it."""
        scrolled = ["".join(row[column].data for column in range(COLUMNS)).rstrip() for row in self.history.top]
        shown = "\n".join(row.rstrip() for row in self.display).rstrip("\n")
        return [*scrolled, *shown.split("\n")]


class Terminal:
    """A session with a terminal, read as a person reads it: by what stands on the screen, however it was drawn."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        self._channel = client.invoke_shell("xterm", width=COLUMNS, height=ROWS)
        self._screen = _Screen(self._channel)
        self._stream = pyte.Stream(self._screen)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line = 0  # the one on which the last match ended: what comes next stands there or below

    def send(self, text: str) -> None:
        """Type."""
        self._channel.sendall(text.encode())

    def expect(self, pattern: str) -> str:
        """Wait for `pattern` on the screen, from the line on which the last match ended; returns all up to its end."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            new = "\n".join(self._screen.transcript()[self._line :])
            found = re.search(pattern, new)
            if found:
                self._line += new[: found.end()].count("\n")
                return new[: found.end()]
            self._channel.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                got = self._channel.recv(65_536)
            except TimeoutError:
                got = b""
            if not got:
                pytest.fail(f"no {pattern!r} in {new!r}")
            self._stream.feed(self._decode(got))

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
