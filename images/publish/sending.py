"""Many parts sent at once, and never more of them in memory than are under way."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")

WORKERS = 16  # what fills a fast line at 512 KiB a part and stays below the clouds' limits of requests
TOLD_EVERY = 10  # percent


def send(parts: Iterable[Part], put: Callable[[Part], None], total: int, tell: Callable[[str], None]) -> int:
    """Put every part; how many there were. The first error is raised when what is under way has ended, and nothing new begins."""
    waiting: deque[Future[None]] = deque()
    sent = told = 0

    def ended() -> None:
        nonlocal sent, told
        waiting.popleft().result()
        sent += 1
        percent = 100 * sent // total
        if percent >= told + TOLD_EVERY:
            told = percent - percent % TOLD_EVERY
            tell(f"sent: {sent} of {total} parts ({told} %)")

    with ThreadPoolExecutor(WORKERS, "sending") as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(put, part))
                if len(waiting) >= 2 * WORKERS:
                    ended()
            while waiting:
                ended()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return sent
