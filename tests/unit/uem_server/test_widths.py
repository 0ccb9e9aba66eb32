"""Columns that were made too narrow are found by what the database says of them, and widened in PostgreSQL's words."""

from pathlib import Path

from sqlalchemy import create_engine, text

from sentry_runtime.uem_server.tables import Base
from sentry_runtime.uem_server.widths import _narrow, statement, widen


def test_a_column_of_32_bits_where_64_are_wanted_is_found(tmp_path: Path) -> None:
    """One that is wide already is not, and neither is one that may be narrow."""
    engine = create_engine(f"sqlite:///{tmp_path}/old.sqlite")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE clock (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)"))
    Base.metadata.create_all(engine)
    assert [f"{column.table.name}.{column.name}" for column in _narrow(engine, Base.metadata)] == ["clock.version"]
    assert widen(engine, Base.metadata) == []  # SQLite needs none of it
    engine.dispose()


def test_it_is_widened_in_place() -> None:
    """What is in it stays."""
    assert statement(Base.metadata.tables["clock"].c.version) == "ALTER TABLE clock ALTER COLUMN version TYPE BIGINT"
