"""A terminal as a person sees it: what stands on the screen of an emulator, however the program has drawn it."""

import codecs
import os
import re
import select
import time
from collections.abc import Callable

import pyte
import pytest

ROWS, COLUMNS = 50, 250  # no line of a test is longer, so none is folded
SCROLLED_ROWS = 10_000  # that a test may still look at
PROMPT = r"(?:\A|\n)[A-Za-z0-9-]+(?:\(config(?:-if)?\))?[>#]\Z"  # alone on the last line

Send = Callable[[bytes], object]
Receive = Callable[[float], bytes]


def receive_within(terminal: int, seconds: float) -> bytes:
    """What comes from a terminal's other side, as `Screen` wants it."""
    if not select.select([terminal], [], [], seconds)[0]:
        raise TimeoutError
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""  # the other side is gone


class _Emulator(pyte.HistoryScreen):
    """What it is asked by the program (where is the cursor?) it answers by `send`."""

    def __init__(self, send: Send) -> None:
        super().__init__(COLUMNS, ROWS, history=SCROLLED_ROWS, ratio=0.5)
        self._send = send

    def write_process_input(self, data: str) -> None:
        self._send(data.encode())

    def transcript(self) -> list[str]:
        """All lines from the first on, those that have scrolled away too, up to the last one with something on it."""
        scrolled = ["".join(row[column].data for column in range(COLUMNS)).rstrip() for row in self.history.top]
        shown = "\n".join(row.rstrip() for row in self.display).rstrip("\n")
        return [*scrolled, *shown.split("\n")]


class Screen:
    """Types and reads. `receive` waits at most so many seconds for output: b"" at the end, `TimeoutError` when none came."""

    def __init__(self, send: Send, receive: Receive, patience: float) -> None:
        self.raw = ""
        """Everything the program has written, as it was written."""
        self._send = send
        self._receive = receive
        self._patience = patience
        self._emulator = _Emulator(send)
        self._stream = pyte.Stream(self._emulator)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line = 0  # the one on which the last match ended: what comes next stands there or below

    def send(self, text: str) -> None:
        """Type."""
        self._send(text.encode())

    def expect(self, pattern: str) -> str:
        """Wait for `pattern` on the screen, from the line on which the last match ended; returns all up to its end."""
        deadline = time.monotonic() + self._patience
        while True:
            new = "\n".join(self._emulator.transcript()[self._line :])
            found = re.search(pattern, new)
            if found:
                self._line += new[: found.end()].count("\n")
                return new[: found.end()]
            if not self._more(deadline):
                pytest.fail(f"no {pattern!r} in {new!r}")

    def do(self, line: str, prompt: str = PROMPT) -> str:
        """Type a line and wait for the next prompt; returns what was printed between, and the prompt."""
        self.send(f"{line}\r")
        return self.expect(f"(?s){re.escape(line)}.*{prompt}").split(line, 1)[1].strip("\n")

    def answer(self, text: str, *, shown: bool = False) -> str:
        """Answer a question and wait for the prompt; `shown`: the answer is echoed."""
        self.send(f"{text}\r")
        return self.expect(f"(?s){re.escape(text) if shown else ''}.*{PROMPT}")

    def drained(self) -> None:
        """Read until the program has ended."""
        deadline = time.monotonic() + self._patience
        while self._more(deadline):
            pass
        if time.monotonic() > deadline:
            pytest.fail(f"it did not end; the last lines: {self._emulator.transcript()[-5:]!r}")

    def _more(self, deadline: float) -> bool:
        try:
            got = self._receive(max(0.1, deadline - time.monotonic()))
        except TimeoutError:
            return False
        text = self._decode(got)
        self.raw += text
        self._stream.feed(text)
        return bool(got)
