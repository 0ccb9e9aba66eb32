"""A database from before spellings were kept."""

from pathlib import Path

from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.uem.messages import check_key
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.tables import Base, Clock, Device, Spelling, open_engine

ROWS = (
    ("C1", "corp\\anna", State.BLOCKED, True),  # matched nobody
    ("C2", "corp\\anna", State.BLOCKED, True),
    ("C2", "anna@corp", State.ALLOWED, False),
    ("C3", "a b", State.ALLOWED, False),  # nobody's name
    ("C4", "bert", State.ALLOWED, True),
)


def test_names_become_canonical_once_and_a_block_is_not_lost_by_it(tmp_path: Path) -> None:
    """What was said of `corp\\anna` holds for `anna@corp`, under a new version; a second opening changes nothing."""
    engine = open_engine(f"sqlite:///{tmp_path}/uem.sqlite")
    Base.metadata.tables[Spelling.__tablename__].drop(engine)
    with Session(engine) as session, session.begin():
        session.add(Clock(id=1, version=len(ROWS)))
    with engine.begin() as connection:
        for version, (device_id, principal, state, manual) in enumerate(ROWS, 1):
            row = {"device_id": device_id, "principal": principal, "state": state, "version": version, "manual": manual}
            reasons = [Reason.MANUAL] if state is State.BLOCKED else []
            connection.execute(Base.metadata.tables[Device.__tablename__].insert(), {**row, "reasons": reasons})
    engine.dispose()
    engine = open_engine(f"sqlite:///{tmp_path}/uem.sqlite")
    page = Registry(engine, auto_block=True, now=lambda: 0.0).changes(0, 10)
    for word in page.decisions:
        check_key(word.device_id, word.principal)
    assert [(word.device_id, word.principal, word.state, word.version) for word in page.decisions] == [
        ("C4", "bert", "allowed", 5),
        ("C1", "anna@corp", "blocked", 6),
        ("C2", "anna@corp", "blocked", 7),
    ]
    registry = Registry(engine, auto_block=True, now=lambda: 0.0)
    assert registry.changes(0, 10) == page
    assert len(registry.set_state(DeviceKey("C4", "bert@corp"), State.BLOCKED, [Reason.MANUAL], "")) == 2
    engine.dispose()
