"""The one thread in which the registry is called: databases block, the event loop must not."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from sentry_runtime.uem_server.registry import Registry

WAITING = 2_000  # calls; at 2 to 5 ms each (one commit) the last of them waits as long as a Sentry's time-out allows

_Result = TypeVar("_Result")


class OverloadedError(RuntimeError):
    """Too many calls wait already."""


class DatabaseError(RuntimeError):
    """The database refused; nothing of the call stands."""


class Worker:
    """Calls the registry, one call after the other."""

    def __init__(self, make: Callable[[], Registry]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self._registry: Registry | None = None
        self._waiting = 0

    async def start(self) -> None:
        """Open the registry in its thread. Raises `DatabaseError`."""
        try:
            self._registry = await asyncio.get_running_loop().run_in_executor(self._thread, self._make)
        except SQLAlchemyError as error:
            raise DatabaseError(f"the database cannot be opened: {error}") from error

    async def call(self, job: Callable[[Registry], _Result]) -> _Result:
        """What `job` returns. Raises `OverloadedError`, `DatabaseError`, and what the job raises of the registry's own."""
        registry = self._registry
        if registry is None:
            raise RuntimeError("the worker is not started")
        if self._waiting >= WAITING:
            raise OverloadedError(f"{WAITING} calls wait for the database, more are not taken")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job, registry)
        except SQLAlchemyError as error:
            raise DatabaseError(f"the database refused: {error}") from error
        finally:
            self._waiting -= 1

    def stop(self) -> None:
        """Finish what runs, drop what waits."""
        self._thread.shutdown(cancel_futures=True)
