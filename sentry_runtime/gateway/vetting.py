"""Vets certificates: what `badge` can say of one by itself, and what the agent knows of its revocation; kept for a while.

The agent is asked once for each certificate and worker, and again when its answer has run out or something has changed.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sentry_runtime.certificates import revocation
from sentry_runtime.certificates.certificate import CertificateError
from sentry_runtime.certificates.revocation import Evidence, Standing
from sentry_runtime.control import CertificateStatus
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.badge import Badge, Examiner
from sentry_runtime.gateway.head import Head, HeadError
from sentry_runtime.gateway.identify import DeniedError
from sentry_runtime.settings import Revocation

KEPT = 20_000  # certificates of one worker, and headers that tell of one; about 10 MB
AGAIN_SECONDS = 5.0  # after the agent could not be asked: it is back within a second of a kill

Ask = Callable[[bytes], Awaitable[CertificateStatus]]
Lenient = Callable[[Badge, str], None]
"""Is told of each certificate that passes without a proof, and why there is none."""


@dataclass(frozen=True, slots=True)
class Vetted:
    """What came out: a badge, or why there is none (one word); and until when (seconds since the epoch) that holds."""

    badge: Badge | None
    word: str
    until: float


class Vetting:
    """One per worker. `ask` None: revocation is not checked. `now` gives seconds since the epoch."""

    def __init__(
        self,
        examiner: Examiner,
        rules: Revocation | None,
        ask: Ask,
        now: Callable[[], float],
        lenient: Lenient,
    ) -> None:
        self.header = examiner.header
        self.hidden = frozenset({examiner.header}) - {b""}
        self._examiner = examiner
        self._rules = rules
        self._ask = ask
        self._now = now
        self._lenient = lenient
        self._kept: dict[bytes, Vetted] = {}
        self._before: dict[bytes, Vetted] = {}  # what was kept until the last change
        self._age = 0  # how often everything was forgotten
        self._lost = 0.0  # since when the agent cannot be asked; 0: it can

    def forget(self) -> None:
        """Something that certificates are judged by has changed, or may have. What was known until now stands in only while the
        agent, who would know better, cannot be asked."""
        before = self._before if len(self._before) < KEPT else {}
        self._before, self._kept = {**before, **self._kept}, {}
        self._age += 1

    async def vet(self, der: bytes) -> Vetted:
        """Vet the certificate of a handshake."""
        mark = hashlib.sha256(der).digest()
        found = self._kept.get(mark)
        while found is None or found.until <= self._now():
            age = self._age
            found = await self._vet(der, self._before.get(mark))
            if age == self._age:  # else what was answered is perhaps of before the change
                self._keep(mark, found)
                break
            found = None
        return found

    def presented(self, head: Head) -> Badge:
        """The badge that a front end's header tells of.

        Raises `HeadError` (400) for two of them, `DeniedError` (403) for none and for one that is not taken.
        """
        values = [value for name, value in head.fields if name.lower() == self.header]
        if len(values) > 1:
            raise HeadError(400, "field_doubled")
        if not values or not values[0]:
            raise DeniedError(403, "certificate_missing")
        mark = hashlib.sha256(values[0]).digest()
        found = self._kept.get(mark)
        if found is None or found.until <= self._now():
            found = self._present(values[0])
            self._keep(mark, found)
        if found.badge is None:
            raise DeniedError(403, found.word)
        return found.badge

    def _present(self, value: bytes) -> Vetted:
        now = self._now()
        try:
            badge, ends = self._examiner.presented(value, now)
        except CertificateError as error:
            return Vetted(None, str(error), now + AGAIN_SECONDS)
        return Vetted(badge, "", ends)

    def _keep(self, mark: bytes, found: Vetted) -> None:
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[mark] = found

    async def _vet(self, der: bytes, before: Vetted | None) -> Vetted:
        now = self._now()
        try:
            badge, ends = self._examiner.examine(der, now)
        except CertificateError as error:
            return Vetted(None, str(error), now + AGAIN_SECONDS)
        if self._rules is None:
            return Vetted(badge, "", ends)
        try:
            status = await self._ask(der)
            self._lost = 0.0
        except UndecidedError:
            if before is not None and before.badge is not None and before.until > self._now():
                return Vetted(badge, "", min(before.until, self._now() + AGAIN_SECONDS))
            status = self._unknown(self._rules)
        word = "certificate_revoked" if status.standing == "revoked" else f"revocation_{status.standing}"
        until = min(status.until, ends)
        if not status.passes:
            return Vetted(None, word, until)
        if status.standing != "good":
            self._lenient(badge, word)
        return Vetted(badge, "", until)

    def _unknown(self, rules: Revocation) -> CertificateStatus:
        now = self._now()
        self._lost = self._lost or now
        evidence = Evidence(Standing.UNKNOWN, now + AGAIN_SECONDS, since=self._lost)
        return CertificateStatus(
            standing="unknown", passes=revocation.passes(evidence, rules, now), until=evidence.until
        )
