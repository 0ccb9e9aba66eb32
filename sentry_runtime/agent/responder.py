"""The authority's OCSP responder, asked about one certificate after the other, and its answers for as long as they hold.

An answer is asked for anew after `refresh_seconds`, so that a revocation is noticed; it is proof until it ends. While the
responder does not answer, the last answer stands until its end, and what has none is unknown.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from sentry_runtime.agent.fetch import FetchError
from sentry_runtime.certificates import ocsp
from sentry_runtime.certificates.ocsp import RESPONSE_BYTES, Answer, OcspError
from sentry_runtime.certificates.revocation import Evidence, Standing
from sentry_runtime.control_server import Refused
from sentry_runtime.settings import Revocation

ANSWERS = 100_000  # certificates; a fleet's, with those of leavers; about 40 MB
QUESTIONS = (
    1_000  # different certificates that wait at one time; at 16 at once and 10 ms each they are through in a second
)
REST_SECONDS = 10.0  # after no answer: whoever comes meanwhile is told at once, and does not wait for another silence
FILE_BYTES = 67_108_864  # of the answers on the disk: ANSWERS of them

Key = tuple[str, int]
"""The SHA-256 of the authority's certificate, and a serial number."""


class Asks(Protocol):
    """The part of the fetcher that this needs."""

    async def ask(self, url: str, question: bytes, bound: int) -> bytes:
        """See `Fetcher.ask`."""
        ...


class _Known(msgspec.Struct, frozen=True):
    """The last answer about a certificate, when it came, and since when it has been "unknown"."""

    status: Literal["good", "revoked", "unknown"]
    made: float
    ends: float | None
    asked: float
    since: float = 0.0

    def proof_ends(self, refresh: float) -> float:
        """Until when it proves something; one without an end of its own until it is asked for again (RFC 6960 4.2.2.1)."""
        return self.asked + refresh if self.ends is None else self.ends


class _Row(msgspec.Struct, frozen=True):
    """One answer on the disk; the serial number in hex, since JSON's numbers are too small for it."""

    issuer: str
    serial: str
    known: _Known


class Responder:
    """`now` gives seconds since the epoch; `path` is where the answers are kept over a restart."""

    def __init__(self, url: str, rules: Revocation, asks: Asks, path: Path, *, now: Callable[[], float]) -> None:
        self.url = url
        self.problem = ""
        """Why the last question got no answer that proves anything; "" when it did."""
        self._rules = rules
        self._asks = asks
        self._path = path
        self._now = now
        self._answers: OrderedDict[Key, _Known] = OrderedDict()
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._silent_since = 0.0  # 0: it has answered the last time, or was not asked yet
        self._rests_until = 0.0

    def __len__(self) -> int:
        return len(self._answers)

    async def evidence(self, certificate: x509.Certificate, issuer: x509.Certificate) -> Evidence:
        """What is known of a certificate; asks where that is nothing, or not of now. Raises `Refused` (`busy`)."""
        key = (issuer.fingerprint(hashes.SHA256()).hex(), certificate.serial_number)
        known = self._answers.get(key)
        now = self._now()
        fresh = known is not None and now < known.asked + self._rules.refresh_seconds and known.status != "unknown"
        if not (fresh and known is not None and now < known.proof_ends(self._rules.refresh_seconds)):
            await self._renew(key, certificate, issuer)
        return self._evidence(self._answers.get(key))

    def forget(self) -> None:
        """Know no answer any more."""
        self._answers.clear()
        self._rests_until = 0.0
        self._path.unlink(missing_ok=True)

    def load(self) -> None:
        """Take the answers from before a restart. A file that cannot be read is as good as none."""
        try:
            if self._path.stat().st_size > FILE_BYTES:
                return
            rows = msgspec.json.decode(self._path.read_bytes(), type=list[_Row])
            self._answers = OrderedDict(((row.issuer, int(row.serial, 16)), row.known) for row in rows[-ANSWERS:])
        except (OSError, msgspec.MsgspecError, ValueError):
            return

    def save(self) -> None:
        """Keep the answers over a restart. Raises `OSError`."""
        rows = [_Row(issuer, f"{serial:x}", known) for (issuer, serial), known in self._answers.items()]
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(rows))
        new.replace(self._path)

    async def _renew(self, key: Key, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        task = self._running.get(key)
        if task is None:
            if self._now() < self._rests_until:
                return
            if len(self._running) >= QUESTIONS:
                raise Refused("busy", f"{QUESTIONS} certificates are being asked about, more are not taken")
            task = asyncio.get_running_loop().create_task(self._ask(key, certificate, issuer))
            self._running[key] = task
            task.add_done_callback(lambda _done: self._running.pop(key))
        await asyncio.shield(task)

    async def _ask(self, key: Key, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        question = ocsp.question(certificate, issuer, os.urandom(ocsp.NONCE_BYTES))
        try:
            data = await self._asks.ask(self.url, question.data, RESPONSE_BYTES)
            answer = ocsp.read(data, question, self._now())
        except (FetchError, OcspError) as error:
            now = self._now()
            self.problem = str(error)
            self._silent_since = self._silent_since or now
            self._rests_until = now + REST_SECONDS
            return
        self.problem, self._silent_since, self._rests_until = "", 0.0, 0.0
        self._note(key, answer)

    def _note(self, key: Key, answer: Answer) -> None:
        now, before = self._now(), self._answers.pop(key, None)
        since = 0.0
        if answer.status == "unknown":
            since = before.since if before is not None and before.status == "unknown" else now
        self._answers[key] = _Known(answer.status, answer.made, answer.ends, now, since)
        if len(self._answers) > ANSWERS:
            self._answers.popitem(last=False)

    def _evidence(self, known: _Known | None) -> Evidence:
        now, refresh = self._now(), self._rules.refresh_seconds
        soon = now + REST_SECONDS
        if known is None:
            return Evidence(Standing.UNKNOWN, soon, since=self._silent_since or now)
        if known.status == "unknown":
            return Evidence(Standing.UNKNOWN, soon, since=known.since)
        again = max(known.asked + refresh, soon)
        if known.status == "revoked":
            return Evidence(Standing.REVOKED, again)
        ends = known.proof_ends(refresh)
        if ends > now:
            return Evidence(Standing.GOOD, min(again, ends))
        return Evidence(Standing.STALE, soon, since=ends)
