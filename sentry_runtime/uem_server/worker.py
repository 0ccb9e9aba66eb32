"""The one thread in which the registry is called: databases block, the event loop must not.

Contacts that wait for it go into one transaction: what they cost is its statements and its commit more than what they say, and
devices that are new come in hundreds, on the morning on which a fleet is let in.
"""

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem_server.registry import Registry

WAITING = 2_000  # calls; at 2 to 5 ms each (one commit) the last of them waits as long as a Sentry's time-out allows
CONTACTS = 50  # of one transaction: some tens of milliseconds, in which others wait

_Result = TypeVar("_Result")


class OverloadedError(RuntimeError):
    """Too many calls wait already."""


class DatabaseError(RuntimeError):
    """The database refused; nothing of the call stands."""


@dataclass(eq=False, slots=True)
class _Asked:
    contact: Contact
    outcome: Decision | Exception | None = None


class Worker:
    """Calls the registry, one call after the other."""

    def __init__(self, make: Callable[[], Registry]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self._registry: Registry | None = None
        self._waiting = 0
        self._asked: deque[_Asked] = deque()

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

    async def contact(self, contact: Contact) -> Decision:
        """As `call` of `Registry.contact`."""
        asked = _Asked(contact)
        self._asked.append(asked)
        try:
            return await self.call(functools.partial(self._outcome, asked))
        finally:
            with contextlib.suppress(ValueError):  # it waits no more; else whoever asked has gone, or had no turn
                self._asked.remove(asked)

    def _outcome(self, asked: _Asked, registry: Registry) -> Decision:
        """In the thread: the outcome of one contact, which has come of an earlier one's turn already, or comes of this."""
        if asked.outcome is None:
            some = [asked]
            with contextlib.suppress(ValueError):
                self._asked.remove(asked)
            with contextlib.suppress(IndexError):
                while len(some) < CONTACTS:
                    some.append(self._asked.popleft())
            for one, outcome in zip(some, _outcomes(registry, [one.contact for one in some]), strict=True):
                one.outcome = outcome
        if isinstance(asked.outcome, Decision):
            return asked.outcome
        raise asked.outcome or AssertionError("each contact has its outcome")

    def stop(self) -> None:
        """Finish what runs, drop what waits."""
        self._thread.shutdown(cancel_futures=True)


def _outcomes(registry: Registry, contacts: Sequence[Contact]) -> Sequence[Decision | Exception]:
    """What comes of these contacts, in one transaction. If that fails for one of them, each has one of its own."""
    try:
        return registry.contacts(contacts)
    except Exception as error:  # noqa: BLE001 - whatever failed, those who wait for this transaction are told
        # Where the database itself is away it is so for all, and each would wait for it.
        if len(contacts) == 1 or isinstance(error, OperationalError):
            return [error] * len(contacts)
    return [outcome for one in contacts for outcome in _outcomes(registry, [one])]
