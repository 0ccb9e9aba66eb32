"""The worker's two talks with the agent: questions on first contact, and the news of changed entries."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TypeVar

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record

QUESTIONS_AT_ONCE = 256  # per worker; the agent takes 4,096 connections. More first contacts than that are told to wait
RETRY_SECONDS = 0.1  # the agent is back within a second of a kill; the first attempts come quickly
RETRY_SECONDS_MAX = 2.0

log = logging.getLogger(__name__)

Answered = TypeVar("Answered")

_encode = msgspec.json.Encoder().encode
_decode_record = msgspec.json.Decoder(Record).decode
_decode_status = msgspec.json.Decoder(control.CertificateStatus).decode


class UndecidedError(Exception):
    """Nobody could decide about the device now; `reason` is one word for the audit line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Questions:
    """Asks the agent about devices that are not in the list: one question at a time for each key."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._running: dict[DeviceKey, asyncio.Task[Record]] = {}

    async def ask(self, question: control.Ask) -> Record:
        """The record the agent made. Raises `UndecidedError`."""
        task = self._running.get(question.key)
        if task is None:
            if len(self._running) >= QUESTIONS_AT_ONCE:
                raise UndecidedError("busy")
            task = asyncio.get_running_loop().create_task(self._ask(question))
            self._running[question.key] = task
            task.add_done_callback(lambda done: self._finished(question.key, done))
        # Shielded: a device that goes away must not take the answer from the others that wait for it.
        return await asyncio.shield(task)

    def _finished(self, key: DeviceKey, done: asyncio.Task[Record]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # seen: whoever waited has it, and perhaps nobody does any more

    async def _ask(self, question: control.Ask) -> Record:
        return await _answered(self._path, question, self._seconds, _decode_record)


class CertificateQuestions:
    """Asks the agent about certificates: so many at once, the others wait for their turn."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    async def ask(self, der: bytes) -> control.CertificateStatus:
        """What the agent says. Raises `UndecidedError`."""
        async with self._turns:
            return await _answered(self._path, control.CheckCertificate(certificate=der), self._seconds, _decode_status)


async def _answered(
    path: str, question: control.Request, seconds: float, decode: Callable[[msgspec.Raw], Answered]
) -> Answered:
    """The agent's answer to one question. Raises `UndecidedError`."""
    try:
        async with asyncio.timeout(seconds):
            answer = await roundtrip(path, question)
        if answer.error is not None:
            raise UndecidedError(answer.error.kind if answer.error.kind in ("busy", "unavailable") else "agent_error")
        return decode(answer.result)
    except TimeoutError:
        raise UndecidedError("decision_timeout") from None
    except OSError:
        raise UndecidedError("agent_down") from None
    except (msgspec.MsgspecError, ValueError):
        raise UndecidedError("agent_error") from None


async def roundtrip(path: str, request: control.Request) -> control.Answer:
    """The agent's answer to one request. Raises `OSError`, `ValueError` or `msgspec.MsgspecError`."""
    reader, writer = await asyncio.open_unix_connection(path, limit=control.LINE_BYTES)
    try:
        writer.write(_encode(request) + b"\n")
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("closed before it answered")
        return control.decode_answer(line)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Follower:
    """Keeps a `Follow` connection to the agent.

    `on_begin` is called when the agent has begun to tell of changes, `on_change` with the keys of each change,
    `on_certificates` when certificates are to be judged anew, `on_end` when the connection is gone.
    """

    def __init__(
        self,
        path: str,
        *,
        on_begin: Callable[[], None],
        on_change: Callable[[tuple[DeviceKey, ...]], None],
        on_certificates: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._path = path
        self._on_begin = on_begin
        self._on_change = on_change
        self._on_certificates = on_certificates
        self._on_end = on_end

    async def run(self) -> None:
        """Follow for ever, with growing pauses while the agent is away."""
        pause = RETRY_SECONDS
        while True:
            try:
                await self._follow()
                pause = RETRY_SECONDS
            except (OSError, ValueError, msgspec.MsgspecError) as error:  # ValueError: a line beyond the limit
                log.info("not following the agent: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=control.LINE_BYTES)
        try:
            writer.write(_encode(control.Follow()) + b"\n")
            line = await reader.readline()
            if not line:
                raise ConnectionError("closed before it answered")
            answer = control.decode_answer(line)
            if answer.error is not None:
                raise ConnectionError(f"{answer.error.kind}: {answer.error.message}")
            self._on_begin()
            while line := await reader.readline():
                news = control.decode_news(line)
                if isinstance(news, control.Changed):
                    self._on_change(news.keys)
                else:
                    self._on_certificates()
        finally:
            self._on_end()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
