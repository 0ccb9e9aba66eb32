"""Which devices' certificates have been revoked: asked by the gateway, answered from lists and by the authority's responder.

A list that covers the certificate and is in date decides. Where there is none, the responder is asked. A certificate of an
authority that a list names as revoked is revoked with it; that a list vouches for each authority is not asked, since the
site itself has named them.
"""

import asyncio
import random
from collections.abc import Callable

from sentry_runtime.agent.crls import AGAIN_SECONDS, Crls
from sentry_runtime.agent.responder import Responder
from sentry_runtime.certificates import revocation
from sentry_runtime.certificates.authorities import Authorities
from sentry_runtime.certificates.certificate import Certificate, CertificateError, read
from sentry_runtime.certificates.revocation import Evidence, Standing
from sentry_runtime.control import CertificateStatus, RevocationSource
from sentry_runtime.control_server import Refused
from sentry_runtime.settings import Revocation as Rules
from sentry_runtime.uem.trail import Audit

RETRY_SECONDS = 60.0  # after a source could not be read; or `refresh_seconds`, where that is less
PURGE_SECONDS = 8.0  # below the 10 s that whoever asks for it waits
SPREAD = 0.1  # Sentries that started together do not fetch together: each interval is up to a tenth shorter or longer


class Revocation:
    """`now` gives seconds since the epoch; `changed` is called when certificates are to be judged anew."""

    def __init__(
        self,
        rules: Rules,
        authorities: Authorities,
        crls: Crls,
        responder: Responder | None,
        *,
        now: Callable[[], float],
        audit: Audit,
        changed: Callable[[], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._rules = rules
        self._authorities = authorities
        self._crls = crls
        self._responder = responder
        self._now = now
        self._audit = audit
        self._changed = changed
        self._draw = draw
        self._started = now()
        self._round = asyncio.Lock()
        self._purging: asyncio.Task[None] | None = None

    async def check(self, der: bytes) -> CertificateStatus:
        """What is known of this certificate. Raises `Refused`: `invalid` for one that is none of ours, `busy`."""
        try:
            certificate = read(der)
            evidence = await self._evidence(certificate)
        except CertificateError as error:
            raise Refused("invalid", str(error)) from None
        now = self._now()
        passes = revocation.passes(evidence, self._rules, now)
        until = evidence.until
        if passes and evidence.standing is not Standing.GOOD:
            until = min(until, evidence.since + self._rules.lenient_seconds)
        return CertificateStatus(standing=evidence.standing.value, passes=passes, until=until)

    def shown(self) -> list[RevocationSource]:
        """Every list and the responder."""
        rows = list(self._crls.shown())
        if self._responder is not None:
            state = (
                "does not answer" if self._responder.problem else "answers" if len(self._responder) else "not asked yet"
            )
            rows.append(
                RevocationSource(
                    kind="ocsp",
                    place=self._responder.url,
                    state=state,
                    entries=len(self._responder),
                    problem=self._responder.problem,
                )
            )
        return rows

    async def load(self) -> None:
        """What is on the disk, before anybody asks."""
        await self._crls.load()
        if self._responder is not None:
            self._responder.load()

    async def purge(self, by: str) -> None:
        """Forget what was fetched and answered, fetch the lists anew, and have every certificate judged again.

        Returns after `PURGE_SECONDS` at the latest; a server that takes longer is waited for behind its back.
        """
        self._audit("revocation_purged", by=by)
        if self._purging is None or self._purging.done():
            self._purging = asyncio.get_running_loop().create_task(self._purge())
        await asyncio.wait({self._purging}, timeout=PURGE_SECONDS)

    async def _purge(self) -> None:
        async with self._round:
            if self._responder is not None:
                self._responder.forget()
            await self._crls.refresh(anew=True)
        self._changed()

    async def run(self) -> None:
        """Fetch round after round, until cancelled."""
        while True:
            async with self._round:
                changed = await self._crls.refresh()
            if changed:
                self._changed()
            await asyncio.sleep(self._wait())

    def close(self) -> None:
        """Keep what the responder has said over a restart."""
        if self._responder is not None:
            try:
                self._responder.save()
            except OSError as error:
                self._audit("ocsp_not_kept", detail=str(error))

    def _wait(self) -> float:
        seconds = self._rules.refresh_seconds
        if not self._crls.well:
            seconds = min(seconds, RETRY_SECONDS)
        return seconds * (1 - SPREAD + 2 * SPREAD * self._draw())

    async def _evidence(self, certificate: Certificate) -> Evidence:
        issuer = self._authorities.issuer_of(certificate)
        for authority, signer in self._authorities.above(issuer):
            above = self._crls.evidence(authority, signer)
            if above is not None and above.standing is Standing.REVOKED:
                return above
        found = [one for one in (self._crls.evidence(certificate.parsed, issuer),) if one is not None]
        decided = any(one.standing in (Standing.GOOD, Standing.REVOKED) for one in found)
        if self._responder is not None and not decided:
            found.append(await self._responder.evidence(certificate.parsed, issuer))
        worst = revocation.worst(found)
        return worst or Evidence(Standing.UNKNOWN, self._now() + AGAIN_SECONDS, since=self._started)
