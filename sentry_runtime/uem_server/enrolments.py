"""Tokens and certificates of enrolled Sentrys, as rows.

| a token | is redeemed |
|---|---|
| of another Sentry, or none at all | no |
| that was redeemed before | no |
| whose time is over | no |
| else | once: its row is marked in the transaction that records the certificate |

A Sentry has one token at most: the last that was given out. Only a token's digest is kept. A certificate counts as long as its
row says so: revoking changes the row, and what has no row is nobody's.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from sentry_runtime.uem_server.tables import EnrolmentToken, IssuedCertificate

OVERLAP_SECONDS = (
    300  # after a Sentry's first call with its new certificate, for what it had under way with the old one
)
PER_SENTRY = (
    32  # certificates, those that have ended among them: three years of renewals, and no more for who renews all day
)
KEPT_SECONDS = 30 * 86_400  # ended rows: for who asks afterwards what happened


class TokenError(ValueError):
    """A token that is not redeemed. The message is for the audit trail: who sent it is told nothing of the reason."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A certificate that counts: whose it is, until when (epoch), and whether its Sentry has called with it."""

    sentry: str
    ends: int
    taken: bool


def digest(sentry: str, token: str) -> str:
    """What is kept of a token: it is good for this Sentry only. 256 random bits need no slow hash."""
    return hashlib.sha256(b"\0".join((b"sentry enrolment", sentry.encode(), token.encode()))).hexdigest()


def give(session: Session, sentry: str, token: str, ends: int) -> None:
    """From now on this is the Sentry's token, and no other."""
    row = session.get(EnrolmentToken, sentry) or EnrolmentToken(sentry=sentry)
    row.digest, row.ends, row.used = digest(sentry, token), ends, 0
    session.add(row)


def redeem(session: Session, sentry: str, token: str, now: int) -> None:
    """Use the token up. Raises `TokenError`."""
    row = session.get(EnrolmentToken, sentry, with_for_update=True)
    same = hmac.compare_digest("" if row is None else row.digest, digest(sentry, token))
    if row is None or not same:
        raise TokenError("the token is not that of this Sentry")
    if row.used:
        raise TokenError("the token was redeemed before: whoever did so has this Sentry's certificate; revoke it")
    if now >= row.ends:
        raise TokenError("the token has expired")
    row.used = now


def record(session: Session, fingerprint: str, sentry: str, now: int, ends: int) -> None:
    """Have this certificate count; and forget those that ended long ago, and the Sentry's oldest when it has had too many."""
    session.execute(delete(IssuedCertificate).where(IssuedCertificate.ends < now - KEPT_SECONDS))
    oldest_first = select(IssuedCertificate).where(IssuedCertificate.sentry == sentry)
    order = (IssuedCertificate.issued, IssuedCertificate.fingerprint)
    for row in session.scalars(oldest_first.order_by(*order)).all()[: 1 - PER_SENTRY]:
        session.delete(row)
    session.add(IssuedCertificate(fingerprint=fingerprint, sentry=sentry, issued=now, ends=ends))


def take(session: Session, fingerprint: str, now: int) -> None:
    """The Sentry has called with this certificate: its others end soon."""
    row = session.get(IssuedCertificate, fingerprint)
    if row is not None and not row.taken:
        row.taken = True
        for other in _of(session, row.sentry):
            if other.fingerprint != fingerprint:
                other.ends = min(other.ends, now + OVERLAP_SECONDS)


def drop_untaken(session: Session, sentry: str) -> None:
    """Forget the certificates of this Sentry that it never called with: their answers were lost."""
    for row in _of(session, sentry):
        if not row.taken:
            session.delete(row)


def revoke(session: Session, sentry: str, now: int) -> int:
    """Nothing of this Sentry counts any more, neither certificates nor a token; how many there were."""
    tokens = session.scalars(
        select(EnrolmentToken).where(
            EnrolmentToken.sentry == sentry, EnrolmentToken.used == 0, EnrolmentToken.ends > now
        )
    ).all()
    for token in tokens:
        session.delete(token)
    return revoke_certificates(session, sentry, now) + len(tokens)


def revoke_certificates(session: Session, sentry: str, now: int) -> int:
    """No certificate of this Sentry counts any more; how many did."""
    rows = [row for row in _of(session, sentry) if not row.revoked and row.ends > now]
    for row in rows:
        row.revoked = now
    return len(rows)


def forget(session: Session, sentry: str) -> None:
    """The Sentry is no longer served: who gets its name later inherits nothing."""
    for table in (EnrolmentToken, IssuedCertificate):
        session.execute(delete(table).where(table.sentry == sentry))


def live(session: Session) -> dict[str, Badge]:
    """The certificates that are not revoked, by their fingerprints. Whether they have ended is a question of the moment."""
    rows = session.scalars(select(IssuedCertificate).where(IssuedCertificate.revoked == 0))
    return {row.fingerprint: Badge(row.sentry, row.ends, row.taken) for row in rows}


def rows(session: Session) -> tuple[Sequence[EnrolmentToken], Sequence[IssuedCertificate]]:
    """All there are, in the order of the Sentrys' names."""
    tokens = session.scalars(select(EnrolmentToken).order_by(EnrolmentToken.sentry)).all()
    order = (IssuedCertificate.sentry, IssuedCertificate.issued, IssuedCertificate.fingerprint)
    return tokens, session.scalars(select(IssuedCertificate).order_by(*order)).all()


def _of(session: Session, sentry: str) -> Sequence[IssuedCertificate]:
    return session.scalars(select(IssuedCertificate).where(IssuedCertificate.sentry == sentry)).all()
