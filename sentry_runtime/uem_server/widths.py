"""Columns that an older version made too narrow: change numbers are milliseconds, which 32 bits do not hold.

SQLite stores every integer as wide as it is. PostgreSQL refuses what does not fit, so a database that was made with a narrower
column gets the wider one when it is opened.
"""

from collections.abc import Iterator

from sqlalchemy import BigInteger, Engine, MetaData, inspect, text
from sqlalchemy.schema import Column


def widen(engine: Engine, tables: MetaData) -> list[str]:
    """Widen what is too narrow; the columns, as `table.column`. The tables exist."""
    if engine.dialect.name == "sqlite":
        return []
    narrow = list(_narrow(engine, tables))
    with engine.begin() as connection:
        for column in narrow:
            connection.execute(text(statement(column)))
    return [f"{column.table.name}.{column.name}" for column in narrow]


def statement(column: Column[int]) -> str:
    """What widens a column, in PostgreSQL's words; the names are our own and need no quotes."""
    return f"ALTER TABLE {column.table.name} ALTER COLUMN {column.name} TYPE BIGINT"


def _narrow(engine: Engine, tables: MetaData) -> Iterator[Column[int]]:
    found = inspect(engine)
    for table in tables.sorted_tables:
        there = {one["name"]: one["type"] for one in found.get_columns(table.name)}
        for column in table.columns:
            wide = isinstance(column.type, BigInteger)
            if wide and not isinstance(there[column.name], BigInteger):
                yield column
