"""Enrolment: who gets a certificate of the UEM's authority, and whose counts. The rows are in `enrolments`; what counts now is
kept in memory too, since it is looked at with each request."""

import secrets
from collections.abc import Callable
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from sqlalchemy.orm import Session

from sentry_runtime.settings import EnrolmentServer, SentryPeer
from sentry_runtime.uem.enrolment import Enrol, Enrolled
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server import authority, enrolments, peers
from sentry_runtime.uem_server.authority import Authority
from sentry_runtime.uem_server.enrolments import Badge
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.resources import CertificateEntry, EnrolmentEntry, OpenedEnrolment, OpenEnrolment
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

TOKEN_BYTES = 32
HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
PARSED = 256  # certificates: each Sentry has one or two

_Result = TypeVar("_Result")


class Enrolment:
    """`load` before the first request. `now` gives seconds since the epoch, `draw` a new token."""

    def __init__(
        self,
        worker: Worker,
        signer: Authority,
        settings: EnrolmentServer,
        audit: Audit,
        *,
        now: Callable[[], float],
        draw: Callable[[], str] = lambda: secrets.token_urlsafe(TOKEN_BYTES),
    ) -> None:
        self._worker = worker
        self._signer = signer
        self._settings = settings
        self._audit = audit
        self._now = now
        self._draw = draw
        self._live: dict[str, Badge] = {}
        self._ours: dict[bytes, str] = {}
        self._foreign: set[bytes] = set()

    async def load(self) -> None:
        """Know what counts as it is in the database now. Raises `DatabaseError`, `OverloadedError`."""
        self._live = await self._worker.call(lambda registry: registry.look(enrolments.live))

    # --- callers ---

    def is_ours(self, certificate: bytes) -> bool:
        """Whether our authority has signed this certificate (DER). What its subject says then means nothing."""
        return self._fingerprint(certificate) is not None

    def sentry_of(self, certificate: bytes) -> str | None:
        """Whose this certificate of ours is; None: it is revoked, has ended, or is in no row."""
        badge = self._live.get(self._fingerprint(certificate) or "")
        return None if badge is None or badge.ends <= self._now() else badge.sentry

    async def called(self, certificate: bytes) -> None:
        """Its Sentry has called with it, and so has it on its disk: the one before it ends soon."""
        fingerprint = self._fingerprint(certificate) or ""
        badge, now = self._live.get(fingerprint), int(self._now())
        if badge is None or badge.taken:
            return
        try:
            await self._change(lambda _registry, session: enrolments.take(session, fingerprint, now))
        except (OverloadedError, DatabaseError) as error:  # the next call is another chance
            self._audit("uem_failed", detail=str(error))

    # --- certificates ---

    async def enrol(self, asked: Enrol, source: str) -> Enrolled:
        """The Sentry's first certificate; those that it had before count no more. `source`: from where it came.

        Raises `TokenError`, `CsrError`, `DatabaseError`, `OverloadedError`; then the token is as good as it was.
        """
        now = int(self._now())

        def job(_registry: Registry, session: Session) -> x509.Certificate:
            enrolments.redeem(session, asked.sentry, asked.token, now)
            if asked.sentry not in {peer.name for peer in peers.listed(session)}:
                raise enrolments.TokenError("there is no such Sentry any more")
            enrolments.revoke_certificates(session, asked.sentry, now)
            return self._issue(session, asked.sentry, asked.csr, now)

        return await self._issued("uem_enrolled", asked.sentry, source, job)

    async def renew(self, certificate: bytes, csr: str, source: str) -> Enrolled:
        """The next certificate of the Sentry whose certificate this is; the old one counts until the new one is used. Raises
        `TokenError` when it has been revoked meanwhile, and otherwise like `enrol`."""
        now, fingerprint = int(self._now()), self._fingerprint(certificate) or ""
        badge = self._live.get(fingerprint)
        if badge is None:
            raise enrolments.TokenError("the certificate does not count")
        sentry = badge.sentry

        def job(_registry: Registry, session: Session) -> x509.Certificate:
            standing = enrolments.live(session).get(fingerprint)
            if standing is None or standing.ends <= now:
                raise enrolments.TokenError("the certificate does not count any more")
            enrolments.take(session, fingerprint, now)
            enrolments.drop_untaken(session, sentry)
            return self._issue(session, sentry, csr, now)

        return await self._issued("uem_renewed", sentry, source, job)

    # --- administration ---

    async def open(self, wanted: OpenEnrolment, by: str) -> OpenedEnrolment:
        """A token for this Sentry, which is added where there is none of that name. Raises `PeerError`, `DatabaseError`,
        `OverloadedError`."""
        token, hours = self._draw(), wanted.hours or self._settings.token_hours
        ends = int(self._now()) + hours * HOUR_SECONDS

        def job(_registry: Registry, session: Session) -> None:
            known = {peer.name for peer in peers.listed(session)}
            if wanted.sentry not in known:
                peers.put(session, _peer(wanted))
            elif wanted.push_url:
                raise peers.PeerError(
                    f"Sentry {wanted.sentry} is there; its push URL is changed with it - at `$.push_url`"
                )
            enrolments.give(session, wanted.sentry, token, ends)

        await self._change(job)
        self._audit("uem_enrolment_opened", by=by, detail=f"Sentry {wanted.sentry}, for {hours} h")
        return OpenedEnrolment(sentry=wanted.sentry, token=token, ends=ends)

    async def revoke(self, sentry: str, by: str) -> int:
        """Nothing that was enrolled under this name counts any more; how many certificates and tokens did."""
        now = int(self._now())
        count = await self._change(lambda _registry, session: enrolments.revoke(session, sentry, now))
        self._audit("uem_enrolment_revoked", by=by, count=count, detail=f"Sentry {sentry}")
        return count

    async def listed(self) -> list[EnrolmentEntry]:
        """What is open and what was issued, for each Sentry that has something."""
        now = self._now()

        def look(session: Session) -> list[EnrolmentEntry]:
            tokens, issued = enrolments.rows(session)
            held: dict[str, list[CertificateEntry]] = {}
            for row in issued:
                entry = CertificateEntry(
                    fingerprint=row.fingerprint, issued=row.issued, ends=row.ends, taken=row.taken, revoked=row.revoked
                )
                held.setdefault(row.sentry, []).append(entry)
            until = {row.sentry: row.ends for row in tokens if not row.used and row.ends > now}
            return [
                EnrolmentEntry(sentry=name, token_ends=until.get(name, 0), certificates=tuple(held.get(name, ())))
                for name in sorted({*held, *until})
            ]

        return await self._worker.call(lambda registry: registry.look(look))

    # --- parts ---

    def _issue(self, session: Session, sentry: str, csr: str, now: int) -> x509.Certificate:
        certificate = self._signer.issue(sentry, csr, now, self._settings.lifetime_days * DAY_SECONDS)
        ends = int(certificate.not_valid_after_utc.timestamp())
        enrolments.record(session, certificate.fingerprint(hashes.SHA256()).hex(), sentry, now, ends)
        return certificate

    async def _issued(
        self, event: str, sentry: str, source: str, job: Callable[[Registry, Session], x509.Certificate]
    ) -> Enrolled:
        certificate = await self._change(job)
        until = certificate.not_valid_after_utc.isoformat()
        fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        # From where: a thief of a certificate renews it, too, and is to be told from its Sentry.
        told = f"Sentry {sentry} at {source}: certificate {fingerprint} until {until}"
        self._audit(event, by=sentry, detail=told)
        return Enrolled(certificate=certificate.public_bytes(serialization.Encoding.PEM).decode())

    async def _change(self, job: Callable[[Registry, Session], _Result]) -> _Result:
        """Do it in one transaction, and know what counts after it."""

        def change(registry: Registry) -> tuple[_Result, dict[str, Badge]]:
            result, _ = registry.amend(lambda session, _next: job(registry, session))
            return result, registry.look(enrolments.live)

        result, self._live = await self._worker.call(change)
        return result

    def _fingerprint(self, certificate: bytes) -> str | None:
        """The fingerprint of a certificate of ours, None of any other. Each is parsed once."""
        known = self._ours.get(certificate)
        if known is not None or certificate in self._foreign:
            return known
        for cache in (self._ours, self._foreign):
            if len(cache) >= PARSED:
                cache.clear()
        try:
            parsed = x509.load_der_x509_certificate(certificate)
        except (ValueError, x509.InvalidVersion):  # OpenSSL reads it, so another authority has signed it
            parsed = None
        if parsed is None or not self._signer.has_signed(parsed):
            self._foreign.add(certificate)
            return None
        self._ours[certificate] = parsed.fingerprint(hashes.SHA256()).hex()
        return self._ours[certificate]


def _peer(wanted: OpenEnrolment) -> SentryPeer:
    return SentryPeer(name=wanted.sentry, subject=authority.subject(wanted.sentry), push_url=wanted.push_url)
