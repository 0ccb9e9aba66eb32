"""The UEM's tables and its engine (SQLAlchemy 2.0; SQLite in the box, PostgreSQL by its URL)."""

from typing import Any

import msgspec
from sqlalchemy import JSON, BigInteger, ForeignKey, Index, UniqueConstraint, create_engine, event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from sentry_runtime.uem_server.widths import widen

BUSY_MILLISECONDS = 5_000  # how long one process waits for another's write (a backup) before it is an error


class Base(DeclarativeBase):
    """All tables."""


class Clock(Base):
    """One row: the last change number given out. Whoever changes anything locks it first, so numbers commit in order."""

    __tablename__ = "clock"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)


class Device(Base):
    """One (device, principal). A removed one stays as the note that it was removed, for Sentries that have not heard yet."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("device_id", "principal"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str]
    principal: Mapped[str]
    device_type: Mapped[str] = mapped_column(default="")
    state: Mapped[str]
    reasons: Mapped[list[str]] = mapped_column(JSON, default=list)
    note: Mapped[str] = mapped_column(default="")
    version: Mapped[int] = mapped_column(BigInteger, unique=True)
    registered: Mapped[bool] = mapped_column(default=False)
    manual: Mapped[bool] = mapped_column(default=False)
    removed: Mapped[bool] = mapped_column(default=False)
    first_seen: Mapped[int] = mapped_column(BigInteger, default=0)
    last_seen: Mapped[int] = mapped_column(BigInteger, default=0)
    aliases: Mapped[list["Alias"]] = relationship(cascade="all, delete-orphan")
    spelling: Mapped["Spelling | None"] = relationship(cascade="all, delete-orphan")
    causes: Mapped[list["Cause"]] = relationship(cascade="all, delete-orphan")
    place: Mapped["Place | None"] = relationship(cascade="all, delete-orphan")
    assignment: Mapped["Assignment | None"] = relationship(cascade="all, delete-orphan")
    says: Mapped["Says | None"] = relationship(cascade="all, delete-orphan")
    wiping: Mapped["Wiping | None"] = relationship(cascade="all, delete-orphan")
    findings: Mapped[list["Finding"]] = relationship(cascade="all, delete-orphan")
    posture: Mapped["Posture | None"] = relationship(cascade="all, delete-orphan")
    labels: Mapped[list["DeviceLabel"]] = relationship(cascade="all, delete-orphan")
    grace: Mapped["Grace | None"] = relationship(cascade="all, delete-orphan")
    link: Mapped["Link | None"] = relationship(cascade="all, delete-orphan", foreign_keys="Link.device")


class Alias(Base):
    """Another spelling under which a device's id is known."""

    __tablename__ = "aliases"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True, index=True)


class Cause(Base):
    """Something that was found wrong with a device and has not been cleared.

    A table of its own, as `Spelling` is.
    """

    __tablename__ = "causes"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)


class Spelling(Base):
    """What all spellings of one device and one person share (`root` of `eas.device_id`, `user_of` of `eas.principal`), and
    whether an administrator ever spoke of the row.

    A table of its own, so that a database from before it gets it without a change to what is there.
    """

    __tablename__ = "spellings"
    __table_args__ = (Index("spellings_by_person", "user", "root"),)
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    user: Mapped[str]
    root: Mapped[str]
    spoken: Mapped[bool] = mapped_column(default=False)


class Place(Base):
    """A device's place in its mailbox, or that it waits for one (`places`). A table of its own, as `Spelling` is."""

    __tablename__ = "places"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    rank: Mapped[int]
    waits: Mapped[bool]


class Bound(Base):
    """One row: the limit that the places were last given by."""

    __tablename__ = "bounds"
    id: Mapped[int] = mapped_column(primary_key=True)
    devices_per_mailbox: Mapped[int]


class Assignment(Base):
    """The policy that an administrator assigned to a device, by its name. A table of its own, for the same reason."""

    __tablename__ = "assignments"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    policy: Mapped[str] = mapped_column(index=True)


class PolicyNote(Base):
    """The digest under which a policy was last told to Sentries, by its name."""

    __tablename__ = "policy_notes"
    name: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]


class Says(Base):
    """What a device says of itself: the fields that it says, by their names."""

    __tablename__ = "says"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    fields: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)


class Wiping(Base):
    """The last order to wipe a device, and what stood before it.

    `number` is the version by which it was ordered. A cancelled order stays, for a Sentry that reports late. A table of its
    own, as `Spelling` is.
    """

    __tablename__ = "wipes"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    kind: Mapped[str]
    number: Mapped[int] = mapped_column(BigInteger)
    by: Mapped[str] = mapped_column(default="")
    marks: Mapped[list[str]] = mapped_column(JSON, default=list)
    cancelled: Mapped[bool] = mapped_column(default=False)
    before_state: Mapped[str]
    before_reasons: Mapped[list[str]] = mapped_column(JSON, default=list)
    before_manual: Mapped[bool] = mapped_column(default=False)
    before_note: Mapped[str] = mapped_column(default="")


class Finding(Base):
    """What a device's security policy finds wrong with it (`compliance`); what an administrator found is a `Cause`."""

    __tablename__ = "findings"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)


class Posture(Base):
    """What is reported of a device; None, "" and 0: nothing."""

    __tablename__ = "postures"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    platform: Mapped[str | None]
    os_version: Mapped[str] = mapped_column(default="")
    compromised: Mapped[bool | None]
    encrypted: Mapped[bool | None]
    contact: Mapped[int] = mapped_column(BigInteger, default=0)


class Grace(Base):
    """Since when (epoch) a device that nobody registered has been known. Outlives its removal: nobody gets a second grace."""

    __tablename__ = "graces"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    since: Mapped[int] = mapped_column(BigInteger)


class SpentGrace(Base):
    """A device that was forgotten, by a digest, and since when (epoch) it had its grace (`graces`)."""

    __tablename__ = "spent_graces"
    digest: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str] = mapped_column(index=True)
    since: Mapped[int] = mapped_column(BigInteger)


class Link(Base):
    """A device that an administrator has found to be the managed device `to` under another id."""

    __tablename__ = "links"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    to: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    target: Mapped[Device] = relationship(foreign_keys=[to])


class Due(Base):
    """A device that has to be looked at anew; `bump`: what it is told beside its state may have changed."""

    __tablename__ = "due"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    bump: Mapped[bool]


class SecurityNote(Base):
    """One row: the digest of the security policies by which the devices were last looked at."""

    __tablename__ = "security_notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]


class Label(Base):
    """What devices and users are grouped by, and what the group gets. Of several labels the lowest `rank` speaks first."""

    __tablename__ = "labels"
    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(default="")
    rank: Mapped[int]
    policy: Mapped[str | None]
    security_policy: Mapped[str | None]


class User(Base):
    """A person, by the one name under which devices authenticate for them."""

    __tablename__ = "users"
    principal: Mapped[str] = mapped_column(primary_key=True)
    full_name: Mapped[str] = mapped_column(default="")
    labels: Mapped[list["UserLabel"]] = relationship(cascade="all, delete-orphan", lazy="selectin")


class UserLabel(Base):
    """A label of a user, and so of all devices under their principal."""

    __tablename__ = "user_labels"
    principal: Mapped[str] = mapped_column(ForeignKey("users.principal"), primary_key=True)
    label: Mapped[str] = mapped_column(ForeignKey("labels.name"), primary_key=True, index=True)


class DeviceLabel(Base):
    """A label of one device."""

    __tablename__ = "device_labels"
    device: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    label: Mapped[str] = mapped_column(ForeignKey("labels.name"), primary_key=True, index=True)


class Tunnel(Base):
    """An app tunnel: where the applications of a device may go through the Sentry."""

    __tablename__ = "tunnels"
    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    port: Mapped[int]
    authentication: Mapped[list[str]] = mapped_column(JSON)
    labels: Mapped[list["TunnelLabel"]] = relationship(cascade="all, delete-orphan", lazy="selectin")


class TunnelLabel(Base):
    """A label whose devices have the tunnel."""

    __tablename__ = "tunnel_labels"
    tunnel: Mapped[str] = mapped_column(ForeignKey("tunnels.name"), primary_key=True)
    label: Mapped[str] = mapped_column(ForeignKey("labels.name"), primary_key=True, index=True)


class Sentry(Base):
    """A Sentry that may call, known by its certificate's subject; `fixed`: it is in the settings. `last_seen` (epoch) and
    `cursor` are of the last time it read the feed."""

    __tablename__ = "sentrys"
    name: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(unique=True)
    push_url: Mapped[str] = mapped_column(default="")
    fixed: Mapped[bool] = mapped_column(default=False)
    last_seen: Mapped[int] = mapped_column(BigInteger, default=0)
    cursor: Mapped[int] = mapped_column(BigInteger, default=0)


class EnrolmentToken(Base):
    """The last token that was given out for a Sentry: a digest of it, when it ends, when it was redeemed (epoch; 0: not yet)."""

    __tablename__ = "enrolment_tokens"
    sentry: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    ends: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(BigInteger, default=0)


class IssuedCertificate(Base):
    """A certificate that the UEM has issued to a Sentry, by the SHA-256 of it; times in epoch seconds. `taken`: the Sentry has
    called with it; `revoked`: since when it counts no more, 0: it does."""

    __tablename__ = "issued_certificates"
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    sentry: Mapped[str] = mapped_column(index=True)
    issued: Mapped[int] = mapped_column(BigInteger)
    ends: Mapped[int] = mapped_column(BigInteger)
    taken: Mapped[bool] = mapped_column(default=False)
    revoked: Mapped[int] = mapped_column(BigInteger, default=0)


OWNED = (Alias, Assignment, Cause, DeviceLabel, Due, Finding, Grace, Link, Place, Posture, Says, Spelling, Wiping)
"""The tables whose rows are one device's (`device`), and go with it."""

CONNECT_SECONDS = (
    3  # a server on the same network answers in milliseconds; one that is gone must not stop the one thread
)
STATEMENT_SECONDS = 20  # a whole import takes some seconds


def open_engine(url: str) -> Engine:
    """An engine whose tables exist. SQLite runs with a write-ahead log, and every commit waits for the disk.

    A PostgreSQL that was restarted meanwhile is noticed before a connection is used, and dialled anew.
    """
    engine = create_engine(url, pool_pre_ping=True, json_deserializer=msgspec.json.decode, **_options(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    Base.metadata.create_all(engine)
    widen(engine, Base.metadata)
    return engine


def _options(url: str) -> dict[str, Any]:
    if make_url(url).get_backend_name() != "postgresql":
        return {}
    waits = f"-c statement_timeout={STATEMENT_SECONDS * 1_000} -c lock_timeout={BUSY_MILLISECONDS}"
    alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
    return {"connect_args": {"connect_timeout": CONNECT_SECONDS, "options": waits, **alive}}


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes too late (at the first write) and would let two readers race for the write lock.
    connection.isolation_level = None
    for pragma in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",  # with WAL, NORMAL may lose the last commits in a power cut
        "PRAGMA foreign_keys=ON",
        f"PRAGMA busy_timeout={BUSY_MILLISECONDS}",
    ):
        connection.execute(pragma)


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
