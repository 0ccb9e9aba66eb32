"""The UEM's tables and its engine (SQLAlchemy 2.0; SQLite in the box, any other database by its URL)."""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, UniqueConstraint, create_engine, event
from sqlalchemy.engine import Engine
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
    first_seen: Mapped[int] = mapped_column(default=0)
    last_seen: Mapped[int] = mapped_column(default=0)
    aliases: Mapped[list["Alias"]] = relationship(cascade="all, delete-orphan", lazy="selectin")
    spelling: Mapped["Spelling | None"] = relationship(cascade="all, delete-orphan")
    causes: Mapped[list["Cause"]] = relationship(cascade="all, delete-orphan")
    place: Mapped["Place | None"] = relationship(cascade="all, delete-orphan", lazy="selectin")
    assignment: Mapped["Assignment | None"] = relationship(cascade="all, delete-orphan")
    says: Mapped["Says | None"] = relationship(cascade="all, delete-orphan")
    wiping: Mapped["Wiping | None"] = relationship(cascade="all, delete-orphan", lazy="selectin")


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


def open_engine(url: str) -> Engine:
    """An engine whose tables exist. SQLite runs with a write-ahead log, and every commit waits for the disk."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    Base.metadata.create_all(engine)
    widen(engine, Base.metadata)
    return engine


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
