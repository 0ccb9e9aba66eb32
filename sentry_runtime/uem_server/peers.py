"""The Sentrys that the UEM serves, as rows: those of the settings, and those that an administrator has added."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from sentry_runtime.settings import SentryPeer
from sentry_runtime.uem_server import enrolments
from sentry_runtime.uem_server.tables import Sentry

SENTRYS = 64  # each is pushed to over a connection of its own


class PeerError(ValueError):
    """A Sentry that there cannot be; the message says why."""


def fix(session: Session, peers: Sequence[SentryPeer]) -> None:
    """Have the Sentrys of the settings, and no other that was once in them. Where an administrator has added one under the name
    or the subject, the settings' one takes its place."""
    names, subjects = {peer.name for peer in peers}, {peer.subject for peer in peers}
    for sentry in session.scalars(select(Sentry)).all():
        if sentry.name not in names and (sentry.fixed or sentry.subject in subjects):
            enrolments.forget(session, sentry.name)
            session.delete(sentry)
    session.flush()
    kept = [session.get(Sentry, peer.name) for peer in peers]
    for at, known in enumerate(kept):
        if known is not None:  # two may have changed places: subjects are unique at every moment
            known.subject = f" {at}"
    session.flush()
    for peer, known in zip(peers, kept, strict=True):
        sentry = known or Sentry(name=peer.name)
        sentry.subject, sentry.push_url, sentry.fixed = peer.subject, peer.push_url, True
        session.add(sentry)
    session.flush()


def put(session: Session, peer: SentryPeer) -> None:
    """Add a Sentry, or change an added one. Raises `PeerError`."""
    known = session.get(Sentry, peer.name)
    if known is not None and known.fixed:
        raise PeerError(f"Sentry {peer.name} is in the settings; it is changed there")
    other = session.scalars(select(Sentry).where(Sentry.subject == peer.subject, Sentry.name != peer.name)).first()
    if other is not None:
        raise PeerError(f"the certificate {peer.subject!r} is that of Sentry {other.name} - at `$.subject`")
    if known is None and len(session.scalars(select(Sentry.name)).all()) >= SENTRYS:
        raise PeerError(f"there are {SENTRYS} Sentrys; more are not taken")
    sentry = known or Sentry(name=peer.name)
    sentry.subject, sentry.push_url = peer.subject, peer.push_url
    session.add(sentry)


def drop(session: Session, name: str) -> bool:
    """Serve this Sentry no more; whether there was one. Raises `PeerError`."""
    known = session.get(Sentry, name)
    if known is None:
        return False
    if known.fixed:
        raise PeerError(f"Sentry {name} is in the settings; it is removed there")
    enrolments.forget(session, name)
    session.delete(known)
    return True


def listed(session: Session) -> list[SentryPeer]:
    """All of them, by their names."""
    rows = session.scalars(select(Sentry).order_by(Sentry.name))
    return [SentryPeer(name=row.name, subject=row.subject, push_url=row.push_url) for row in rows]


def heard(session: Session, news: Iterable[tuple[str, int, int | None]]) -> None:
    """Each is (name, when it called, the cursor from which it read the feed, if it did)."""
    for name, seen, cursor in news:
        sentry = session.get(Sentry, name)
        if sentry is not None:
            sentry.last_seen = max(sentry.last_seen, seen)
            sentry.cursor = sentry.cursor if cursor is None else cursor
