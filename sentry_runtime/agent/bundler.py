"""Writes that wait for the disk together: what arrives while one commit runs goes into the next one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Written = TypeVar("Written")
Outcome = TypeVar("Outcome")


class Bundler(Generic[Item, Written, Outcome]):
    """`write` is called in the thread with all that has arrived, in order, and says of each what came of it; what it raises, each
    of them raises. `settle` is then called in the event loop for one after the other, also for those that nobody waits for any
    more, and gives their outcome."""

    def __init__(
        self,
        thread: ThreadPoolExecutor,
        write: Callable[[list[Item]], list[Written]],
        settle: Callable[[Item, Written], Outcome],
    ) -> None:
        self._thread = thread
        self._write = write
        self._settle = settle
        self._waiting: list[tuple[Item, asyncio.Future[Outcome]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> Outcome:
        """Write the item; its outcome when it is on the disk."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._drain())
        return await done

    async def finish(self) -> None:
        """Return when nothing is being written."""
        if self._writing is not None:
            await self._writing

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            bundle, self._waiting = self._waiting, []
            try:
                written = await loop.run_in_executor(self._thread, self._write, [item for item, _ in bundle])
            except Exception as error:  # noqa: BLE001 - whatever failed, those who wait for this commit are told
                for _, done in bundle:
                    if not done.cancelled():
                        done.set_exception(error)
                continue
            for (item, done), one in zip(bundle, written, strict=True):
                outcome = self._settle(item, one)
                if not done.cancelled():
                    done.set_result(outcome)
