"""Several questions to one session of the appliance's command line, which reads them as a script and answers each in JSON."""

import os
import selectors
import subprocess
import time
from collections.abc import Sequence

from stig.errors import FactError
from stig.run import start

ANSWER_BYTES = 16_777_216  # the longest fact is bounded at a quarter of this by the service that reads it
END_SECONDS = 5.0  # for the other side to hang up once it is told to
_LAST = b"\n}\n"  # JSON with indentation: only the last brace stands at the beginning of a line


class EndedError(FactError):
    """The session ended instead of answering; `status` is its exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Conversation:
    """One session, started with `argv`; `FactError` when it cannot be started."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = start(argv)
        self._errors = bytearray()

    def ask(self, line: str, *, seconds: float) -> bytes:
        """The JSON that the command line answers to `line`. `EndedError` with its last words when it refuses, which ends the
        session; `FactError` when it does not answer in time."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe, see `start`
        try:
            self._process.stdin.write(f"{line} | json\n".encode())
        except OSError as error:
            raise self._ended() from error
        try:
            return self._read(time.monotonic() + seconds)
        except TimeoutError as error:
            self._process.kill()
            raise FactError(f"CLI {line!r}: no answer within {seconds:g} s") from error

    def close(self) -> None:
        """Hang up."""
        assert self._process.stdin is not None  # noqa: S101 - as above
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, deadline: float) -> bytes:
        answer = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ, answer)  # type: ignore[arg-type]
            selector.register(self._process.stderr, selectors.EVENT_READ, self._errors)  # type: ignore[arg-type]
            while not answer.endswith(_LAST):
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise TimeoutError
                for key, _events in ready:
                    part = os.read(key.fd, 65_536)
                    if not part:
                        selector.unregister(key.fileobj)
                    key.data.extend(part)
                if len(answer) > ANSWER_BYTES:
                    self._process.kill()
                    raise FactError(f"an answer of more than {ANSWER_BYTES} bytes")
                if not selector.get_map():
                    raise self._ended()
        return bytes(answer)

    def _ended(self) -> EndedError:
        """What it said last, and how it ended."""
        try:
            status = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if self._process.stderr is not None:
            self._errors += self._process.stderr.read() or b""
        told = self._errors.decode("utf-8", "replace").splitlines()
        rows = [row.strip() for row in told if row.strip() and not row.startswith("* ")]
        return EndedError(" ".join(rows) or "the session ended without a word", status)
